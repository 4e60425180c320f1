/* SPDX-License-Identifier: MIT */
/* status - how a mount does: for the program that serves it, and as an attribute for others. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <usplice/spec.h>

#include "base/compiler.h"
#include "base/sized.h"
#include "mount/inside.h"

void usp_mount_status(struct usp_mount *mount, struct usp_mount_status *ret_status)
{
	struct usp_mount_status status = {.nr_sources = mount->nr_nodes};

	pthread_mutex_lock(&mount->lock);
	for (unsigned i = 0; i < mount->nr_nodes; i++)
		status.nr_failed += mount->nodes[i]->way == USP_MOUNT_FAILED;
	status.nr_open = atomic_load(&mount->nr_open);
	status.nr_waiting = atomic_load(&mount->nr_waiting);
	status.nr_opening = mount->nr_openers;
	status.has_passthrough = mount->has_passthrough;
	status.is_detached = mount->is_detached;
	if (atomic_load(&mount->is_over))
		status.nr_stuck = atomic_load(&mount->nr_threads) + atomic_load(&mount->nr_forgetting) +
				  atomic_load(&mount->nr_syncing);
	status.failed_name = mount->failed ? mount->failed->name : NULL;
	pthread_mutex_unlock(&mount->lock);
	usp_sized_give(ret_status, &status, sizeof(status));
}

/*
 * Return the file of a source whose size is to be asked, or NULL. What the kernel writes by itself is told by nothing else. At
 * the end a disk may hang. Lock held.
 */
static struct usp_file *status_file(const struct mount_node *node)
{
	if (node->way <= USP_MOUNT_FAILED || !node->can_write || atomic_load(&node->mount->is_ending))
		return NULL;
	return usp_file_get(node->file);
}

int usp_mount_source_status(struct usp_mount *mount, unsigned index, struct usp_mount_source_status *ret_status)
{
	struct usp_mount_source_status status = {.bytes = -1};
	const struct mount_node *node = index < mount->nr_nodes ? mount->nodes[index] : NULL;
	struct usp_file *file;
	int64_t len;

	if (!node)
		return -EINVAL;
	pthread_mutex_lock(&mount->lock);
	status.name = node->name;
	status.way = node->way;
	if (node->way == USP_MOUNT_FAILED) {
		status.error = node->error;
		status.why = node->why;
	} else if (node->way > USP_MOUNT_FAILED) {
		status.bytes = node->seen.bytes;
		status.is_copy = node->is_copy;
		status.can_write = node->can_write;
		status.place_error = node->place_error;
	}
	status.sync_error = node->sync_error;
	status.is_unsynced = node->is_unsynced;
	status.is_lost = node->is_lost;
	file = status_file(node);
	pthread_mutex_unlock(&mount->lock);
	len = file ? usp_file_size(file) : -1;
	usp_file_put(file);
	if (len >= 0)
		status.bytes = len;
	status.nr_reads = atomic_load(&node->nr_reads);
	status.copied = atomic_load(&node->copied);
	status.spliced = atomic_load(&node->spliced);
	status.nr_errors = atomic_load(&node->nr_errors);
	status.nr_writes = atomic_load(&node->nr_writes);
	status.written = atomic_load(&node->written);
	usp_sized_give(ret_status, &status, sizeof(status));
	return 0;
}

#define STATUS_END_MAX 256 /* what stands behind the sources */

/* --- As text ---------------------------------------------------------------------------------------------- */

struct status_text {
	char *text;
	size_t len, room;
};

static void text_add(struct status_text *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void text_add(struct status_text *out, const char *format, ...)
{
	size_t left = out->len < out->room ? out->room - out->len : 0;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(left ? out->text + out->len : NULL, left, format, args);
	va_end(args);
	out->len += len > 0 ? (size_t)len : 0;
}

/* Add a name as it is, but for what is no text and, in JSON, what has a meaning there. */
static void text_add_name(struct status_text *out, const char *name, bool is_json)
{
	uint32_t point;

	while (*name) {
		size_t len = usp_utf8_len(name, &point);

		if (len == 0 || usp_utf8_is_control(point))
			text_add(out, "%s", is_json ? "\\ufffd" : "?");
		else if (is_json && (*name == '"' || *name == '\\'))
			text_add(out, "\\%c", *name);
		else
			text_add(out, "%.*s", (int)len, name);
		name += len ? len : 1;
	}
}

static const char *const way_sentences[MOUNT_NR_WAYS] = {
	[USP_MOUNT_CLOSED] = "it is closed until somebody looks at it",
	[USP_MOUNT_OPENING] = "it is being opened",
	[USP_MOUNT_FAILED] = "it could not be opened",
	[USP_MOUNT_CACHED] = "read by a page cache of this process, and copied once by each reply",
	[USP_MOUNT_COPIED] = "read from a copy, and copied once by each reply",
	[USP_MOUNT_PASSTHROUGH] = "read by the kernel itself (passthrough)",
	[USP_MOUNT_UNCACHED] = "read from the source by each request, and copied twice",
	[USP_MOUNT_PLAIN] =
		"read from the kernel's cache of its file, and copied twice by each reply, or once if it is spliced",
};

/* Return why a source failed, or NULL. */
static const char *source_why(const struct usp_mount_source_status *source)
{
	return source->why ? source->why : source->error ? strerror(-source->error) : NULL;
}

static void text_add_line(struct status_text *out, const struct usp_mount_source_status *source)
{
	const char *why = source_why(source);

	text_add_name(out, source->name, false);
	text_add(out, ": %s", way_sentences[source->way]);
	if (source->bytes >= 0)
		text_add(out, "; %" PRId64 " bytes", source->bytes);
	text_add(out, "; %" PRIu64 " reads of %" PRIu64 " bytes", source->nr_reads, source->copied);
	if (source->spliced)
		text_add(out, ", %" PRIu64 " of them spliced", source->spliced);
	if (source->can_write)
		text_add(out, "; %" PRIu64 " writes of %" PRIu64 " bytes", source->nr_writes, source->written);
	if (source->nr_errors)
		text_add(out, ", %" PRIu64 " failed", source->nr_errors);
	if (why)
		text_add(out, " (%s)", why);
	if (source->sync_error)
		text_add(out, "; what was written did not reach the disk (%s)", strerror(-source->sync_error));
	if (source->place_error)
		text_add(out, "; its name leads to another file now, or to none (%s)", strerror(-source->place_error));
	if (source->is_lost)
		text_add(out, "; what was written is in a file to which its name does not lead any more");
	text_add(out, "\n");
}

static void text_add_object(struct status_text *out, const struct usp_mount_source_status *source, bool is_first)
{
	const char *why = source_why(source);

	text_add(out, "%s{\"name\":\"", is_first ? "" : ",");
	text_add_name(out, source->name, true);
	text_add(out, "\",\"way\":\"%s\",\"bytes\":%" PRId64 ",\"is_copy\":%s,\"error\":%d,\"why\":",
		 mount_way_names[source->way], source->bytes, source->is_copy ? "true" : "false", -source->error);
	if (why) {
		text_add(out, "\"");
		text_add_name(out, why, true);
		text_add(out, "\"");
	} else {
		text_add(out, "null");
	}
	text_add(out, ",\"reads\":%" PRIu64 ",\"copied\":%" PRIu64 ",\"spliced\":%" PRIu64 ",\"errors\":%" PRIu64,
		 source->nr_reads, source->copied, source->spliced, source->nr_errors);
	text_add(out, ",\"writable\":%s,\"writes\":%" PRIu64 ",\"written\":%" PRIu64 ",\"sync_error\":%d",
		 source->can_write ? "true" : "false", source->nr_writes, source->written, -source->sync_error);
	text_add(out, ",\"place_error\":%d,\"lost\":%s}", -source->place_error, source->is_lost ? "true" : "false");
}

/* Add the sources for which there is room: how many. */
static unsigned text_add_sources(struct status_text *out, struct usp_mount *mount, bool is_json)
{
	for (unsigned i = 0; i < mount->nr_nodes; i++) {
		struct usp_mount_source_status source = {.size = sizeof(source)};
		size_t len = out->len;

		usp_mount_source_status(mount, i, &source);
		if (is_json)
			text_add_object(out, &source, i == 0);
		else
			text_add_line(out, &source);
		if (out->len + STATUS_END_MAX > out->room) {
			out->len = len;
			return i;
		}
	}
	return mount->nr_nodes;
}

size_t mount_status_text(struct usp_mount *mount, bool is_json, char *ret_text, size_t len)
{
	struct status_text out = {.text = ret_text, .room = len};
	struct usp_mount_status status = {.size = sizeof(status)};
	unsigned nr;

	usp_mount_status(mount, &status);
	if (is_json)
		text_add(&out,
			 "{\"files\":%u,\"open\":%u,\"waiting\":%u,\"passthrough\":%s,\"memory_of_copies\":%" PRIu64
			 ",\"budget\":%zu,\"sources\":[",
			 status.nr_sources, status.nr_open, status.nr_waiting,
			 status.has_passthrough ? "true" : "false", atomic_load(&mount->copies), mount->params.budget);
	nr = text_add_sources(&out, mount, is_json);
	if (is_json)
		text_add(&out, "],\"truncated\":%s}\n", nr < mount->nr_nodes ? "true" : "false");
	else if (nr < mount->nr_nodes)
		text_add(&out, "and %u files more\n", mount->nr_nodes - nr);
	if (!is_json)
		text_add(&out, "%u open, %u requests wait, %s\n", status.nr_open, status.nr_waiting,
			 status.has_passthrough ? "passthrough is possible" : "no passthrough");
	return out.len;
}
