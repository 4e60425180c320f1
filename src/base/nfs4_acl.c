/* SPDX-License-Identifier: MIT */
/* nfs4_acl - access lists of NFS 4, as Linux gives them in the attribute system.nfs4_acl. */
#include "base/nfs4_acl.h"

#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

/* A list in the form of the wire, RFC 7531: numbers of four bytes, and texts that are filled up to four bytes. */
struct acl_list {
	const unsigned char *at;
	size_t left;
};

static bool acl_take(struct acl_list *list, size_t len, const unsigned char **ret_bytes)
{
	size_t whole = (len + 3) & ~(size_t)3;

	if (len > list->left || whole > list->left)
		return false;
	*ret_bytes = list->at;
	list->at += whole;
	list->left -= whole;
	return true;
}

static bool acl_take_number(struct acl_list *list, uint32_t *ret_number)
{
	const unsigned char *at;

	if (!acl_take(list, 4, &at))
		return false;
	*ret_number = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	return true;
}

bool usp_nfs4_acl_is_mode(const void *bytes, size_t len)
{
	static const char *const classes[] = {"OWNER@", "GROUP@", "EVERYONE@"};
	struct acl_list list = {.at = bytes, .left = len};
	uint32_t nr, other, who_len;
	const unsigned char *who;

	if (!acl_take_number(&list, &nr))
		return false;
	while (nr-- > 0) {
		bool is_class = false;

		for (unsigned i = 0; i < 3; i++) { /* type, flags, rights */
			if (!acl_take_number(&list, &other))
				return false;
		}
		if (!acl_take_number(&list, &who_len) || !acl_take(&list, who_len, &who))
			return false;
		for (unsigned i = 0; i < 3; i++)
			is_class = is_class || (who_len == strlen(classes[i]) && memcmp(who, classes[i], who_len) == 0);
		if (!is_class)
			return false;
	}
	return list.left == 0;
}
