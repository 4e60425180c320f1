/* SPDX-License-Identifier: MIT */
/* relay_log - what `usplice relay` says while it runs. */
#include "relay_log.h"
#include "cli.h"
#include "peer.h"
#include "service.h"
#include "spool.h"
#include "timestamp.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_ROOM (256 << 10)
#define LOG_LINES_MAX 5 /* of one kind in LOG_WINDOW_S */
#define LOG_WINDOW_S 10

/* --- Lines ----------------------------------------------------------------------------------------- */

struct log_item {
	struct timespec when;
	enum message_level level;
	char text[];
};

static struct spool *log_spool;
static uint64_t log_nr_lost; /* at the last report */
static bool log_has_time, log_has_priority;
static struct timestamp log_timestamp; /* used by the writer */

/* As syslog(3) has them. */
static const int log_priorities[] = {
	[MESSAGE_ANSWER] = 6, [MESSAGE_ERROR] = 3, [MESSAGE_WARNING] = 4, [MESSAGE_NOTICE] = 5, [MESSAGE_INFO] = 6,
};

static void log_take(enum message_level level, const char *text)
{
	size_t len = strlen(text) + 1;
	struct log_item *item = malloc(sizeof(*item) + len);

	if (!item)
		return;
	item->level = level;
	clock_gettime(CLOCK_REALTIME, &item->when);
	memcpy(item->text, text, len);
	spool_put(log_spool, item, sizeof(*item) + len);
	free(item);
}

static size_t log_format(void *arg, const void *bytes, size_t len, char *ret_line)
{
	const struct log_item *item = bytes;
	int nr = 0, text_len;

	(void)arg;
	(void)len;
	if (log_has_priority)
		nr = sprintf(ret_line, "<%d>", log_priorities[item->level]);
	if (log_has_time)
		nr += sprintf(ret_line + nr, "%s ", timestamp_of(&log_timestamp, &item->when));
	text_len = SPOOL_LINE_MAX - nr - (int)sizeof("usplice: \n");
	nr += sprintf(ret_line + nr, "usplice: %.*s\n", text_len, item->text);
	return (size_t)nr;
}

/* --- News ------------------------------------------------------------------------------------------ */

/* What is said of a connection: "client 192.0.2.1:4242 <did><target or error>", or "7 more <more>". */
struct log_news {
	enum message_level level;
	const char *did;
	enum { LOG_NOTHING, LOG_TARGET, LOG_ERROR } names;
	const char *more;
};

static const struct log_news log_news[] = {
	[USP_WHY_CLIENT_BROKE] = {MESSAGE_INFO, "broke its connection to target ", LOG_TARGET,
				  "clients broke their connections"},
	[USP_WHY_TARGET_BROKE] = {MESSAGE_INFO, "had its connection broken by target ", LOG_TARGET,
				  "connections were broken by targets"},
	[USP_WHY_IDLE] = {MESSAGE_INFO, "was idle for too long with target ", LOG_TARGET,
			  "connections were idle for too long"},
	[USP_WHY_NO_TARGET] = {MESSAGE_WARNING, "found no target: ", LOG_ERROR, "clients found no target"},
	[USP_WHY_NO_HEADER] = {MESSAGE_NOTICE, "sent no PROXY header", LOG_NOTHING, "clients sent no PROXY header"},
	[USP_WHY_STOPPED] = {MESSAGE_INFO, "was reset at the end, with target ", LOG_TARGET,
			     "connections were reset at the end"},
	[USP_WHY_SHORT] = {MESSAGE_WARNING, "was given up: descriptors, memory or local ports are short", LOG_NOTHING,
			   "clients were given up because descriptors, memory or local ports were short"},
	[USP_WHY_DENIED] = {MESSAGE_NOTICE, "is denied", LOG_NOTHING, "clients were denied"},
	[USP_WHY_TOO_MANY] = {MESSAGE_NOTICE, "was refused: its address has too many connections", LOG_NOTHING,
			      "clients were refused because their addresses had too many connections"},
	[USP_WHY_TOO_FAST] = {MESSAGE_NOTICE, "was refused: its address connects too often", LOG_NOTHING,
			      "clients were refused because their addresses connected too often"},
	[USP_NR_WHYS] = {.level = MESSAGE_WARNING, .more = "changes of targets"},
};

static struct {
	time_t since;
	unsigned nr_said;
	uint64_t nr_left_out;
} log_kinds[USP_NR_WHYS + 1];

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER; /* guards log_kinds */

static time_t log_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/*
 * Tell whether one more line of this kind may be shown. Lines left out in an earlier window must be
 * reported first.
 */
static bool log_may_say(unsigned kind)
{
	bool may;

	pthread_mutex_lock(&log_lock);
	if (log_now() - log_kinds[kind].since >= LOG_WINDOW_S) {
		log_kinds[kind].since = log_now();
		log_kinds[kind].nr_said = 0;
	}
	may = log_kinds[kind].nr_said < LOG_LINES_MAX;
	if (may)
		log_kinds[kind].nr_said++;
	else
		log_kinds[kind].nr_left_out++;
	pthread_mutex_unlock(&log_lock);
	return may;
}

static uint64_t log_take_left_out(unsigned kind, bool is_last)
{
	uint64_t nr = 0;

	pthread_mutex_lock(&log_lock);
	if (is_last || log_now() - log_kinds[kind].since >= LOG_WINDOW_S) {
		nr = log_kinds[kind].nr_left_out;
		log_kinds[kind].nr_left_out = 0;
	}
	pthread_mutex_unlock(&log_lock);
	return nr;
}

static void log_say_left_out(bool is_last)
{
	for (unsigned kind = 0; kind <= USP_NR_WHYS; kind++) {
		uint64_t nr = log_take_left_out(kind, is_last);

		if (nr)
			message_note(log_news[kind].level, "relay: %" PRIu64 " more %s", nr, log_news[kind].more);
	}
}

void relay_log_ended(const struct usp_relay_ended *ended)
{
	const struct log_news *news = &log_news[ended->why];
	char client[PEER_TEXT_MAX];
	const char *other = "";

	if (!news->did || !log_may_say(ended->why))
		return;
	peer_print(ended->client, client);
	if (news->names == LOG_TARGET && ended->target)
		other = ended->target;
	else if (news->names == LOG_ERROR)
		other = ended->error ? strerror(-ended->error) : "there is none";
	message_note(news->level, "relay: client %s %s%s", client, news->did, other);
}

void relay_log_news(const struct usp_relay_news *news)
{
	if (!log_may_say(USP_NR_WHYS))
		return;
	switch (news->kind) {
	case USP_RELAY_TARGET_UNKNOWN:
		message_note(MESSAGE_WARNING, "relay: target '%s': %s; it is looked up again", news->target, news->why);
		break;
	case USP_RELAY_TARGET_KNOWN:
		message_note(MESSAGE_NOTICE, "relay: target '%s': its name resolves again", news->target);
		break;
	case USP_RELAY_TARGET_DOWN:
		message_note(MESSAGE_WARNING, "relay: target %s is down: %s", news->target, strerror(-news->error));
		break;
	case USP_RELAY_TARGET_UP:
		message_note(MESSAGE_NOTICE, "relay: target %s is up again", news->target);
		break;
	}
}

void relay_log_turn(struct usp_relay *relay, bool is_last)
{
	static uint64_t nr_untold, nr_pauses;
	struct usp_relay_status status = {.size = sizeof(status)};
	uint64_t nr_lost = spool_nr_dropped(log_spool);

	usp_relay_status(relay, &status);
	log_say_left_out(is_last);
	if (status.nr_accept_pauses != nr_pauses)
		message_note(MESSAGE_WARNING,
			     "relay: descriptors, memory or local ports were short %" PRIu64
			     " times: clients had to wait",
			     status.nr_accept_pauses - nr_pauses);
	if (status.nr_untold != nr_untold)
		message_note(MESSAGE_WARNING, "relay: the access log could not take %" PRIu64 " lines",
			     status.nr_untold - nr_untold);
	if (nr_lost != log_nr_lost)
		message_note(MESSAGE_WARNING, "relay: %" PRIu64 " lines of this log were lost", nr_lost - log_nr_lost);
	nr_pauses = status.nr_accept_pauses;
	nr_untold = status.nr_untold;
	log_nr_lost = nr_lost;
}

/* --- Life ------------------------------------------------------------------------------------------ */

int relay_log_begin(void)
{
	const struct spool_params params = {.fd = STDERR_FILENO, .room = LOG_ROOM, .format = log_format};
	struct stat st;
	int ret = spool_new(&params, &log_spool);

	if (ret < 0)
		return ret;
	log_has_priority = service_is_journal(STDERR_FILENO);
	log_has_time =
		!log_has_priority && fstat(STDERR_FILENO, &st) == 0 && (S_ISREG(st.st_mode) || isatty(STDERR_FILENO));
	message_divert(log_take);
	return 0;
}

void relay_log_end(void)
{
	message_divert(NULL);
	spool_free(log_spool);
}
