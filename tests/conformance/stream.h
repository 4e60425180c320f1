/* SPDX-License-Identifier: MIT */
/* stream - the bytes that go through whole routes: pseudo-random, so that none can take another's place, and their SHA-256. */
#ifndef USP_TESTS_STREAM_H
#define USP_TESTS_STREAM_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The stream of this program: made once, in memory, which is also a tmpfs file, and in a file on a disk. */
struct stream {
	const unsigned char *base;
	size_t len;
	int tmpfs_fd, disk_fd;
	unsigned char digest[EVP_MAX_MD_SIZE]; /* of all of it */
};
extern struct stream stream;

/* Make it, len bytes long, or as long as USP_TEST_BYTES in the environment says ("1G" is possible). 0, or -1. */
int stream_open(size_t len);
void stream_close(void);

/* Another descriptor for an open file, with a position of its own. */
int stream_reopen(int fd, int flags);

/* An empty file without a name, on tmpfs or on a disk. */
int stream_tmpfs_file(void);
int stream_disk_file(void);

/* What arrived, as it arrives. */
struct stream_hash {
	EVP_MD_CTX *context;
	size_t len;
};
void stream_hash_begin(struct stream_hash *hash);
void stream_hash_add(struct stream_hash *hash, const void *base, size_t len);
void stream_hash_end(struct stream_hash *hash, unsigned char ret_digest[EVP_MAX_MD_SIZE]);

/* The first len bytes of the stream have this digest. */
bool stream_has_digest(size_t len, const unsigned char *digest);

#endif
