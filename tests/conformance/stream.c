/* SPDX-License-Identifier: MIT */
/* stream - the bytes that go through whole routes, and their SHA-256. */
#include "stream.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <usplice/spec.h>

#define STREAM_WRITE_LEN ((size_t)1 << 20)

struct stream stream = {.tmpfs_fd = -1, .disk_fd = -1};

/* --- Files ------------------------------------------------------------------------------------------ */

int stream_reopen(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

int stream_tmpfs_file(void)
{
	return memfd_create("usplice-test", MFD_CLOEXEC);
}

/* The build directory is on a disk as a rule; /tmp is often not. */
int stream_disk_file(void)
{
	const char *folder = getenv("USPLICE_BUILD_DIR");
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/usplice-test-XXXXXX", folder ? folder : "/var/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

/* --- The content ------------------------------------------------------------------------------------ */

/* Word by word, each a mix of its index: no two ranges are alike. */
static void stream_fill(unsigned char *base, size_t len)
{
	for (size_t off = 0; off < len; off += sizeof(uint64_t)) {
		uint64_t word = (off / sizeof(word) + 1) * 0x9e3779b97f4a7c15u;

		word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
		word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
		word ^= word >> 31;
		memcpy(base + off, &word, len - off < sizeof(word) ? len - off : sizeof(word));
	}
	base[len - 1] |= 1; /* so that the end of the stream can be found in memory that was zeroed before */
}

static size_t stream_wanted_len(size_t len)
{
	const char *text = getenv("USP_TEST_BYTES");
	int64_t wanted;

	return text && usp_size_parse(text, &wanted, NULL) == 0 && wanted > 0 ? (size_t)wanted : len;
}

static bool stream_write_disk(void)
{
	stream.disk_fd = stream_disk_file();
	for (size_t done = 0; done < stream.len;) {
		size_t len = stream.len - done < STREAM_WRITE_LEN ? stream.len - done : STREAM_WRITE_LEN;
		ssize_t ret = write(stream.disk_fd, stream.base + done, len);

		if (ret <= 0)
			return false;
		done += (size_t)ret;
	}
	return true;
}

int stream_open(size_t len)
{
	struct stream_hash hash;
	void *base;

	stream.len = stream_wanted_len(len);
	stream.tmpfs_fd = stream_tmpfs_file();
	if (stream.tmpfs_fd < 0 || ftruncate(stream.tmpfs_fd, (off_t)stream.len) < 0)
		return -1;
	base = mmap(NULL, stream.len, PROT_READ | PROT_WRITE, MAP_SHARED, stream.tmpfs_fd, 0);
	if (base == MAP_FAILED)
		return -1;
	stream_fill(base, stream.len);
	stream.base = base;
	stream_hash_begin(&hash);
	stream_hash_add(&hash, stream.base, stream.len);
	stream_hash_end(&hash, stream.digest);
	return stream_write_disk() ? 0 : -1;
}

void stream_close(void)
{
	munmap((void *)stream.base, stream.len);
	close(stream.tmpfs_fd);
	close(stream.disk_fd);
}

/* --- SHA-256 ---------------------------------------------------------------------------------------- */

void stream_hash_begin(struct stream_hash *hash)
{
	hash->len = 0;
	hash->context = EVP_MD_CTX_new();
	if (!hash->context || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1)
		abort();
}

void stream_hash_add(struct stream_hash *hash, const void *base, size_t len)
{
	if (EVP_DigestUpdate(hash->context, base, len) != 1)
		abort();
	hash->len += len;
}

void stream_hash_end(struct stream_hash *hash, unsigned char ret_digest[EVP_MAX_MD_SIZE])
{
	memset(ret_digest, 0, EVP_MAX_MD_SIZE);
	if (EVP_DigestFinal_ex(hash->context, ret_digest, NULL) != 1)
		abort();
	EVP_MD_CTX_free(hash->context);
}

bool stream_has_digest(size_t len, const unsigned char *digest)
{
	unsigned char expected[EVP_MAX_MD_SIZE];
	struct stream_hash hash;

	if (len > stream.len)
		return false;
	if (len == stream.len)
		return memcmp(digest, stream.digest, sizeof(expected)) == 0;
	stream_hash_begin(&hash);
	stream_hash_add(&hash, stream.base, len);
	stream_hash_end(&hash, expected);
	return memcmp(digest, expected, sizeof(expected)) == 0;
}
