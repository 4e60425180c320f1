/* SPDX-License-Identifier: MIT */
/* examples - the endpoints of examples/, opened as their programs do. */
#include "examples.h"

#include "support.h"

int upper_main(int argc, char **argv);
int masked_main(int argc, char **argv);
int slice_main(int argc, char **argv);
int numbers_main(int argc, char **argv);
int packet_main(int argc, char **argv);
int keep_main(int argc, char **argv);
int credit_main(void);

#define main upper_main
#include "../../examples/upper.c"
#undef main
#define main masked_main
#include "../../examples/masked.c"
#undef main
#define main slice_main
#include "../../examples/slice.c"
#undef main
#define main numbers_main
#include "../../examples/numbers.c"
#undef main
#define main packet_main
#include "../../examples/packet.c"
#undef main
#define main keep_main
#include "../../examples/keep.c"
#undef main
#define main credit_main
#include "../../examples/credit.c"
#undef main

#define GRANTS 16384 /* in one piece; more in all than the socket of the sink holds */
#define SEND_BYTES 32768

/* --- Over a file ------------------------------------------------------------------------------------------------- */

struct usp_file *upper_over(struct usp_file *below)
{
	struct usp_file *file;

	assert_int_equal(usp_stage_open(&upper_ops, NULL, below, &file), 0);
	return file;
}

void upper_fill(unsigned char *bytes, uint64_t off, size_t len)
{
	pattern_fill(bytes, off, len);
	upper_change(NULL, bytes, len);
}

static void masked_close(void *source)
{
	usp_file_put(source);
}

/* The file owns the mapping, and that the file below, so that one drop closes all. */
struct usp_file *masked_over(struct usp_file *below)
{
	const struct usp_mapping_params params = {.size = sizeof(params), .way = USP_COPIED, .reason = "turned over"};
	static struct usp_mapping_ops ops;
	struct usp_mapping *mapping;
	struct usp_file *file;

	ops = masked_ops;
	ops.release = masked_close;
	assert_int_equal(usp_mapping_new(&ops, below, &params, &mapping), 0);
	assert_int_equal(usp_mapping_open(mapping, "masked", &file), 0);
	usp_mapping_put(mapping);
	return file;
}

void masked_fill(unsigned char *bytes, uint64_t off, size_t len)
{
	pattern_fill(bytes, off, len);
	for (size_t i = 0; i < len; i++)
		bytes[i] ^= 1;
}

struct usp_file *slice_over(struct usp_file *below, int64_t first, int64_t len)
{
	struct usp_file *file;

	assert_int_equal(slice_open(below, first, len, &file), 0);
	return file;
}

/* --- Sources ------------------------------------------------------------------------------------------------------ */

/* Write the numbers from 1 on behind each other. Returns the last one, at which there are len bytes or more. */
static unsigned counter_write(char *text, size_t len)
{
	unsigned last = 0;

	for (size_t done = 0; done < len;)
		done += (size_t)sprintf(text + done, "%u\n", ++last);
	return last;
}

struct usp_file *counter_source(size_t len)
{
	char *text = malloc(len + 32);
	struct usp_file *file;

	assert_non_null(text);
	assert_int_equal(counter_open(counter_write(text, len), &file), 0);
	assert_int_equal(strlen(text), len); /* the table has a length that is the end of a line */
	free(text);
	return file;
}

void counter_fill(unsigned char *bytes, uint64_t off, size_t len)
{
	char *text = malloc(off + len + 32);

	assert_non_null(text);
	counter_write(text, off + len);
	memcpy(bytes, text + off, len);
	free(text);
}

static int packet_release(struct usp_file *file)
{
	struct device *device = file->priv;

	if (device->packet)
		usp_folio_put(&device->packet->folio);
	close(device->free_fd);
	free(device);
	return 0;
}

struct usp_file *packet_source(void)
{
	static struct usp_file_ops ops;
	struct device *device = calloc(1, sizeof(*device));
	struct usp_file *file;

	assert_non_null(device);
	device->free_fd = eventfd(NR_PACKETS, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
	for (unsigned i = 0; i < NR_PACKETS; i++)
		device->ring[i].device = device;
	ops = device_ops;
	ops.release = packet_release;
	assert_int_equal(usp_file_new(&ops, USP_READ, "device", device, &file), 0);
	return file;
}

void packet_fill(unsigned char *bytes, uint64_t off, size_t len)
{
	uint64_t at = 0;

	for (unsigned nr = 0; at < off + len; nr++) {
		char packet[HEADER_MAX + PAYLOAD_LEN];
		size_t header = (size_t)snprintf(packet, HEADER_MAX, "packet %u\n", nr);

		memset(packet + header, 'a' + (int)(nr % 26), PAYLOAD_LEN);
		for (size_t i = 0; i < header + PAYLOAD_LEN; i++, at++) {
			if (at >= off && at < off + len)
				bytes[at - off] = (unsigned char)packet[i];
		}
	}
}

/* --- Sinks -------------------------------------------------------------------------------------------------------- */

struct usp_file *lines_sink(void)
{
	static struct lines lines;
	struct usp_file *file;

	assert_int_equal(usp_file_new(&lines_ops, USP_WRITE, "lines", &lines, &file), 0);
	return file;
}

static struct kept kept;

struct usp_file *keep_sink(void)
{
	struct usp_file *file;

	assert_int_equal(usp_file_new(&keep_ops, USP_WRITE, "keep", &kept, &file), 0);
	return file;
}

void keep_take(unsigned char *bytes, uint64_t off, size_t len)
{
	uint64_t at = 0;
	size_t done = 0;

	for (unsigned i = 0; i < kept.nr_bufs && done < len; i++) {
		const struct usp_buf *buf = &kept.bufs[i];

		for (size_t j = 0; j < buf->len && done < len; j++, at++) {
			if (at >= off)
				bytes[done++] = usp_buf_bytes(buf)[j];
		}
	}
	assert_int_equal(done, len);
}

void keep_forget(void)
{
	while (kept.nr_bufs)
		usp_buf_release(NULL, &kept.bufs[--kept.nr_bufs]);
}

static int credit_release(struct usp_file *file)
{
	free(file->priv);
	return usp_fd_release(file);
}

struct usp_file *credit_sink(int *ret_fd)
{
	static struct usp_file_ops ops;
	struct credit *credit = calloc(1, sizeof(*credit));
	char grants[GRANTS] = {0};
	struct usp_file *file;
	int fds[2];

	assert_non_null(credit);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ops = credit_ops;
	ops.release = credit_release;
	assert_int_equal(usp_file_new(&ops, USP_WRITE, "credit", credit, &file), 0);
	file->fd = fds[0];
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &(int){SEND_BYTES}, sizeof(int)), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(write(fds[1], grants, sizeof(grants)), sizeof(grants));
	*ret_fd = fds[1];
	return file;
}
