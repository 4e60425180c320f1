/*
 * packet - a source with buffers of its own, as a driver has them: a packet is one piece of memory with a
 * header and a payload. Each goes into the pipe as a buf. When the last reference to a packet is gone, it may
 * be filled again; until then the source waits.
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <usplice/endpoint.h>

#define HEADER_MAX 32
#define PAYLOAD_LEN 1400
#define NR_PACKETS 4 /* in the ring of the device */
#define NR_SENT 1000

struct device;

/* The folio comes first: the core finds the bytes by it. */
struct packet {
	struct usp_folio folio;
	struct device *device;
	atomic_bool is_used;
	size_t header_len;
	char bytes[HEADER_MAX + PAYLOAD_LEN];
};

struct device {
	struct packet ring[NR_PACKETS];
	int free_fd; /* a semaphore: readable while a packet is free */
	atomic_uint nr_done;
	unsigned nr_filled;
	struct packet *packet; /* that is being pushed, with a reference of ours; NULL between two packets */
	size_t pushed;	       /* bytes of it */
};

/* --- The buf: a fragment of a packet ----------------------------------------------------------------- */

static void fragment_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	usp_folio_put(buf->store);
}

static bool fragment_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe, (void)copy;
	return usp_folio_get(buf->store);
}

/* No try_steal: the two fragments share the memory, and the device wants it back. */
static const struct usp_buf_ops fragment_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "fragment",
	.release = fragment_release,
	.get = fragment_get,
};

/* The last reference to the packet is gone, on whatever thread. */
static void packet_done(struct usp_folio *folio)
{
	struct packet *packet = (struct packet *)folio;

	atomic_store(&packet->is_used, false);
	atomic_fetch_add(&packet->device->nr_done, 1);
	eventfd_write(packet->device->free_fd, 1);
}

/* --- The source -------------------------------------------------------------------------------------- */

/* Take a packet that has no reference any more, and fill it as a network card would. NULL: none is free. */
static struct packet *device_fill(struct device *device)
{
	struct packet *packet = device->ring;
	eventfd_t one;

	if (eventfd_read(device->free_fd, &one) < 0)
		return NULL;
	while (atomic_exchange(&packet->is_used, true))
		packet++;
	packet->header_len = (size_t)snprintf(packet->bytes, HEADER_MAX, "packet %u\n", device->nr_filled);
	memset(packet->bytes + HEADER_MAX, 'a' + (int)(device->nr_filled++ % 26), PAYLOAD_LEN);
	usp_folio_init(&packet->folio, packet->bytes, sizeof(packet->bytes), packet_done);
	return packet;
}

/* Make a buf of what is left of the header, or else of the payload, and of at most len bytes. */
static struct usp_buf device_fragment(const struct device *device, size_t len)
{
	struct packet *packet = device->packet;
	bool is_header = device->pushed < packet->header_len;
	size_t off = is_header ? device->pushed : HEADER_MAX + device->pushed - packet->header_len;
	size_t left = (is_header ? packet->header_len : sizeof(packet->bytes)) - off;

	return (struct usp_buf){
		.ops = &fragment_ops, .store = &packet->folio, .offset = off, .len = left < len ? left : len};
}

/* Push fragments while there is room, each with a reference. Behind the last one of a packet drop our own. */
static ssize_t device_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct device *device = in->priv;
	size_t done = 0, room;

	(void)pos, (void)flags;
	while (done < len && usp_pipe_room(pipe, &room) && room) {
		struct usp_buf buf;

		if (!device->packet && (device->nr_filled == NR_SENT || !(device->packet = device_fill(device))))
			break;
		buf = device_fragment(device, room < len - done ? room : len - done);
		usp_folio_get(&device->packet->folio);
		usp_pipe_push(pipe, &buf, 1);
		done += buf.len;
		device->pushed += buf.len;
		if (device->pushed == device->packet->header_len + PAYLOAD_LEN) {
			usp_folio_put(&device->packet->folio);
			device->packet = NULL;
			device->pushed = 0;
		}
	}
	if (done)
		usp_file_account(in, USP_READ, USP_BY_REFERENCE, done, "fragments of packets");
	return done || (!device->packet && device->nr_filled == NR_SENT) ? (ssize_t)done : -EAGAIN;
}

/* To read, wait until a packet is free. */
static int device_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	const struct device *device = file->priv;

	(void)side;
	*ret_events = POLLIN;
	return device->free_fd;
}

static const struct usp_file_ops device_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "device",
	.splice_read = device_splice_read,
	.poll_fd = device_poll_fd,
};

int main(int argc, char **argv)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE};
	static struct device device;
	struct usp_file *source = NULL, *sink = NULL;
	int ret = argc == 2 ? usp_open(argv[1], &params, &sink, NULL) : -EINVAL;

	device.free_fd = eventfd(NR_PACKETS, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
	for (unsigned i = 0; i < NR_PACKETS; i++)
		device.ring[i].device = &device;
	if (ret == 0)
		ret = usp_file_new(&device_ops, USP_READ, "device", &device, &source);
	if (ret == 0)
		ret = usp_copy_files(source, sink, NULL, NULL);
	usp_file_put(source);
	usp_file_put(sink);
	if (ret < 0)
		fprintf(stderr, "packet: %s\n", strerror(-ret));
	else
		printf("%u packets sent, %u done\n", device.nr_filled, atomic_load(&device.nr_done));
	close(device.free_fd);
	return ret ? 1 : 0;
}
