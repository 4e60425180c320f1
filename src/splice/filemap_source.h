/* SPDX-License-Identifier: MIT */
/*
 * filemap_source - sources of mappings that lie over a file, and how opens of the same one share a mapping.
 *
 * A mapping belongs to what it was made of, and not to an open: a file, a device or a mapping, with what is laid over
 * it. Opens of the same share it while one of them is open.
 */
#ifndef USP_SPLICE_FILEMAP_SOURCE_H
#define USP_SPLICE_FILEMAP_SOURCE_H

#include <sys/queue.h>
#include <sys/stat.h>
#include <usplice/endpoint.h>
#include <usplice/mapping.h>

#define USP_FILEMAP_SECRET_LEN 32

/* What makes two sources the same one. */
struct usp_filemap_key {
	const void *kind;			      /* an address that tells what is laid over the file */
	const void *mapping;			      /* of the file below; NULL without one */
	struct stat object;			      /* else its descriptor: only device, inode and number count */
	bool can_share;				      /* there is one of the two */
	unsigned flags;				      /* USP_DIRECT ... of the file below */
	size_t budget;				      /* as it was asked for */
	unsigned char secret[USP_FILEMAP_SECRET_LEN]; /* without which nobody may have the bytes; zeros without one */
};

/*
 * The beginning of a source. Its maker sets below and mapping. The release hook of the mapping calls
 * usp_filemap_source_fini, and frees it.
 */
struct usp_filemap_source {
	LIST_ENTRY(usp_filemap_source) link;
	struct usp_file *below; /* that the source reads; it has a reference */
	struct usp_mapping *mapping;
	struct usp_filemap_key key;
	unsigned nr_files; /* open ones; the lock of the list guards it */
	unsigned process;  /* whose list it is in */
	bool is_listed;
	const char *why;  /* of the last piece that failed, static, or NULL; the lock of the list guards it */
	uint64_t why_off; /* bytes, in the input */
};

/* Check that a cache can serve a file: it has positions and a true size. NULL, or why not. May read a byte. */
const char *usp_filemap_objection(const struct usp_file *below);

/*
 * Read all len bytes at off of a file, and account for them there as copied, or as what its mapping did: 0, -errno, or
 * -ENODATA if it ends before. Blocks.
 */
int usp_filemap_below_read(struct usp_file *below, void *bytes, size_t len, int64_t off);

/* Make the key of a source over a file. secret: USP_FILEMAP_SECRET_LEN bytes, or NULL. */
void usp_filemap_key_init(struct usp_filemap_key *key, const void *kind, struct usp_file *below, size_t budget,
			  const unsigned char *secret);

/* Return the source of this key that is open already, and count a file of it; or NULL. */
struct usp_filemap_source *usp_filemap_source_find(const struct usp_filemap_key *key);

/* Ask whether a source that was found can be used now: 0, or -errno, and the file is counted no more. */
int usp_filemap_source_look(struct usp_filemap_source *source);

/*
 * Add a source that was made for this key, and count a file of it. Where another one of this key was quicker that one
 * is returned, and own is dropped with its mapping.
 */
struct usp_filemap_source *usp_filemap_source_add(struct usp_filemap_source *own, const struct usp_filemap_key *key);

/* A file of the source is closed. The last one drops the mapping: then it blocks as usp_mapping_put. */
void usp_filemap_source_put(struct usp_filemap_source *source);

/*
 * Make a file over a source, for a stage over below: it takes over the reference to below, whose account is a hop of the
 * route, and a file of the source that was counted. The table has the hooks of usp_filemap_*, and for release this one.
 * On failure both stay with the caller.
 */
int usp_filemap_source_open(const struct usp_file_ops *ops, struct usp_filemap_source *source, struct usp_file *below,
			    const char *name, struct usp_file **ret_file);
int usp_filemap_source_release(struct usp_file *file);

/* Keep a failure, with a static sentence and its offset in bytes of the input: the last one is told. Any thread may call. */
void usp_filemap_source_fail(struct usp_filemap_source *source, const char *why, uint64_t off);

/* Tell the last failure as usp_transform_failure does: false if there is none. */
bool usp_filemap_source_failure(struct usp_filemap_source *source, const char **ret_why, uint64_t *ret_off);

/* Drop the file below, and wipe the key. */
void usp_filemap_source_fini(struct usp_filemap_source *source);

#endif
