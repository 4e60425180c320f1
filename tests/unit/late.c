/* SPDX-License-Identifier: MIT */
/* late - see late.h. */
#include "late.h"

#include <sys/eventfd.h>

#define NOT_YET 0xa5 /* what is in a page that has not arrived */

static int late_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct late *late = buf->store;

	(void)pipe;
	late->nr_confirm++;
	if (!late->is_there)
		return -EAGAIN;
	if (late->error)
		return late->error;
	if (buf->offset >= late->valid)
		return -ENODATA;
	if (buf->len > late->valid - buf->offset)
		buf->len = late->valid - buf->offset;
	return 0;
}

static int late_poll_fd(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events)
{
	const struct late *late = buf->store;

	(void)pipe;
	*ret_events = POLLIN;
	return late->event_fd;
}

static void late_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	usp_folio_put(buf->store);
}

static bool late_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe, (void)copy;
	return usp_folio_get(buf->store);
}

const struct usp_buf_ops late_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "late",
	.confirm = late_confirm,
	.release = late_release,
	.get = late_get,
	.poll_fd = late_poll_fd,
};

const struct usp_buf_ops mute_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "mute",
	.confirm = late_confirm,
	.release = late_release,
	.get = late_get,
};

static void late_done(struct usp_folio *folio)
{
	struct late *late = (struct late *)folio;

	close(late->event_fd);
	free(late);
}

struct late *late_new_of(const void *bytes, size_t len)
{
	struct late *late = calloc(1, sizeof(*late));

	assert_non_null(late);
	assert_in_range(len, 1, PAGE);
	usp_folio_init(&late->folio, late->bytes, PAGE, late_done);
	memset(late->bytes, NOT_YET, PAGE);
	memcpy(late->coming, bytes, len);
	late->len = late->valid = len;
	late->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(late->event_fd >= 0);
	return late;
}

struct late *late_new(uint64_t off)
{
	unsigned char bytes[PAGE];

	pattern_fill(bytes, off, PAGE);
	return late_new_of(bytes, PAGE);
}

void late_put(struct late *late)
{
	usp_folio_put(&late->folio);
}

struct usp_buf late_buf(struct late *late)
{
	assert_true(usp_folio_get(&late->folio));
	return (struct usp_buf){.ops = &late_ops, .store = late, .len = late->len};
}

void late_arrive(struct late *late)
{
	memcpy(late->bytes, late->coming, late->valid);
	late->is_there = true;
	assert_int_equal(eventfd_write(late->event_fd, 1), 0);
}

/* --- A source -------------------------------------------------------------------------------------------------- */

static ssize_t late_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct late_source *source = in->priv;
	struct usp_buf buf;

	(void)pos, (void)flags;
	if (source->next == source->nr)
		return 0;
	if (!usp_pipe_room(pipe, &(size_t){0}))
		return -EAGAIN;
	buf = late_buf(source->pages[source->next]);
	buf.offset = source->at;
	buf.len = buf.len - source->at < len ? buf.len - source->at : len;
	source->at += buf.len;
	if (source->at == source->pages[source->next]->len) {
		source->at = 0;
		source->next++;
	}
	assert_int_equal(usp_pipe_push(pipe, &buf, 1), 1);
	return (ssize_t)buf.len;
}

static const struct usp_file_ops late_source_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "late",
	.splice_read = late_splice_read,
};

void late_source_open_of(struct late_source *source, const void *bytes, size_t len)
{
	*source = (struct late_source){.nr = 0};
	for (size_t done = 0; done < len; done += PAGE) {
		assert_true(source->nr < LATE_PAGES_MAX);
		source->pages[source->nr++] =
			late_new_of((const char *)bytes + done, len - done < PAGE ? len - done : PAGE);
	}
	assert_int_equal(usp_file_new(&late_source_ops, USP_READ, "late", source, &source->file), 0);
}

void late_source_open(struct late_source *source, unsigned nr_pages)
{
	unsigned char *bytes = malloc(nr_pages * (size_t)PAGE);

	pattern_fill(bytes, 0, nr_pages * (size_t)PAGE);
	late_source_open_of(source, bytes, nr_pages * (size_t)PAGE);
	free(bytes);
}

void late_source_close(struct late_source *source)
{
	drop(&source->file);
	for (unsigned i = 0; i < source->nr; i++)
		late_put(source->pages[i]);
}
