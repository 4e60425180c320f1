/* SPDX-License-Identifier: MIT */
/* test_name - names of UNIX sockets: who takes one, who may remove it, and what is left alone. */
#include <dirent.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/name.h"
#include "base/sys.h"
#include "net.h"

#define NR_STARTERS 8
#define NR_ROUNDS 100
#define PATIENCE_NS UINT64_C(30000000000)

static char folder[] = "/tmp/usplice-name-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char lock_path[128];

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/front", folder);
	snprintf(lock_path, sizeof(lock_path), "%s/.front.usplice-lock", folder);
	return 0;
}

/* Fails if anything was left in it. */
static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	return fd;
}

/* A socket that listens there, or -errno. */
static int take(struct usp_name *ret_name)
{
	int fd = new_socket(), ret = usp_name_listen(fd, &address, NULL, 5, ret_name);

	if (ret < 0)
		close(fd);
	return ret < 0 ? ret : fd;
}

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static bool answers(void)
{
	int fd = new_socket(), ret = connect(fd, (struct sockaddr *)&address, sizeof(address));

	close(fd);
	return ret == 0;
}

static void end(int fd, struct usp_name *name)
{
	assert_int_equal(usp_name_remove(name, usp_sys_now_ns() + PATIENCE_NS), 0);
	close(fd);
}

static void a_name_is_taken_once_and_goes_with_its_owner(void **state)
{
	struct usp_name name, other = {.is_bound = false};
	int fd = take(&name);

	(void)state;
	assert_true(fd >= 0);
	assert_true(answers());
	assert_int_equal(take(&other), -EADDRINUSE);
	assert_false(other.is_bound);
	assert_true(answers());
	end(fd, &name);
	assert_false(is_there(address.sun_path));
	assert_false(is_there(lock_path));
}

static void what_a_crash_left_behind_is_replaced(void **state)
{
	struct usp_name name;
	int fd = take(&name);

	(void)state;
	close(fd); /* its name stays, as after a crash */
	assert_true(is_there(address.sun_path));
	close(open(lock_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* and the file of its lock */
	fd = take(&name);
	assert_true(fd >= 0);
	assert_true(answers());
	end(fd, &name);
}

static void the_socket_of_a_successor_is_left_alone(void **state)
{
	struct usp_name name, successor;
	int fd = take(&name), other;

	(void)state;
	assert_int_equal(unlink(address.sun_path), 0);
	other = take(&successor);
	assert_true(other >= 0);
	assert_int_equal(usp_name_remove(&name, 0), 0);
	assert_true(answers());
	close(fd);
	end(other, &successor);
}

static void the_end_of_a_name_that_is_gone_is_no_error(void **state)
{
	struct usp_name name;
	int fd = take(&name);

	(void)state;
	assert_int_equal(unlink(address.sun_path), 0);
	assert_int_equal(usp_name_remove(&name, 0), 0);
	assert_int_equal(usp_name_remove(&name, 0), 0);
	assert_int_equal(usp_name_remove(&(struct usp_name){.is_bound = false}, 0), 0);
	close(fd);
}

static void put_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void a_file_that_is_no_socket_is_never_removed(void **state)
{
	struct usp_name name;
	int fd;

	(void)state;
	put_file(address.sun_path);
	assert_int_equal(take(&name), -EEXIST);
	assert_int_equal(unlink(address.sun_path), 0); /* it is there */
	fd = take(&name);
	assert_true(fd >= 0);
	assert_int_equal(unlink(address.sun_path), 0);
	put_file(address.sun_path);
	end(fd, &name);
	assert_int_equal(unlink(address.sun_path), 0);
}

static void a_link_is_not_followed_to_what_it_names(void **state)
{
	struct usp_name name;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/precious", folder);
	put_file(path);
	assert_int_equal(symlink("precious", address.sun_path), 0);
	assert_int_equal(take(&name), -EEXIST);
	assert_int_equal(unlink(address.sun_path), 0);
	assert_int_equal(symlink("precious", lock_path), 0);
	assert_int_equal(take(&name), -ELOOP);
	assert_int_equal(unlink(lock_path), 0);
	assert_int_equal(unlink(path), 0);
}

/* A look without the lock is one that another program may have come in between. */
static void nothing_is_taken_or_removed_while_another_program_looks(void **state)
{
	struct usp_name name, other = {.is_bound = false};
	int fd = take(&name), lock = open(lock_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(flock(lock, LOCK_EX), 0);
	assert_int_equal(usp_name_remove(&name, usp_sys_now_ns() + 1), -EAGAIN);
	assert_true(name.is_bound);
	assert_true(answers());
	assert_int_equal(take(&other), -EBUSY);
	close(lock);
	assert_int_equal(usp_name_remove(&name, 0), 0);
	assert_false(is_there(address.sun_path));
	close(fd);
}

/* Between opening the file and locking it, its holder has ended, and the next one has made it again. */
static bool is_overtaken;
static int next_lock = -1;

int __real_usp_sys_flock(int fd);
int __wrap_usp_sys_flock(int fd);
int __wrap_usp_sys_flock(int fd)
{
	if (is_overtaken) {
		is_overtaken = false;
		assert_int_equal(unlink(lock_path), 0);
		next_lock = open(lock_path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
		assert_int_equal(flock(next_lock, LOCK_EX), 0);
	}
	return __real_usp_sys_flock(fd);
}

static void a_lock_whose_file_is_gone_by_then_is_none(void **state)
{
	struct usp_name name;

	(void)state;
	is_overtaken = true;
	assert_int_equal(take(&name), -EBUSY);
	assert_false(is_there(address.sun_path));
	assert_true(is_there(lock_path)); /* the next one's */
	close(next_lock);
	end(take(&name), &name);
}

static void a_folder_that_may_not_be_written_is_told_at_once(void **state)
{
	const struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/proc/self/front"};
	struct usp_name name;
	uint64_t begun_ns = usp_sys_now_ns();
	int fd = new_socket();

	(void)state;
	assert_true(usp_name_listen(fd, &nowhere, NULL, 5, &name) < 0);
	assert_true(usp_sys_now_ns() - begun_ns < PATIENCE_NS);
	close(fd);
}

/* --- Rights ------------------------------------------------------------------------------------------ */

static unsigned mode_with(mode_t mask, const struct usp_name_rights *rights)
{
	struct usp_name name;
	int fd = new_socket();
	mode_t old = umask(mask);
	struct stat st;

	assert_int_equal(usp_name_listen(fd, &address, rights, 5, &name), 0);
	umask(old);
	assert_int_equal(lstat(address.sun_path, &st), 0);
	end(fd, &name);
	return st.st_mode & 07777;
}

static void a_socket_has_the_mode_that_was_asked_for_whatever_the_umask(void **state)
{
	const mode_t masks[] = {0, 022, 077, 0777};
	const unsigned modes[] = {0600, 0660, 0666, 0777, 01};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		assert_int_equal(mode_with(masks[i], NULL), 0777 & ~masks[i]);
		assert_int_equal(mode_with(masks[i], &(struct usp_name_rights){.mode = 0}), 0777 & ~masks[i]);
		for (size_t k = 0; k < ARRAY_LEN(modes); k++)
			assert_int_equal(mode_with(masks[i], &(struct usp_name_rights){.mode = modes[k]}), modes[k]);
	}
}

static void a_group_of_ours_can_own_a_socket(void **state)
{
	const struct usp_name_rights rights = {.mode = 0660, .group = getgid(), .has_group = true};

	(void)state;
	assert_int_equal(mode_with(022, &rights), 0660);
}

/* --- Races ------------------------------------------------------------------------------------------ */

/* All begin at once in front of a socket that is stale; whoever wins stays until all have tried. */
static void start(int go, int done)
{
	struct usp_name name;
	struct pollfd pollfd = {.fd = go, .events = POLLIN};
	int fd;
	char won;

	poll(&pollfd, 1, -1);
	fd = take(&name);
	won = fd >= 0 ? 'w' : fd == -EADDRINUSE ? 'l' : '?';
	end_child(write(done, &won, 1) != 1 || poll(&(struct pollfd){.fd = go}, 1, -1) < 0);
}

static void one_round(unsigned *ret_nr_winners, unsigned *ret_nr_losers)
{
	pid_t children[NR_STARTERS];
	int go[2], done[2];
	char won;

	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	assert_int_equal(pipe2(done, O_CLOEXEC), 0);
	for (unsigned i = 0; i < NR_STARTERS; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			close(go[1]);
			start(go[0], done[1]);
		}
	}
	assert_int_equal(write(go[1], "!", 1), 1);
	for (unsigned i = 0; i < NR_STARTERS; i++) {
		assert_int_equal(read(done[0], &won, 1), 1);
		*ret_nr_winners += won == 'w';
		*ret_nr_losers += won == 'l';
	}
	assert_true(answers());
	close(go[1]);
	for (unsigned i = 0; i < NR_STARTERS; i++)
		assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
	close(go[0]);
	close(done[0]);
	close(done[1]);
}

static void of_many_that_start_at_a_stale_socket_one_wins(void **state)
{
	struct usp_name name;

	(void)state;
	close(take(&name));
	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		unsigned nr_winners = 0, nr_losers = 0;

		one_round(&nr_winners, &nr_losers);
		assert_int_equal(nr_winners, 1);
		assert_int_equal(nr_losers, NR_STARTERS - 1);
	}
	assert_int_equal(unlink(address.sun_path), 0);
}

/* One ends again and again while another starts: the one that has started must be reachable until it ends itself. */
static void an_end_never_removes_what_has_just_started(void **state)
{
	struct usp_name name;
	int stop[2];
	pid_t child;

	(void)state;
	assert_int_equal(pipe2(stop, O_CLOEXEC | O_NONBLOCK), 0);
	child = fork();
	if (child == 0) {
		char byte;

		while (read(stop[0], &byte, 1) < 0) {
			int fd = take(&name);

			if (fd >= 0)
				end(fd, &name);
		}
		end_child(false);
	}
	for (unsigned i = 0; i < 20 * NR_ROUNDS; i++) {
		int fd = take(&name);

		if (fd < 0)
			continue;
		assert_true(answers());
		end(fd, &name);
	}
	assert_int_equal(write(stop[1], "!", 1), 1);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(stop[0]);
	close(stop[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_name_is_taken_once_and_goes_with_its_owner),
		CASE(what_a_crash_left_behind_is_replaced),
		CASE(the_socket_of_a_successor_is_left_alone),
		CASE(the_end_of_a_name_that_is_gone_is_no_error),
		CASE(a_file_that_is_no_socket_is_never_removed),
		CASE(a_link_is_not_followed_to_what_it_names),
		CASE(nothing_is_taken_or_removed_while_another_program_looks),
		CASE(a_lock_whose_file_is_gone_by_then_is_none),
		CASE(a_folder_that_may_not_be_written_is_told_at_once),
		CASE(a_socket_has_the_mode_that_was_asked_for_whatever_the_umask),
		CASE(a_group_of_ours_can_own_a_socket),
		CASE(of_many_that_start_at_a_stale_socket_one_wins),
		CASE(an_end_never_removes_what_has_just_started),
	};

	return cmocka_run_group_tests_name("name", tests, make_folder, remove_folder);
}
