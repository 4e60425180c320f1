/* numbers - two endpoints of our own: a source that counts, and a sink that counts lines without copying a byte. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/endpoint.h>

/* --- A source: "1\n2\n3\n" and so on up to a last number ------------------------------------------- */

struct counter {
	uint64_t next, last;
};

static ssize_t counter_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct counter *counter = in->priv;
	char *base = to->iov[0].iov_base; /* a short read is fine: one segment is enough */
	size_t done = 0;

	(void)pos, (void)flags;
	for (; counter->next <= counter->last; counter->next++) {
		char line[24];
		size_t len = (size_t)snprintf(line, sizeof(line), "%" PRIu64 "\n", counter->next);

		if (len > to->iov[0].iov_len - done)
			return done ? (ssize_t)done : -EMSGSIZE; /* nothing moved, and it is not the end */
		memcpy(base + done, line, len);
		done += len;
	}
	return (ssize_t)done; /* 0 is the end of input */
}

static int counter_release(struct usp_file *file)
{
	free(file->priv);
	return 0;
}

static const struct usp_file_ops counter_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "counter",
	.read_iter = counter_read_iter,
	.splice_read = usp_copy_splice_read,
	.release = counter_release,
};

static int counter_open(uint64_t last, struct usp_file **ret_file)
{
	struct counter *counter = malloc(sizeof(*counter));
	int ret;

	if (!counter)
		return -ENOMEM;
	*counter = (struct counter){.next = 1, .last = last};
	ret = usp_file_new(&counter_ops, USP_READ, "counter", counter, ret_file);
	if (ret < 0)
		free(counter);
	return ret;
}

/* --- A sink: how many lines went by? ----------------------------------------------------------------- */

struct lines {
	uint64_t nr;
	size_t mapped; /* bytes of this call that the kernel held, and that were copied to be looked at */
};

static ssize_t lines_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	const unsigned char *at = usp_buf_bytes(buf), *end = at + len;
	struct lines *lines = arg;

	(void)pipe;
	lines->mapped += buf->flags & USP_BUF_MAPPED ? len : 0;
	while ((at = memchr(at, '\n', (size_t)(end - at)))) {
		lines->nr++;
		at++;
	}
	return (ssize_t)len;
}

static ssize_t lines_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	struct lines *lines = out->priv;
	ssize_t ret;

	(void)pos;
	lines->mapped = 0;
	ret = usp_splice_from_pipe(pipe, len, flags, lines_actor, lines);
	if (lines->mapped)
		usp_file_account(out, USP_WRITE, USP_COPIED, lines->mapped, "copied to be looked at");
	if (ret > (ssize_t)lines->mapped)
		usp_file_account(out, USP_WRITE, USP_BY_REFERENCE, (size_t)ret - lines->mapped, "looked at in place");
	return ret;
}

static const struct usp_file_ops lines_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "lines",
	.splice_write = lines_splice_write,
};

/* --- Both at work ------------------------------------------------------------------------------------ */

static int numbers_run(struct usp_file *source, struct usp_file *sink, struct usp_file *second)
{
	struct usp_pump *pump;
	int ret = usp_pump_new(source, &(struct usp_pump_params){.size = sizeof(struct usp_pump_params)}, &pump);

	if (ret < 0)
		return ret;
	ret = usp_pump_add_sink(pump, sink);
	if (ret == 0 && second)
		ret = usp_pump_add_sink(pump, second);
	if (ret == 0)
		ret = usp_pump_run(pump);
	usp_pump_free(pump);
	return ret;
}

/* A number counts up to it; anything else is a spec to read. A second argument is one more sink, which shares the bytes. */
int main(int argc, char **argv)
{
	struct usp_file *source = NULL, *sink = NULL, *second = NULL;
	struct lines lines = {.nr = 0};
	struct usp_hop hop = {.size = sizeof(hop)};
	int ret = -EINVAL;

	if (argc == 2 || argc == 3)
		ret = argv[1][0] >= '1' && argv[1][0] <= '9'
			      ? counter_open(strtoull(argv[1], NULL, 10), &source)
			      : usp_open(argv[1],
					 &(struct usp_open_params){.size = sizeof(struct usp_open_params),
								   .mode = USP_READ},
					 &source, NULL);
	if (ret == 0)
		ret = usp_file_new(&lines_ops, USP_WRITE, "lines", &lines, &sink);
	if (ret == 0 && argc == 3)
		ret = usp_open(argv[2],
			       &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE},
			       &second, NULL);
	if (ret == 0)
		ret = numbers_run(source, sink, second);
	if (ret == 0 && second)
		ret = usp_file_close(second); /* some disks tell only here that they are full */
	if (ret == 0) {
		usp_file_hop(sink, USP_WRITE, &hop);
		printf("%" PRIu64 " lines, %" PRIu64 " bytes %s\n", lines.nr, hop.bytes[USP_BY_REFERENCE],
		       hop.reason[USP_BY_REFERENCE] ? hop.reason[USP_BY_REFERENCE] : "at all");
	} else {
		fprintf(stderr, "numbers LAST|SPEC [SINK]: %s\n", strerror(-ret));
	}
	usp_file_put(second);
	usp_file_put(sink);
	usp_file_put(source);
	return ret ? 1 : 0;
}
