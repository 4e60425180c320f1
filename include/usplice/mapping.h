/* SPDX-License-Identifier: MIT */
/*
 * usplice/mapping.h - a page cache over a source: struct address_space of the kernel.
 *
 * A mapping keeps pieces of a seekable source in folios. Files over it lend these folios to pipes by
 * reference. A folio that is missing is read by a thread of the mapping; it may already stand in pipes
 * meanwhile, and whoever needs its bytes waits for them. A file that is read in order gets folios read ahead.
 * Many readers of one mapping cost one read of each folio.
 *
 * The rules common to all functions are those of usplice.h. All functions are safe from any thread. A child of
 * fork(2) has no threads that read: a mapping that it inherits gives -ESTALE.
 */
#ifndef USPLICE_MAPPING_H
#define USPLICE_MAPPING_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

struct usp_mapping;

/* What a source is now. The mapping drops what it has if version differs from the last time. */
struct usp_mapping_state {
	int64_t bytes;	     /* its size */
	uint64_t version[2]; /* such as the times of its last change; the same for ever if it cannot change */
	bool is_unsettled;   /* it may change again without another version: keep nothing for the next call */
};

/* The source of a mapping: what address_space_operations are in the kernel. */
struct usp_mapping_ops {
	size_t size; /* sizeof(struct usp_mapping_ops) */
	const char *name;

	/*
	 * Read the bytes at off into all segments, of len bytes together: a batched read_folio. Bytes, 0 at the
	 * end, or -errno; fewer bytes than asked for are asked for again. May block. Called by several threads
	 * at once if params.nr_threads is above 1. off and the segments are multiples of params.folio_bytes.
	 */
	ssize_t (*read_folios)(void *source, const struct iovec *iov, unsigned nr_segs, int64_t off);

	/* Tell what the source is now: 0 or -errno. Called at each read of a file. Must not block for long. */
	int (*get_state)(void *source, struct usp_mapping_state *ret_state);

	/* Free the source; called once, when no read is under way and the last file is closed. NULL: nothing to do. */
	void (*release)(void *source);
};

/*
 * The get_state of a source that is a struct usp_file: the size and the times of a file on disk, what a file over a
 * mapping knows, and the size of anything else, where only that can tell of a change. -EINVAL without a known size. Does
 * not block.
 */
USP_EXPORT int usp_filemap_get_state(void *source, struct usp_mapping_state *ret_state);

struct usp_mapping_params {
	size_t size;	     /* sizeof(struct usp_mapping_params) */
	size_t budget;	     /* most bytes of folios, also of those in pipes; at least 256 KiB; 0: 64 MiB */
	size_t folio_bytes;  /* the smallest folio: a power of two from 4096 to 2 MiB; 0: 4096 */
	unsigned nr_threads; /* that read at once, at most 16; 0: 1 */
	enum usp_way way;    /* how the bytes come into a folio: USP_COPIED, USP_UNKNOWN ... */
	const char *reason;  /* why, for the ledger; static; may be NULL */
	/*
	 * The source makes so many bytes at once, from a multiple of that on: a power of two of at most 32 MiB; 0: any.
	 * Folios that are read ahead are as long, as far as an eighth of the budget allows it.
	 */
	size_t piece_bytes;
};

/*
 * Make a mapping with one reference. The source belongs to it then; on failure it stays with the caller.
 * -EINVAL for a parameter out of its range, -ENOMEM. Does not block.
 */
USP_EXPORT int usp_mapping_new(const struct usp_mapping_ops *ops, void *source, const struct usp_mapping_params *params,
			       struct usp_mapping **ret_mapping);

USP_EXPORT struct usp_mapping *usp_mapping_get(struct usp_mapping *mapping);

/*
 * Drop a reference; a file over the mapping has one, too. The last one drops what is cached. It blocks until
 * the reads under way have ended, and those of folios that stand in pipes: these stay valid. NULL is allowed.
 */
USP_EXPORT void usp_mapping_put(struct usp_mapping *mapping);

/*
 * Make a file to read from, with a position and a readahead of its own. It takes a reference of its own to the
 * mapping. splice gives references. usp_read copies, and blocks as a read from a disk does. -ENOMEM.
 */
USP_EXPORT int usp_mapping_open(struct usp_mapping *mapping, const char *name, struct usp_file **ret_file);

/*
 * Make a file to write to: what is written is kept in the cache as what the source has there, for later reads.
 * The source is not written. The caller answers for the bytes. They come in order from the position on; a seek
 * goes to a multiple of params.folio_bytes. usp_splice with USP_SPLICE_MOVE takes whole pages over by reference;
 * the ledger tells. Bytes that are in the cache already, or for which it has no room, are dropped. -ENOSPC behind
 * the end of the source. Not for several threads at once. -ENOMEM.
 */
USP_EXPORT int usp_mapping_open_store(struct usp_mapping *mapping, const char *name, struct usp_file **ret_file);

/* Forget the bytes [off, off + len) of the source; len 0: to its end. Folios in pipes keep what they have. */
USP_EXPORT void usp_mapping_invalidate(struct usp_mapping *mapping, int64_t off, size_t len);

/* A snapshot of a mapping: plain values. */
struct usp_mapping_usage {
	size_t size;  /* sizeof(struct usp_mapping_usage) */
	size_t bytes; /* memory of its folios now, those in pipes included: never above the budget */
	size_t budget;
	uint64_t nr_hits;    /* folios that a reader found */
	uint64_t nr_misses;  /* folios that a reader had to ask for */
	uint64_t nr_ahead;   /* folios that were read ahead */
	uint64_t read_bytes; /* that the source has given */
	uint64_t nr_evicted; /* folios that left for others */
};
USP_EXPORT void usp_mapping_usage(struct usp_mapping *mapping, struct usp_mapping_usage *ret_usage);

#ifdef __cplusplus
}
#endif
#endif
