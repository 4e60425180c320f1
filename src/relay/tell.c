/* SPDX-License-Identifier: MIT */
/* tell - report news of a relay to the program that runs it. */
#include "relay/tell.h"

#include "relay/conn.h"
#include "relay/proxy.h"
#include "relay/worker.h"
#include "splice/file.h"

static const struct sockaddr *tell_client(const struct usp_conn *conn)
{
	bool is_named = conn->addresses && conn->addresses->is_known;

	return is_named ? (const struct sockaddr *)&conn->addresses->source : &conn->story.peer.any;
}

void usp_tell_ended(struct usp_conn *conn)
{
	const struct usp_relay_params *params = usp_conn_params(conn);
	const struct usp_conn_story *story = &conn->story;
	struct usp_relay_ended ended = {
		.size = sizeof(ended),
		.why = story->why,
		.error = story->why == USP_WHY_NO_TARGET ? story->error : 0,
		.listener = story->listener,
		.target = conn->target ? conn->target->name : NULL,
		.duration_ns = usp_conn_now(conn) - story->begun_ns,
		.peer = &story->peer.any,
		.client = tell_client(conn),
	};

	if (!params->ended)
		return;
	for (unsigned i = 0; i < 2; i++) {
		ended.delivered[i] = story->delivered[i];
		usp_ways_judge(story->delivered[i],
			       (const uint64_t[USP_NR_WAYS]){
				       [USP_COPIED] = story->copied[i], [USP_UNKNOWN] = story->unknown[i]},
			       ended.ways[i]);
	}
	if (!params->ended(params->told_arg, &ended))
		usp_counter_add(&usp_conn_counters(conn)->untold, 1);
}

void usp_tell_target(const struct usp_conn *conn, int error)
{
	const struct usp_relay_params *params = usp_conn_params(conn);
	const struct usp_relay_news news = {
		.size = sizeof(news),
		.kind = error ? USP_RELAY_TARGET_DOWN : USP_RELAY_TARGET_UP,
		.target = conn->target->name,
		.error = error,
	};

	if (params->told)
		params->told(params->told_arg, &news);
}
