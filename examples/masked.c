/* SPDX-License-Identifier: MIT */
/*
 * masked - a source over a page cache: it shows a file with the lowest bit of each byte turned over. The work is
 * done when a piece comes into the cache, once for all copies.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <usplice/mapping.h>

static ssize_t masked_read_folios(void *source, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	const int *fd = source;
	ssize_t ret = preadv(*fd, iov, (int)nr_segs, off);
	size_t left = ret > 0 ? (size_t)ret : 0;

	for (unsigned i = 0; left; i++) {
		unsigned char *bytes = iov[i].iov_base;
		size_t len = iov[i].iov_len < left ? iov[i].iov_len : left;

		for (size_t j = 0; j < len; j++)
			bytes[j] ^= 1;
		left -= len;
	}
	return ret < 0 ? -errno : ret;
}

static int masked_get_state(void *source, struct usp_mapping_state *ret_state)
{
	const int *fd = source;
	struct stat st;

	if (fstat(*fd, &st) < 0)
		return -errno;
	ret_state->bytes = st.st_size;
	ret_state->version[0] = (uint64_t)st.st_mtim.tv_sec;
	ret_state->version[1] = (uint64_t)st.st_mtim.tv_nsec;
	return 0;
}

static void masked_release(void *source)
{
	const int *fd = source;

	close(*fd);
}

static const struct usp_mapping_ops masked_ops = {
	.size = sizeof(struct usp_mapping_ops),
	.name = "masked",
	.read_folios = masked_read_folios,
	.get_state = masked_get_state,
	.release = masked_release,
};

/* Copy all of the mapping to one sink, by a file with a position of its own. */
static int copy_to(struct usp_mapping *mapping, const char *spec)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE};
	struct usp_file *source = NULL, *sink = NULL;
	int ret = usp_mapping_open(mapping, "masked", &source);

	if (ret == 0)
		ret = usp_open(spec, &params, &sink, NULL);
	if (ret == 0)
		ret = usp_copy_files(source, sink, NULL, NULL);
	usp_file_put(source);
	usp_file_put(sink);
	return ret;
}

int main(int argc, char **argv)
{
	const struct usp_mapping_params params = {
		.size = sizeof(params), .nr_threads = 2, .way = USP_COPIED, .reason = "turned over in the cache"};
	struct usp_mapping_usage usage = {.size = sizeof(usage)};
	struct usp_mapping *mapping;
	int ret, fd = open(argc > 1 ? argv[1] : "", O_RDONLY | O_CLOEXEC);

	ret = fd < 0 ? -errno : usp_mapping_new(&masked_ops, &fd, &params, &mapping);
	if (ret == 0) {
		for (int i = 2; i < argc && ret == 0; i++)
			ret = copy_to(mapping, argv[i]);
		usp_mapping_usage(mapping, &usage);
		printf("%" PRIu64 " bytes read for %d copies\n", usage.read_bytes, argc - 2);
		usp_mapping_put(mapping);
	}
	if (ret < 0)
		fprintf(stderr, "masked: %s\n", strerror(-ret));
	return ret ? 1 : 0;
}
