/* SPDX-License-Identifier: MIT */
/* test_place - the addresses of a relay: from text, to text, to numbers; and listening there. */
#include "base/addr.h"
#include "endpoints/stream_address.h"
#include "net.h"
#include "relay/door.h"
#include "relay/sockaddr.h"

static char folder[] = "/tmp/usplice-place-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

/* Fails if a socket was left in it. */
static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

/* --- From text and back -------------------------------------------------------------------------------------- */

static void assert_prints(const struct sockaddr *address, socklen_t len, const char *wanted)
{
	char text[128];

	assert_int_equal(usp_addr_print(address, len, text, sizeof(text)), strlen(wanted));
	assert_string_equal(text, wanted);
}

static const struct {
	const char *text, *printed;
} good[] = {
	{"127.0.0.1:80", "127.0.0.1:80"},
	{"tcp:127.0.0.1:65535", "127.0.0.1:65535"},
	{"[::1]:80", "[::1]:80"},
	{"tcp:[2001:db8::a]:1", "[2001:db8::a]:1"},
	{"unix:/run/a", "unix:/run/a"},
	{"unix:here", "unix:here"},
	{"unix:/run/a:80", "unix:/run/a:80"},
};

static void a_text_and_its_address_mean_the_same(void **state)
{
	struct addrinfo *list;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(usp_stream_resolve(good[i].text, false, &list, &why), 0);
		assert_prints(list->ai_addr, list->ai_addrlen, good[i].printed);
		assert_int_equal(list->ai_socktype, SOCK_STREAM);
		usp_stream_resolve_free(list);
	}
	usp_stream_resolve_free(NULL);
}

#define PATH_52 "/2345678901234567890123456789012345678901234567890123"

static const struct {
	const char *text;
	int error;
} bad[] = {
	{"", -EINVAL},
	{"127.0.0.1", -EINVAL},
	{":80", -EINVAL},
	{"127.0.0.1:", -EINVAL},
	{"::1:80", -EINVAL},
	{"127.0.0.1:65536", -EINVAL},
	{"unix:", -EINVAL},
	{"unix:" PATH_52 PATH_52 PATH_52, -ENAMETOOLONG},
	{"127.0.0.1:0", -EINVAL},
	{"udp:127.0.0.1:80", -EINVAL},
	{"udp:80", -EINVAL},
	{"tcp://127.0.0.1:80", -EINVAL},
};

static void a_text_that_is_no_address_is_refused_with_a_reason(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct addrinfo *list = NULL;
		const char *why = NULL;
		int ret = usp_stream_resolve(bad[i].text, false, &list, &why);

		if (ret != bad[i].error)
			fail_msg("'%s' gives %d", bad[i].text, ret);
		assert_non_null(why);
		assert_null(list);
	}
	(void)state;
}

/* --- To text ------------------------------------------------------------------------------------------------- */

static void paths_are_printed_as_far_as_they_go(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct sockaddr *any = (struct sockaddr *)&address;
	char full[sizeof(address.sun_path) + sizeof("unix:")];

	(void)state;
	assert_prints(any, offsetof(struct sockaddr_un, sun_path), "unix:"); /* without a name */
	memcpy(address.sun_path, "\0name", 5);
	assert_prints(any, offsetof(struct sockaddr_un, sun_path) + 5, "unix:@name");
	memset(address.sun_path, 'x', sizeof(address.sun_path)); /* no zero behind it */
	snprintf(full, sizeof(full), "unix:%.*s", (int)sizeof(address.sun_path), address.sun_path);
	assert_prints(any, sizeof(address), full);
}

static void what_is_too_long_is_cut(void **state)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(12345),
	};
	const struct sockaddr other = {.sa_family = AF_APPLETALK};
	char text[16];

	(void)state;
	memset(text, '!', sizeof(text));
	assert_true(usp_addr_print((const struct sockaddr *)&address, sizeof(address), text, 10) >= 9);
	assert_string_equal(text, "127.0.0.1");
	assert_int_equal(text[10], '!');
	assert_prints(&other, sizeof(other), "unknown");
}

/* --- To numbers ---------------------------------------------------------------------------------------------- */

static uint32_t hash_of(const char *text)
{
	struct addrinfo *list;
	const char *why;
	uint32_t hash;

	assert_int_equal(usp_stream_resolve(text, false, &list, &why), 0);
	hash = usp_sockaddr_hash(list->ai_addr);
	usp_stream_resolve_free(list);
	return hash;
}

static void a_client_has_one_hash_whatever_its_port(void **state)
{
	(void)state;
	assert_int_equal(hash_of("192.0.2.1:1"), hash_of("192.0.2.1:60000"));
	assert_int_equal(hash_of("[2001:db8::1]:1"), hash_of("[2001:db8::1]:60000"));
	assert_int_equal(hash_of("192.0.2.1:1"), hash_of("[::ffff:192.0.2.1]:1")); /* as another proxy may write it */
	assert_int_equal(hash_of("unix:/a"), hash_of("unix:/b"));		   /* clients have no names there */
	assert_int_not_equal(hash_of("192.0.2.1:1"), hash_of("192.0.2.2:1"));
	assert_int_not_equal(hash_of("[2001:db8::1]:1"), hash_of("[2001:db8::2]:1"));
}

/* Clients of one network are spread. */
static void hashes_of_neighbours_fall_on_all_targets(void **state)
{
	unsigned counts[4] = {0};
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		snprintf(text, sizeof(text), "192.0.2.%u:1", i);
		counts[hash_of(text) % ARRAY_LEN(counts)]++;
	}
	for (unsigned i = 0; i < ARRAY_LEN(counts); i++)
		assert_in_range(counts[i], 32, 96);
}

/* --- The local address ------------------------------------------------------------------------------------------ */

static const struct {
	const char *text, *printed; /* NULL: it is refused */
} sources[] = {
	{"127.0.0.1", "127.0.0.1:0"}, {"127.0.0.1:1234", "127.0.0.1:1234"},
	{"[::1]", "[::1]:0"},	      {"[::1]:1234", "[::1]:1234"},
	{"::1", "[::1]:0"},	      {"127.0.0.1:x y", NULL},
};

static void a_source_needs_no_port(void **state)
{
	struct addrinfo *list;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		int ret = usp_sockaddr_resolve_source(sources[i].text, &list);

		assert_int_equal(ret == 0, sources[i].printed != NULL);
		if (ret < 0)
			continue;
		assert_prints(list->ai_addr, list->ai_addrlen, sources[i].printed);
		usp_stream_resolve_free(list);
	}
}

static void a_source_that_is_too_long_is_refused(void **state)
{
	struct addrinfo *list;
	char text[NI_MAXHOST + NI_MAXSERV + 1];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(usp_sockaddr_resolve_source(text, &list), -EINVAL);
}

/* --- Listening --------------------------------------------------------------------------------------------------- */

static void a_listener_takes_clients_and_does_not_block(void **state)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	const char *why = NULL;
	struct usp_door doors[USP_DOORS_MAX], others[USP_DOORS_MAX];
	int nr = usp_door_listen("127.0.0.1:0", NULL, 5, doors, &why), fd = doors[0].fd, client;
	char text[64];

	(void)state;
	assert_int_equal(nr, 1);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(net_connect(client, ntohs(address.sin_port)), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(address.sin_port));
	assert_int_equal(usp_door_listen(text, NULL, 5, others, &why), -EADDRINUSE);
	assert_string_equal(why, "somebody else listens there");
	close(client);
	close(fd);
}

static void localhost_listens_on_both_families_with_one_port(void **state)
{
	const char *why = NULL;
	struct usp_door doors[USP_DOORS_MAX];
	struct sockaddr_in6 in6;
	struct sockaddr_in in;
	socklen_t in6_len = sizeof(in6), in_len = sizeof(in);
	int nr;

	(void)state;
	if (!net_has_ipv6())
		skip();
	nr = usp_door_listen("localhost:0", NULL, 5, doors, &why);
	assert_int_equal(nr, 2);
	assert_int_equal(getsockname(doors[0].fd, (struct sockaddr *)&in6, &in6_len), 0);
	assert_int_equal(getsockname(doors[1].fd, (struct sockaddr *)&in, &in_len), 0);
	assert_true(IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr));
	assert_int_equal(in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	assert_int_equal(in.sin_port, in6.sin6_port);
	usp_door_close(&doors[0]);
	usp_door_close(&doors[1]);
}

static void all_addresses_are_one_listener_for_both_families(void **state)
{
	const char *why = NULL;
	struct usp_door doors[USP_DOORS_MAX];

	(void)state;
	assert_int_equal(usp_door_listen(":0", NULL, 5, doors, &why), 1);
	usp_door_close(&doors[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_text_and_its_address_mean_the_same),
		CASE(a_text_that_is_no_address_is_refused_with_a_reason),
		CASE(paths_are_printed_as_far_as_they_go),
		CASE(what_is_too_long_is_cut),
		CASE(a_client_has_one_hash_whatever_its_port),
		CASE(hashes_of_neighbours_fall_on_all_targets),
		CASE(a_source_needs_no_port),
		CASE(a_source_that_is_too_long_is_refused),
		CASE(a_listener_takes_clients_and_does_not_block),
		CASE(localhost_listens_on_both_families_with_one_port),
		CASE(all_addresses_are_one_listener_for_both_families),
	};

	return cmocka_run_group_tests_name("place", tests, make_folder, remove_folder);
}
