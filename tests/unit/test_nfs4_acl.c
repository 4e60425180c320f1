/* SPDX-License-Identifier: MIT */
/* test_nfs4_acl - which access lists of NFS 4 say no more than a mode. */
#include "base/nfs4_acl.h"
#include "support.h"

#define ENTRY "\0\0\0\0\0\0\0\0\0\x16\0\x81"
#define OWNER ENTRY "\0\0\0\x06OWNER@\0\0"
#define GROUP ENTRY "\0\0\0\x06GROUP@\0\0"
#define EVERYONE           \
	ENTRY "\0\0\0\x09" \
	      "EVERYONE@\0\0\0"
#define NAMED              \
	ENTRY "\0\0\0\x08" \
	      "ann@here"
#define LIST(nr, entries) "\0\0\0" nr entries, sizeof("\0\0\0" nr entries) - 1

static void a_list_of_the_classes_of_a_mode_is_one(void **state)
{
	(void)state;
	assert_true(usp_nfs4_acl_is_mode(LIST("\x03", OWNER GROUP EVERYONE)));
	assert_true(usp_nfs4_acl_is_mode(LIST("\x02", EVERYONE EVERYONE)));
	assert_true(usp_nfs4_acl_is_mode(LIST("\0", "")));
}

static void a_list_with_a_name_says_more(void **state)
{
	(void)state;
	assert_false(usp_nfs4_acl_is_mode(LIST("\x01", NAMED)));
	assert_false(usp_nfs4_acl_is_mode(LIST("\x04", OWNER NAMED GROUP EVERYONE)));
	assert_false(usp_nfs4_acl_is_mode(LIST("\x01", ENTRY "\0\0\0\x07OWNER@x\0")));
	assert_false(usp_nfs4_acl_is_mode(LIST("\x01", ENTRY "\0\0\0\0")));
}

static void what_is_no_list_may_say_more(void **state)
{
	static const char bytes[] = "\0\0\0\x03" OWNER GROUP EVERYONE;
	static const char endless[] = "\0\0\0\x01" ENTRY "\xff\xff\xff\xffOWNER@\0\0";

	(void)state;
	for (size_t len = 0; len < sizeof(bytes) - 1; len++)
		assert_false(usp_nfs4_acl_is_mode(bytes, len));
	assert_true(usp_nfs4_acl_is_mode(bytes, sizeof(bytes) - 1));
	assert_false(usp_nfs4_acl_is_mode(bytes, sizeof(bytes)));
	assert_false(usp_nfs4_acl_is_mode(endless, sizeof(endless) - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_list_of_the_classes_of_a_mode_is_one),
		CASE(a_list_with_a_name_says_more),
		CASE(what_is_no_list_may_say_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
