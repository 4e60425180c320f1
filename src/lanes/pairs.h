/* SPDX-License-Identifier: MIT */
/* pairs - two connected sockets over loopback, for experiments. */
#ifndef USP_LANES_PAIRS_H
#define USP_LANES_PAIRS_H

/*
 * Connect two sockets over loopback: what is sent into ret_pair[1] comes out of ret_pair[0]. Both reset the
 * connection when they are closed, so that no port is kept for it. Waits for a tenth of a second at most. 0, or
 * -errno. The caller closes both descriptors after a failure, too; it sets them to -1 before.
 */
int usp_pair_stream(int protocol, int ret_pair[2]); /* 0 is TCP, or IPPROTO_MPTCP */

/* The same for two UDP sockets. They take datagrams of each other alone. */
int usp_pair_udp(int ret_pair[2]);

#endif
