/* masked - a source over a page cache: the lowest bit of each byte of a file is turned over, once for all readers. */
#include <stdio.h>
#include <string.h>
#include <usplice/mapping.h>

/* Fill a piece of the cache. A short read is fine: one segment is enough. */
static ssize_t masked_read_folios(void *source, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	unsigned char *bytes = iov[0].iov_base;
	ssize_t ret = usp_pread(source, bytes, iov[0].iov_len, off);

	(void)nr_segs;
	for (ssize_t i = 0; i < ret; i++)
		bytes[i] ^= 1;
	return ret;
}

/* The source is an open file. If its size or its times change, the cache is emptied. */
static const struct usp_mapping_ops masked_ops = {
	.size = sizeof(struct usp_mapping_ops),
	.name = "masked",
	.read_folios = masked_read_folios,
	.get_state = usp_filemap_get_state,
};

/* Write the masked file to each of the sinks, by a file with a position of its own. */
int main(int argc, char **argv)
{
	const struct usp_mapping_params params = {.size = sizeof(params), .way = USP_COPIED, .reason = "turned over"};
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	struct usp_mapping_usage usage = {.size = sizeof(usage)};
	struct usp_file *source = NULL, *file;
	struct usp_mapping *mapping = NULL;
	int ret = usp_open(argc > 1 ? argv[1] : "", &to_read, &source, NULL);

	if (ret == 0)
		ret = usp_mapping_new(&masked_ops, source, &params, &mapping);
	for (int i = 2; i < argc && ret == 0; i++) {
		ret = usp_mapping_open(mapping, "masked", &file);
		if (ret < 0)
			break;
		ret = usp_copy_to(file, argv[i], NULL, NULL);
		usp_file_put(file);
	}
	if (ret == 0)
		usp_mapping_usage(mapping, &usage);
	usp_mapping_put(mapping);
	usp_file_put(source);
	if (ret < 0)
		fprintf(stderr, "masked: %s\n", strerror(-ret));
	else
		printf("%zu bytes read for %d copies\n", (size_t)usage.read_bytes, argc - 2);
	return ret ? 1 : 0;
}
