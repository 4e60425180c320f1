/* SPDX-License-Identifier: MIT */
/* cmd_mount - `usplice mount`: its options, and how mount(8) calls it. */
#include "cli.h"
#include "mount.h"
#include "option.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOUNT_THREADS_MAX 64
#define MOUNT_BUDGET_MIN ((int64_t)1 << 20)
#define MOUNT_HELPER_ARGS_MAX 64
#define MOUNT_SYNC_NS ((uint64_t)300 * 1000000000) /* five minutes */

enum helper_error {
	HELPER_FAILED = -1, /* too many options, or no memory */
	HELPER_REMOUNTS = -2,
	HELPER_CONTRADICTS = -3, /* "ro" and "writable" */
};

#define FIELD(member) offsetof(struct mount_request, member)

static const char *mount_parse_threads(const char *value, void *field)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end != '\0' || number == 0 || number > MOUNT_THREADS_MAX)
		return "is no number between 1 and 64";
	*(unsigned *)field = (unsigned)number;
	return NULL;
}

static const char *mount_parse_budget(const char *value, void *field)
{
	const char *why = option_size(value, field);

	return why ? why : *(int64_t *)field < MOUNT_BUDGET_MIN ? "is less than 1M" : NULL;
}

static const char *mount_parse_metrics_host(const char *value, void *field)
{
	struct mount_request *request = field;

	if (request->nr_metrics_hosts == MOUNT_METRICS_HOSTS_MAX)
		return "is one too many: at most 64 may be given";
	request->metrics_hosts[request->nr_metrics_hosts++] = value;
	return NULL;
}

static const struct option_row mount_options[] = {
	{"decrypt", 0, "FILE", "decrypt files of age with the identities in FILE", option_text,
	 FIELD(stages.identity.path)},
	{"decrypt-passphrase", 0, "FILE", "the same with the passphrase in FILE", option_text,
	 FIELD(stages.passphrase.path)},
	{"decompress", 0, NULL, "decompress zstd, gzip, lz4 or xz", option_flag, FIELD(stages.decompress)},
	{"verify", 0, "ALG:HEX", "do not mount unless this is the digest of the file", option_verify, FIELD(digests)},
	{"verify-file", 0, "FILE", "the same for each file with the digest that FILE has,\nsuch as SHA256SUMS",
	 option_text, FIELD(verify_file)},
	{"verify-blocks", 0, "FILE", "do not mount a source whose blocks are not what FILE\nsays", option_text,
	 FIELD(verify_blocks)},
	{"prefetch", 0, NULL, "copy all files before they can be read", option_flag, FIELD(prefetch)},
	{"rw", 0, NULL, "let programs write: files, block devices, memory", option_flag, FIELD(writes)},
	{"budget", 0, "SIZE", "most memory of each page cache, and of all copies\ntogether (default: 64M)",
	 mount_parse_budget, FIELD(budget)},
	{"spool", 0, "DIR", "where copies go that are larger than the budget", option_text, FIELD(spool)},
	{"direct", 0, NULL, "read past the kernel's page cache", option_flag, FIELD(direct)},
	{"no-passthrough", 0, NULL, "let the kernel read no file by itself", option_flag, FIELD(no_passthrough)},
	{"allow-other", 0, NULL, "let other users read, too", option_flag, FIELD(allow_other)},
	{"noexec", 0, NULL, "let no program in it be executed or mapped for that", option_flag, FIELD(noexec)},
	{"sync", 0, NULL, "put each write on the disk before it returns", option_flag, FIELD(sync)},
	{"noatime", 0, NULL, "as mount(8): change no time of access", option_flag, FIELD(noatime)},
	{"threads", 0, "N", "threads that take requests (default: one for each\nprocessor)", mount_parse_threads,
	 FIELD(nr_threads)},
	{"drain-timeout", 0, "TIME", "after SIGTERM, end after this time also what is open\n(default: wait)",
	 option_time, FIELD(drain_ns)},
	{"sync-timeout", 0, "TIME", "at the end, wait at most so long for disks that hang\n(default: 5m)", option_time,
	 FIELD(sync_ns)},
	{"metrics", 0, "ADDRESS", "serve /metrics for Prometheus and / for people there", option_text, FIELD(metrics)},
	{"metrics-host", 0, "NAME", "the name under which metrics are asked for (may be\ngiven several times)",
	 mount_parse_metrics_host, 0},
	{"background", 'b', NULL, "return when it is mounted", option_flag, FIELD(background)},
	{"progress", 0, NULL, "show progress of copies also where standard error is no\nterminal", option_flag,
	 FIELD(progress)},
	{"quiet", 'q', NULL, "show no progress, and say nothing but errors", option_flag, FIELD(quiet)},
	{"status", 0, NULL, "mount nothing: show how the mount at MOUNTPOINT does", option_flag, FIELD(status)},
	{"json", 0, NULL, "with --status: as JSON", option_flag, FIELD(json)},
	{"help", 'h', NULL, "show this", option_flag, FIELD(help)},
	{.name = NULL},
};

static int mount_help(void)
{
	fputs("usage: usplice mount [OPTIONS] SOURCE... MOUNTPOINT\n"
	      "       usplice mount --status [--json] MOUNTPOINT\n\n"
	      "Show sources as regular files to any program. MOUNTPOINT is a directory, in which\n"
	      "the files have the names of the sources, or a regular file in whose place the only\n"
	      "source is seen. A source that is a directory shows the files in it.\n\n",
	      stdout);
	option_print(mount_options);
	fputs("\nSIGTERM unmounts, and ends when all files are closed; so does umount MOUNTPOINT.\n"
	      "What was written is on the disk then.\n"
	      "Exit code: 0 done, 2 usage, 3 a source failed, 128+n stopped by signal n before\n"
	      "it was mounted, 1 anything else. See usplice-mount(1).\n",
	      stdout);
	return message_close_stdout();
}

/* Return a sentence about options that contradict each other, or NULL. */
static const char *mount_contradiction(const struct mount_request *request)
{
	if (request->direct && request->prefetch)
		return "--direct and --prefetch exclude each other";
	if (request->writes && request->prefetch)
		return "--rw and --prefetch exclude each other: a copy is not the source";
	if (request->writes && (request->digests.nr > 0 || request->verify_file || request->verify_blocks))
		return "--rw excludes --verify, --verify-file and --verify-blocks: what is verified cannot change";
	if (request->writes && (stages_decrypt(&request->stages) || request->stages.decompress))
		return "--rw excludes --decrypt and --decompress: what is made of a source cannot be written";
	if (request->quiet && request->progress)
		return "--quiet and --progress exclude each other";
	if (request->nr_metrics_hosts && !request->metrics)
		return "--metrics-host needs --metrics";
	if (request->json && !request->status)
		return "--json needs --status";
	if ((request->digests.nr > 0 || request->verify_blocks) && request->nr_sources > 1)
		return "--verify and --verify-blocks are about one source";
	return stages_contradiction(&request->stages);
}

/* Tell whether the options are about the status alone. They stand first, and may be shortened; they take no arguments. */
static bool mount_is_status_alone(char *const *argv, int first)
{
	for (int i = 1; i < first; i++) {
		size_t len = strlen(argv[i]);

		if (strncmp(argv[i], "--status", len) != 0 && strncmp(argv[i], "--json", len) != 0)
			return false;
	}
	return true;
}

static int mount_usage(const char *why)
{
	message_say("mount: %s", why);
	return CLI_USAGE;
}

int cmd_mount(int argc, char **argv)
{
	static struct mount_request request = {
		.budget = -1, .sync_ns = MOUNT_SYNC_NS}; /* a lazy source may be opened after the end */
	int first = option_parse(mount_options, argc, argv, &request), nr = argc - first;
	const char *why;

	if (first < 0)
		return CLI_USAGE;
	if (request.help)
		return mount_help();
	if (request.status && !mount_is_status_alone(argv, first))
		return mount_usage("--status takes no other option than --json: the mount has its own");
	if (request.status && nr == 1)
		return mount_show_status(argv[first], request.json);
	if (request.status)
		return mount_usage("--status takes a mountpoint alone");
	if (nr < 2)
		return mount_usage("a source and a mountpoint are needed (usplice mount --help)");
	request.sources = argv + first;
	request.nr_sources = (unsigned)nr - 1;
	request.mountpoint = argv[argc - 1];
	why = mount_contradiction(&request);
	return why ? mount_usage(why) : mount_main(&request);
}

/* --- For mount(8) ----------------------------------------------------------------------------------------- */

/*
 * Tell whether an option of fstab means nothing here: it is for mount(8), or it is so anyhow. A mount has no devices, links and
 * set-user-ID, its directory does not change, and the kernel keeps no times of access of FUSE.
 */
static bool helper_is_general(const char *option)
{
	static const char *const names[] = {
		"_netdev",  "auto",	   "default_permissions",
		"defaults", "dev",	   "diratime",
		"dirsync",  "group",	   "iversion",
		"lazytime", "loud",	   "mand",
		"noauto",   "nodev",	   "nodiratime",
		"nofail",   "noiversion",  "nolazytime",
		"nomand",   "norelatime",  "nostrictatime",
		"nosuid",   "nosymfollow", "nouser",
		"owner",    "relatime",	   "ro",
		"rw",	    "silent",	   "strictatime",
		"suid",	    "symfollow",   "user",
		"users",
	};
	static const char *const prefixes[] = {"x-", "X-", "comment=", "fsname=", "subtype=", "user="};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], option) == 0)
			return true;
	}
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (strncmp(prefixes[i], option, strlen(prefixes[i])) == 0)
			return true;
	}
	return *option == '\0';
}

/* Make "--allow-other" of "allow_other", and "--budget=1G" of "budget=1G". NULL without memory. */
static char *helper_option(const char *option)
{
	char *made = NULL;

	if (asprintf(&made, "--%s", option) < 0)
		return NULL;
	for (char *at = made; *at != '\0' && *at != '='; at++) {
		if (*at == '_')
			*at = '-';
	}
	return made;
}

/* Options of mount(8) that are ours, too, and what takes each back. */
static const char *const helper_switches[][2] = {{"noexec", "exec"}, {"sync", "async"}, {"noatime", "atime"}};

#define HELPER_SWITCHES (sizeof(helper_switches) / sizeof(helper_switches[0]))

/* What was said about writing, and of each switch the last word. */
struct helper_said {
	bool ro, writable, is_on[HELPER_SWITCHES];
};

/* Note a switch: false for another option. */
static bool helper_note_switch(struct helper_said *said, const char *option)
{
	for (size_t i = 0; i < HELPER_SWITCHES; i++) {
		bool is_on = strcmp(option, helper_switches[i][0]) == 0;

		if (is_on || strcmp(option, helper_switches[i][1]) == 0) {
			said->is_on[i] = is_on;
			return true;
		}
	}
	return false;
}

/* Note whether an option is about writing. mount(8) itself says "rw" where nothing says "ro", so that "rw" means nothing. */
static void helper_note(struct helper_said *said, char *option)
{
	said->ro = said->ro || strcmp(option, "ro") == 0;
	if (strcmp(option, "writable") != 0)
		return;
	said->writable = true;
	memcpy(option, "rw", sizeof("rw")); /* as the command line has it */
}

/* Add the options of a list with commas: how many there are, or HELPER_*. A comma behind a backslash belongs to a value. */
static int helper_add(char *list, struct helper_said *said, char **ret_argv, int nr)
{
	while (list) {
		char *option = list, *to = list;
		bool is_general;

		for (; *list != '\0' && *list != ','; *to++ = *list++) {
			if (list[0] == '\\' && list[1] == ',')
				list++;
		}
		list = *list == ',' ? list + 1 : NULL;
		*to = '\0';
		is_general = helper_is_general(option) || helper_note_switch(said, option);
		helper_note(said, option);
		if (said->ro && said->writable)
			return HELPER_CONTRADICTS;
		if (is_general)
			continue;
		if (strcmp(option, "remount") == 0)
			return HELPER_REMOUNTS;
		if (nr >= MOUNT_HELPER_ARGS_MAX)
			return HELPER_FAILED;
		ret_argv[nr] = helper_option(option);
		if (!ret_argv[nr++])
			return HELPER_FAILED;
	}
	return nr;
}

int cmd_mount_helper(int argc, char **argv)
{
	static char name[] = "mount", background[] = "--background", ends[] = "--";
	/* Used until the end of the process. */
	static char *made[MOUNT_HELPER_ARGS_MAX + HELPER_SWITCHES + 4] = {name, background};
	char *operands[2] = {NULL, NULL};
	struct helper_said said = {.ro = false};
	int nr = 2, nr_operands = 0;

	for (int i = 1; i < argc && nr > 0; i++) {
		if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
			nr = helper_add(argv[++i], &said, made, nr);
		else if ((strcmp(argv[i], "-t") == 0 || strcmp(argv[i], "-N") == 0) && i + 1 < argc)
			i++;
		else if (strcmp(argv[i], "-f") == 0)
			return CLI_DONE; /* pretend */
		else if (argv[i][0] != '-' || argv[i][1] == '\0')
			operands[nr_operands++ % 2] = argv[i];
	}
	if (nr == HELPER_REMOUNTS)
		return mount_usage("it cannot be remounted with other options: unmount it first");
	if (nr == HELPER_CONTRADICTS)
		return mount_usage("ro and writable exclude each other");
	for (size_t i = 0; i < HELPER_SWITCHES && nr > 0; i++) {
		if (said.is_on[i] && !(made[nr++] = helper_option(helper_switches[i][0])))
			nr = HELPER_FAILED;
	}
	if (nr < 0 || nr_operands != 2)
		return mount_usage("mount(8) calls it with a source, a mountpoint and -o OPTIONS");
	made[nr++] = ends;
	made[nr++] = operands[0];
	made[nr++] = operands[1];
	return cmd_mount(nr, made);
}
