/* SPDX-License-Identifier: MIT */
/*
 * test_fault_open - opening every endpoint, and probing every kind of file, with everything failing in turn. A failed open
 * leaves nothing behind and destroys nothing; a failed experiment makes the probe say that it does not know.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "end.h"
#include "fault.h"
#include "lanes/probe.h"
#include "support.h"

#define CONTENT "what is in the file"

/* Where the runs find things: a folder, a port that listens, one that nobody uses, and a terminal. */
static char folder[] = "/tmp/usplice-fault-XXXXXX";
static struct sockaddr_in tcp_address = {.sin_family = AF_INET}, free_address = {.sin_family = AF_INET};
static int tcp_listener, unix_listener, fifo_fd, terminal_fd;

/* --- Somebody at the other side ------------------------------------------------------------------------- */

/* A client that comes as soon as there is somebody to come to. */
struct client {
	pthread_t thread;
	const struct sockaddr *address;
	socklen_t len;
	atomic_bool is_over;
	bool has_thread;
};

static void *client_run(void *arg)
{
	struct client *client = arg;
	int fd = -1;

	while (!atomic_load(&client->is_over)) {
		fd = socket(client->address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, client->address, client->len) == 0)
			break;
		close(fd);
		fd = -1;
		poll(NULL, 0, 1);
	}
	while (!atomic_load(&client->is_over))
		poll(NULL, 0, 1);
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void client_start(struct client *client, const struct sockaddr *address, socklen_t len)
{
	client->address = address;
	client->len = len;
	client->has_thread = pthread_create(&client->thread, NULL, client_run, client) == 0;
}

static void client_stop(struct client *client)
{
	atomic_store(&client->is_over, true);
	if (client->has_thread)
		pthread_join(client->thread, NULL);
}

/* Take the connections that a run has made from the queue. */
static void accept_all(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		close(fd);
}

/* --- Opening by name ------------------------------------------------------------------------------------- */

struct opening {
	const char *spec; /* %s is the folder, %u the port */
	unsigned mode;
	unsigned traits;
};

#define NEEDS_CLIENT 0x1u /* it waits for one */
#define ON_DISK 0x2u	  /* a file with content, to be truncated */
#define IS_NEW 0x4u	  /* a file that is made */
#define BY_NAME 0x10u	  /* that has to be looked up */
#define IS_STALE 0x8u	  /* a UNIX socket that somebody left behind */

static struct sockaddr_un unix_path(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder, name);
	return address;
}

static void write_content(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	fault_check(write(fd, CONTENT, strlen(CONTENT)) == (ssize_t)strlen(CONTENT));
	close(fd);
}

/* "%s" and "%u" of a spec, whichever it has. */
static void make_spec(const struct opening *opening, char *ret_spec, size_t len)
{
	bool is_listening = opening->traits & NEEDS_CLIENT;
	unsigned port = ntohs(is_listening ? free_address.sin_port : tcp_address.sin_port);

	if (strstr(opening->spec, "%s"))
		snprintf(ret_spec, len, opening->spec, folder);
	else
		snprintf(ret_spec, len, opening->spec, port);
}

static void prepare_opening(const struct opening *opening, const char *path, const struct sockaddr_un *address)
{
	int fd;

	if (opening->traits & ON_DISK)
		write_content(path);
	if (opening->traits & IS_NEW)
		unlink(path);
	if (!(opening->traits & IS_STALE))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(address->sun_path);
	fault_check(bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0);
	close(fd);
}

/* A name is looked up without a thread where none can be had. */
static void check_look_up(int ret)
{
	enum fault_call call = fault_hit().plan.call;

	if (fault_hit().has_fired && (call == FAULT_pthread_create || call == FAULT_usp_sys_eventfd))
		fault_check(ret == 0);
}

/* A file that could not be opened has kept its bytes, and no socket stays behind that is known to be ours. */
static void check_failed(const struct opening *opening, const char *path, const struct sockaddr_un *address)
{
	struct stat st;

	if (opening->traits & ON_DISK)
		fault_check(stat(path, &st) == 0 && st.st_size == (off_t)strlen(CONTENT));
	if (opening->traits & NEEDS_CLIENT && !(opening->traits & IS_STALE) &&
	    fault_hit().plan.call != FAULT_usp_sys_unlink && fault_hit().plan.call != FAULT_usp_sys_lstat)
		fault_check(access(address->sun_path, F_OK) < 0);
}

static void run_open(const void *arg)
{
	const struct opening *opening = arg;
	const struct usp_open_params params = {.size = sizeof(params), .mode = opening->mode, .may_run = true};
	struct sockaddr_un address = unix_path("listen");
	struct usp_file *const untouched = (struct usp_file *)1, *file = untouched;
	struct client client = {.has_thread = false};
	char spec[256], path[256];
	const char *why;
	int ret;

	make_spec(opening, spec, sizeof(spec));
	snprintf(path, sizeof(path), "%s/file", folder);
	prepare_opening(opening, path, &address);
	if (opening->traits & NEEDS_CLIENT && strncmp(spec, "unix", 4) == 0)
		client_start(&client, (struct sockaddr *)&address, sizeof(address));
	else if (opening->traits & NEEDS_CLIENT)
		client_start(&client, (struct sockaddr *)&free_address, sizeof(free_address));
	fault_arm();
	ret = usp_open(spec, &params, &file, &why);
	if (ret == 0)
		usp_file_put(file);
	fault_disarm();
	client_stop(&client);
	accept_all(tcp_listener);
	accept_all(unix_listener);
	fault_check(ret == 0 ? file != untouched && !why : file == untouched);
	if (ret < 0)
		check_failed(opening, path, &address);
	if (opening->traits & BY_NAME)
		check_look_up(ret);
	if (fault_hit().has_fired && fault_hit().plan.call == FAULT_usp_sys_now_ns)
		fault_check(ret == 0 || (ret == -ETIMEDOUT && strstr(spec, "timeout=")));
	if (ret < 0 && !fault_hit().has_fired)
		fault_complain("%s: %s", strerror(-ret), why ? why : "");
	unlink(address.sun_path);
}

/* --- Adopting descriptors ----------------------------------------------------------------------------------- */

struct adoption {
	int (*make)(void);
	unsigned mode;
};

static int make_file(void)
{
	int fd = memfd_create("adopted", MFD_CLOEXEC);

	fault_check(write(fd, CONTENT, strlen(CONTENT)) > 0);
	return fd;
}

static int make_null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int make_terminal(void)
{
	return open(ptsname(terminal_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static int make_fifo(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/fifo", folder);
	return open(path, O_RDWR | O_CLOEXEC);
}

static int make_udp(void)
{
	return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int make_tcp(void)
{
	int fds[2];

	end_tcp_pair(fds);
	close(fds[1]);
	return fds[0];
}

static int make_unix(void)
{
	int fds[2] = {-1, -1};

	fault_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	close(fds[1]);
	return fds[0];
}

/* A descriptor that was not taken is as it was. */
static void run_adopt(const void *arg)
{
	const struct adoption *adoption = arg;
	int fd = adoption->make(), flags = fcntl(fd, F_GETFL), synced = 0, ret;
	struct usp_file *const untouched = (struct usp_file *)1, *file = untouched;

	fault_arm();
	ret = usp_open_fd(fd, adoption->mode, "adopted", &file);
	if (ret == 0) {
		synced = usp_file_sync(file);
		usp_file_put(file);
	}
	fault_disarm();
	fault_check(ret == 0 || (fault_hit().has_fired && file == untouched));
	if (fault_hit().has_fired && fault_hit().plan.call == FAULT_usp_sys_fsync && fault_hit().plan.error != EROFS)
		fault_check(synced == -fault_hit().plan.error);
	else
		fault_check(synced == 0); /* nor can anything of ours be unwritten on a file system that is only read */
	if (ret == 0) {
		fault_check(fcntl(fd, F_GETFL) < 0 && errno == EBADF);
		return;
	}
	fault_check(fcntl(fd, F_GETFL) == flags);
	fault_check(close(fd) == 0);
}

/* --- The probe ------------------------------------------------------------------------------------------------ */

/* What it says is what it says when nothing fails, or that it does not know. */
static void probe_check(const struct usp_file *file, unsigned side, int64_t *truth)
{
	struct usp_probe_result found = {.size = sizeof(found)};

	usp_probe(file, side, &found);
	fault_check(found.reason != NULL);
	if (!fault_hit().has_fired)
		*truth = found.way;
	else if (found.way != USP_UNKNOWN)
		fault_check(found.way == (enum usp_way) * truth);
}

static void run_probe(const void *arg)
{
	const struct adoption *adoption = arg;
	struct usp_file *file;
	int ret = usp_open_fd(adoption->make(), adoption->mode, "probed", &file);

	fault_check(ret == 0);
	if (ret < 0)
		return;
	fault_arm();
	probe_check(file, USP_READ, &fault_notes[0]);
	probe_check(file, USP_WRITE, &fault_notes[1]);
	fault_disarm();
	usp_file_put(file);
}

/* --- The scenarios ---------------------------------------------------------------------------------------------- */

#define OPENING(spec, mode, traits)                     \
	.run = run_open, .arg = &(const struct opening) \
	{                                               \
		spec, mode, traits                      \
	}
#define ADOPTION(run_it, make, mode)                   \
	.run = run_it, .arg = &(const struct adoption) \
	{                                              \
		make, mode                             \
	}
#define BOTH (USP_READ | USP_WRITE)

static const struct fault_scenario scenarios[] = {
	{.name = "open_a_file_to_read", OPENING("%s/file", USP_READ, ON_DISK)},
	{.name = "open_a_file_to_write_over", OPENING("%s/file", USP_WRITE, ON_DISK)},
	{.name = "open_a_file_to_make", OPENING("file:%s/file", USP_WRITE, IS_NEW)},
	{.name = "open_a_file_to_append", OPENING("%s/file,append", USP_WRITE, ON_DISK)},
	{.name = "open_a_fifo", OPENING("%s/fifo", USP_READ, 0)},
	{.name = "open_a_device", OPENING("/dev/zero", USP_READ, 0)},
	{.name = "open_null", OPENING("null:", USP_WRITE, 0)},
	{.name = "open_zero", OPENING("zero:", USP_READ, 0)},
	{.name = "open_memory_with_a_text", OPENING("mem:text\\,with a comma", USP_READ, 0)},
	{.name = "open_memory_to_fill", OPENING("mem:,max=64M", USP_WRITE, 0)},
	{.name = "connect_to_tcp", OPENING("tcp:127.0.0.1:%u,nodelay", BOTH, 0)},
	{.name = "connect_to_tcp_by_name", OPENING("tcp:localhost:%u,timeout=200", BOTH, BY_NAME)},
	{.name = "wait_for_tcp", OPENING("tcp-listen:127.0.0.1:%u,timeout=200", BOTH, NEEDS_CLIENT)},
	{.name = "connect_to_unix", OPENING("unix:%s/socket", BOTH, 0)},
	{.name = "wait_for_unix", OPENING("unix-listen:%s/listen,timeout=200", BOTH, NEEDS_CLIENT)},
	{.name = "take_over_a_stale_unix_socket",
	 OPENING("unix-listen:%s/listen,timeout=200", BOTH, NEEDS_CLIENT | IS_STALE)},
	{.name = "run_a_command_to_read_from", OPENING("exec:exec cat %s/file", USP_READ, ON_DISK)},
	{.name = "run_a_command_to_write_to", OPENING("exec:exec cat >/dev/null", USP_WRITE, 0)},
	{.name = "run_a_command_to_talk_to", OPENING("exec:exec cat", BOTH, 0)},
	{.name = "open_udp", OPENING("udp:127.0.0.1:%u,eof", USP_WRITE, 0)},
	{.name = "open_udp_to_listen", OPENING("udp-listen:127.0.0.1:%u", USP_READ, 0)},
	{.name = "open_udp_by_name", OPENING("udp:localhost:%u,timeout=200", USP_WRITE, BY_NAME)},
	{.name = "open_udp_to_listen_by_name", OPENING("udp-listen:localhost:%u", USP_READ, BY_NAME)},
	{.name = "adopt_a_file", ADOPTION(run_adopt, make_file, BOTH)},
	{.name = "adopt_null", ADOPTION(run_adopt, make_null, USP_WRITE)},
	{.name = "adopt_a_terminal", ADOPTION(run_adopt, make_terminal, BOTH)},
	{.name = "adopt_a_fifo", ADOPTION(run_adopt, make_fifo, USP_READ)},
	{.name = "adopt_udp", ADOPTION(run_adopt, make_udp, BOTH)},
	{.name = "adopt_tcp", ADOPTION(run_adopt, make_tcp, BOTH)},
	{.name = "adopt_unix", ADOPTION(run_adopt, make_unix, BOTH)},
	{.name = "probe_a_file", ADOPTION(run_probe, make_file, BOTH)},
	{.name = "probe_a_fifo", ADOPTION(run_probe, make_fifo, BOTH)},
	{.name = "probe_tcp", ADOPTION(run_probe, make_tcp, BOTH)},
	{.name = "probe_unix", ADOPTION(run_probe, make_unix, BOTH)},
};

/* --- Before and after --------------------------------------------------------------------------------------------- */

static int listen_at(struct sockaddr *address, socklen_t len)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (bind(fd, address, len) < 0 || listen(fd, 16) < 0 || getsockname(fd, address, &len) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Below the ports that the kernel gives to clients, so that no client can meet itself there. */
static bool find_free_port(void)
{
	free_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned i = 0; i < 1000; i++) {
		int fd;

		free_address.sin_port = htons((uint16_t)(20000 + (unsigned)getpid() % 10000 + i));
		fd = listen_at((struct sockaddr *)&free_address, sizeof(free_address));
		if (fd < 0)
			continue;
		close(fd);
		return true;
	}
	return false;
}

static bool prepare(void)
{
	struct sockaddr_un address;
	char path[256];

	if (!mkdtemp(folder))
		return false;
	snprintf(path, sizeof(path), "%s/fifo", folder);
	address = unix_path("socket");
	tcp_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fifo_fd = mkfifo(path, 0600) == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
	terminal_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	tcp_listener = listen_at((struct sockaddr *)&tcp_address, sizeof(tcp_address));
	unix_listener = listen_at((struct sockaddr *)&address, sizeof(address));
	return fifo_fd >= 0 && tcp_listener >= 0 && unix_listener >= 0 && terminal_fd >= 0 && find_free_port() &&
	       unlockpt(terminal_fd) == 0;
}

static void clean_up(void)
{
	static const char *const names[] = {"file", "fifo", "socket", "listen"};
	char path[256];

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

int main(void)
{
	int ret = 1;

	end_init(PAGE);
	fault_haste = 10; /* the patience with a lock that another program holds */
	if (prepare())
		ret = fault_main(scenarios, ARRAY_LEN(scenarios));
	else
		perror("preparing");
	clean_up();
	return ret;
}
