/* SPDX-License-Identifier: MIT */
/* test_host - which hosts of requests are this server, and which texts are names. */
#include <errno.h>

#include "metrics/host.h"
#include "support.h"

static char *names[] = {"relay", "metrics.example.org", "xn--bcher-kva_1"};

static bool is_ours(const char *text)
{
	return usp_host_is_ours(text, strlen(text), names, ARRAY_LEN(names));
}

static void numbers_localhost_and_given_names_are_ours(void **state)
{
	static const char *const hosts[] = {
		"127.0.0.1",
		"127.0.0.1:9187",
		"192.0.2.1:80",
		"[::1]",
		"[::1]:9187",
		"[2001:DB8::a]",
		"[::ffff:1.2.3.4]:1",
		"localhost",
		"LOCALHOST:1",
		"localhost.",
		"localhost.:1",
		"relay.localhost:9187",
		"relay",
		"Relay:9187",
		"relay.",
		"relay.:80",
		"metrics.example.org",
		"METRICS.example.ORG",
		"xn--bcher-kva_1",
		"relay:",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		print_message("# %s\n", hosts[i]);
		assert_true(is_ours(hosts[i]));
	}
}

static void all_other_hosts_are_foreign(void **state)
{
	static const char *const hosts[] = {
		"",
		":",
		":80",
		".",
		"evil.example",
		"evil.example:9187",
		"127.0.0.1.evil.example",
		"127.0.0.1.evil.example:9187",
		"localhost.evil.example",
		"evillocalhost",
		".localhost",
		"localhost..",
		"relay..",
		"relays",
		"rela",
		"example.org",
		"a.metrics.example.org",
		"metrics.example.org.evil",
		"user@localhost",
		"localhost@evil.example",
		"relay evil",
		"relay/evil",
		"relay:80:80",
		"relay:http",
		"relay:80 ",
		" relay",
		"127.1",
		"127.0.0.1x",
		"2130706433",
		"0x7f.0.0.1",
		"::1",
		"::1:80",
		"[::1",
		"::1]",
		"[]",
		"[]:80",
		"[::1]80",
		"[::1]:80]",
		"[::1]:x",
		"[::1%lo]",
		"[::1]evil",
		"[127.0.0.1]",
		"[relay]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		print_message("# %s\n", hosts[i]);
		assert_false(is_ours(hosts[i]));
	}
	assert_false(usp_host_is_ours("relay\0", 6, names, ARRAY_LEN(names)));
	assert_false(usp_host_is_ours("[::1\0]", 6, names, ARRAY_LEN(names)));
	assert_false(usp_host_is_ours("relay", 5, NULL, 0));
	assert_true(usp_host_is_ours("relayed", 5, names, ARRAY_LEN(names)));
}

static void a_name_is_kept_as_names_are_compared(void **state)
{
	static const struct {
		const char *text, *name;
	} good[] = {{"Relay", "relay"}, {"a.B.", "a.b"}, {"0-_", "0-_"}, {"10.0.0.1", "10.0.0.1"}};
	static const char *const bad[] = {"",  ".",	"..",  "a..b",	       ".a",	    "a:80", "a/",
					  "*", "[::1]", "a b", "http://relay", "b\xc3\xbc", "a..",  "a\n"};
	char name[USP_HOST_NAME_MAX], text[300];
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(usp_host_name(good[i].text, name, &why), 0);
		assert_string_equal(name, good[i].name);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		why = NULL;
		assert_int_equal(usp_host_name(bad[i], name, &why), -EINVAL);
		assert_non_null(why);
	}
	memset(text, 'a', sizeof(text));
	text[253] = '\0';
	assert_int_equal(usp_host_name(text, name, &why), 0);
	assert_string_equal(name, text);
	text[253] = 'a';
	text[254] = '\0';
	assert_int_equal(usp_host_name(text, name, &why), -EINVAL);
	assert_false(usp_host_is_ours(text, 254, names, ARRAY_LEN(names)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(numbers_localhost_and_given_names_are_ours),
		CASE(all_other_hosts_are_foreign),
		CASE(a_name_is_kept_as_names_are_compared),
	};

	return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
