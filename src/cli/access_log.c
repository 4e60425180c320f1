/* SPDX-License-Identifier: MIT */
/*
 * access_log - one line for each connection of a relay that has ended.
 *
 * A worker leaves the numbers in the ring of a spool, and the spool's thread makes text of them.
 * The text is written by hand: with printf(3) a line costs as much as the rest of a short
 * connection's end.
 */
#include "access_log.h"
#include "cli.h"
#include "json.h"
#include "peer.h"
#include "spool.h"
#include "timestamp.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCESS_ROOM (1 << 20)
#define ACCESS_LISTENERS_MAX 64
#define ACCESS_LISTENER_MAX 128
#define ACCESS_TARGET_MAX 320 /* longer names are cut */
#define ACCESS_NS_PER_MS 1000000

/* The numbers of a connection, without what a line does not show. */
struct access_item {
	struct timespec when;
	enum usp_relay_why why;
	unsigned listener;
	uint64_t duration_ns, delivered[2], ways[2][USP_NR_WAYS];
	struct sockaddr_in6 peer, client; /* or a sockaddr_in, which is shorter */
	size_t target_len;
	bool has_target;
	char target[ACCESS_TARGET_MAX];
};

static struct {
	struct spool *spool; /* NULL: there is no access log */
	const char *path;
	enum access_format format;
	char listeners[ACCESS_LISTENERS_MAX][ACCESS_LISTENER_MAX];
	struct timestamp timestamp; /* used by the writer */
} access_log;

static const char *const access_whys[] = {
	[USP_WHY_CLOSED] = "closed",
	[USP_WHY_CLIENT_BROKE] = "client_reset",
	[USP_WHY_TARGET_BROKE] = "target_reset",
	[USP_WHY_IDLE] = "idle",
	[USP_WHY_NO_TARGET] = "no_target",
	[USP_WHY_NO_HEADER] = "no_header",
	[USP_WHY_STOPPED] = "stopped",
	[USP_WHY_SHORT] = "short",
	[USP_WHY_DENIED] = "denied",
	[USP_WHY_TOO_MANY] = "too_many",
	[USP_WHY_TOO_FAST] = "too_fast",
};

static const char *const access_directions[] = {[USP_TO_TARGET] = "to_target", [USP_TO_CLIENT] = "to_client"};
static const char *const access_ways[] = {
	[USP_BY_REFERENCE] = "by_reference",
	[USP_COPIED] = "copied",
	[USP_UNKNOWN] = "unknown",
	[USP_REWRITTEN] = "rewritten",
};

/* --- A line ------------------------------------------------------------------------------------------ */

/* The position in a line. All that is added fits: long texts are cut before. */
struct line {
	char *at;
	enum access_format format;
};

static void line_add(struct line *line, const char *text)
{
	size_t len = strlen(text);

	memcpy(line->at, text, len);
	line->at += len;
}

/* Add a number with at least so many digits. */
static void line_add_number(struct line *line, uint64_t number, unsigned nr_least)
{
	char digits[20];
	unsigned nr = 0;

	do {
		digits[nr++] = (char)('0' + number % 10);
		number /= 10;
	} while (number || nr < nr_least);
	while (nr)
		*line->at++ = digits[--nr];
}

/* Begin a field with its name, behind the field before. */
static void line_begin(struct line *line, const char *name)
{
	bool is_json = line->format == ACCESS_JSON;

	line_add(line, is_json ? ",\"" : " ");
	line_add(line, name);
	line_add(line, is_json ? "\":" : "=");
}

static void line_number(struct line *line, const char *name, uint64_t number)
{
	line_begin(line, name);
	line_add_number(line, number, 1);
}

/* Tell whether a text may stand as it is, with and without quotes. */
static bool access_is_plain(const char *value)
{
	for (; *value; value++) {
		if (*value <= ' ' || *value >= 0x7f || *value == '"' || *value == '\\' || *value == '=')
			return false;
	}
	return true;
}

/* Add a name of any bytes, as a JSON string. */
static void line_quote(struct line *line, const char *value)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out)
		json_put(out, value);
	if (out && fclose(out) == 0)
		line_add(line, text);
	else
		line_add(line, "\"?\"");
	free(text);
}

static void line_text(struct line *line, const char *name, const char *value)
{
	bool is_json = line->format == ACCESS_JSON;

	line_begin(line, name);
	if (!*value || !access_is_plain(value)) {
		line_quote(line, value);
		return;
	}
	line_add(line, is_json ? "\"" : "");
	line_add(line, value);
	line_add(line, is_json ? "\"" : "");
}

/* Add the client that a header names, and then the peer that sent the header, if it is another address. */
static void line_client(struct line *line, const struct access_item *item)
{
	char client[PEER_TEXT_MAX], peer[PEER_TEXT_MAX];

	peer_print((const struct sockaddr *)&item->client, client);
	peer_print((const struct sockaddr *)&item->peer, peer);
	line_text(line, "client", client);
	if (strcmp(client, peer) != 0)
		line_text(line, "peer", peer);
}

static void line_target(struct line *line, const struct access_item *item)
{
	if (item->has_target) {
		line_text(line, "target", item->target);
	} else {
		line_begin(line, "target");
		line_add(line, line->format == ACCESS_JSON ? "null" : "-");
	}
}

/* Add the numbers of each direction in JSON; in text add their sums by way. */
static void line_ways(struct line *line, const struct access_item *item)
{
	for (unsigned i = 0; i < 2; i++) {
		line_number(line, access_directions[i], item->delivered[i]);
		for (unsigned way = 0; way < USP_NR_WAYS && line->format == ACCESS_JSON; way++) {
			line_add(line, ",\"");
			line_add(line, access_directions[i]);
			line_add(line, "_");
			line_add(line, access_ways[way]);
			line_add(line, "\":");
			line_add_number(line, item->ways[i][way], 1);
		}
	}
	for (unsigned way = 0; way < USP_NR_WAYS && line->format == ACCESS_TEXT; way++)
		line_number(line, access_ways[way], item->ways[0][way] + item->ways[1][way]);
}

static void line_duration(struct line *line, uint64_t duration_ns)
{
	uint64_t ms = duration_ns / ACCESS_NS_PER_MS;

	line_begin(line, "duration");
	line_add_number(line, ms / 1000, 1);
	line_add(line, ".");
	line_add_number(line, ms % 1000, 3);
}

static size_t access_format(void *arg, const void *bytes, size_t len, char *ret_line)
{
	struct access_item item;
	struct line line = {.at = ret_line, .format = access_log.format};
	bool is_json = access_log.format == ACCESS_JSON;

	(void)arg;
	memcpy(&item, bytes, len);
	item.target[item.target_len] = '\0';
	line_add(&line, is_json ? "{\"time\":\"" : "time=");
	line_add(&line, timestamp_of(&access_log.timestamp, &item.when));
	line_add(&line, is_json ? "\"" : "");
	line_client(&line, &item);
	line_text(&line, "listener", access_log.listeners[item.listener]);
	line_target(&line, &item);
	line_ways(&line, &item);
	line_duration(&line, item.duration_ns);
	line_text(&line, "end", access_whys[item.why]);
	line_add(&line, is_json ? "}\n" : "\n");
	return (size_t)(line.at - ret_line);
}

/* --- The log ----------------------------------------------------------------------------------------- */

static void access_take_address(const struct sockaddr *address, struct sockaddr_in6 *ret_address)
{
	if (address->sa_family == AF_INET6)
		memcpy(ret_address, address, sizeof(struct sockaddr_in6));
	else if (address->sa_family == AF_INET)
		memcpy(ret_address, address, sizeof(struct sockaddr_in));
	else
		ret_address->sin6_family = address->sa_family;
}

bool access_log_put(const struct usp_relay_ended *ended)
{
	struct access_item item;
	size_t target_len = ended->target ? strlen(ended->target) : 0;

	if (!access_log.spool)
		return true;
	item.target_len = target_len < sizeof(item.target) - 1 ? target_len : sizeof(item.target) - 1;
	item.has_target = ended->target;
	item.why = ended->why;
	item.listener = ended->listener;
	item.duration_ns = ended->duration_ns;
	clock_gettime(CLOCK_REALTIME, &item.when);
	access_take_address(ended->peer, &item.peer);
	access_take_address(ended->client, &item.client);
	for (unsigned i = 0; i < 2; i++) {
		item.delivered[i] = ended->delivered[i];
		memcpy(item.ways[i], ended->ways[i], sizeof(item.ways[i]));
	}
	memcpy(item.target, ended->target ? ended->target : "", item.target_len);
	return spool_put(access_log.spool, &item, offsetof(struct access_item, target) + item.target_len);
}

static void access_changed(void *arg, int error)
{
	(void)arg;
	if (error)
		message_say("relay: access log %s: %s", access_log.path, strerror(-error));
	else
		message_note(MESSAGE_NOTICE, "relay: access log %s: it is written again", access_log.path);
}

int access_log_open(const char *path, enum access_format format)
{
	const bool is_stdout = strcmp(path, "-") == 0;
	const struct spool_params params = {
		.path = is_stdout ? NULL : path,
		.fd = STDOUT_FILENO,
		.room = ACCESS_ROOM,
		.format = access_format,
		.changed = access_changed,
	};

	access_log.path = path;
	access_log.format = format;
	return spool_new(&params, &access_log.spool);
}

void access_log_begin(struct usp_relay *relay)
{
	for (unsigned i = 0; i < ACCESS_LISTENERS_MAX; i++) {
		char *listener = access_log.listeners[i];

		if (usp_relay_address(relay, i, listener, ACCESS_LISTENER_MAX) < 0)
			return;
	}
}

void access_log_reopen(void)
{
	if (access_log.spool)
		spool_reopen(access_log.spool);
}

void access_log_close(void)
{
	size_t nr_left = spool_free(access_log.spool);

	access_log.spool = NULL;
	if (nr_left)
		message_note(MESSAGE_WARNING, "relay: access log %s: %zu lines could not be written", access_log.path,
			     nr_left);
}
