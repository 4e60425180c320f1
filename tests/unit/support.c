/* SPDX-License-Identifier: MIT */
/* support - pipes, mock files, mock bufs and workers for the unit tests. */
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define TIME_LIMIT_S 120 /* generous: ThreadSanitizer on a busy machine */

/* --- Around every test ---------------------------------------------------------------------------- */

static struct usp_usage usage_before = {.size = sizeof(usage_before)};
static unsigned nr_fds_before;

static unsigned support_nr_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned nr_fds = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		nr_fds++;
	closedir(dir);
	return nr_fds;
}

int support_before(void **state)
{
	(void)state;
	alarm(TIME_LIMIT_S);
	usp_trim(&usage_before);
	nr_fds_before = support_nr_fds();
	return 0;
}

int support_after(void **state)
{
	struct usp_usage usage = {.size = sizeof(usage)};
	unsigned nr_fds;

	(void)state;
	alarm(0);
	usp_trim(&usage);
	nr_fds = support_nr_fds();
	if (usage.nr_folios == usage_before.nr_folios && usage.folio_bytes == usage_before.folio_bytes &&
	    usage.nr_kpipes == usage_before.nr_kpipes && nr_fds == nr_fds_before)
		return 0;
	print_error("left behind: %zd folios, %zd bytes, %zd kernel pipes, %d descriptors\n",
		    (ssize_t)(usage.nr_folios - usage_before.nr_folios),
		    (ssize_t)(usage.folio_bytes - usage_before.folio_bytes),
		    (ssize_t)(usage.nr_kpipes - usage_before.nr_kpipes), (int)(nr_fds - nr_fds_before));
	return -1;
}

#ifdef USP_COVERAGE
void __gcov_dump(void); /* of the compiler's runtime, which has no header for it */
#endif

void end_child(int code)
{
#ifdef USP_COVERAGE
	__gcov_dump();
#endif
	_exit(code);
}

/* --- Bytes ------------------------------------------------------------------------------------------ */

unsigned char pattern_at(uint64_t off)
{
	return (unsigned char)(off * 7 + (off >> 8) * 31 + (off >> 16) * 101);
}

void pattern_fill(void *base, uint64_t off, size_t len)
{
	unsigned char *bytes = base;

	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern_at(off + i);
}

bool pattern_is(const void *base, uint64_t off, size_t len)
{
	const unsigned char *bytes = base;

	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == pattern_at(off + i))
			continue;
		print_error("byte %zu of %zu is 0x%02x, not 0x%02x\n", i, len, bytes[i], pattern_at(off + i));
		return false;
	}
	return true;
}

/* --- Pipes ------------------------------------------------------------------------------------------ */

void open_pipe(struct usp_file *end[2], unsigned nr_slots, unsigned flags)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = nr_slots, .slot_bytes = PAGE, .flags = flags};

	assert_int_equal(usp_pipe_open(&params, end), 0);
}

void drop(struct usp_file **file)
{
	usp_file_put(*file);
	*file = NULL;
}

void close_pipe(struct usp_file *end[2])
{
	drop(&end[0]);
	drop(&end[1]);
}

void put_bytes(struct usp_file *end, uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(len);

	assert_non_null(bytes);
	pattern_fill(bytes, off, len);
	assert_int_equal(usp_write(end, bytes, len), len);
	free(bytes);
}

void take_bytes(struct usp_file *end, uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(len);

	assert_non_null(bytes);
	assert_int_equal(usp_read(end, bytes, len), len);
	assert_pattern(bytes, off, len);
	free(bytes);
}

/* Peeking and injecting are a sink and a source: that is how the inside of a pipe is reached from outside. */

struct peek {
	struct usp_buf *bufs;
	unsigned nr_bufs, nr_found;
};

static ssize_t peek_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	struct peek *peek = out->priv;

	(void)pos, (void)len;
	if (usp_pipe_begin_read(pipe, flags) == 1) {
		peek->nr_found = usp_pipe_peek(pipe, peek->bufs, peek->nr_bufs);
		usp_pipe_end_read(pipe);
	}
	return -ECANCELED;
}

static const struct usp_file_ops peek_ops = {
	.size = sizeof(struct usp_file_ops), .name = "peek", .splice_write = peek_splice_write};

unsigned peek_bufs(struct usp_file *read_end, struct usp_buf *ret_bufs, unsigned nr_bufs)
{
	struct peek peek = {.bufs = ret_bufs, .nr_bufs = nr_bufs};
	struct usp_file *file;

	assert_int_equal(usp_file_new(&peek_ops, USP_WRITE, "peek", &peek, &file), 0);
	assert_int_equal(usp_splice(read_end, NULL, file, NULL, 1, USP_SPLICE_NONBLOCK), -ECANCELED);
	usp_file_put(file);
	return peek.nr_found;
}

unsigned nr_bufs_in(struct usp_file *read_end)
{
	struct usp_buf bufs[64];

	return peek_bufs(read_end, bufs, ARRAY_LEN(bufs));
}

void inject(struct usp_file *write_end, struct usp_buf buf)
{
	struct mock *mock = mock_open(&mock_push_ops, USP_READ, 0);

	mock->gives[0] = buf;
	mock->nr_gives = 1;
	assert_int_equal(usp_splice(mock->file, NULL, write_end, NULL, 4 * PAGE, USP_SPLICE_NONBLOCK), buf.len);
	assert_int_equal(mock->nr_gives, 0);
	mock_close(mock);
}

/* --- Mock bufs -------------------------------------------------------------------------------------- */

static int mock_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct mock_store *store = buf->store;

	(void)pipe;
	store->nr_confirm++;
	return store->confirm_error;
}

static void mock_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct mock_store *store = buf->store;

	(void)pipe;
	store->nr_release++;
}

static bool mock_try_steal(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct mock_store *store = buf->store;

	(void)pipe;
	store->nr_steal++;
	return store->can_steal;
}

static bool mock_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	struct mock_store *store = buf->store;

	(void)pipe, (void)copy;
	if (store->refuses_get) {
		store->nr_refused++;
		return false;
	}
	store->nr_get++;
	return true;
}

static int mock_map(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct mock_store *store = buf->store;
	struct usp_folio *folio;

	(void)pipe;
	store->nr_map++;
	if (store->map_error)
		return store->map_error;
	folio = usp_folio_new(buf->offset + buf->len);
	if (!folio)
		return -ENOMEM;
	memcpy(folio->base + buf->offset, store->bytes + buf->offset, buf->len);
	store->nr_release++;
	*buf = (struct usp_buf){
		.ops = &usp_folio_buf_ops,
		.store = folio,
		.offset = buf->offset,
		.len = buf->len,
		.flags = buf->flags,
	};
	return 0;
}

const struct usp_buf_ops mock_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "mock",
	.confirm = mock_confirm,
	.release = mock_release,
	.try_steal = mock_try_steal,
	.get = mock_get,
};

const struct usp_buf_ops mock_unmapped_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "mock-unmapped",
	.confirm = mock_confirm,
	.release = mock_release,
	.try_steal = mock_try_steal,
	.get = mock_get,
	.map = mock_map,
};

const struct usp_buf_ops mock_minimal_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "mock-minimal",
	.release = mock_release,
	.get = mock_get,
};

static void mock_store_unused_release(struct usp_folio *folio)
{
	(void)folio;
}

void mock_store_init(struct mock_store *store)
{
	*store = (struct mock_store){.can_steal = false};
	usp_folio_init(&store->folio, store->bytes, sizeof(store->bytes), mock_store_unused_release);
	pattern_fill(store->bytes, 0, sizeof(store->bytes));
}

struct usp_buf mock_buf(struct mock_store *store, const struct usp_buf_ops *ops, size_t offset, size_t len,
			unsigned flags)
{
	store->nr_born++;
	return (struct usp_buf){.ops = ops, .store = store, .offset = offset, .len = len, .flags = flags};
}

void mock_store_fini(struct mock_store *store)
{
	assert_int_equal(store->nr_release, store->nr_born + store->nr_get);
	usp_folio_put(&store->folio);
}

struct usp_buf folio_buf(uint64_t off, size_t len, unsigned flags)
{
	struct usp_folio *folio = usp_folio_new(len ? len : 1);

	assert_non_null(folio);
	pattern_fill(folio->base, off, len);
	return (struct usp_buf){.ops = &usp_folio_buf_ops, .store = folio, .len = len, .flags = flags};
}

/* --- Mock files ------------------------------------------------------------------------------------- */

/* Count the call and say how many of len bytes it may move, or what it answers instead. */
static ssize_t mock_answer(struct mock *mock, unsigned nr_segs, size_t len, unsigned flags)
{
	ssize_t answer = mock->next < mock->nr_script ? mock->script[mock->next] : MOCK_ALL;

	mock->next++;
	if (mock->nr_calls < MOCK_SCRIPT_MAX) {
		mock->nr_segs[mock->nr_calls] = nr_segs;
		mock->asked[mock->nr_calls] = len;
	}
	mock->nr_calls++;
	mock->flags = flags;
	if (mock->on_call)
		mock->on_call(mock);
	if (answer == MOCK_TOO_MUCH)
		return (ssize_t)len + 1;
	return answer > (ssize_t)len ? (ssize_t)len : answer;
}

static ssize_t mock_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct mock *mock = in->priv;
	ssize_t ret = mock_answer(mock, to->nr_segs, to->count, flags);
	int64_t *at = in->traits & USP_FILE_SEEKABLE ? pos : &mock->taken;
	size_t left;

	if (ret <= 0 || ret > (ssize_t)to->count)
		return ret;
	if (*at >= mock->size)
		return 0;
	if (ret > mock->size - *at)
		ret = mock->size - *at;
	left = (size_t)ret;
	for (unsigned i = 0; left; i++) {
		size_t len = to->iov[i].iov_len < left ? to->iov[i].iov_len : left;

		pattern_fill(to->iov[i].iov_base, (uint64_t)*at, len);
		*at += (int64_t)len;
		left -= len;
	}
	return ret;
}

static void mock_keep(struct mock *mock, size_t at, const void *base, size_t len)
{
	if (at + len > mock->room) {
		mock->room = 2 * (at + len);
		mock->bytes = realloc(mock->bytes, mock->room);
		if (!mock->bytes)
			abort();
	}
	memcpy(mock->bytes + at, base, len);
	if (at + len > mock->len)
		mock->len = at + len;
}

static ssize_t mock_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct mock *mock = out->priv;
	ssize_t ret = mock_answer(mock, from->nr_segs, from->count, flags);
	size_t left;

	if (ret <= 0 || ret > (ssize_t)from->count)
		return ret;
	left = (size_t)ret;
	for (unsigned i = 0; left; i++) {
		size_t len = from->iov[i].iov_len < left ? from->iov[i].iov_len : left;
		size_t at = out->traits & USP_FILE_SEEKABLE ? (size_t)*pos : mock->len;

		mock_keep(mock, at, from->iov[i].iov_base, len);
		if (out->traits & USP_FILE_SEEKABLE)
			*pos += (int64_t)len;
		left -= len;
	}
	return ret;
}

static ssize_t mock_push(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct mock *mock = in->priv;
	ssize_t ret = mock_answer(mock, mock->nr_gives, len, flags);
	ssize_t sum = 0;

	(void)pos;
	if (ret <= 0)
		return ret;
	for (unsigned i = 0; i < mock->nr_gives; i++)
		sum += (ssize_t)mock->gives[i].len;
	assert_int_equal(usp_pipe_push(pipe, mock->gives, mock->nr_gives), mock->nr_gives);
	mock->nr_gives = 0;
	return sum;
}

static ssize_t mock_raw_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	(void)pos, (void)pipe;
	return mock_answer(in->priv, 0, len, flags);
}

static ssize_t mock_raw_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	(void)pos, (void)pipe;
	return mock_answer(out->priv, 0, len, flags);
}

static int mock_file_release(struct usp_file *file)
{
	struct mock *mock = file->priv;

	mock->nr_released++;
	return mock->release_error;
}

const struct usp_file_ops mock_copy_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "mock",
	.read_iter = mock_read_iter,
	.write_iter = mock_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.release = mock_file_release,
};

const struct usp_file_ops mock_bare_ops = {
	.size = sizeof(struct usp_file_ops), .name = "mock-bare", .release = mock_file_release};

const struct usp_file_ops mock_push_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "mock-push",
	.splice_read = mock_push,
	.release = mock_file_release,
};

const struct usp_file_ops mock_drop_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "mock-drop",
	.splice_write = usp_drop_splice_write,
	.release = mock_file_release,
};

const struct usp_file_ops mock_raw_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "mock-raw",
	.splice_read = mock_raw_read,
	.splice_write = mock_raw_write,
	.release = mock_file_release,
};

struct mock *mock_open(const struct usp_file_ops *ops, unsigned mode, unsigned traits)
{
	struct mock *mock = calloc(1, sizeof(*mock));

	assert_non_null(mock);
	mock->size = INT64_MAX;
	assert_int_equal(usp_file_new(ops, mode, "mock", mock, &mock->file), 0);
	mock->file->traits |= traits;
	return mock;
}

void mock_script(struct mock *mock, unsigned nr_results, const ssize_t *results)
{
	assert_true(nr_results <= MOCK_SCRIPT_MAX);
	memcpy(mock->script, results, nr_results * sizeof(*results));
	mock->nr_script = nr_results;
	mock->next = 0;
}

void mock_close(struct mock *mock)
{
	usp_file_put(mock->file);
	assert_int_equal(mock->nr_released, 1);
	free(mock->bytes);
	free(mock);
}

/* --- Workers ---------------------------------------------------------------------------------------- */

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	worker->tid = (int)syscall(SYS_gettid);
	worker->result = worker->run(worker->arg);
	worker->is_done = true;
	return NULL;
}

void worker_start(struct worker *worker, ssize_t (*run)(void *arg), void *arg)
{
	worker->run = run;
	worker->arg = arg;
	worker->tid = 0;
	worker->is_done = false;
	assert_int_equal(pthread_create(&worker->thread, NULL, worker_main, worker), 0);
}

/* The state letter of a thread stands behind its name in /proc/self/task/TID/stat. */
static char worker_state(int tid)
{
	char path[64], text[512];
	const char *name_end;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	name_end = strrchr(text, ')');
	return name_end && name_end[1] ? name_end[2] : 0;
}

void worker_await_sleep(struct worker *worker)
{
	while (!worker->is_done && (!worker->tid || worker_state(worker->tid) != 'S'))
		sched_yield();
}

ssize_t worker_join(struct worker *worker)
{
	assert_int_equal(pthread_join(worker->thread, NULL), 0);
	return worker->result;
}

ssize_t call_read(void *arg)
{
	struct call *call = arg;

	return usp_read(call->in, call->base, call->len);
}

ssize_t call_write(void *arg)
{
	struct call *call = arg;

	return usp_write(call->out, call->base, call->len);
}

ssize_t call_splice(void *arg)
{
	struct call *call = arg;

	return usp_splice(call->in, NULL, call->out, NULL, call->len, call->flags);
}

ssize_t call_tee(void *arg)
{
	struct call *call = arg;

	return usp_tee(call->in, call->out, call->len, call->flags);
}

/* --- TCP ------------------------------------------------------------------------------------------- */

bool tcp_is_under_way(int fd)
{
	struct tcp_info info = {.tcpi_snd_wnd = 0};
	socklen_t len = sizeof(info);
	int queued, unsent;

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && ioctl(fd, SIOCOUTQ, &queued) == 0 &&
	       ioctl(fd, SIOCOUTQNSD, &unsent) == 0 && (queued > unsent || info.tcpi_snd_wnd > 0);
}

unsigned tcp_nr_segments(int fd)
{
	struct tcp_info info = {.tcpi_data_segs_out = 0};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_data_segs_out;
}
