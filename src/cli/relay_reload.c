/* SPDX-License-Identifier: MIT */
/*
 * relay_reload - the thread that reads targets and rules again. A file may block it: a FIFO without
 * a writer, or one on a file system that does not answer. A service manager may block it, too.
 * Requests for a reload do not wait, and several become one.
 */
#include "cli.h"
#include "relay.h"
#include "service.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * A reload. Its thread exists while there is work to do. Freed by the last user: the thread, or the
 * end of the relay.
 */
struct relay_reload {
	struct relay_request request;
	struct usp_relay *relay;
	pthread_mutex_t lock;
	bool is_wanted, is_busy;
	bool is_over; /* the relay must not be used any more */
};

static void reload_free(struct relay_reload *reload)
{
	pthread_mutex_destroy(&reload->lock);
	free(reload);
}

static void reload_tell_begin(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	service_notify("RELOADING=1\nMONOTONIC_USEC=%llu",
		       (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
}

static void reload_tell_end(void)
{
	service_notify("READY=1");
}

static void reload_name_targets(struct relay_reload *reload, const struct word_list *targets)
{
	if (relay_name_targets(reload->relay, targets) == CLI_DONE)
		message_note(MESSAGE_NOTICE, "relay: the targets were read again");
}

static void reload_set_rules(struct relay_reload *reload, const struct word_list *rules)
{
	if (relay_set_rules(reload->relay, &reload->request, rules) == CLI_DONE)
		message_note(MESSAGE_NOTICE, "relay: the rules were read again");
}

/*
 * Read without the lock, because that takes time. Then use the result with the lock, if the relay
 * still exists.
 */
static void reload_read(struct relay_reload *reload,
			int (*read)(const struct relay_request *request, struct word_list *ret_words),
			void (*take)(struct relay_reload *reload, const struct word_list *words))
{
	struct word_list words;
	int exit_code;

	pthread_mutex_unlock(&reload->lock);
	exit_code = read(&reload->request, &words);
	pthread_mutex_lock(&reload->lock);
	if (exit_code == CLI_DONE && !reload->is_over)
		take(reload, &words);
	word_list_fini(&words);
}

/* Tell the manager, with the lock released while that may wait. */
static void reload_tell(struct relay_reload *reload, void (*tell)(void))
{
	pthread_mutex_unlock(&reload->lock);
	tell();
	pthread_mutex_lock(&reload->lock);
}

static void reload_go(struct relay_reload *reload)
{
	reload_tell(reload, reload_tell_begin);
	reload_read(reload, relay_read_targets, reload_name_targets);
	if (reload->request.access_file && !reload->is_over)
		reload_read(reload, relay_read_rules, reload_set_rules);
	if (!reload->is_over)
		reload_tell(reload, reload_tell_end);
}

static void *reload_run(void *arg)
{
	struct relay_reload *reload = arg;
	bool is_over;

	pthread_mutex_lock(&reload->lock);
	while (reload->is_wanted && !reload->is_over) {
		reload->is_wanted = false;
		reload_go(reload);
	}
	reload->is_busy = false;
	is_over = reload->is_over;
	pthread_mutex_unlock(&reload->lock);
	if (is_over)
		reload_free(reload);
	return NULL;
}

struct relay_reload *relay_reload_new(const struct relay_request *request, struct usp_relay *relay)
{
	struct relay_reload *reload = calloc(1, sizeof(*reload));

	if (!reload)
		return NULL;
	reload->request = *request;
	reload->relay = relay;
	pthread_mutex_init(&reload->lock, NULL);
	return reload;
}

void relay_reload_ask(struct relay_reload *reload)
{
	pthread_t thread;
	int error = 0;

	pthread_mutex_lock(&reload->lock);
	reload->is_wanted = true;
	if (!reload->is_busy)
		error = pthread_create(&thread, NULL, reload_run, reload);
	if (!reload->is_busy && error == 0)
		pthread_detach(thread);
	reload->is_busy |= error == 0;
	pthread_mutex_unlock(&reload->lock);
	if (error)
		message_say("relay: the targets cannot be read again: %s", strerror(error));
}

void relay_reload_end(struct relay_reload *reload)
{
	bool is_busy;

	pthread_mutex_lock(&reload->lock);
	reload->is_over = true;
	is_busy = reload->is_busy;
	pthread_mutex_unlock(&reload->lock);
	if (!is_busy)
		reload_free(reload);
}
