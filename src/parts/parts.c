/* SPDX-License-Identifier: MIT */
/* parts - what this library is made of: the lists of the floors below, one behind the other. */
#include <errno.h>
#include <string.h>
#include <usplice.h>

#include "base/compiler.h"
#include "base/sized.h"
#include "codec/codec.h"
#include "endpoints/endpoints.h"
#include "hash/hash.h"
#include "parts/libraries.h"
#include "parts/machine.h"
#include "transforms/transforms.h"

/* --- Endpoints ---------------------------------------------------------------------------------------------- */

static unsigned part_nr_endpoints(void)
{
	unsigned nr = 0;

	while (usp_endpoint_at(nr))
		nr++;
	return nr;
}

static void part_tell_endpoint(unsigned index, struct usp_part *ret_part)
{
	const struct usp_endpoint *endpoint = usp_endpoint_at(index);

	ret_part->kind = USP_PART_ENDPOINT;
	ret_part->name = endpoint->scheme;
	ret_part->form = endpoint->form;
	ret_part->summary = endpoint->summary;
	ret_part->options = endpoint->options;
	ret_part->modes = endpoint->modes;
	ret_part->missing = endpoint->missing ? endpoint->missing() : NULL;
}

/* --- Transforms --------------------------------------------------------------------------------------------- */

static unsigned part_nr_transforms(void)
{
	unsigned nr = 0;

	while (usp_transform_at(nr))
		nr++;
	return nr;
}

static void part_tell_transform(unsigned index, struct usp_part *ret_part)
{
	const struct usp_transform_row *row = usp_transform_at(index);
	const char *why = NULL;

	ret_part->kind = USP_PART_TRANSFORM;
	ret_part->name = row->transform->name;
	ret_part->form = row->form;
	ret_part->summary = row->summary;
	if (row->transform->check(row->example, &why) == -EOPNOTSUPP)
		ret_part->missing = why;
}

/* --- Formats ------------------------------------------------------------------------------------------------ */

static unsigned part_nr_formats(void)
{
	unsigned nr = 0;

	while (usp_codec_at(nr))
		nr++;
	return nr;
}

static void part_tell_format(unsigned index, struct usp_part *ret_part)
{
	static const struct {
		const struct usp_codec *codec;
		const struct usp_library *const *library;
		const char *summary;
	} rows[] = {
		{&usp_codec_zstd, &usp_library_zstd, "levels 1 to 22, 3 without one"},
		{&usp_codec_gzip, &usp_library_zlib, "levels 1 to 9, 6 without one"},
		{&usp_codec_lz4, &usp_library_lz4, "levels 1 to 12, 1 without one"},
		{&usp_codec_xz, &usp_library_lzma, "levels 0 to 9, 6 without one"},
	};
	const struct usp_codec *codec = usp_codec_at(index);

	ret_part->kind = USP_PART_FORMAT;
	ret_part->name = codec->name;
	ret_part->missing = codec->missing();
	for (unsigned i = 0; i < usp_array_len(rows); i++) {
		const struct usp_library *library = *rows[i].library;

		if (rows[i].codec != codec)
			continue;
		ret_part->summary = rows[i].summary;
		ret_part->library = library ? library->name : NULL;
		ret_part->version = usp_library_version(library);
	}
}

/* --- Digests ------------------------------------------------------------------------------------------------ */

static unsigned part_nr_digests(void)
{
	unsigned nr = 0;

	while (usp_hash_at(nr))
		nr++;
	return nr;
}

static const struct usp_library *part_digest_library(const struct usp_hash_ops *hash)
{
	if (hash == &usp_hash_crc32c) /* it does without */
		return usp_library_is_here(usp_library_isal) ? usp_library_isal : NULL;
	return strncmp(hash->name, "xxh", 3) == 0 ? usp_library_xxhash : usp_library_openssl;
}

static void part_tell_digest(unsigned index, struct usp_part *ret_part)
{
	const struct usp_hash_ops *hash = usp_hash_at(index);
	const struct usp_library *library = part_digest_library(hash);

	ret_part->kind = USP_PART_DIGEST;
	ret_part->name = hash->name;
	ret_part->summary = hash->summary;
	ret_part->library = library ? library->name : NULL;
	ret_part->version = usp_library_version(library);
	ret_part->missing = hash->missing ? hash->missing() : NULL;
}

/* --- All ---------------------------------------------------------------------------------------------------- */

static const struct {
	unsigned (*count)(void);
	void (*tell)(unsigned index, struct usp_part *ret_part);
} part_lists[] = {
	{part_nr_endpoints, part_tell_endpoint},  {part_nr_transforms, part_tell_transform},
	{part_nr_formats, part_tell_format},	  {part_nr_digests, part_tell_digest},
	{usp_machine_nr_parts, usp_machine_tell},
};

int usp_part_at(unsigned index, struct usp_part *ret_part)
{
	struct usp_part part = {.name = NULL};

	for (unsigned i = 0; i < usp_array_len(part_lists); i++) {
		unsigned nr = part_lists[i].count();

		if (index < nr) {
			part_lists[i].tell(index, &part);
			usp_sized_give(ret_part, &part, sizeof(part));
			return 0;
		}
		index -= nr;
	}
	return -EINVAL;
}
