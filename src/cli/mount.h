/* SPDX-License-Identifier: MIT */
/* mount - what the files of `usplice mount` share: the request, and what it shows. */
#ifndef USP_CLI_MOUNT_H
#define USP_CLI_MOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <usplice/mount.h>

#include "digest_list.h"
#include "stages.h"

#define MOUNT_METRICS_HOSTS_MAX 64

/* The command line, parsed. */
struct mount_request {
	char *const *sources;
	unsigned nr_sources;
	const char *mountpoint;
	int64_t budget; /* -1: not given */
	const char *spool;
	unsigned nr_threads;
	uint64_t drain_ns; /* 0: wait */
	uint64_t sync_ns;
	const char *metrics; /* an address, or NULL */
	const char *metrics_hosts[MOUNT_METRICS_HOSTS_MAX];
	unsigned nr_metrics_hosts;
	bool allow_other, direct, prefetch, no_passthrough, writes, noexec, sync, noatime;
	bool background, quiet, progress;
	bool status, json, help;
	struct stages stages;
	struct digest_list digests;
	const char *verify_file, *verify_blocks;
};

/* A file of the mount. */
struct mount_item {
	const struct mount_request *request;
	char *spec;
	char *name;
	int folder_fd; /* of a file of a directory: where name_there is, or -1; the list owns it */
	int place_fd;  /* where name_there is looked up again, or -1: it is not; the list owns it */
	char *name_there;
	bool is_lazy;
	bool decrypts, decompresses;
	struct digest_list *digests; /* of its own, which the file of digests has; NULL: none */
};

struct mount_items {
	struct mount_item **items; /* their addresses stay */
	unsigned nr;
	int *folder_fds; /* the directories among the sources */
	unsigned nr_folders;
};

/* List what the sources are, and read the file of digests. An exit code; the error has been said. */
int mount_list(const struct mount_request *request, struct mount_items *ret_items);
void mount_unlist(struct mount_items *items);

/* Open an item, with its stages: the open hook of a struct usp_mount_source. */
int mount_item_open(void *item, struct usp_file **ret_file, const char **ret_why);

/* Tell which file the name of an item leads to now: the hook find of a struct usp_mount_source. */
int mount_item_find(void *item, bool may_block, uint64_t *ret_device, uint64_t *ret_object);

/*
 * Hold the folders of the items, whose names are looked up later, as mount_hold_paths. Only in the process that serves, because
 * paths below /proc/self may be among them. What has no name that could be looked up is left as it is.
 */
void mount_hold_places(struct mount_items *items);

/*
 * Hold the spool and the file with digests of blocks, which are opened later: their paths become those of descriptors
 * that stay open, because a mount may hide them, and the folder is another one in the background. An exit code; the
 * error has been said.
 */
int mount_hold_paths(struct mount_request *request);

/* Mount, and serve until it is unmounted. An exit code. */
int mount_main(struct mount_request *request);

/* Print the status of a mount of any process. An exit code. */
int mount_show_status(const char *mountpoint, bool is_json);

#endif
