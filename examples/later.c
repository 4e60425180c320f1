/*
 * later - a source that lends pages before their bytes are there. A thread fills them; whoever needs the
 * bytes waits for an eventfd, alone or in an event loop.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <usplice/endpoint.h>

#define PAGE_LEN 65536
#define NR_PAGES 16

/* A page that a thread fills. The folio comes first: the core finds the bytes by it. */
struct page {
	struct usp_folio folio;
	int event_fd;	    /* readable when state is set */
	_Atomic(int) state; /* 0: on its way; 1: there; or -errno */
	char bytes[PAGE_LEN];
};

static atomic_uint nr_late; /* how often bytes were wanted that were not there */

/* With a poll_fd in the table, confirm never waits: it says whether the bytes are there. */
static int page_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct page *page = buf->store;
	int state = atomic_load(&page->state);

	(void)pipe;
	atomic_fetch_add(&nr_late, state == 0);
	return state == 0 ? -EAGAIN : state < 0 ? state : 0;
}

static int page_poll_fd(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events)
{
	const struct page *page = buf->store;

	(void)pipe;
	*ret_events = POLLIN;
	return page->event_fd;
}

static void page_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	usp_folio_put(buf->store);
}

static bool page_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe, (void)copy;
	return usp_folio_get(buf->store);
}

static const struct usp_buf_ops page_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "page",
	.confirm = page_confirm,
	.release = page_release,
	.get = page_get,
	.poll_fd = page_poll_fd,
};

static void page_free(struct usp_folio *folio)
{
	struct page *page = (struct page *)folio;

	close(page->event_fd);
	free(page);
}

static struct page *page_new(void)
{
	struct page *page = calloc(1, sizeof(*page));

	if (!page)
		return NULL;
	page->event_fd = eventfd(0, EFD_CLOEXEC);
	if (page->event_fd < 0) {
		free(page);
		return NULL;
	}
	usp_folio_init(&page->folio, page->bytes, PAGE_LEN, page_free);
	return page;
}

/* --- The source ------------------------------------------------------------------------------------ */

struct later {
	struct page *pages[NR_PAGES]; /* a reference of ours to each */
	unsigned next;
	pthread_t thread;
};

/* Fill one page after the other; a disk or a peer would take its time, too. */
static void *later_fill(void *arg)
{
	struct later *later = arg;

	for (unsigned i = 0; i < NR_PAGES; i++) {
		struct page *page = later->pages[i];

		usleep(2000);
		memset(page->bytes, 'a' + (int)i, PAGE_LEN);
		atomic_store(&page->state, 1);
		eventfd_write(page->event_fd, 1);
	}
	return NULL;
}

/* Lend as many pages as there is room for, filled or not. */
static ssize_t later_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct later *later = in->priv;
	size_t done = 0, room;

	(void)pos, (void)flags;
	while (later->next < NR_PAGES && done < len && usp_pipe_room(pipe, &room)) {
		struct page *page = later->pages[later->next];
		const struct usp_buf buf = {.ops = &page_buf_ops, .store = &page->folio, .len = PAGE_LEN};

		if (room < PAGE_LEN || PAGE_LEN > len - done || !usp_folio_get(&page->folio))
			break;
		usp_pipe_push(pipe, &buf, 1);
		later->next++;
		done += PAGE_LEN;
	}
	if (done)
		usp_file_account(in, USP_READ, USP_BY_REFERENCE, done, "lent before it was filled");
	return done || later->next == NR_PAGES ? (ssize_t)done : -EAGAIN;
}

static const struct usp_file_ops later_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "later",
	.splice_read = later_splice_read,
};

int main(int argc, char **argv)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE};
	struct usp_file *source = NULL, *sink = NULL;
	struct later later = {.next = 0};
	int ret = argc == 2 ? usp_open(argv[1], &params, &sink, NULL) : -EINVAL;

	for (unsigned i = 0; i < NR_PAGES && ret == 0; i++) {
		later.pages[i] = page_new();
		ret = later.pages[i] ? 0 : -ENOMEM; /* or no descriptor was left */
	}
	if (ret == 0)
		ret = usp_file_new(&later_ops, USP_READ, "later", &later, &source);
	if (ret == 0)
		ret = -pthread_create(&later.thread, NULL, later_fill, &later);
	if (ret == 0) {
		ret = usp_copy_files(source, sink, NULL, NULL);
		pthread_join(later.thread, NULL);
		printf("%d bytes; some were waited for: %s\n", NR_PAGES * PAGE_LEN,
		       atomic_load(&nr_late) ? "yes" : "no");
	}
	usp_file_put(source);
	usp_file_put(sink);
	for (unsigned i = 0; i < NR_PAGES; i++) {
		if (later.pages[i])
			usp_folio_put(&later.pages[i]->folio);
	}
	if (ret < 0)
		fprintf(stderr, "later: %s\n", strerror(-ret));
	return ret ? 1 : 0;
}
