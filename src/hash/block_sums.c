/* SPDX-License-Identifier: MIT */
/* block_sums - a list of checksums, one for each block of some bytes, and its form as a file. */
#include "hash/block_sums.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"

#define SUMS_LINE_MAX (USP_HASH_HEX_MAX + 64) /* no valid line is longer */
#define SUMS_PIECE ((size_t)32 << 10)	      /* one read(2) or write(2) */
#define SUMS_LENGTH_DIGITS 18		      /* of a number: below 2^63 */

static const char sums_magic[] = "# usplice blocks ";
static const char unreadable[] = "the list of checksums cannot be read";
static const char no_header[] = "the first line is not \"# usplice blocks ALG SIZE LENGTH\"";

/* --- The list ---------------------------------------------------------------------------------------------- */

int usp_block_sums_reserve(struct usp_block_sums *sums)
{
	uint64_t room = sums->room ? 2 * sums->room : 64;
	unsigned char *digests;

	if (sums->nr < sums->room)
		return 0;
	digests = usp_alloc_array(room, sums->hash->len);
	if (!digests)
		return -ENOMEM;
	if (sums->nr)
		memcpy(digests, sums->digests, sums->nr * sums->hash->len);
	usp_free(sums->digests);
	sums->digests = digests;
	sums->room = room;
	return 0;
}

void usp_block_sums_fini(struct usp_block_sums *sums)
{
	usp_free(sums->digests);
	sums->digests = NULL;
}

/* --- Its properties ---------------------------------------------------------------------------------------- */

/* Parse decimal digits without leading zeros: their number, or 0 if there is no such number here. */
static size_t sums_parse_number(const char *text, uint64_t *ret_value)
{
	size_t len = strspn(text, "0123456789");

	if (len > SUMS_LENGTH_DIGITS || (len > 1 && text[0] == '0'))
		return 0;
	*ret_value = 0;
	for (size_t i = 0; i < len; i++)
		*ret_value = 10 * *ret_value + (uint64_t)(text[i] - '0');
	return len;
}

static int sums_set(struct usp_block_sums *sums, const char *name, size_t name_len, uint64_t block_len,
		    const char **ret_why)
{
	sums->hash = usp_hash_named(name, name_len);
	*ret_why = "there is no such algorithm: sha256, sha512, blake2b, crc32c, xxh64, xxh3 and xxh128 are known";
	if (!sums->hash)
		return -EINVAL;
	*ret_why = "the size of a block is no power of two from 4096 to 1048576";
	if (block_len < USP_BLOCK_MIN || block_len > USP_BLOCK_MAX || block_len & (block_len - 1))
		return -EINVAL;
	sums->block_len = (size_t)block_len;
	*ret_why = sums->hash->missing ? sums->hash->missing() : NULL;
	return *ret_why ? -EOPNOTSUPP : 0;
}

int usp_block_sums_parse(const char *options, struct usp_block_sums *ret_sums, const char **ret_why)
{
	size_t name_len = strcspn(options, ":"), digits;
	uint64_t block_len = USP_BLOCK_DEFAULT;

	*ret_sums = (struct usp_block_sums){.nr = 0};
	if (options[name_len] == ':') {
		digits = sums_parse_number(options + name_len + 1, &block_len);
		if (!digits || options[name_len + 1 + digits])
			block_len = 0;
	}
	return sums_set(ret_sums, options, name_len, block_len, ret_why);
}

/* --- Reading ------------------------------------------------------------------------------------------------- */

struct sums_reader {
	int fd;
	size_t at, len; /* what is not used of bytes */
	char bytes[SUMS_PIECE];
};

/* Return the next byte, -ENODATA at the end, or -errno. */
static int sums_next_byte(struct sums_reader *reader)
{
	ssize_t ret;

	if (reader->at == reader->len) {
		ret = usp_sys_read(reader->fd, reader->bytes, sizeof(reader->bytes));
		if (ret <= 0)
			return ret ? (int)ret : -ENODATA;
		reader->at = 0;
		reader->len = (size_t)ret;
	}
	return (unsigned char)reader->bytes[reader->at++];
}

/* Read a line without its newline: its length, -ENODATA at the end, -EINVAL for no line of a list, or -errno. */
static int sums_read_line(struct sums_reader *reader, char ret_line[SUMS_LINE_MAX])
{
	int len = 0, byte;

	while ((byte = sums_next_byte(reader)) >= 0 && byte != '\n') {
		if (len == SUMS_LINE_MAX - 1 || byte == '\0')
			return -EINVAL;
		ret_line[len++] = (char)byte;
	}
	ret_line[len] = '\0';
	return byte == '\n' ? len : byte == -ENODATA && len ? -EINVAL : byte;
}

/* Parse "# usplice blocks ALG SIZE LENGTH". */
static int sums_parse_header(struct usp_block_sums *sums, const char *line, const char **ret_why)
{
	const char *name = line + strlen(sums_magic), *at;
	size_t name_len, digits;
	uint64_t block_len;

	*ret_why = no_header;
	if (strncmp(line, sums_magic, strlen(sums_magic)) != 0)
		return -EINVAL;
	name_len = strcspn(name, " ");
	at = name + name_len;
	if (*at++ != ' ' || !(digits = sums_parse_number(at, &block_len)) || at[digits] != ' ')
		return -EINVAL;
	at += digits + 1;
	digits = sums_parse_number(at, &sums->length);
	if (!digits || at[digits])
		return -EINVAL;
	return sums_set(sums, name, name_len, block_len, ret_why);
}

static unsigned char sums_nibble(char digit)
{
	return (unsigned char)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

/* Add the digest of a line: 0, -EINVAL or -ENOMEM. */
static int sums_add_line(struct usp_block_sums *sums, const char *line)
{
	unsigned char *digest;
	int ret;

	if (strlen(line) != 2 * sums->hash->len || strspn(line, "0123456789abcdef") != 2 * sums->hash->len)
		return -EINVAL;
	ret = usp_block_sums_reserve(sums);
	if (ret < 0)
		return ret;
	digest = usp_block_sums_digest(sums, sums->nr++);
	for (size_t i = 0; i < sums->hash->len; i++)
		digest[i] = (unsigned char)(sums_nibble(line[2 * i]) << 4 | sums_nibble(line[2 * i + 1]));
	return 0;
}

static int sums_read_lines(struct usp_block_sums *sums, struct sums_reader *reader, const char **ret_why)
{
	char line[SUMS_LINE_MAX];
	uint64_t nr_blocks;
	int ret = sums_read_line(reader, line);

	*ret_why = no_header;
	if (ret < 0)
		return ret == -ENODATA ? -EINVAL : ret;
	ret = sums_parse_header(sums, line, ret_why);
	if (ret < 0)
		return ret;
	nr_blocks = sums->length / sums->block_len + (sums->length % sums->block_len != 0);
	*ret_why = "a line is not the checksum of a block in lower-case hexadecimal digits, and a newline";
	while (sums->nr < nr_blocks && (ret = sums_read_line(reader, line)) >= 0) {
		ret = sums_add_line(sums, line);
		if (ret < 0)
			return ret;
	}
	if (ret >= 0)
		ret = sums_next_byte(reader); /* the end */
	if (ret < 0 && ret != -ENODATA)
		return ret;
	*ret_why = "there are more, or fewer, lines than blocks";
	return ret == -ENODATA && sums->nr == nr_blocks ? 0 : -EINVAL;
}

int usp_block_sums_read(const char *path, struct usp_block_sums *ret_sums, const char **ret_why)
{
	struct sums_reader *reader = usp_alloc(sizeof(*reader));
	int ret = -ENOMEM;

	*ret_sums = (struct usp_block_sums){.nr = 0};
	*ret_why = unreadable;
	if (reader) {
		ret = reader->fd = usp_sys_open(path, O_RDONLY | O_NOCTTY, 0);
		if (ret >= 0) {
			ret = sums_read_lines(ret_sums, reader, ret_why);
			usp_sys_close(reader->fd);
		}
	}
	usp_free(reader);
	if (ret < 0)
		usp_block_sums_fini(ret_sums);
	if (ret != -EINVAL && ret != -EOPNOTSUPP)
		*ret_why = ret < 0 ? unreadable : NULL;
	return ret;
}

/* --- Writing ------------------------------------------------------------------------------------------------- */

static int sums_write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t ret = usp_sys_write(fd, text, len);

		if (ret < 0 && ret != -EINTR)
			return (int)ret;
		text += ret > 0 ? ret : 0;
		len -= ret > 0 ? (size_t)ret : 0;
	}
	return 0;
}

int usp_block_sums_write(const struct usp_block_sums *sums, int fd)
{
	char *text = usp_alloc(SUMS_PIECE);
	size_t len;
	int ret = text ? 0 : -ENOMEM;

	if (ret < 0)
		return ret;
	len = (size_t)snprintf(text, SUMS_PIECE, "%s%s %zu %" PRIu64 "\n", sums_magic, sums->hash->name,
			       sums->block_len, sums->length);
	for (uint64_t i = 0; i < sums->nr && ret == 0; i++) {
		usp_hash_format(usp_block_sums_digest(sums, i), sums->hash->len, text + len);
		len += 2 * sums->hash->len;
		text[len++] = '\n';
		if (SUMS_PIECE - len >= USP_HASH_HEX_MAX + 1)
			continue;
		ret = sums_write_all(fd, text, len);
		len = 0;
	}
	if (ret == 0)
		ret = sums_write_all(fd, text, len);
	usp_free(text);
	return ret;
}
