/* SPDX-License-Identifier: MIT */
/* host_port - find HOST:PORT where a scheme such as tcp: was forgotten. */
#ifndef USP_CLI_HOST_PORT_H
#define USP_CLI_HOST_PORT_H

/*
 * Refuse a source or sink that looks like HOST:PORT and that is the name of no file, before a file of that name is made.
 * Ask for tcp: then. CLI_DONE, or CLI_USAGE after saying why.
 */
int host_port_check(const char *source, char *const *sinks, unsigned nr_sinks);

#endif
