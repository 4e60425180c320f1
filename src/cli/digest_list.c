/* SPDX-License-Identifier: MIT */
/* digest_list - the digests that a command line asks for, and what is expected of them. */
#include "digest_list.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <usplice/transform.h>

/* Ask the library whether it has the algorithm, and whether the digest may be one of it. */
static const char *list_check(const struct digest_item *item)
{
	char spec[DIGEST_SPEC_MAX];
	const char *why;

	snprintf(spec, sizeof(spec), "digest:%s", item->name);
	switch (strchr(item->name, ':') ? -EINVAL : usp_transform_check(spec, &why)) {
	case 0:
		break;
	case -EOPNOTSUPP:
		return why;
	default:
		return "is no algorithm that is known: sha256, sha512, blake2b, crc32c, xxh64, xxh3 and xxh128 are";
	}
	if (item->expected[0] == '\0')
		return NULL;
	snprintf(spec, sizeof(spec), "digest:%s:%s", item->name, item->expected);
	return usp_transform_check(spec, &why) < 0 ? "is no digest of this algorithm: it has another length, or "
						     "other characters than hexadecimal digits"
						   : NULL;
}

static struct digest_item *list_find(struct digest_list *list, const char *name)
{
	unsigned i;

	for (i = 0; i < list->nr; i++) {
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	}
	return NULL;
}

/* Copy text into a field of len bytes. Longer text is cut, and then it is no name and no digest. */
static void list_copy(char *field, size_t len, const char *text, size_t text_len)
{
	snprintf(field, len, "%.*s", (int)(text_len < len ? text_len : len - 1), text);
}

const char *digest_list_add(struct digest_list *list, const char *name, size_t name_len, const char *hex,
			    size_t hex_len, bool is_told)
{
	struct digest_item item = {.is_told = is_told}, *old;
	const char *why;
	size_t i;

	list_copy(item.name, sizeof(item.name), name, name_len);
	if (hex)
		list_copy(item.expected, sizeof(item.expected), hex, hex_len);
	for (i = 0; item.expected[i] != '\0'; i++)
		item.expected[i] = (char)tolower((unsigned char)item.expected[i]);
	why = list_check(&item);
	if (!why && hex && hex_len != strlen(item.expected))
		why = "is no digest of this algorithm: it is too long";
	if (why || (hex && hex_len == 0))
		return why ? why : "has no digest behind the colon";
	old = list_find(list, item.name);
	if (old && item.expected[0] != '\0' && old->expected[0] != '\0' && strcmp(old->expected, item.expected) != 0)
		return "is another digest than the one that is already expected";
	if (!old)
		old = &list->items[list->nr++]; /* there are fewer algorithms than DIGEST_ITEMS_MAX */
	item.is_told |= old->is_told;
	if (item.expected[0] == '\0')
		memcpy(item.expected, old->expected, sizeof(item.expected));
	*old = item;
	return NULL;
}

void digest_list_spec(const struct digest_list *list, char ret_spec[DIGEST_SPEC_MAX])
{
	size_t len = (size_t)snprintf(ret_spec, DIGEST_SPEC_MAX, "digest:");
	unsigned i;

	for (i = 0; i < list->nr; i++) {
		const struct digest_item *item = &list->items[i];

		len += (size_t)snprintf(ret_spec + len, DIGEST_SPEC_MAX - len, "%s%s%s%s", i > 0 ? "," : "", item->name,
					item->expected[0] != '\0' ? ":" : "", item->expected);
	}
}

const char *option_digest(const char *value, void *field)
{
	const char *why = NULL;

	for (;; value++) {
		size_t len = strcspn(value, ",");

		why = digest_list_add(field, value, len, NULL, 0, true);
		value += len;
		if (why || *value == '\0')
			return why;
	}
}

const char *option_verify(const char *value, void *field)
{
	const char *colon = strchr(value, ':');

	if (!colon)
		return "is not ALG:HEX, such as sha256:9f86d0...";
	return digest_list_add(field, value, (size_t)(colon - value), colon + 1, strlen(colon + 1), false);
}
