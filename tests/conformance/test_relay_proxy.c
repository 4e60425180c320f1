/* SPDX-License-Identifier: MIT */
/* test_relay_proxy - PROXY headers through a relay: however they come, of whom, what is handed on, and what is refused. */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "relay/proxy.h"
#include "stage.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\xc0\0\x02\x01\xc6\x33\x64\x07\x04\x57\0\x50"
#define LINE "PROXY TCP4 192.0.2.1 198.51.100.7 1111 80\r\n"
#define BYTES(text) (text), sizeof(text) - 1

struct text {
	const char *bytes;
	size_t len;
};

/* With an identifier, a checksum, one that may be anything, and padding. */
static const struct text with_tlvs = {BYTES(SIGNATURE "\x21\x11\0\x21" V4 "\x05\0\x03uid\x03\0\x04\x37\x0b\x73\xd5"
						      "\xe0\0\x01x\x04\0\x01y")};

static struct usp_relay_params params_of(unsigned proxy_send)
{
	return (struct usp_relay_params){
		.size = sizeof(struct usp_relay_params),
		.proxy_accept = true,
		.proxy_send = proxy_send,
		.connect_timeout_ns = 3600 * STAGE_S,
	};
}

static void send_text(int fd, struct text text)
{
	assert_int_equal(send(fd, text.bytes, text.len, MSG_NOSIGNAL), text.len);
}

static void take_text(int fd, struct text text)
{
	static char taken[USP_PROXY_HEADER_MAX];

	assert_true(text.len <= sizeof(taken));
	assert_int_equal(recv(fd, taken, text.len, MSG_WAITALL), text.len);
	assert_memory_equal(taken, text.bytes, text.len);
}

/* --- However it comes ------------------------------------------------------------------------------------------ */

static struct text longest_header(void)
{
	static char bytes[USP_PROXY_HEADER_MAX] = SIGNATURE "\x21\x11\x3f\xf0" V4 "\xe0\x3f\xe1";

	for (size_t i = 31; i < sizeof(bytes); i++)
		bytes[i] = (char)pattern_at(i);
	return (struct text){bytes, sizeof(bytes)};
}

/* More single bytes than a UNIX socket takes that nobody empties. */
static void try_longest(bool is_unix, unsigned proxy_send)
{
	const struct usp_relay_params params = params_of(proxy_send);
	const struct text header = longest_header();
	struct stage stage;
	struct target target;
	struct pair pair;

	target_open(&target, is_unix);
	stage_open(&stage, &params, is_unix, 1, &target);
	pair.client = stage_connect(&stage);
	for (size_t i = 0; i < header.len; i++)
		send_text(pair.client, (struct text){header.bytes + i, 1});
	pair.target = target_accept(&target);
	if (proxy_send)
		take_text(pair.target, header);
	pair_greet(&pair);
	pair_close(&pair);
	stage_close(&stage);
	target_close(&target);
}

static void the_longest_header_comes_in_single_bytes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		try_longest(i & 1, i & 2);
}

/* The first part has been taken before the rest is sent: its room is empty again. */
static void await_taken(int fd)
{
	int unsent = 1;

	while (unsent) {
		assert_int_equal(ioctl(fd, SIOCOUTQ, &unsent), 0);
		sched_yield();
	}
}

static void try_split(const struct stage *stage, const struct target *target, struct text header, size_t at)
{
	struct pair pair = {.client = stage_connect(stage)};

	send_text(pair.client, (struct text){header.bytes, at});
	await_taken(pair.client);
	assert_false(target_is_asked(target));
	send_text(pair.client, (struct text){header.bytes + at, header.len - at});
	pair.target = target_accept(target);
	take_text(pair.target, header);
	pair_greet(&pair);
	pair_close(&pair);
}

/* At UNIX sockets, because their queue tells when the relay has taken the first part. */
static void a_header_may_be_split_anywhere(void **state)
{
	static const struct text line = {BYTES(LINE)};
	struct stage stage;
	struct target target;

	(void)state;
	for (unsigned version = 1; version <= 2; version++) {
		const struct usp_relay_params params = params_of(version);
		struct text header = version == 1 ? line : with_tlvs;

		target_open(&target, true);
		stage_open(&stage, &params, true, 1, &target);
		for (size_t at = 1; at < header.len; at++)
			try_split(&stage, &target, header, at);
		AWAIT(stage_status(&stage).nr_connections == 0);
		assert_int_equal(stage_status(&stage).nr_unserved, 0);
		stage_close(&stage);
		target_close(&target);
	}
}

/* --- What is handed on ----------------------------------------------------------------------------------------- */

static void assert_becomes(unsigned proxy_send, struct text sent, struct text taken)
{
	const struct usp_relay_params params = params_of(proxy_send);
	struct stage stage;
	struct target target;
	struct pair pair;

	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	pair.client = stage_connect(&stage);
	send_text(pair.client, sent);
	pair.target = target_accept(&target);
	take_text(pair.target, taken);
	pair_greet(&pair);
	pair_close(&pair);
	stage_close(&stage);
	target_close(&target);
}

static void what_a_header_says_besides_is_handed_on_in_version_2(void **state)
{
	(void)state;
	assert_becomes(2, with_tlvs, with_tlvs);
	assert_becomes(1, with_tlvs, (struct text){BYTES(LINE)});
}

static void a_header_keeps_its_meaning_in_the_other_version(void **state)
{
	static const struct {
		struct text in, v1, v2;
	} rows[] = {
		{{BYTES("PROXY UNKNOWN ffff 1.2.3.4\r\n")},
		 {BYTES("PROXY UNKNOWN\r\n")},
		 {BYTES(SIGNATURE "\x20\0\0\0")}},
		{{BYTES(SIGNATURE "\x20\0\0\0")}, {BYTES("PROXY UNKNOWN\r\n")}, {BYTES(SIGNATURE "\x20\0\0\0")}},
		{{BYTES(SIGNATURE "\x21\0\0\0")}, {BYTES("PROXY UNKNOWN\r\n")}, {BYTES(SIGNATURE "\x21\0\0\0")}},
		{{BYTES(SIGNATURE "\x21\x12\0\x0c" V4)},
		 {BYTES("PROXY UNKNOWN\r\n")},
		 {BYTES(SIGNATURE "\x21\x12\0\x0c" V4)}},
		{{BYTES("PROXY TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 1 2\r\n")},
		 {BYTES("PROXY TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 1 2\r\n")},
		 {BYTES(SIGNATURE "\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04"
				  "\0\0\0\0\0\0\0\0\0\0\xff\xff\x05\x06\x07\x08\0\x01\0\x02")}},
		{{BYTES("PROXY TCP4 1.2.3.4 ::1 1 2\r\n")},
		 {BYTES("PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n")},
		 {BYTES(SIGNATURE "\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04"
				  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02")}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_becomes(1, rows[i].in, rows[i].v1);
		assert_becomes(2, rows[i].in, rows[i].v2);
	}
}

/* A target that is gone has taken nothing: the next one gets the header from its beginning. */
static void each_target_that_is_tried_gets_a_whole_header(void **state)
{
	const struct usp_relay_params params = params_of(2);
	struct target targets[2];
	struct stage stage;
	struct pair pair;

	(void)state;
	target_open_dead(&targets[0]);
	target_open(&targets[1], false);
	stage_open(&stage, &params, false, 2, targets);
	for (unsigned i = 0; i < 2; i++) {
		pair.client = stage_connect(&stage);
		send_text(pair.client, with_tlvs);
		pair.target = target_accept(&targets[1]);
		take_text(pair.target, with_tlvs);
		pair_greet(&pair);
		pair_close(&pair);
	}
	stage_close(&stage);
	target_close(&targets[0]);
	target_close(&targets[1]);
}

/* --- What is refused ------------------------------------------------------------------------------------------- */

static void every_refusal_is_counted_by_its_reason(void **state)
{
	static const struct {
		struct text sent;
		enum usp_header_fault fault;
	} rows[] = {
		{{BYTES("GET / HTTP/1.0\r\n\r\n")}, USP_HEADER_MALFORMED},
		{{BYTES(SIGNATURE "\x21\x11\0\x0f" V4 "\x04\xff\xff")}, USP_HEADER_MALFORMED},
		{{BYTES(SIGNATURE "\x21\x11\x3f\xf1")}, USP_HEADER_TOO_LONG},
		{{BYTES(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\0\0\0\0")}, USP_HEADER_WRONG_SUM},
	};
	const struct usp_relay_params params = params_of(2);
	uint64_t wanted[USP_HEADER_FAULTS_MAX] = {0};
	struct stage stage;
	struct target target;
	unsigned nr = 0;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	for (; nr < ARRAY_LEN(rows); nr++) {
		struct usp_relay_status status;
		int fd = stage_connect(&stage);

		send_text(fd, rows[nr].sent);
		take_reset(fd);
		close(fd);
		wanted[rows[nr].fault]++;
		status = stage_status(&stage);
		assert_int_equal(status.nr_unserved, nr + 1);
		assert_memory_equal(status.nr_header_faults, wanted, sizeof(wanted));
	}
	assert_false(target_is_asked(&target));
	stage_close(&stage);
	target_close(&target);
}

static void who_ends_too_early_or_comes_too_late_is_counted(void **state)
{
	struct usp_relay_params params = params_of(0);
	struct stage stage;
	struct target target;
	int fd;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	fd = stage_connect(&stage);
	send_text(fd, (struct text){BYTES("PROXY TCP4")});
	close(fd);
	AWAIT(stage_status(&stage).nr_header_faults[USP_HEADER_CUT] == 1);
	fd = stage_connect(&stage);
	send_text(fd, (struct text){BYTES("PROXY TCP4")});
	net_reset(fd); /* before the relay knows its address perhaps, and then nothing is due */
	AWAIT(stage_status(&stage).nr_unserved == 2);
	stage_close(&stage);
	params.connect_timeout_ns = 50 * STAGE_MS;
	stage_open(&stage, &params, false, 1, &target);
	fd = stage_connect(&stage);
	take_reset(fd);
	close(fd);
	assert_int_equal(stage_status(&stage).nr_header_faults[USP_HEADER_LATE], 1);
	assert_int_equal(stage_status(&stage).nr_unserved, 1);
	stage_close(&stage);
	target_close(&target);
}

/* --- Of whom --------------------------------------------------------------------------------------------------- */

static void open_with_list(struct stage *stage, const char *blocks, const struct target *target)
{
	const struct usp_relay_params params = {.size = sizeof(params), .connect_timeout_ns = 3600 * STAGE_S};

	stage_prepare(stage, &params, 1, target);
	assert_int_equal(usp_relay_accept_proxy(stage->relay, blocks, NULL), 0);
	stage_start(stage);
}

static int connect_from(const struct stage *stage, const char *host)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(AF_INET, host, &address.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	stage_connect_fd(stage, fd);
	return fd;
}

static void only_those_in_the_list_send_a_header_and_they_have_to(void **state)
{
	static const struct text line = {BYTES(LINE)};
	struct stage stage;
	struct target target;
	struct pair pair;

	(void)state;
	target_open(&target, false);
	open_with_list(&stage, "127.0.0.8/30,::1", &target);
	pair.client = connect_from(&stage, "127.0.0.9");
	send_text(pair.client, line);
	pair.target = target_accept(&target);
	pair_greet(&pair);
	pair_close(&pair);
	pair.client = connect_from(&stage, "127.0.0.11");
	send_text(pair.client, (struct text){BYTES("GET / HTTP/1.0\r\n\r\n")});
	take_reset(pair.client);
	close(pair.client);
	assert_int_equal(stage_status(&stage).nr_header_faults[USP_HEADER_MALFORMED], 1);
	pair.client = connect_from(&stage, "127.0.0.12"); /* the header of anybody else is data */
	send_text(pair.client, line);
	pair.target = target_accept(&target);
	take_text(pair.target, line);
	pair_greet(&pair);
	pair_close(&pair);
	stage_close(&stage);
	target_close(&target);
}

static void clients_of_unix_sockets_are_in_the_list_by_their_word(void **state)
{
	static const struct text line = {BYTES(LINE)};
	const struct usp_relay_params params = {.size = sizeof(params), .connect_timeout_ns = 3600 * STAGE_S};
	static const char *const lists[] = {"0.0.0.0/0,::/0", "unix:"};

	(void)state;
	for (unsigned is_listed = 0; is_listed < 2; is_listed++) {
		char address[STAGE_TEXT];
		struct target target, front;
		struct stage stage;
		struct pair pair;

		target_open(&target, false);
		target_open(&front, true); /* for the name of a socket */
		stage_prepare(&stage, &params, 1, &target);
		assert_int_equal(usp_relay_listen_fd(stage.relay, dup(front.listener)), 0);
		assert_int_equal(usp_relay_accept_proxy(stage.relay, lists[is_listed], NULL), 0);
		stage_start(&stage);
		snprintf(address, sizeof(address), "%s", stage.address);
		snprintf(stage.address, sizeof(stage.address), "%s", front.text);
		pair.client = stage_connect(&stage);
		send_text(pair.client, line);
		pair.target = target_accept(&target);
		if (!is_listed)
			take_text(pair.target, line);
		pair_greet(&pair);
		pair_close(&pair);
		snprintf(stage.address, sizeof(stage.address), "%s", address);
		stage_close(&stage);
		target_close(&front);
		target_close(&target);
	}
}

static void a_list_that_is_none_is_refused_with_a_reason(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params)};
	struct usp_relay *relay;
	const char *why = NULL;

	(void)state;
	assert_int_equal(usp_relay_new(&params, &relay), 0);
	assert_int_equal(usp_relay_accept_proxy(relay, "10.0.0.0/8", &why), 0);
	assert_null(why);
	assert_int_equal(usp_relay_accept_proxy(relay, "10.0.0.0/8,localhost", &why), -EINVAL);
	assert_non_null(why);
	assert_int_equal(usp_relay_accept_proxy(relay, "", NULL), -EINVAL);
	usp_relay_free(relay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_longest_header_comes_in_single_bytes),
		CASE(a_header_may_be_split_anywhere),
		CASE(what_a_header_says_besides_is_handed_on_in_version_2),
		CASE(a_header_keeps_its_meaning_in_the_other_version),
		CASE(each_target_that_is_tried_gets_a_whole_header),
		CASE(every_refusal_is_counted_by_its_reason),
		CASE(who_ends_too_early_or_comes_too_late_is_counted),
		CASE(only_those_in_the_list_send_a_header_and_they_have_to),
		CASE(clients_of_unix_sockets_are_in_the_list_by_their_word),
		CASE(a_list_that_is_none_is_refused_with_a_reason),
	};

	return cmocka_run_group_tests_name("relay_proxy", tests, stage_open_folder, stage_close_folder);
}
