/* SPDX-License-Identifier: MIT */
/* explain_stages - put the stages over the source of a route that a copy would have, in the same order. */
#include "cli.h"
#include "copy_buffer.h"
#include "explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/transform.h>

/* Return how many bytes of its input a stage that encodes gets: those of the sample. -1: all, to be limited behind it. */
static int64_t explain_input(const struct explanation *explanation)
{
	return stages_encode(&explanation->request->copy.stages) ? explanation->request->sample : -1;
}

/* Put the stages over the source that rewrite: 0 or -errno. */
static int explain_put_rewriting(struct explanation *explanation, const char **ret_why)
{
	const struct stages *stages = &explanation->request->copy.stages;
	int64_t input = explain_input(explanation);
	struct usp_file **top = &explanation->source;
	int error = 0;

	if (stages_decrypt(stages))
		error = stages_put_decrypt(top, stages, false, ret_why);
	if (error == 0 && stages->decompress)
		error = stages_put(top, "decompress", -1, ret_why);
	if (error == 0 && stages->compress)
		error = stages_put(top, stages->compress, input, ret_why);
	if (error == 0 && stages_encrypt(stages))
		error = stages_put_encrypt(top, stages, stages->compress ? -1 : input, ret_why);
	return error;
}

/* Put the stage that verifies blocks over the source: an exit code. */
static int explain_put_verifier(struct explanation *explanation)
{
	const char *list = explanation->request->copy.verify_blocks, *why = NULL;
	char *spec;
	int error;

	if (!list)
		return CLI_DONE;
	if (asprintf(&spec, "blocks:%s", list) < 0)
		return CLI_FAILED;
	error = stages_put(&explanation->source, spec, -1, &why);
	free(spec);
	if (error < 0)
		return copy_usage("--verify-blocks", list, error == -EINVAL && why ? why : strerror(-error));
	return CLI_DONE;
}

/* Put the buffer over them: an exit code. It reads ahead, so it ends after the sample. */
static int explain_put_buffer(struct explanation *explanation)
{
	const struct explain_request *request = explanation->request;
	int64_t count = explanation->stage_counts || request->sample == 0 ? -1 : request->sample;

	if (!request->copy.buffer)
		return CLI_DONE;
	explanation->stage_counts |= count >= 0;
	return copy_buffer_put(&request->copy, count, &explanation->source);
}

/* Put the stage over them that computes the digests: 0 or -errno. */
static int explain_put_digests(struct explanation *explanation, const char **ret_why)
{
	char spec[DIGEST_SPEC_MAX];

	if (explanation->request->copy.digests.nr == 0)
		return 0;
	digest_list_spec(&explanation->request->copy.digests, spec);
	return stages_put(&explanation->source, spec, -1, ret_why);
}

int explain_put_stages(struct explanation *explanation)
{
	const struct copy_request *request = &explanation->request->copy;
	const char *why = NULL;
	int code, error;

	if (request->verify_blocks || request->digests.nr > 0 || request->buffer ||
	    stages_are_asked_for(&request->stages))
		explanation->bottom = usp_file_get(explanation->source);
	code = explain_put_verifier(explanation);
	if (code != CLI_DONE)
		return code;
	explanation->stage_counts = explain_input(explanation) >= 0;
	error = explain_put_rewriting(explanation, &why);
	if (error == 0) {
		code = explain_put_buffer(explanation);
		error = code == CLI_DONE ? explain_put_digests(explanation, &why) : 0;
	}
	if (error == 0)
		return code;
	message_say("source %s: %s", request->source, why ? why : strerror(-error));
	return error == -EINVAL && why ? CLI_USAGE : CLI_FAILED;
}
