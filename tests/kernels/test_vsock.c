/* SPDX-License-Identifier: MIT */
/* test_vsock - the command over the loopback of vsock(7), with peers that are not usplice. For a guest that has loaded vsock_loopback. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include <cmocka.h>

#include "ring.h"

#define NR_PAGES 1024u /* 4 MiB: many times what a connection holds */
#define PAGES "/tmp/pages"
#define GOT "/tmp/got"

struct door {
	int fd;
	unsigned port;
};

static bool door_open(struct door *door)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = VMADDR_PORT_ANY};
	socklen_t len = sizeof(address);

	door->fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (door->fd < 0 || bind(door->fd, (struct sockaddr *)&address, len) < 0 || listen(door->fd, 4) < 0 ||
	    getsockname(door->fd, (struct sockaddr *)&address, &len) < 0)
		return false;
	door->port = address.svm_port;
	return true;
}

static int connect_to(unsigned port)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Leave the test, as one that was skipped, where a connection to this machine does not come through. */
static void need_loopback(void)
{
	struct door door = {.fd = -1};
	int fd = door_open(&door) ? connect_to(door.port) : -1;

	if (door.fd >= 0)
		close(door.fd);
	if (fd < 0)
		skip();
	close(fd);
}

/* What the command says on standard error, and its exit code. form has room for a port. */
static int copy(const char *form, unsigned port, char *ret_text, size_t len)
{
	char command[512];
	int code;

	snprintf(command, sizeof(command), form, port);
	code = run(command, ret_text, len);
	print_message("# %s: %d\n%s%s", command, code, *ret_text ? "# " : "", ret_text);
	return code;
}

/* --- Peers, each a process: they take one connection from the door --- */

static bool peer_reads(void *arg)
{
	struct stream stream = {.fd = accept(((struct door *)arg)->fd, NULL, NULL), .nr_pages = NR_PAGES};
	char more;

	return stream_is_right(&stream) && read(stream.fd, &more, 1) == 0;
}

static bool peer_writes_some(void *arg, uint64_t nr_pages)
{
	int fd = accept(((struct door *)arg)->fd, NULL, NULL);
	static char page[PAGE];

	for (uint64_t nr = 0; nr < nr_pages; nr++) {
		page_fill(page, nr);
		for (size_t done = 0; done < PAGE;) {
			ssize_t ret = write(fd, page + done, PAGE - done);

			if (ret < 0)
				return false;
			done += (size_t)ret;
		}
	}
	return close(fd) == 0;
}

static bool peer_writes(void *arg)
{
	return peer_writes_some(arg, NR_PAGES);
}

static bool peer_leaves_early(void *arg)
{
	return peer_writes_some(arg, 100);
}

static bool peer_reads_a_little(void *arg)
{
	struct stream stream = {.fd = accept(((struct door *)arg)->fd, NULL, NULL), .nr_pages = 100};

	return stream_is_right(&stream) && close(stream.fd) == 0;
}

static bool peer_is_silent(void *arg)
{
	int fd = accept(((struct door *)arg)->fd, NULL, NULL);
	char more;

	return read(fd, &more, 1) <= 0;
}

/* Run the command against a peer: its exit code. The peer has to be content. */
static int copy_with(bool (*peer)(void *arg), const char *form, char *ret_text, size_t len)
{
	struct door door;
	pid_t pid;
	int code;

	assert_true(door_open(&door));
	pid = other_start(peer, &door);
	code = copy(form, door.port, ret_text, len);
	other_join(pid);
	close(door.fd);
	return code;
}

/* --- Tests --- */

static char text[8192];

static void a_file_goes_to_a_peer_on_both_lanes(void **state)
{
	(void)state;
	need_loopback();
	assert_int_equal(
		copy_with(peer_reads, "$USPLICE copy -q --lane kernel " PAGES " vsock:1:%u 2>&1", text, sizeof(text)),
		0);
	assert_int_equal(
		copy_with(peer_reads, "$USPLICE copy -q --lane user " PAGES " vsock:local:%u 2>&1", text, sizeof(text)),
		0);
}

static void a_file_comes_from_a_peer_on_both_lanes(void **state)
{
	const char *const lanes[] = {"kernel", "user"};
	char form[128];

	(void)state;
	need_loopback();
	for (unsigned i = 0; i < 2; i++) {
		snprintf(form, sizeof(form), "$USPLICE copy -q --lane %s vsock:1:%%u " GOT " 2>&1", lanes[i]);
		assert_int_equal(copy_with(peer_writes, form, text, sizeof(text)), 0);
		assert_true(file_is_right(GOT, NR_PAGES));
		unlink(GOT);
	}
}

/* What sha256sum(1) says of a file. */
static void digest_of(const char *path, char ret_hex[65])
{
	char command[64];

	snprintf(command, sizeof(command), "sha256sum %s", path);
	assert_int_equal(run(command, text, sizeof(text)), 0);
	memcpy(ret_hex, text, 64);
	ret_hex[64] = 0;
}

/* Two commands, one listens at a port that the kernel chose. */
static void digests_of_both_ends_are_those_of_the_file(void **state)
{
	static const char *const scripts[] = {
		"listen() { $USPLICE copy --digest sha256 vsock-listen:0 " GOT "; }; "
		"join() { $USPLICE copy --digest sha256 " PAGES " vsock:1:$port; }; ",
		"listen() { $USPLICE copy --digest sha256 " PAGES " vsock-listen:0; }; "
		"join() { $USPLICE copy --digest sha256 vsock:1:$port " GOT "; }; ",
	};
	char script[1024], hex[65];
	const char *second;

	(void)state;
	need_loopback();
	digest_of(PAGES, hex);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(
			script, sizeof(script),
			"%s listen >/tmp/said 2>&1 & until grep -q 'listening at' /tmp/said; do usleep 20000; kill -0 $! || exit; done; "
			"port=$(sed -n 's/.*listening at vsock:any://p' /tmp/said); "
			"join 2>&1 && wait $! && cat /tmp/said",
			scripts[i]);
		assert_int_equal(run(script, text, sizeof(text)), 0);
		second = strstr(text, hex);
		assert_non_null(second);
		assert_non_null(strstr(second + 1, hex));
		assert_true(file_is_right(GOT, NR_PAGES));
		unlink(GOT);
	}
}

static void a_peer_that_leaves_early_is_told(void **state)
{
	(void)state;
	need_loopback();
	assert_int_equal(
		copy_with(peer_reads_a_little, "$USPLICE copy -q " PAGES " vsock:1:%u 2>&1", text, sizeof(text)), 4);
	assert_non_null(strstr(text, "usplice: sink vsock:1:"));
	assert_true(strstr(text, "Broken pipe") || strstr(text, "Connection reset"));
	/* As a source it has ended. Without frames nothing says that more was to come. */
	assert_int_equal(copy_with(peer_leaves_early, "$USPLICE copy -q vsock:1:%u " GOT " 2>&1", text, sizeof(text)),
			 0);
	assert_true(file_is_right(GOT, 100));
	unlink(GOT);
}

/* A stream whose second half is missing, to a receiver that listens. Then the whole of it. */
static void frames_notice_a_sender_that_is_cut(void **state)
{
	struct door door;

	(void)state;
	need_loopback();
	assert_true(door_open(&door)); /* only for a port that is not in use */
	close(door.fd);
	assert_int_equal(run("$USPLICE copy -q --frame " PAGES
			     " - | cat >/tmp/framed && head -c 2000000 /tmp/framed >/tmp/cut",
			     text, sizeof(text)),
			 0);
	assert_int_equal(copy("$USPLICE copy -q --framed vsock-listen:%1$u " GOT " 2>&1 & "
			      "$USPLICE copy -q /tmp/cut vsock:1:%1$u,retry=60; wait $!",
			      door.port, text, sizeof(text)),
			 3);
	assert_non_null(strstr(text, "the stream was cut"));
	assert_null(strstr(text, ": 0 bytes came"));
	unlink(GOT);
	assert_int_equal(copy("$USPLICE copy -q --framed vsock-listen:%1$u " GOT " 2>&1 & "
			      "$USPLICE copy -q --framed " PAGES " vsock:1:%1$u,retry=60 2>&1 && wait $!",
			      door.port, text, sizeof(text)),
			 0);
	assert_true(file_is_right(GOT, NR_PAGES));
	unlink(GOT);
	unlink("/tmp/framed");
	unlink("/tmp/cut");
}

static void times_run_out(void **state)
{
	struct door door;

	(void)state;
	need_loopback();
	assert_int_equal(copy_with(peer_is_silent, "$USPLICE copy -q --idle-timeout 200ms vsock:1:%u " GOT " 2>&1",
				   text, sizeof(text)),
			 3);
	assert_non_null(strstr(text, "nothing moved for 0.2 s"));
	unlink(GOT);
	assert_true(door_open(&door)); /* accepts nothing, and is full after what its buffer holds */
	assert_int_equal(
		copy("$USPLICE copy -q --timeout 200ms " PAGES " vsock:1:%u 2>&1", door.port, text, sizeof(text)), 4);
	close(door.fd);
	assert_int_equal(
		copy("$USPLICE copy -q vsock-listen:%u,timeout=0.1 " GOT " 2>&1", door.port, text, sizeof(text)), 3);
	assert_non_null(strstr(text, "nobody came or answered in time"));
}

static void what_cannot_be_reached_is_told_in_words(void **state)
{
	struct door door;

	(void)state;
	need_loopback();
	assert_true(door_open(&door));
	close(door.fd);
	assert_int_equal(copy("$USPLICE copy -q " PAGES " vsock:1:%u 2>&1", door.port, text, sizeof(text)), 4);
	assert_non_null(strstr(text, "nobody listens there"));
	assert_int_equal(copy("$USPLICE copy -q " PAGES " vsock:77:%u 2>&1", 7, text, sizeof(text)), 4);
	assert_non_null(strstr(text, "there is no virtual machine or host of that CID, or no driver for it"));
}

static int make_file(void **state)
{
	(void)state;
	make_pages(PAGES, NR_PAGES);
	return 0;
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(PAGES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_goes_to_a_peer_on_both_lanes),
		cmocka_unit_test(a_file_comes_from_a_peer_on_both_lanes),
		cmocka_unit_test(digests_of_both_ends_are_those_of_the_file),
		cmocka_unit_test(a_peer_that_leaves_early_is_told),
		cmocka_unit_test(frames_notice_a_sender_that_is_cut),
		cmocka_unit_test(times_run_out),
		cmocka_unit_test(what_cannot_be_reached_is_told_in_words),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, make_file, remove_file);
}
