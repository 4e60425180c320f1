/* SPDX-License-Identifier: MIT */
/* test_service - what a service manager hands over is taken, and what it wants to hear arrives. */
#include "net.h"
#include "support.h"

#include <sys/wait.h>

#include "cli/service.h"

#define FIRST_FD 3
#define FDS_MAX 4
#define TEXT_MAX 512
#define ADDRESS_ROOM sizeof(((struct sockaddr_un *)NULL)->sun_path)

/* --- Descriptors: each case has a process of its own, because their numbers are given ---------------------- */

enum whose {
	OURS,
	PARENTS,
	NOBODYS,
};

static const struct passing {
	const char *name;
	enum whose whose; /* the process that LISTEN_PID names */
	const char *fds, *names;
	int nr_open;	    /* descriptors that are really there */
	const char *report; /* as report_fds writes it */
} passings[] = {
	{"one socket", OURS, "1", "web", 1, "1 3=web"},
	{"several sockets", OURS, "3", "web:db:web", 3, "3 3=web 4=db 5=web"},
	{"names with anything in them", OURS, "2", "usplice-relay@a.socket:a b=c", 2,
	 "2 3=usplice-relay@a.socket 4=a b=c"},
	{"empty names", OURS, "3", "::", 3, "3 3= 4= 5="},
	{"one empty name", OURS, "1", "", 1, "1 3="},
	{"a manager that names none", OURS, "2", NULL, 2, "2 3=unknown 4=unknown"},
	{"none", OURS, "0", NULL, 0, "0"},
	{"no number of sockets", OURS, NULL, NULL, 1, "0"},
	{"sockets of the parent", PARENTS, "2", "web:db", 2, "0"},
	{"sockets of nobody", NOBODYS, "2", "web:db", 2, "0"},
	{"too few names", OURS, "2", "web", 2, "Invalid argument"},
	{"too many names", OURS, "2", "web:db:", 2, "Invalid argument"},
	{"a number with a letter", OURS, "2x", "web:db", 2, "Invalid argument"},
	{"a negative number", OURS, "-1", NULL, 2, "Invalid argument"},
	{"no number", OURS, "", NULL, 2, "Invalid argument"},
	{"a number that does not fit", OURS, "4294967297", NULL, 2, "Invalid argument"},
	{"a number of which the last is no descriptor", OURS, "2147483645", NULL, 2, "Invalid argument"},
	{"a socket that is not there", OURS, "3", "a:b:c", 2, "Bad file descriptor"},
	{"more sockets than there can be", OURS, "2147483644", NULL, 2, "Bad file descriptor"},
};

static void set_or_unset(const char *variable, const char *value)
{
	if (value)
		setenv(variable, value, 1);
	else
		unsetenv(variable);
}

static void pass_fds(const struct passing *passing)
{
	char pid[3 * sizeof(pid_t) + 1];
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	fd = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD + FDS_MAX);
	for (int i = 0; i < FDS_MAX; i++)
		close(FIRST_FD + i);
	for (int i = 0; i < passing->nr_open; i++)
		dup2(fd, FIRST_FD + i);
	snprintf(pid, sizeof(pid), "%d", (int)(passing->whose == OURS ? getpid() : getppid()));
	set_or_unset("LISTEN_PID", passing->whose == NOBODYS ? NULL : pid);
	set_or_unset("LISTEN_FDS", passing->fds);
	set_or_unset("LISTEN_FDNAMES", passing->names);
}

/* How many, and each with its name; and what should not be so. */
static void report_fds(FILE *out)
{
	struct service_fd mark = {.fd = -1}, *fds = &mark;
	int nr_fds = service_take_fds(&fds);

	if (nr_fds < 0)
		fprintf(out, "%s", strerror(-nr_fds));
	else
		fprintf(out, "%d", nr_fds);
	for (int i = 0; i < nr_fds; i++)
		fprintf(out, " %d=%s%s", fds[i].fd, fds[i].name,
			fcntl(fds[i].fd, F_GETFD) == FD_CLOEXEC ? "" : " which is not closed by exec");
	if ((nr_fds < 0 && fds != &mark) || (nr_fds == 0 && fds))
		fprintf(out, ", a result that is none");
	if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES"))
		fprintf(out, ", variables left");
	if (nr_fds > 0)
		free(fds);
	if (service_take_fds(&fds) != 0)
		fprintf(out, ", taken twice");
}

/* The child's side: whatever it finds goes through the pipe. */
static void take_and_report(const struct passing *passing, int pipe_fd)
{
	FILE *out = fdopen(fcntl(pipe_fd, F_DUPFD_CLOEXEC, FIRST_FD + FDS_MAX), "w");

	pass_fds(passing);
	report_fds(out);
	fclose(out);
	_exit(0);
}

static void passed_descriptors_are_taken_with_their_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(passings); i++) {
		char report[TEXT_MAX] = "";
		int fds[2], status;
		pid_t child;

		print_message("# %s\n", passings[i].name);
		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		child = fork();
		assert_true(child >= 0);
		if (child == 0)
			take_and_report(&passings[i], fds[1]);
		close(fds[1]);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_true(read(fds[0], report, sizeof(report) - 1) > 0);
		assert_string_equal(report, passings[i].report);
		close(fds[0]);
	}
}

/* --- News ------------------------------------------------------------------------------------------- */

/* A manager that listens at a path or, with '@', an abstract name; the path is its directory's only file. */
static int manager_open(const char *address)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	size_t len = strlen(address);

	assert_true(fd >= 0);
	assert_in_range(len, 1, sizeof(un.sun_path) - 1);
	memcpy(un.sun_path, address, len);
	if (*address == '@')
		un.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			 0);
	setenv("NOTIFY_SOCKET", address, 1);
	return fd;
}

static void manager_close(int fd)
{
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}

static void assert_heard(int fd, const char *message)
{
	char text[TEXT_MAX];
	ssize_t len = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	assert_true(len >= 0);
	text[len] = '\0';
	assert_string_equal(text, message);
}

static void check_news(const char *address)
{
	int fd = manager_open(address);

	assert_int_equal(service_notify("READY=1"), 0);
	assert_int_equal(service_notify("STOPPING=1\nSTATUS=%u connections, %s", 7u, "100 %"), 0);
	assert_heard(fd, "READY=1");
	assert_heard(fd, "STOPPING=1\nSTATUS=7 connections, 100 %");
	assert_int_equal(recv(fd, &(char){0}, 1, MSG_DONTWAIT), -1);
	manager_close(fd);
}

/* Fill text with x up to the longest address that a socket can have. */
static void lengthen(char text[ADDRESS_ROOM])
{
	size_t max = ADDRESS_ROOM - 1, len = strlen(text);

	memset(text + len, 'x', max - len);
	text[max] = '\0';
}

static void news_arrive_at_a_path(void **state)
{
	char dir[] = "/tmp/usplice-test-XXXXXX", address[ADDRESS_ROOM];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(address, sizeof(address), "%s/notify", dir);
	check_news(address);
	unlink(address);
	lengthen(address);
	check_news(address);
	unlink(address);
	assert_int_equal(rmdir(dir), 0);
}

static void news_arrive_at_an_abstract_name(void **state)
{
	char address[ADDRESS_ROOM];

	(void)state;
	snprintf(address, sizeof(address), "@usplice-test-%d", (int)getpid());
	check_news(address);
	lengthen(address);
	check_news(address);
}

static void without_a_manager_nothing_is_said(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(service_notify("READY=1"), 0);
}

static void a_manager_that_cannot_be_reached_is_an_error(void **state)
{
	char long_path[ADDRESS_ROOM + 1] = "/";
	const struct {
		const char *address;
		int result;
	} cases[] = {
		{"", -EINVAL},
		{"run/notify", -EINVAL},
		{"vsock:2:1234", -EINVAL},
		{long_path, -EINVAL},
		{"/nonexistent/usplice-notify", -ENOENT},
		{"@usplice-test-nobody", -ECONNREFUSED},
	};

	(void)state;
	lengthen(long_path);
	strcat(long_path, "x");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		print_message("# '%s'\n", cases[i].address);
		setenv("NOTIFY_SOCKET", cases[i].address, 1);
		assert_int_equal(service_notify("READY=1"), cases[i].result);
	}
	unsetenv("NOTIFY_SOCKET");
}

static void a_manager_that_does_not_read_is_given_up_for_this_time(void **state)
{
	int manager, sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	socklen_t len = sizeof(address);
	char name[TEXT_MAX];

	(void)state;
	snprintf(name, sizeof(name), "@usplice-test-%d", (int)getpid());
	manager = manager_open(name);
	assert_int_equal(getsockname(manager, (struct sockaddr *)&address, &len), 0);
	while (sendto(sender, "x", 1, 0, (struct sockaddr *)&address, len) == 1)
		;
	assert_int_equal(service_notify("WATCHDOG=1"), -EAGAIN);
	while (recv(manager, name, sizeof(name), MSG_DONTWAIT) == 1)
		;
	assert_int_equal(service_notify("WATCHDOG=1"), 0);
	assert_heard(manager, "WATCHDOG=1");
	close(sender);
	manager_close(manager);
}

/* --- The watchdog ------------------------------------------------------------------------------------- */

static void the_watchdog_is_fed_twice_in_its_time(void **state)
{
	static const struct {
		const char *usec;
		enum whose whose;
		uint64_t interval_ns;
	} cases[] = {
		{"30000000", OURS, 15000000000},
		{"30000000", NOBODYS, 15000000000},
		{"30000000", PARENTS, 0},
		{"1", OURS, 500},
		{"0", OURS, 0},
		{NULL, OURS, 0},
		{"", OURS, 0},
		{"30s", OURS, 0},
		{"-1", OURS, 0},
		{"/", OURS, 0},
		{":", OURS, 0},
		{"18446744073709551", OURS, 9223372036854775500},
		{"18446744073709552", OURS, 0},
		{"18446744073709551615", OURS, 0},
		{"18446744073709551617", OURS, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char pid[3 * sizeof(pid_t) + 1];

		print_message("# %s\n", cases[i].usec ? cases[i].usec : "none");
		snprintf(pid, sizeof(pid), "%d", (int)(cases[i].whose == OURS ? getpid() : getppid()));
		set_or_unset("WATCHDOG_PID", cases[i].whose == NOBODYS ? NULL : pid);
		set_or_unset("WATCHDOG_USEC", cases[i].usec);
		assert_true(service_watchdog_ns() == cases[i].interval_ns);
	}
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(passed_descriptors_are_taken_with_their_names),
		CASE(news_arrive_at_a_path),
		CASE(news_arrive_at_an_abstract_name),
		CASE(without_a_manager_nothing_is_said),
		CASE(a_manager_that_cannot_be_reached_is_an_error),
		CASE(a_manager_that_does_not_read_is_given_up_for_this_time),
		CASE(the_watchdog_is_fed_twice_in_its_time),
	};

	return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
