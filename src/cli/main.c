/* SPDX-License-Identifier: MIT */
/*
 * usplice - the command. This file only finds the right cmd_*.c; here is the map of the tree.
 *
 *   include/usplice.h            what callers of the library need: files, pipes, splice, tee, vmsplice, ledger
 *   include/usplice/pump.h       one source to one or many sinks, until done; usplice.h includes it
 *   include/usplice/relay.h      relays
 *   include/usplice/probe.h      how the kernel carries the bytes of a file
 *   include/usplice/trace.h      counts of the system calls
 *   include/usplice/spec.h       texts that people write: specs, sizes, times
 *   include/usplice/framed.h     streams whose cut is noticed
 *   include/usplice/endpoint.h   what authors of endpoints need: operations tables, bufs, folios, helpers
 *   include/usplice/mapping.h    page caches over sources
 *   include/usplice/mount.h      sources as files for any program
 *   include/usplice/transform.h  stages over a source: digests, compression, age, buffers, and those of authors
 *
 *   src/base/        floor 0     sys.c is the one door to the kernel; allocation, names, numbers, compiler attributes
 *   src/age/         floor 1     keys, headers and ciphers of age
 *   src/event/       floor 1     the loop (epoll), the ring (io_uring)
 *   src/codec/       floor 1     formats of compression, and tables of pieces that can be decoded by themselves
 *   src/hash/        floor 1     checksums
 *   src/mm/          floor 2     folios (counted pieces of memory), gifts (the caller's memory), mappings (page caches)
 *   src/splice/      floor 3     buf, pipe, file, and the acts: splice, tee, vmsplice, direct; helpers for tables
 *   src/pieces/      floor 3     input in pieces, and threads that work at them
 *   src/lanes/       floor 4     kernel pipes, the plan of each hop's lane, the probe that tries what the kernel does
 *   src/transforms/  floor 4     one file per stage over a source; transforms.c is their list
 *   src/framed/      floor 4     frames around a stream: its sender, its receiver, their bytes
 *   src/endpoints/   floor 5     one file per endpoint type; endpoints.c is their list, spec.c the grammar
 *   src/pump/        floor 5     source to sinks, until done
 *   src/parts/       floor 6     the list of all parts, and what is missing here
 *   src/matrix/      floor 6     the probe of all kinds of objects, with each flag, right, state and length
 *   src/metrics/     floor 6     an HTTP server for a table of numbers
 *   src/mount/       floor 7     sources as files of a FUSE file system
 *   src/relay/       floor 7     many connections at a time: workers, connections, targets
 *   src/cli/         floor 8     this command, a client of the public headers like any other program:
 *       main.c       finds the command            cmd_copy.c    options of `usplice copy`
 *       option.c     option tables                copy_open.c   opens the endpoints, the report
 *       size.c       1.5 GiB                      copy_check.c  refuses what cannot be done
 *       copy_guard.c  old files                   copy_inherited.c  descriptors by number
 *       copy_sources.c  several sources           copy_attributes.c  what is preserved
 *       copy_size.c  how much it will be          copy_progress.c what is said meanwhile
 *       copy_buffer.c  a large buffer             copy_digest.c   digests of the source
 *       copy_blocks.c  checksums of blocks        copy_rescue.c   goes on behind bad places
 *       stages.c     what rewrites                digest_list.c   the digests asked for
 *       sums.c       files checked by a list      follow.c        how far another process is
 *       secret.c     passphrases and keys         descriptor_limit.c  raises it
 *       copy_framed.c  frames between two copies
 *       copy_command.c  how commands ended        copy_both.c   both ways: its options and report
 *       copy_both_open.c  the two ends            copy_both_run.c  the two pumps
 *       copy_both_judge.c  what failed            copy_error.c  why an endpoint cannot be used
 *       watch.c      signals and ticks            copy_seek.c   where it begins
 *       resume.c     compares what is there       copy_run.c    runs the pump, reports
 *       copy_finish.c  finishes the sinks         copy_judge.c  what failed, exit code
 *       cmd_relay.c  options of `usplice relay`     relay_run.c   sets it up
 *       relay_watch.c  takes signals              relay_targets.c  its target file
 *       relay_check.c  refuses options            relay_user.c  changes the user
 *       service.c    speaks with systemd          relay_status.c  what it did
 *       progress.c   the line on a terminal       atomic.c      writes beside and renames
 *       report.c     JSON and summary             atomic_path.c   what it replaces
 *       json.c       strings in JSON              atomic_keep.c   what it keeps of that
 *       message.c    lines for the user           standard.c      descriptors 0, 1 and 2
 *       timestamp.c  moments as text              relay_log.c     messages while it runs
 *       spool.c      a thread that writes lines   access_log.c    a line for each connection
 *       word_list.c  lines of a file              peer.c          addresses as text
 *       relay_reload.c  reads files again         relay_rules.c   which clients are served
 *       cmd_probe.c  `usplice probe`              probe_open.c    one end, by its spec
 *       probe_machine.c  asks about the machine   probe_table.c   for people
 *                                                 probe_json.c    for programs
 *       cmd_explain.c  `usplice explain`          explain_draw.c  how it is shown
 *       explain_ends.c  opens without a trace     explain_stages.c  the stages of a copy
 *       cmd_list.c   `usplice list`
 *       cmd_mount.c  `usplice mount`              mount_items.c names, and how each is opened
 *                                                 mount_run.c   serves, takes signals
 *       ways.c       by reference, copied         probe_page.c    what the probe found, for a browser
 *       nearest.c    did you mean ...?            host_port.c   127.0.0.1:9000 without tcp:
 *       failure.c    errors as words for programs columns.c       room on a terminal
 *       probe_compare.c  two runs of the probe    probe_load.c    reads a run
 *
 * A floor includes and calls only what is below it. tests/ mirrors src/; man/ holds the pages, tools/ what builds and
 * checks the tree; kmod/ is a driver of the kernel, which src/endpoints/ring.c uses.
 */
#include "cli.h"
#include "nearest.h"
#include "standard.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <usplice.h>

struct main_command {
	const char *name, *summary;
	int (*run)(int argc, char **argv);
};

static int main_help(int argc, char **argv);
static int main_version(int argc, char **argv);

static const struct main_command main_commands[] = {
	{"copy", "copy one source to one or many sinks", cmd_copy},
	{"cat", "copy several sources, one behind the other", cmd_cat},
	{"relay", "relay connections between clients and targets", cmd_relay},
	{"mount", "show sources as files to any program", cmd_mount},
	{"probe", "find out how the kernel carries bytes", cmd_probe},
	{"explain", "show how a copy would go, and why", cmd_explain},
	{"list", "list what this build has, and what is missing here", cmd_list},
	{"help", "explain the commands: usplice help [COMMAND]", main_help},
	{"version", "print the version", main_version},
};

#define MAIN_NR_COMMANDS (sizeof(main_commands) / sizeof(main_commands[0]))

/* Find a command. Two may be written as options, too: --help and -h, --version and -V. */
static const struct main_command *main_find(const char *name)
{
	size_t i;

	if (strcmp(name, "-h") == 0)
		name = "help";
	if (strcmp(name, "-V") == 0)
		name = "version";
	if (strcmp(name, "--help") == 0 || strcmp(name, "--version") == 0)
		name += 2;
	for (i = 0; i < MAIN_NR_COMMANDS; i++) {
		if (strcmp(name, main_commands[i].name) == 0)
			return &main_commands[i];
	}
	return NULL;
}

static void main_usage(FILE *out)
{
	size_t i;

	fputs("usage: usplice COMMAND [ARGUMENTS]\n\n", out);
	for (i = 0; i < MAIN_NR_COMMANDS; i++)
		fprintf(out, "  %-10s%s\n", main_commands[i].name, main_commands[i].summary);
	fputs("\nSee usplice(1), and usplice-endpoints(7) for what can be a source or a sink.\n", out);
}

static int main_unknown(const char *name)
{
	struct nearest nearest = {.word = name, .len = strlen(name)};

	for (size_t i = 0; i < MAIN_NR_COMMANDS; i++)
		nearest_try(&nearest, main_commands[i].name);
	if (nearest.name)
		message_say("unknown command '%s': did you mean %s? (usplice help lists them)", name, nearest.name);
	else
		message_say("unknown command '%s' (usplice help lists them)", name);
	return CLI_USAGE;
}

static int main_help(int argc, char **argv)
{
	const struct main_command *command;
	char help[] = "--help";

	if (argc < 2) {
		main_usage(stdout);
		return message_close_stdout();
	}
	command = main_find(argv[1]);
	if (!command)
		return main_unknown(argv[1]);
	if (command->run != main_help && command->run != main_version)
		return command->run(2, (char *[]){argv[1], help, NULL});
	printf("%s: %s\n", command->name, command->summary);
	return message_close_stdout();
}

static int main_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("usplice %s\n", usp_version());
	return message_close_stdout();
}

/* Tell whether mount(8) calls: for a file system of type usplice or fuse.usplice it runs a program of this name. */
static bool main_is_helper(const char *name)
{
	const char *slash = name ? strrchr(name, '/') : NULL;
	const char *last = slash ? slash + 1 : name;

	return last && (strcmp(last, "mount.usplice") == 0 || strcmp(last, "mount.fuse.usplice") == 0);
}

int main(int argc, char **argv)
{
	const struct main_command *command;

	if (!standard_occupy_closed())
		_exit(CLI_FAILED);
	signal(SIGPIPE, SIG_IGN); /* a write then fails with EPIPE, or with EFBIG beyond the limit of a file */
	signal(SIGXFSZ, SIG_IGN);
	setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
	if (main_is_helper(argv[0]))
		return cmd_mount_helper(argc, argv);
	if (argc < 2) {
		main_usage(stderr);
		return CLI_USAGE;
	}
	command = main_find(argv[1]);
	if (!command)
		return main_unknown(argv[1]);
	if (argc == 3 && (strcmp(argv[2], "--version") == 0 || strcmp(argv[2], "-V") == 0))
		return main_version(argc, argv); /* of any command */
	return command->run(argc - 1, argv + 1);
}
