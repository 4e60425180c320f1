/* SPDX-License-Identifier: MIT */
/*
 * cache_peer - cache_peer WHAT PATH LEN: read LEN bytes of a file, of which PIECE at a time.
 *
 *   pread-SIZE     pread(2) into one buffer, the file in the kernel's page cache, again and again
 *   cached-SIZE    the same bytes from a warm cached: by reference: splice to null:
 *   direct-pread   four threads, each pread(2) of O_DIRECT in pieces of 1 MiB, in order, again and again
 *   direct-64m     the same, but into as much memory as the cache has
 *   direct-uring   the same by io_uring in one thread, four at a time
 *   direct-cached  the same from cached:PATH\,direct, whose budget is too small to keep it
 *   random-pread   four threads, pread(2) of O_DIRECT, 4 KiB each, all over the file
 *   random-uring   the same by io_uring
 *   readers-N      N threads that read a cold cached: in order, once each
 *   unpackers-N    the same from a compressed file that is decompressed by its table, all of it
 *
 * SIZE is 4k, 64k or 1m. Prints the seconds and the seconds of CPU that it took.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#ifdef USP_HAVE_URING
#include <liburing.h>
#endif
#include <usplice/mapping.h>
#include <usplice/transform.h>

#include "bench.h"

#define CACHE_DEPTH 4
#define CACHE_PIECE ((size_t)1 << 20)
#define CACHE_READERS_MAX 64
#define CACHE_BUDGET ((size_t)64 << 20) /* of a cache that is too small for the file */

struct job {
	const char *path;
	size_t len, piece, size; /* to read, at a time, of the file */
	unsigned nr_readers;
	bool is_random;
	bool is_packed;	       /* a compressed file */
	unsigned char *memory; /* of memory_len bytes, that the threads read into in turns; else each has one piece */
	size_t memory_len;
	_Atomic(size_t) next; /* of the threads that share a file */
};

static size_t file_size(const char *path)
{
	int fd = (int)bench_check(open(path, O_RDONLY | O_CLOEXEC), path);
	off_t size = lseek(fd, 0, SEEK_END);

	close(fd);
	return (size_t)size;
}

/* --- The kernel's calls ------------------------------------------------------------------------------------- */

static void pread_warm(struct job *job)
{
	int fd = (int)bench_check(open(job->path, O_RDONLY | O_CLOEXEC), job->path);
	unsigned char *memory = bench_memory(BENCH_HUGE_BYTES);

	for (size_t done = 0; done < job->len;)
		done += (size_t)bench_check(pread(fd, memory, job->piece, (off_t)(done % job->size)), "pread");
	close(fd);
}

/* Return where the piece of this number is. */
static off_t piece_off(const struct job *job, size_t number)
{
	size_t nr = job->size / job->piece;

	return (off_t)((job->is_random ? number * 2654435761u : number) % nr * job->piece);
}

static void *direct_thread(void *arg)
{
	struct job *job = arg;
	int fd = (int)bench_check(open(job->path, O_RDONLY | O_DIRECT | O_CLOEXEC), job->path);
	unsigned char *memory = job->memory ? job->memory : bench_memory(BENCH_HUGE_BYTES);
	size_t number, nr_pieces = job->memory ? job->memory_len / job->piece : 1;

	while ((number = atomic_fetch_add(&job->next, 1)) < job->len / job->piece)
		bench_check(pread(fd, memory + number % nr_pieces * job->piece, job->piece, piece_off(job, number)),
			    "pread");
	close(fd);
	return NULL;
}

/* Run a thread for each reader, and wait for them. */
static void run_threads(struct job *job, void *(*run)(void *arg))
{
	pthread_t threads[CACHE_READERS_MAX];

	for (unsigned i = 0; i < job->nr_readers; i++) {
		if (pthread_create(&threads[i], NULL, run, job) != 0)
			bench_die("pthread_create", EAGAIN);
	}
	for (unsigned i = 0; i < job->nr_readers; i++)
		pthread_join(threads[i], NULL);
}

static void pread_direct(struct job *job)
{
	run_threads(job, direct_thread);
}

#ifdef USP_HAVE_URING
static void uring_ask(struct io_uring *ring, const struct job *job, int fd, unsigned char *memory, size_t number)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_read(sqe, fd, memory, (unsigned)job->piece, piece_off(job, number));
	io_uring_sqe_set_data(sqe, memory);
}

static void uring_direct(struct job *job)
{
	int fd = (int)bench_check(open(job->path, O_RDONLY | O_DIRECT | O_CLOEXEC), job->path);
	unsigned char *memory = bench_memory(CACHE_DEPTH * job->piece);
	size_t nr = job->len / job->piece, asked = 0;
	struct io_uring_cqe *cqe;
	struct io_uring ring;

	if (io_uring_queue_init(2 * CACHE_DEPTH, &ring, 0) < 0)
		bench_die("io_uring", ENOSYS);
	for (; asked < CACHE_DEPTH && asked < nr; asked++)
		uring_ask(&ring, job, fd, memory + asked * job->piece, asked);
	for (size_t done = 0; done < nr; done++) {
		unsigned char *free_memory;

		io_uring_submit_and_wait(&ring, 1);
		if (io_uring_wait_cqe(&ring, &cqe) < 0 || cqe->res < 0)
			bench_die("io_uring", EIO);
		free_memory = io_uring_cqe_get_data(cqe);
		io_uring_cqe_seen(&ring, cqe);
		if (asked < nr)
			uring_ask(&ring, job, fd, free_memory, asked++);
	}
	io_uring_queue_exit(&ring);
	close(fd);
}
#else
static void uring_direct(struct job *job)
{
	bench_die(job->path, ENOSYS);
}
#endif

/* --- Ours --------------------------------------------------------------------------------------------------- */

static struct usp_file *cache_open(const struct job *job, const char *form, size_t budget)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_file *file;
	char spec[4096];
	int ret;

	snprintf(spec, sizeof(spec), form, job->path, budget); /* a form without a budget leaves it out */
	ret = usp_open(spec, &params, &file, NULL);
	if (ret < 0)
		bench_die(spec, -ret);
	return file;
}

/* Move references from a file to null:, in pieces, and begin again at its end. */
static void cache_drop(const struct job *job, struct usp_file *file, size_t len)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .slot_bytes = CACHE_PIECE};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_file *ends[2], *sink;

	if (usp_pipe_open(&params, ends) < 0 || usp_open("null:", &to_write, &sink, NULL) < 0)
		bench_die("usplice", ENOMEM);
	for (size_t done = 0; done < len;) {
		int64_t off = (int64_t)(done % job->size);
		ssize_t ret = usp_splice(file, &off, ends[1], NULL, job->piece, 0);

		if (ret <= 0)
			bench_die("usp_splice", (int)-ret);
		done += (size_t)ret;
		while (ret > 0) {
			ssize_t gone = usp_splice(ends[0], NULL, sink, NULL, (size_t)ret, 0);

			if (gone <= 0)
				bench_die("usp_splice to null:", (int)-gone);
			ret -= gone;
		}
	}
	usp_file_put(ends[0]);
	usp_file_put(ends[1]);
	usp_file_put(sink);
}

/* Open the source of readers: with a stage that decompresses, or through a cache, which keeps all of it. */
static struct usp_file *reader_open(const struct job *job)
{
	const struct usp_transform_params params = {.size = sizeof(params), .flags = USP_TRANSFORM_SEEKABLE};
	struct usp_file *file;
	const char *why;
	int ret;

	if (!job->is_packed)
		return cache_open(job, "cached:%s,budget=%zu", 2 * job->size);
	file = cache_open(job, "%s", 0);
	ret = usp_transform_open("decompress", file, &params, &file, &why);
	if (ret < 0)
		bench_die(why ? why : job->path, -ret);
	return file;
}

static void *reader_thread(void *arg)
{
	struct job *job = arg;
	struct usp_file *file = reader_open(job);

	cache_drop(job, file, job->len);
	usp_file_put(file);
	return NULL;
}

static void cached_readers(struct job *job)
{
	struct usp_file *file = reader_open(job); /* keeps the cache */

	if (job->is_packed)
		job->size = job->len = (size_t)usp_file_size(file);
	run_threads(job, reader_thread);
	usp_file_put(file);
}

/* --- Timing --------------------------------------------------------------------------------------------------- */

static void report(double since, double cpu_since)
{
	printf("%.6f %.6f\n", bench_now() - since, bench_cpu(RUSAGE_SELF) - cpu_since);
}

static void timed(struct job *job, void (*run)(struct job *job))
{
	double since = bench_now(), cpu_since = bench_cpu(RUSAGE_SELF);

	run(job);
	report(since, cpu_since);
}

/* Read once before the time begins: what fits is in the cache then, and the kernel has cleared its memory. */
static void timed_cached(struct job *job, const char *form, size_t budget)
{
	struct usp_file *file = cache_open(job, form, budget);
	double since, cpu_since;

	cache_drop(job, file, job->size);
	since = bench_now();
	cpu_since = bench_cpu(RUSAGE_SELF);
	cache_drop(job, file, job->len);
	report(since, cpu_since);
	usp_file_put(file);
}

/* Read the size behind the dash of WHAT. */
static size_t piece_of(const char *what)
{
	const char *dash = strchr(what, '-');

	return dash && strcmp(dash, "-4k") == 0 ? 4096 : dash && strcmp(dash, "-64k") == 0 ? 65536 : CACHE_PIECE;
}

int main(int argc, char **argv)
{
	struct job job = {.nr_readers = CACHE_DEPTH};

	if (argc != 4)
		bench_die("cache_peer", EINVAL);
	job.path = argv[2];
	job.len = bench_bytes(argv[3]);
	job.size = file_size(job.path);
	job.is_random = strncmp(argv[1], "random-", 7) == 0;
	job.is_packed = strncmp(argv[1], "unpackers-", 10) == 0;
	job.piece = job.is_random ? 4096 : piece_of(argv[1]);
	if (strncmp(argv[1], "pread-", 6) == 0)
		timed(&job, pread_warm);
	else if (strncmp(argv[1], "cached-", 7) == 0)
		timed_cached(&job, "cached:%s,budget=%zu", 2 * job.size);
	else if (strcmp(argv[1], "direct-pread") == 0 || strcmp(argv[1], "random-pread") == 0)
		timed(&job, pread_direct);
	else if (strcmp(argv[1], "direct-64m") == 0) {
		job.memory_len = CACHE_BUDGET;
		job.memory = bench_memory(job.memory_len); /* every byte is written before the time begins */
		timed(&job, pread_direct);
	} else if (strcmp(argv[1], "direct-uring") == 0 || strcmp(argv[1], "random-uring") == 0)
		timed(&job, uring_direct);
	else if (strcmp(argv[1], "direct-cached") == 0)
		timed_cached(&job, "cached:%s\\,direct,budget=%zu", CACHE_BUDGET);
	else if (strncmp(argv[1], "readers-", 8) == 0 &&
		 (job.nr_readers = (unsigned)bench_bytes(argv[1] + 8)) <= CACHE_READERS_MAX)
		timed(&job, cached_readers);
	else if (job.is_packed && (job.nr_readers = (unsigned)bench_bytes(argv[1] + 10)) <= CACHE_READERS_MAX)
		timed(&job, cached_readers);
	else
		bench_die(argv[1], EINVAL);
	return 0;
}
