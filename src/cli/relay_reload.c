/* SPDX-License-Identifier: MIT */
/*
 * relay_reload - the thread that reads the targets again. A file may keep it waiting, a FIFO without a writer or one on a file
 * system that does not answer, and a service manager too: those that ask for a reload do not wait, and several are joined.
 */
#include "cli.h"
#include "relay.h"
#include "service.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The thread is there while there is something to do. Whoever is last frees this: the thread, or the end of the relay. */
struct relay_reload {
	struct relay_request request;
	struct usp_relay *relay;
	pthread_mutex_t lock;
	bool is_wanted, is_busy;
	bool is_over; /* the relay must not be touched any more */
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

/* Whatever takes time is done without the lock; what takes none, naming the targets, with it: the relay is still there. */
static void reload_go(struct relay_reload *reload)
{
	struct relay_targets targets;
	int exit_code;

	pthread_mutex_unlock(&reload->lock);
	reload_tell_begin();
	exit_code = relay_read_targets(&reload->request, &targets);
	pthread_mutex_lock(&reload->lock);
	if (exit_code == CLI_DONE && !reload->is_over)
		exit_code = relay_name_targets(reload->relay, &targets);
	relay_targets_fini(&targets);
	if (reload->is_over)
		return;
	if (exit_code == CLI_DONE && !reload->request.quiet)
		message_say("relay: the targets were read again");
	pthread_mutex_unlock(&reload->lock);
	service_notify("READY=1");
	pthread_mutex_lock(&reload->lock);
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
