/* SPDX-License-Identifier: MIT */
/* age_header - see https://c2sp.org/age: each text has one spelling only, and everything else is refused. */
#include "age/age_header.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "age/age_text.h"
#include "base/compiler.h"

#define HEADER_COLUMNS 64 /* of a full line of a body */
#define HEADER_LINE_BYTES 48

/* Find the end of a line: its length without the newline. False if it is not there yet. */
static bool header_line(const char *text, size_t len, size_t *ret_len)
{
	const char *end = memchr(text, '\n', len);

	*ret_len = end ? (size_t)(end - text) : 0;
	return end;
}

/* Tell whether the beginning of text is the beginning of what is expected. */
static bool header_may_be(const char *text, size_t len, const char *expected)
{
	return memcmp(text, expected, usp_min(len, strlen(expected))) == 0;
}

/* Return the length of the word at text: visible characters of ASCII up to a space or the end. 0 for others. */
static size_t header_word(const char *text, size_t len)
{
	size_t at = 0;

	while (at < len && text[at] > ' ' && text[at] <= '~')
		at++;
	return at == len || text[at] == ' ' ? at : 0;
}

/* Parse the words behind the arrow: 0 or -EBADMSG. */
static int header_words(const char *line, size_t len, struct usp_age_stanza *stanza)
{
	for (size_t at = 0; at <= len; at++) { /* skips one space */
		size_t word = header_word(line + at, len - at);

		if (!word)
			return -EBADMSG;
		if (!stanza->type) {
			stanza->type = line + at;
			stanza->type_len = word;
		} else {
			if (stanza->nr_args < USP_AGE_STANZA_ARGS) {
				stanza->args[stanza->nr_args] = line + at;
				stanza->arg_lens[stanza->nr_args] = word;
			}
			stanza->nr_args++;
		}
		at += word;
	}
	return 0;
}

/* Parse the lines of a body, of which only the last is shorter than the others: bytes, 0 or -EBADMSG. */
static ssize_t header_body(const char *text, size_t len, struct usp_age_stanza *stanza)
{
	unsigned char bytes[HEADER_LINE_BYTES];
	size_t at = 0, line;

	do {
		ssize_t ret;

		if (!header_line(text + at, len - at, &line))
			return len - at > HEADER_COLUMNS ? -EBADMSG : 0;
		ret = line <= HEADER_COLUMNS ? usp_age_base64_decode(text + at, line, bytes, sizeof(bytes)) : -EBADMSG;
		if (ret < 0)
			return ret;
		if (stanza->body_len + (size_t)ret <= sizeof(stanza->body))
			memcpy(stanza->body + stanza->body_len, bytes, (size_t)ret);
		stanza->body_len += (size_t)ret;
		at += line + 1;
	} while (line == HEADER_COLUMNS);
	return (ssize_t)at;
}

ssize_t usp_age_stanza_parse(const char *text, size_t len, struct usp_age_stanza *ret_stanza)
{
	static const char arrow[] = "-> ";
	size_t line, mark = sizeof(arrow) - 1;
	ssize_t ret;

	*ret_stanza = (struct usp_age_stanza){.nr_args = 0};
	if (!header_may_be(text, len, arrow))
		return -EBADMSG;
	if (!header_line(text, len, &line))
		return 0;
	if (line < mark || header_words(text + mark, line - mark, ret_stanza) < 0)
		return -EBADMSG;
	ret = header_body(text + line + 1, len - line - 1, ret_stanza);
	return ret > 0 ? ret + (ssize_t)line + 1 : ret;
}

/* Parse the last line: its bytes, 0 if more are needed, or -EBADMSG. */
static ssize_t header_mac(const char *text, size_t len, struct usp_age_header *header)
{
	static const char mark[] = USP_AGE_MAC_MARK " ";
	size_t mark_len = sizeof(mark) - 1, line;

	if (!header_may_be(text, len, mark))
		return -EBADMSG;
	if (!header_line(text, len, &line))
		return len > mark_len + USP_AGE_BASE64_LEN(USP_AGE_MAC_LEN) ? -EBADMSG : 0;
	if (line != mark_len + USP_AGE_BASE64_LEN(USP_AGE_MAC_LEN) ||
	    usp_age_base64_decode(text + mark_len, line - mark_len, header->mac, sizeof(header->mac)) !=
		    USP_AGE_MAC_LEN)
		return -EBADMSG;
	header->mac_at = header->stanzas_len + mark_len - 1;
	return (ssize_t)line + 1;
}

/* Parse stanzas from where the last call ended: 1 when the last line follows, 0 if more is needed, or -EBADMSG. */
static int header_stanzas(const char *text, size_t len, struct usp_age_header *header)
{
	while (len - header->stanzas_len >= 2) {
		struct usp_age_stanza stanza;
		ssize_t ret;

		if (header->nr_stanzas && text[header->stanzas_len + 1] == '-')
			return 1;
		ret = usp_age_stanza_parse(text + header->stanzas_len, len - header->stanzas_len, &stanza);
		if (ret <= 0)
			return (int)ret;
		header->stanzas_len += (size_t)ret;
		header->nr_stanzas++;
		header->nr_scrypt += stanza.type_len == 6 && memcmp(stanza.type, "scrypt", 6) == 0;
		if (header->nr_scrypt && header->nr_stanzas > 1)
			return -EBADMSG;
	}
	return 0;
}

ssize_t usp_age_header_parse(const char *text, size_t len, struct usp_age_header *header)
{
	ssize_t ret;

	if (!header->stanzas_len) {
		if (!header_may_be(text, len, USP_AGE_INTRO))
			return -EBADMSG;
		if (len < sizeof(USP_AGE_INTRO) - 1)
			return 0;
		header->stanzas_len = sizeof(USP_AGE_INTRO) - 1;
	}
	ret = header_stanzas(text, len, header);
	if (ret > 0)
		ret = header_mac(text + header->stanzas_len, len - header->stanzas_len, header);
	return ret > 0 ? ret + (ssize_t)header->stanzas_len : ret;
}

int usp_age_stanza_format(char *text, size_t room, size_t *at, const char *args,
			  const unsigned char body[USP_AGE_MAC_LEN])
{
	char encoded[USP_AGE_BASE64_LEN(USP_AGE_MAC_LEN)];
	int len;

	usp_age_base64_encode(body, USP_AGE_MAC_LEN, encoded);
	len = snprintf(text + *at, room - *at, "-> %s\n%.*s\n", args, (int)sizeof(encoded), encoded);
	if (len < 0 || (size_t)len >= room - *at)
		return -EMSGSIZE;
	*at += (size_t)len;
	return 0;
}
