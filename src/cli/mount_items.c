/* SPDX-License-Identifier: MIT */
/* mount_items - the files of a mount: their names, and how each is opened. */
#include "cli.h"
#include "mount.h"
#include "sums.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <usplice/spec.h>
#include <usplice/transform.h>

#define ITEMS_LINKS_MAX 8 /* links to links */

static const char *const items_compressed[] = {".zst", ".gz", ".bgz", ".lz4", ".xz", NULL};
static const char *const items_encrypted[] = {".age", NULL};

/* --- Names ------------------------------------------------------------------------------------------------ */

/* Cut one of the suffixes off a name that has more than it. */
static bool items_cut(char *name, const char *const *suffixes)
{
	size_t len = strlen(name);

	for (; *suffixes; suffixes++) {
		size_t suffix_len = strlen(*suffixes);

		if (len > suffix_len && strcmp(name + len - suffix_len, *suffixes) == 0) {
			name[len - suffix_len] = '\0';
			return true;
		}
	}
	return false;
}

/*
 * Name an item after its source, without the suffixes of what is undone. In a directory only files with such a suffix are
 * decrypted and decompressed.
 */
static void items_name(struct mount_item *item)
{
	const struct stages *stages = &item->request->stages;
	bool was_encrypted = stages_decrypt(stages) && items_cut(item->name, items_encrypted);
	bool was_compressed = stages->decompress && items_cut(item->name, items_compressed);

	item->decrypts = stages_decrypt(stages) && (was_encrypted || !item->is_lazy);
	item->decompresses = stages->decompress && (was_compressed || !item->is_lazy);
}

static int items_no_memory(void)
{
	message_say("mount: %s", strerror(ENOMEM));
	return CLI_FAILED;
}

/* --- The list --------------------------------------------------------------------------------------------- */

/* Add an item; it owns the two texts, which may be NULL without memory. folder_fd: of a file in a directory, or -1. */
static int items_add(struct mount_items *items, const struct mount_request *request, char *spec, char *name,
		     int folder_fd)
{
	char *name_there = folder_fd >= 0 && name ? strdup(name) : NULL;
	struct mount_item **more = realloc(items->items, (items->nr + 1) * sizeof(*more));
	struct mount_item *item = malloc(sizeof(*item));

	if (more)
		items->items = more;
	if (!more || !item || !spec || !name || (folder_fd >= 0 && !name_there)) {
		free(item);
		free(spec);
		free(name);
		free(name_there);
		return items_no_memory();
	}
	*item = (struct mount_item){.request = request,
				    .spec = spec,
				    .name = name,
				    .folder_fd = folder_fd,
				    .place_fd = folder_fd,
				    .name_there = name_there,
				    .is_lazy = folder_fd >= 0};
	items_name(item);
	items->items[items->nr++] = item;
	return CLI_DONE;
}

/* Write the path of a file as a spec, in which a comma may begin an option. */
static char *items_path_spec(const char *folder, const char *name)
{
	char *spec = malloc(2 * (strlen(folder) + strlen(name)) + 2), *to = spec;

	if (!spec)
		return NULL;
	for (; *folder != '\0'; *to++ = *folder++) {
		if (*folder == ',')
			*to++ = '\\';
	}
	if (to == spec || to[-1] != '/')
		*to++ = '/';
	for (; *name != '\0'; *to++ = *name++) {
		if (*name == ',')
			*to++ = '\\';
	}
	*to = '\0';
	return spec;
}

/*
 * Find a file of a directory: a descriptor of its path, or -errno. With --allow-other whoever may write to the directory
 * could lead others by a link past the directories that keep them out: then a link is followed only to a name of the same
 * directory, which has the rights of its own. Otherwise -ELOOP. No check is made of what could be another file when it is
 * opened.
 */
static int folder_find(int folder_fd, const char *name, const struct mount_request *request)
{
	char target[PATH_MAX];

	for (unsigned i = 0; i < ITEMS_LINKS_MAX; i++) {
		int fd = openat(folder_fd, name, O_PATH | O_CLOEXEC | (request->allow_other ? O_NOFOLLOW : 0)), error;
		struct stat st;
		ssize_t len;

		if (fd < 0)
			return -errno;
		if (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode))
			return fd;
		len = readlinkat(fd, "", target, sizeof(target) - 1);
		error = errno;
		close(fd);
		if (len < 0)
			return -error;
		target[len] = '\0';
		for (name = target; strncmp(name, "./", 2) == 0;)
			name += 2;
		if (strchr(name, '/'))
			return -ELOOP;
	}
	return -ELOOP;
}

static bool items_is_file(const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISFIFO(st->st_mode);
}

/* Tell whether an entry of a directory can be shown: a file or a FIFO, also through a link. *ret_leaves: but for its link. */
static bool items_can_show(int folder_fd, const char *name, const struct mount_request *request, bool *ret_leaves)
{
	int fd = folder_find(folder_fd, name, request);
	struct stat st;
	bool can = fd >= 0 && fstat(fd, &st) == 0 && items_is_file(&st);

	if (fd >= 0)
		close(fd);
	*ret_leaves = fd == -ELOOP && fstatat(folder_fd, name, &st, 0) == 0 && items_is_file(&st);
	return can;
}

/*
 * Tell whether an entry is a link to what lies below the mountpoint. It is opened through the mount, by this process,
 * which would wait for itself.
 */
static bool items_is_hidden(DIR *folder, const struct dirent *entry, const char *mountpoint)
{
	char path[PATH_MAX], whole[PATH_MAX];
	struct stat point, st, link;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd(folder), entry->d_name);
	if (lstat(path, &link) < 0 || !S_ISLNK(link.st_mode) || stat(mountpoint, &point) < 0 || !realpath(path, whole))
		return false;
	for (char *slash; (slash = strrchr(whole, '/'));) {
		slash[slash == whole] = '\0';
		if (stat(whole, &st) == 0 && st.st_dev == point.st_dev && st.st_ino == point.st_ino)
			return true;
		if (slash == whole)
			return false;
	}
	return false;
}

/* Keep a directory open: where it is may be hidden by a mount, also by this one. Its descriptor, or -errno. */
static int items_keep_folder(struct mount_items *items, const char *path)
{
	int *more = realloc(items->folder_fds, (items->nr_folders + 1) * sizeof(*more)), fd;

	if (!more)
		return -ENOMEM;
	items->folder_fds = more;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	items->folder_fds[items->nr_folders++] = fd;
	return fd;
}

/* Say once which links are left out. */
static void items_say_links(const char *path, unsigned nr, const char *name)
{
	if (nr == 1)
		message_say(
			"source %s: %s is not shown: it is a link, which --allow-other follows only to a name of the "
			"same directory",
			path, name);
	else if (nr > 1)
		message_say(
			"source %s: %u files such as %s are not shown: they are links, which --allow-other follows only "
			"to names of the same directory",
			path, nr, name);
}

/* Add the files of a directory. They are opened when somebody looks at them. */
static int items_list_folder(struct mount_items *items, const struct mount_request *request, const char *path,
			     int folder_fd, DIR *folder)
{
	char first[NAME_MAX + 1] = "";
	const struct dirent *entry;
	unsigned nr_links = 0;
	int code = CLI_DONE;

	while (code == CLI_DONE && (entry = readdir(folder))) {
		bool leaves, can = items_can_show(folder_fd, entry->d_name, request, &leaves);

		if (leaves && nr_links++ == 0)
			snprintf(first, sizeof(first), "%s", entry->d_name);
		if (!can)
			continue;
		if (items_is_hidden(folder, entry, request->mountpoint)) {
			message_say("source %s/%s: it is a link to a file below the mountpoint, which would hide it",
				    path, entry->d_name);
			return CLI_USAGE;
		}
		code = items_add(items, request, items_path_spec(path, entry->d_name), strdup(entry->d_name),
				 folder_fd);
	}
	items_say_links(path, nr_links, first);
	return code;
}

static int items_add_folder(struct mount_items *items, const struct mount_request *request, const char *path)
{
	DIR *folder = opendir(path);
	int fd = folder ? items_keep_folder(items, path) : -errno, code;

	if (fd < 0) {
		message_say("source %s: %s", path, strerror(-fd));
		code = CLI_SOURCE;
	} else {
		code = items_list_folder(items, request, path, fd, folder);
	}
	if (folder)
		closedir(folder);
	return code;
}

/* Name what has no path after its scheme: "mem", "tcp". */
static char *items_source_name(const struct usp_spec *spec)
{
	const char *path = usp_spec_path(spec), *slash = path ? strrchr(path, '/') : NULL;
	const char *name = slash ? slash + 1 : path ? path : usp_spec_scheme(spec);

	return strdup(strcmp(name, "-") == 0 || *name == '\0' ? "stdin" : name);
}

static int items_add_source(struct mount_items *items, const struct mount_request *request, const char *text)
{
	struct usp_spec *spec;
	const char *why = NULL, *path;
	struct stat st;
	int error = usp_spec_parse(text, &spec, &why), code;

	if (error < 0) {
		message_say("source %s: %s", text, why ? why : strerror(-error));
		return CLI_USAGE;
	}
	path = usp_spec_path(spec);
	if (path && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		code = items_add_folder(items, request, path);
	else
		code = items_add(items, request, strdup(text), items_source_name(spec), -1);
	usp_spec_free(spec);
	return code;
}

static int items_compare(const void *a, const void *b)
{
	return strcmp((*(struct mount_item *const *)a)->name, (*(struct mount_item *const *)b)->name);
}

/* Refuse two files of one name. The library would, too, but knows only one of them. */
static int items_check_names(const struct mount_items *items)
{
	unsigned i;

	for (i = 1; i < items->nr; i++) {
		const struct mount_item *a = items->items[i - 1], *b = items->items[i];

		if (strcmp(a->name, b->name) == 0) {
			message_say("mount: %s and %s would both be shown as '%s'", a->spec, b->spec, a->name);
			return CLI_USAGE;
		}
	}
	return CLI_DONE;
}

/* Give each item the digests that were found for it. An exit code. */
static int items_take_digests(struct mount_items *items, const struct sums_want *wants)
{
	for (unsigned i = 0; i < items->nr; i++) {
		struct mount_item *item = items->items[i];

		if (wants[i].nr_entries == 0)
			continue;
		item->digests = malloc(sizeof(*item->digests));
		if (!item->digests)
			return items_no_memory();
		*item->digests = wants[i].list;
	}
	return CLI_DONE;
}

/* Read the file of digests: once, because it may be a pipe, and before the mount, which may hide it. */
static int items_find_digests(struct mount_items *items, const struct mount_request *request)
{
	struct sums_want *wants = calloc(items->nr, sizeof(*wants));
	int code = wants ? CLI_DONE : items_no_memory();

	for (unsigned i = 0; i < items->nr && code == CLI_DONE; i++) {
		wants[i] = (struct sums_want){.name = sums_name(items->items[i]->spec), .list = request->digests};
		code = wants[i].name ? CLI_DONE : items_no_memory();
	}
	if (code == CLI_DONE)
		code = sums_find_each(request->verify_file, wants, items->nr);
	if (code == CLI_DONE)
		code = items_take_digests(items, wants);
	for (unsigned i = 0; wants && i < items->nr; i++)
		free(wants[i].name);
	free(wants);
	return code;
}

int mount_list(const struct mount_request *request, struct mount_items *ret_items)
{
	unsigned i;
	int code = CLI_DONE;

	for (i = 0; i < request->nr_sources && code == CLI_DONE; i++)
		code = items_add_source(ret_items, request, request->sources[i]);
	if (code == CLI_DONE && ret_items->nr == 0) {
		message_say("source %s: the directory has no files to show", request->sources[0]);
		return CLI_SOURCE;
	}
	if (code != CLI_DONE)
		return code;
	qsort(ret_items->items, ret_items->nr, sizeof(struct mount_item *), items_compare);
	code = items_check_names(ret_items);
	return code == CLI_DONE && request->verify_file ? items_find_digests(ret_items, request) : code;
}

void mount_unlist(struct mount_items *items)
{
	unsigned i;

	for (i = 0; i < items->nr; i++) {
		free(items->items[i]->spec);
		free(items->items[i]->name);
		free(items->items[i]->name_there);
		free(items->items[i]->digests);
		free(items->items[i]);
	}
	for (i = 0; i < items->nr_folders; i++)
		close(items->folder_fds[i]);
	free(items->folder_fds);
	free(items->items);
	*items = (struct mount_items){.items = NULL};
}

/* --- Paths that are opened later -------------------------------------------------------------------------------- */

/* Hold what is at a path, which becomes that of its descriptor. Both last as long as the process. An exit code. */
static int items_hold(const char **path, const char *option, int flags)
{
	int fd = *path ? open(*path, O_PATH | O_CLOEXEC | flags) : -1;
	char *held;

	if (!*path)
		return CLI_DONE;
	if (fd < 0) {
		message_say("%s %s: %s", option, *path, strerror(errno));
		return CLI_USAGE;
	}
	if (asprintf(&held, "/proc/self/fd/%d", fd) < 0)
		return items_no_memory();
	*path = held;
	return CLI_DONE;
}

int mount_hold_paths(struct mount_request *request)
{
	int code = items_hold(&request->spool, "--spool", O_DIRECTORY);

	return code == CLI_DONE ? items_hold(&request->verify_blocks, "--verify-blocks", 0) : code;
}

/* Tell whether a path is that of a descriptor: its name says nothing of the file. */
static bool place_is_descriptor(const char *path)
{
	static const char *const prefixes[] = {"/proc/", "/dev/fd/", "/dev/stdin", "/dev/stdout", "/dev/stderr"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (strncmp(path, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	}
	return false;
}

/* Tell whether what is at a path can be replaced. A file that is mounted on itself cannot be, and its name leads into the mount. */
static bool place_can_change(const char *path, const char *mountpoint)
{
	struct stat st, point;

	if (place_is_descriptor(path) || stat(path, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
		return false;
	return stat(mountpoint, &point) < 0 || st.st_dev != point.st_dev || st.st_ino != point.st_ino;
}

/* Hold the folder of a path. */
static void place_hold(struct mount_items *items, struct mount_item *item, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	char *name = strdup(slash ? slash + 1 : path);
	int fd = folder && name ? items_keep_folder(items, folder) : -1;

	free(folder);
	if (fd < 0) {
		free(name);
		return;
	}
	item->place_fd = fd;
	item->name_there = name;
}

void mount_hold_places(struct mount_items *items)
{
	for (unsigned i = 0; i < items->nr; i++) {
		struct mount_item *item = items->items[i];
		struct usp_spec *spec;
		const char *path;

		if (item->place_fd >= 0 || usp_spec_parse(item->spec, &spec, NULL) < 0)
			continue;
		path = usp_spec_path(spec);
		if (path && place_can_change(path, item->request->mountpoint))
			place_hold(items, item, path);
		usp_spec_free(spec);
	}
}

int mount_item_find(void *arg, bool may_block, uint64_t *ret_device, uint64_t *ret_object)
{
	const struct mount_item *item = arg;
	struct stat st;

	if (fstatat(item->place_fd, item->name_there, &st, may_block ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode) && !may_block)
		return -EAGAIN;
	*ret_device = st.st_dev;
	*ret_object = st.st_ino;
	return 0;
}

/* --- Opening ---------------------------------------------------------------------------------------------- */

static int item_put_blocks(struct usp_file **file, const char *path, const char **ret_why)
{
	char *spec;
	int error = asprintf(&spec, "blocks:%s", path) < 0 ? -ENOMEM : 0;

	if (error < 0)
		return error;
	error = stages_put(file, spec, -1, ret_why);
	free(spec);
	return error;
}

/* Put the digests over a file. Of a list each source has its own. */
static int item_put_digests(const struct mount_item *item, struct usp_file **file, const char **ret_why)
{
	const struct digest_list *digests = item->request->verify_file ? item->digests : &item->request->digests;
	char spec[DIGEST_SPEC_MAX];

	if (!digests) {
		*ret_why = "the file of digests has none for it";
		return -EBADMSG;
	}
	if (digests->nr == 0)
		return 0;
	digest_list_spec(digests, spec);
	return stages_put(file, spec, -1, ret_why);
}

/* Open a spec to read it, or to write it at any offset, too: 0, or -errno and why as usp_open. */
static int item_open_spec(const char *spec, bool writes, struct usp_file **ret_file, const char **ret_why)
{
	const struct usp_open_params params = {.size = sizeof(params),
					       .mode = writes ? USP_READ | USP_WRITE : USP_READ,
					       .no_create = writes,
					       .keep_bytes = writes,
					       .no_peer = writes};
	int error = usp_open(spec, &params, ret_file, ret_why);

	if (error == -EINPROGRESS && writes) {
		*ret_why = "only a file, a block device or memory can be written at an offset";
		error = -EOPNOTSUPP;
	}
	return error;
}

/* Open a file of a directory. One that may not be written is still there to be read; a FIFO is only read. */
static int item_open_found(const struct mount_item *item, int fd, struct usp_file **ret_file, const char **ret_why)
{
	char spec[32];
	struct stat st;
	bool writes = item->request->writes && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	int error;

	snprintf(spec, sizeof(spec), "/proc/self/fd/%d", fd);
	error = item_open_spec(spec, writes, ret_file, ret_why);
	if (writes && (error == -EACCES || error == -EPERM || error == -EROFS || error == -ETXTBSY))
		error = item_open_spec(spec, false, ret_file, ret_why);
	return error;
}

/* Open what an item shows. */
static int item_open_source(const struct mount_item *item, struct usp_file **ret_file, const char **ret_why)
{
	int fd, error;

	if (item->folder_fd < 0)
		return item_open_spec(item->spec, item->request->writes, ret_file, ret_why);
	fd = folder_find(item->folder_fd, item->name_there, item->request);
	if (fd == -ELOOP && item->request->allow_other)
		*ret_why = "it is a link now, which --allow-other follows only to a name of the same directory";
	if (fd < 0)
		return fd;
	error = item_open_found(item, fd, ret_file, ret_why);
	close(fd);
	return error;
}

int mount_item_open(void *arg, struct usp_file **ret_file, const char **ret_why)
{
	const struct mount_item *item = arg;
	const struct mount_request *request = item->request;
	struct usp_file *file = NULL;
	int error = item_open_source(item, &file, ret_why);

	if (error < 0)
		return error;
	if (request->verify_blocks)
		error = item_put_blocks(&file, request->verify_blocks, ret_why);
	if (error == 0 && item->decrypts)
		error = stages_put_decrypt(&file, &request->stages, true, ret_why);
	if (error == 0 && item->decompresses)
		error = stages_put_decompress(&file, true, ret_why);
	if (error == 0)
		error = item_put_digests(item, &file, ret_why);
	if (error < 0)
		usp_file_put(file);
	else
		*ret_file = file;
	return error;
}
