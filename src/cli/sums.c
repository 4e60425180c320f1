/* SPDX-License-Identifier: MIT */
/*
 * sums - files of digests, as sha256sum(1) and its like write and check them.
 *
 *   HEX  NAME            text mode
 *   HEX *NAME            binary mode; the same here
 *   SHA256 (NAME) = HEX  with the algorithm: --tag
 *   SHA256(NAME)= HEX    of openssl(1)
 *   \HEX  NA\nME         an escaped name
 *
 * The algorithm of a line without one follows from the length of the digest. Lines of another form, such as
 * comments and signatures, are no entries.
 */
#include "sums.h"
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <usplice/spec.h>

#define SUMS_LINE_MAX 16384 /* a path has at most 4096 characters, and each may be escaped */

struct sums_entry {
	const char *algorithm; /* as the library calls it; NULL for one that it does not know */
	const char *hex;
	size_t hex_len;
	char *name; /* points into the line */
};

/* What a line with the algorithm calls it. */
static const char *const sums_tags[][2] = {
	{"SHA256", "sha256"},	{"SHA512", "sha512"},	{"BLAKE2b", "blake2b"},	   {"BLAKE2b-512", "blake2b"},
	{"SHA2-256", "sha256"}, {"SHA2-512", "sha512"}, {"BLAKE2B512", "blake2b"}, {"CRC32C", "crc32c"},
	{"XXH64", "xxh64"},	{"XXH3", "xxh3"},	{"XXH128", "xxh128"},
};

static const char *sums_find_tag(const char *tag, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(sums_tags) / sizeof(sums_tags[0]); i++) {
		if (strlen(sums_tags[i][0]) == len && strncasecmp(sums_tags[i][0], tag, len) == 0)
			return sums_tags[i][1];
	}
	return NULL;
}

/* Name the algorithm of a digest by its length. SHA-512 and BLAKE2b share one: the name of the file tells. */
static const char *sums_algorithm(size_t hex_len, const char *path)
{
	const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;

	if (hex_len == 64)
		return "sha256";
	if (hex_len == 128)
		return strcasestr(file, "b2") || strcasestr(file, "blake2") ? "blake2b" : "sha512";
	return hex_len == 16 ? "xxh64" : NULL;
}

/* Undo the escapes of a name in place. False for what is no escape. */
static bool sums_unescape(char *name)
{
	char *to = name;

	for (; *name != '\0'; name++) {
		if (*name != '\\') {
			*to++ = *name;
			continue;
		}
		name++;
		if (*name != '\\' && *name != 'n' && *name != 'r')
			return false;
		*to++ = *name == 'n' ? '\n' : *name == 'r' ? '\r' : '\\';
	}
	*to = '\0';
	return true;
}

bool sums_escape(const char *name, char **ret_name)
{
	char *to = *ret_name = malloc(2 * strlen(name) + 1);
	bool is_escaped = false;

	for (; to && *name != '\0'; name++) {
		bool must_escape = *name == '\\' || *name == '\n' || *name == '\r';

		if (must_escape)
			*to++ = '\\';
		*to++ = *name == '\n' ? 'n' : *name == '\r' ? 'r' : *name;
		is_escaped |= must_escape;
	}
	if (to)
		*to = '\0';
	return is_escaped;
}

static size_t sums_count_hex(const char *text)
{
	return strspn(text, "0123456789abcdefABCDEF");
}

/* Parse "ALG (NAME) = HEX", or "ALG(NAME)= HEX" of openssl(1). The name ends at the last of these. */
static bool sums_parse_tagged(char *line, struct sums_entry *ret_entry)
{
	char *open = strchr(line, '('), *close = NULL, *at;
	bool has_blank = open && open > line && open[-1] == ' ';
	const char *end = has_blank ? ") = " : ")= ";

	for (at = open; at && (at = strstr(at, end)) != NULL; at++)
		close = at;
	if (!close)
		return false;
	*close = '\0';
	*ret_entry = (struct sums_entry){
		.algorithm = sums_find_tag(line, (size_t)(open - line) - has_blank),
		.hex = close + strlen(end),
		.name = open + 1,
	};
	ret_entry->hex_len = sums_count_hex(ret_entry->hex);
	return ret_entry->hex_len > 0 && ret_entry->hex[ret_entry->hex_len] == '\0';
}

/* Parse "HEX  NAME" or "HEX *NAME". */
static bool sums_parse_plain(char *line, const char *path, struct sums_entry *ret_entry)
{
	size_t len = sums_count_hex(line);

	if (len == 0 || line[len] != ' ' || (line[len + 1] != ' ' && line[len + 1] != '*') || line[len + 2] == '\0')
		return false;
	*ret_entry = (struct sums_entry){
		.algorithm = sums_algorithm(len, path), .hex = line, .hex_len = len, .name = line + len + 2};
	return true;
}

/* Parse a line without its end. False if it is no entry. */
static bool sums_parse(char *line, const char *path, struct sums_entry *ret_entry)
{
	bool is_escaped = line[0] == '\\';

	line += is_escaped;
	if (!sums_parse_plain(line, path, ret_entry) && !sums_parse_tagged(line, ret_entry))
		return false;
	return !is_escaped || sums_unescape(ret_entry->name);
}

static const char *sums_without_dot(const char *name)
{
	while (strncmp(name, "./", 2) == 0)
		name += 2;
	return name;
}

/* What is looked for, and what was found. */
struct sums_search {
	struct sums_want *want;
	struct digest_list before; /* what its list had at first */
	bool is_exact;		   /* an entry of the whole name was found: no other counts */
	const char *why;	   /* the first contradiction */
};

static bool sums_is_same(const char *a, const char *b)
{
	return strcmp(sums_without_dot(a), sums_without_dot(b)) == 0;
}

static void sums_take(struct sums_search *search, const struct sums_entry *entry)
{
	struct sums_want *want = search->want;
	const char *slash = strrchr(want->name, '/'), *why;
	bool is_exact = sums_is_same(entry->name, want->name);

	if (!entry->algorithm || (!is_exact && (search->is_exact || !slash || !sums_is_same(entry->name, slash + 1))))
		return;
	if (is_exact && !search->is_exact) {
		search->is_exact = true;
		search->why = NULL;
		want->list = search->before;
		want->nr_entries = 0;
	}
	want->nr_entries++;
	why = digest_list_add(&want->list, entry->algorithm, strlen(entry->algorithm), entry->hex, entry->hex_len,
			      false);
	search->why = search->why ? search->why : why;
}

/* Read a line without its end. False at the end of the file. A line that is too long or has zeros becomes "". */
static bool sums_read_line(FILE *file, char line[SUMS_LINE_MAX])
{
	size_t len;
	int c;

	if (!fgets(line, SUMS_LINE_MAX, file))
		return false;
	len = strlen(line);
	if (len == 0 || (line[len - 1] != '\n' && !feof(file))) {
		line[len = 0] = '\0';
		do
			c = getc(file);
		while (c != '\n' && c != EOF);
	}
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	return true;
}

/* Look through the file once, for each search: it may be a pipe. 0 or -errno. */
static int sums_search_all(FILE *file, const char *path, struct sums_search *searches, unsigned nr_searches)
{
	char line[SUMS_LINE_MAX];
	unsigned i;

	while (sums_read_line(file, line)) {
		struct sums_entry entry;

		if (!sums_parse(line, path, &entry))
			continue;
		for (i = 0; i < nr_searches; i++)
			sums_take(&searches[i], &entry);
	}
	return ferror(file) ? -errno : 0;
}

char *sums_name(const char *text)
{
	struct usp_spec *spec;
	const char *why;
	char *name;

	if (usp_spec_parse(text, &spec, &why) < 0)
		return strdup(text);
	name = strcmp(usp_spec_scheme(spec), "cached") == 0 ? sums_name(usp_spec_address(spec))
							    : strdup(usp_spec_path(spec) ? usp_spec_path(spec) : text);
	usp_spec_free(spec);
	return name;
}

static int sums_refuse(const char *path, int error)
{
	message_say("--verify-file %s: %s", path, strerror(-error));
	return CLI_USAGE;
}

int sums_find_each(const char *path, struct sums_want *wants, unsigned nr_wants)
{
	struct sums_search *searches = calloc(nr_wants + 1, sizeof(*searches));
	FILE *file = searches ? fopen(path, "re") : NULL;
	int error = file ? 0 : searches ? -errno : -ENOMEM, code = CLI_DONE;
	unsigned i;

	for (i = 0; file && i < nr_wants; i++) {
		searches[i].want = &wants[i];
		searches[i].before = wants[i].list;
		wants[i].nr_entries = 0;
	}
	if (file) {
		error = sums_search_all(file, path, searches, nr_wants);
		fclose(file);
	}
	if (error < 0)
		code = sums_refuse(path, error);
	for (i = 0; code == CLI_DONE && i < nr_wants; i++) {
		if (searches[i].why) {
			message_say("--verify-file %s: what it says of %s %s", path, wants[i].name, searches[i].why);
			code = CLI_USAGE;
		}
	}
	free(searches);
	return code;
}

int sums_find(const char *path, const char *name, struct digest_list *list)
{
	struct sums_want want = {.name = strdup(name), .list = *list};
	int code = want.name ? sums_find_each(path, &want, 1) : sums_refuse(path, -ENOMEM);

	if (code == CLI_DONE && want.nr_entries == 0) {
		message_say("--verify-file %s: has no digest of %s that is known", path, name);
		code = CLI_USAGE;
	}
	if (code == CLI_DONE)
		*list = want.list;
	free(want.name);
	return code;
}
