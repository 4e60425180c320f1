/* SPDX-License-Identifier: MIT */
/*
 * pipe_threads - pipe_threads WHAT LEN: one thread gives LEN bytes of memory to another through a pipe, and nothing else.
 *
 *   kernel           a kernel pipe, write(2) and read(2) of 64 KiB
 *   kernel-touch     the same, and the consumer looks at every byte
 *   vmsplice-64k     a kernel pipe of 1 MiB, vmsplice(2) of 64 KiB of a huge page, splice(2) to /dev/null
 *   vmsplice-1m      the same in calls of 1 MiB
 *   usplice          a usplice pipe, gifted memory in bufs of 64 KiB, usp_splice to null:
 *   usplice-touch    the same to a sink that looks at every byte
 *   usplice-64k      a usplice pipe, usp_write and usp_read of 64 KiB
 *   usplice-1m       the same in calls of 1 MiB
 *
 * Prints the seconds and the seconds of CPU that it took.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>
#include <unistd.h>
#include <usplice/endpoint.h>

#include "bench.h"

#define THREADS_BUF_BYTES ((size_t)64 << 10)
#define THREADS_PIPE_BYTES ((size_t)1 << 20)
#define THREADS_MEMORY_BYTES ((size_t)2 << 20) /* gone through again and again, one huge page */

struct exchange {
	size_t len, chunk;
	unsigned char *memory;
	int fds[2];		  /* a kernel pipe */
	struct usp_file *ends[2]; /* or ours */
	struct usp_file *sink;	  /* where ours is spliced to */
	bool is_touching, is_ours;
	void (*give)(struct exchange *exchange, size_t off, size_t len);
	size_t (*take)(struct exchange *exchange);
	uint64_t sum;
};

static uint64_t threads_sum(const unsigned char *base, size_t len)
{
	uint64_t sum = 0, word;

	for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, base + i, sizeof(word));
		sum += word;
	}
	return sum;
}

/* --- A kernel pipe ------------------------------------------------------------------------------- */

static void kernel_give(struct exchange *exchange, size_t off, size_t len)
{
	while (len) {
		size_t done = (size_t)bench_check(write(exchange->fds[1], exchange->memory + off, len), "write");

		off += done;
		len -= done;
	}
}

static size_t kernel_take(struct exchange *exchange)
{
	static unsigned char buffer[THREADS_BUF_BYTES];
	size_t len = (size_t)bench_check(read(exchange->fds[0], buffer, sizeof(buffer)), "read");

	if (exchange->is_touching)
		exchange->sum += threads_sum(buffer, len);
	return len;
}

static void vmsplice_give(struct exchange *exchange, size_t off, size_t len)
{
	while (len) {
		struct iovec iov = {.iov_base = exchange->memory + off, .iov_len = len};
		size_t done = (size_t)bench_check(vmsplice(exchange->fds[1], &iov, 1, 0), "vmsplice");

		off += done;
		len -= done;
	}
}

static size_t vmsplice_take(struct exchange *exchange)
{
	static int null = -1;

	if (null < 0)
		null = (int)bench_check(open("/dev/null", O_WRONLY), "/dev/null");
	return (size_t)bench_check(splice(exchange->fds[0], NULL, null, NULL, exchange->chunk, 0), "splice");
}

static void kernel_init(struct exchange *exchange)
{
	bool is_by_reference = exchange->give == vmsplice_give;

	bench_check(pipe2(exchange->fds, O_CLOEXEC), "pipe2");
	if (is_by_reference)
		bench_check(fcntl(exchange->fds[1], F_SETPIPE_SZ, (int)THREADS_PIPE_BYTES), "F_SETPIPE_SZ");
}

/* --- A usplice pipe ------------------------------------------------------------------------------ */

/* An endpoint of a program's own: a sink that looks at the bytes where they are. */
static ssize_t touch_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct exchange *exchange = arg;

	(void)pipe;
	exchange->sum += threads_sum(usp_buf_bytes(buf), len);
	return (ssize_t)len;
}

static ssize_t touch_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	(void)pos;
	return usp_splice_from_pipe(pipe, len, flags, touch_actor, out->priv);
}

static const struct usp_file_ops touch_ops = {
	.size = sizeof(struct usp_file_ops), .name = "touch", .splice_write = touch_splice_write};

static struct usp_gift *usplice_gift;

static void usplice_give(struct exchange *exchange, size_t off, size_t len)
{
	while (len) {
		ssize_t ret = usp_gift_splice(usplice_gift, off, len, exchange->ends[1], 0);

		if (ret <= 0)
			bench_die("usp_gift_splice", (int)-ret);
		off += (size_t)ret;
		len -= (size_t)ret;
	}
}

static size_t usplice_take(struct exchange *exchange)
{
	ssize_t ret = usp_splice(exchange->ends[0], NULL, exchange->sink, NULL, (size_t)1 << 30, 0);

	if (ret < 0)
		bench_die("usp_splice", (int)-ret);
	return (size_t)ret;
}

static void usplice_write(struct exchange *exchange, size_t off, size_t len)
{
	ssize_t ret = usp_write(exchange->ends[1], exchange->memory + off, len);

	if (ret != (ssize_t)len)
		bench_die("usp_write", (int)-ret);
}

static size_t usplice_read(struct exchange *exchange)
{
	static unsigned char buffer[THREADS_PIPE_BYTES];
	ssize_t ret = usp_read(exchange->ends[0], buffer, exchange->chunk);

	if (ret < 0)
		bench_die("usp_read", (int)-ret);
	return (size_t)ret;
}

static void usplice_init(struct exchange *exchange)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE};
	int ret = usp_pipe_open(NULL, exchange->ends);

	if (ret == 0)
		ret = exchange->is_touching ? usp_file_new(&touch_ops, USP_WRITE, "touch", exchange, &exchange->sink)
					    : usp_open("null:", &params, &exchange->sink, NULL);
	if (ret == 0)
		ret = usp_gift_new(exchange->memory, THREADS_MEMORY_BYTES, NULL, NULL, &usplice_gift);
	if (ret < 0)
		bench_die("usplice", -ret);
}

static void usplice_fini(struct exchange *exchange)
{
	usp_file_put(exchange->ends[0]);
	usp_file_put(exchange->sink);
	usp_gift_put(usplice_gift);
}

/* --- The exchange -------------------------------------------------------------------------------- */

static void *threads_produce(void *arg)
{
	struct exchange *exchange = arg;

	for (size_t off = 0; off < exchange->len; off += exchange->chunk)
		exchange->give(exchange, off % THREADS_MEMORY_BYTES, exchange->chunk);
	if (exchange->ends[1])
		usp_file_put(exchange->ends[1]);
	else
		close(exchange->fds[1]);
	return NULL;
}

static void threads_run(struct exchange *exchange)
{
	double begin = bench_now(), cpu = bench_cpu(RUSAGE_SELF);
	size_t taken = 0, len;
	pthread_t producer;
	int error = pthread_create(&producer, NULL, threads_produce, exchange);

	if (error)
		bench_die("pthread_create", error);
	while ((len = exchange->take(exchange)))
		taken += len;
	pthread_join(producer, NULL);
	if (taken != exchange->len)
		bench_die("bytes are missing", EIO);
	printf("%.6f %.6f\n", bench_now() - begin, bench_cpu(RUSAGE_SELF) - cpu);
}

static const struct {
	const char *name;
	struct exchange exchange;
} ways[] = {
	{"kernel", {.chunk = THREADS_BUF_BYTES, .give = kernel_give, .take = kernel_take}},
	{"kernel-touch", {.chunk = THREADS_BUF_BYTES, .give = kernel_give, .take = kernel_take, .is_touching = true}},
	{"vmsplice-64k", {.chunk = THREADS_BUF_BYTES, .give = vmsplice_give, .take = vmsplice_take}},
	{"vmsplice-1m", {.chunk = THREADS_PIPE_BYTES, .give = vmsplice_give, .take = vmsplice_take}},
	{"usplice", {.chunk = THREADS_BUF_BYTES, .is_ours = true, .give = usplice_give, .take = usplice_take}},
	{"usplice-touch",
	 {.chunk = THREADS_BUF_BYTES,
	  .is_ours = true,
	  .give = usplice_give,
	  .take = usplice_take,
	  .is_touching = true}},
	{"usplice-64k", {.chunk = THREADS_BUF_BYTES, .is_ours = true, .give = usplice_write, .take = usplice_read}},
	{"usplice-1m", {.chunk = THREADS_PIPE_BYTES, .is_ours = true, .give = usplice_write, .take = usplice_read}},
};

int main(int argc, char **argv)
{
	struct exchange exchange = {.len = 0};

	for (size_t i = 0; argc == 3 && i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(argv[1], ways[i].name) == 0)
			exchange = ways[i].exchange;
	}
	if (!exchange.give)
		bench_die("pipe_threads", EINVAL);
	exchange.memory = bench_memory(THREADS_MEMORY_BYTES);
	exchange.len = bench_bytes(argv[2]) / exchange.chunk * exchange.chunk;
	if (exchange.is_ours)
		usplice_init(&exchange);
	else
		kernel_init(&exchange);
	threads_run(&exchange);
	if (exchange.is_ours)
		usplice_fini(&exchange);
	return 0;
}
