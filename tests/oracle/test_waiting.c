/* SPDX-License-Identifier: MIT */
/*
 * test_waiting - every call that can sleep, and every event that another thread can cause meanwhile: whether it still
 * sleeps, and with what it ends, must be the same on the kernel and on the library. script.h has the language.
 *
 * Each call sleeps, one event happens and then another one, and in the end its pipes are closed, so that it ends at last.
 * A is what a call reads from, B what it writes into, of four slots.
 */
#include <stdio.h>

#include "oracle.h"
#include "support.h"

#define SCRIPT_MAX 256
#define PEERS_GO_AWAY "A peer that goes away while we wait"
#define STRIDE 11 /* of all pairs of events */
#define A_IS_EMPTY "Aj0 "
#define B_IS_FULL "Bk0 Bz16384 Bw16384 "

struct call_kind {
	const char *name, *prepare, *word;
	const char *pipes; /* that it may wait for */
};

static const struct call_kind calls[] = {
	{"a read", A_IS_EMPTY, "!Ar10000", "A"},
	{"a read of a slot", A_IS_EMPTY, "!Ar4096", "A"},
	{"a write", B_IS_FULL, "!Bw10000", "B"},
	{"a write of a page", B_IS_FULL, "!Bw4096", "B"},
	{"a write of more than there is room for", B_IS_FULL, "!Bw40000", "B"},
	{"a splice between pipes without input", A_IS_EMPTY "Bk0 Bz16384", "!AsB10000", "AB"},
	{"a splice between pipes without room", A_IS_EMPTY B_IS_FULL "Aw9000", "!AsB10000", "AB"},
	{"a splice between pipes without both", A_IS_EMPTY B_IS_FULL, "!AsB10000", "AB"},
	{"a splice to a file", A_IS_EMPTY, "!AsG10000", "A"},
	{"a splice to the null device", A_IS_EMPTY, "!AsN10000", "A"},
	{"a splice to a UNIX stream", A_IS_EMPTY, "!AsU10000", "A"},
	{"a splice to a TCP stream", A_IS_EMPTY, "!AsT10000", "A"},
	{"a splice to a packet socket", A_IS_EMPTY, "!AsQ10000", "A"},
	{"a splice of a file", B_IS_FULL, "!FsB10000@0", "B"},
	{"a splice of zeros", B_IS_FULL, "!ZsB10000", "B"},
	{"a splice of a UNIX stream", B_IS_FULL "Vw3000", "!UsB10000", "B"},
	{"a splice of a datagram", B_IS_FULL "Yw3000", "!XsB10000", "B"},
	{"a sendfile into a pipe", B_IS_FULL, "!FdB10000@0", "B"},
	{"a tee without input", A_IS_EMPTY "Bk0 Bz16384", "!AtB10000", "AB"},
	{"a tee without room", A_IS_EMPTY B_IS_FULL "Aw9000", "!AtB10000", "AB"},
	{"a vmsplice into a pipe", B_IS_FULL, "!Bv10000", "B"},
	{"a gift into a pipe", B_IS_FULL, "!Bv10000/g", "B"},
	{"a vmsplice out of a pipe", A_IS_EMPTY, "!Au10000", "A"},
};

/* To a pipe that is named first. Those of A bring input, those of B room; the others should bring neither, or an end. */
static const char *const events[] = {
	"Aw100",    "Aw5000",	"Aw9000",    "Aw20000", "Ap1 Aw100", "Ap1 Aw5000",     "FsA9000@50000",
	"ZsA9000",  "Av9000/n", "AV3/n",     "FdA9000", "Aw0",	     "Cw9000 CsA9000", "Cw9000 CtA9000",
	"Ay",	    "Az131072", "Az4096",    "Aj1",	"Ak1",	     "AD1 Ay",	       "Br100",
	"Br4096",   "Br12288",	"Br16384",   "BsH100",	"BsI12288",  "BsG12288",       "BsN12288",
	"BsC12288", "BtC12288", "Bu12288/n", "Br0",	"Bx",	     "Bz65536",	       "Bz32768",
	"Bz4096",   "Bj1",	"Bk1",	     "BD0 Bx",
};

/* Calls that wait for a peer. Nothing touches their pipe, whose lock the kernel may hold meanwhile (C18). */
static const struct call_kind peer_calls[] = {
	{"a read of a UNIX stream", "Uk0", "!Ur200", "UV"},
	{"a splice out of a UNIX stream", "Uk0 Ak0", "!UsA200", "UV"},
	{"a write to a full UNIX stream", "Uo0 Uk0", "!Uw5", "UV"},
	{"a splice into a full UNIX stream", "Aw5 Uo0 Uk0", "!AsU5", "UV"},
	{"a read of a TCP stream", "Tk0", "!Tr200", "TW"},
	{"a splice out of a TCP stream", "Tk0 Ak0", "!TsA200", "TW"},
	{"a write to a full TCP stream", "To0 Tk0", "!Tw5", "TW"},
	{"a splice into a full TCP stream", "Aw5 To0 Tk0", "!AsT5", "TW"},
	{"a read of a datagram", "Xk0", "!Xr9000", "XY"},
	{"a splice out of a datagram socket", "Xk0 Ak0", "!XsA9000", "XY"},
	{"a write of a packet to a full socket", "Qo0 Qk0", "!Qw5", "QR"},
	{"a read of a packet", "Qk0", "!Qr9000", "QR"},
	{"a splice out of a packet socket", "Qk0 Ak0", "!QsA9000", "QR"},
	{"a splice into a full packet socket", "Aw5 Qo0 Qk0", "!AsQ5", "QR"},
	{"a read of a UDP datagram", "Ek0", "!Er9000", "EL"},
	{"a splice out of a UDP socket", "Ek0 Ak0", "!EsA9000", "EL"},
	{"a read of a terminal", "Pk0", "!Pr200", "PM"},
	{"a splice out of a terminal", "Pk0 Ak0", "!PsA200", "PM"},
};

/* What the peer does, and what else happens to the file itself: the letter is put in front. */
static const char *const peer_events[] = {"w100", "w150", "w0", "c0 %cc0", "h0", "x", "n0"};
static const char *const own_events[] = {"n0", "k1"};

/* Where a call ends otherwise than with the kernel, and the section of docs/differences.md that says so. */
static struct exception {
	const char *call, *event, *section;
	unsigned nr;
} exceptions[] = {
	{"a write", "Bk1", "A call that waits does not look at its flags again", 0},
	{"a write to a full UNIX stream", "!Uw5 Vx", PEERS_GO_AWAY, 0},
	{"a splice into a full UNIX stream", "!AsU5 Vx", PEERS_GO_AWAY, 0},
	{"a read of a terminal", "!Pr200 Mx", PEERS_GO_AWAY, 0},
	{"a splice out of a terminal", "!PsA200 Mx", PEERS_GO_AWAY, 0},
};

static struct oracle oracle;
static unsigned nr_played, nr_different, stride;

/* Both must begin so, or occur in it. NULL: no exception is made for this. */
static struct exception *find_exception(const char *call, const char *script)
{
	for (size_t i = 0; i < ARRAY_LEN(exceptions); i++) {
		if (strncmp(call, exceptions[i].call, strlen(exceptions[i].call)) == 0 &&
		    strstr(script, exceptions[i].event))
			return &exceptions[i];
	}
	return NULL;
}

static void play_script(const char *call, const char *script)
{
	struct exception *exception = find_exception(call, script);

	nr_played++;
	if (exception ? oracle_play_doubtful(&oracle, script) : oracle_play(&oracle, script))
		return;
	nr_different++;
	if (!exception)
		fail_msg("%s: %s\n  in %s", call, oracle.why, script);
	else
		exception->nr++;
}

static bool is_waited_for(const struct call_kind *call, const char *event)
{
	return strchr(call->pipes, *event);
}

static void play(const struct call_kind *call, const char *first, const char *second)
{
	const char *b_end = strchr(call->pipes, 'B') ? "Bj1 Br100000 Br100000 Bx BL0" : "";
	const char *a_end = strchr(call->pipes, 'A') ? "Ay AL1 Aj1 Ar100000" : "";
	char script[SCRIPT_MAX];

	snprintf(script, sizeof(script), "%s %s %s %s %s %s", call->prepare, call->word, first, second, b_end, a_end);
	play_script(call->name, script);
}

static void a_call_that_waits_for_a_pipe_ends_as_with_the_kernel(void **state)
{
	unsigned nr = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(calls) * ARRAY_LEN(events); i++) {
		const struct call_kind *call = &calls[i / ARRAY_LEN(events)];
		const char *first = events[i % ARRAY_LEN(events)];

		if (!is_waited_for(call, first))
			continue;
		play(call, first, "");
		for (unsigned j = 0; j < ARRAY_LEN(events); j++) {
			if (is_waited_for(call, events[j]) && nr++ % stride == 0)
				play(call, first, events[j]);
		}
	}
}

/* In the end a full socket is emptied, and what waits for bytes gets one. */
static void play_peer(const struct call_kind *call, char letter, const char *event)
{
	const char *end = strstr(call->prepare, "o0") ? "c0" : "w1";
	char script[SCRIPT_MAX], word[SCRIPT_WORD_MAX], peer = call->pipes[1];

	snprintf(word, sizeof(word), event, peer);
	snprintf(script, sizeof(script), "%s %s %c%s %c%s %cx", call->prepare, call->word, letter, word, peer, end,
		 peer);
	play_script(call->name, script);
}

static void a_call_that_waits_for_a_peer_ends_as_with_the_kernel(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(peer_calls); i++) {
		bool has_end = !strchr("XE", peer_calls[i].pipes[0]); /* who waits for a datagram never hears of one */
		bool is_terminal = peer_calls[i].pipes[0] == 'P'; /* what arrives there at last is worth waiting for */

		for (unsigned j = 0; j < ARRAY_LEN(peer_events); j++) {
			if ((has_end || !strchr("hx", peer_events[j][0])) && !(is_terminal && peer_events[j][0] == 'c'))
				play_peer(&peer_calls[i], peer_calls[i].pipes[1], peer_events[j]);
		}
		for (unsigned j = 0; j < ARRAY_LEN(own_events); j++)
			play_peer(&peer_calls[i], peer_calls[i].pipes[0], own_events[j]);
	}
}

static void a_signal_ends_no_call_that_waits_for_a_pipe(void **state)
{
	char script[SCRIPT_MAX];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(calls); i++) {
		snprintf(script, sizeof(script), "%s %s %cn0", calls[i].prepare, calls[i].word, calls[i].pipes[0]);
		if (!oracle_play_difference(&oracle, script, "Signals do not end waits on our pipes"))
			fail_msg("%s: %s\n  in %s", calls[i].name, oracle.why, script);
	}
}

static void every_exception_is_needed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(exceptions); i++) {
		assert_true(oracle_is_documented(exceptions[i].section));
		if (!exceptions[i].nr)
			fail_msg("nothing differs by rule %zu, %s", i, exceptions[i].section);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_call_that_waits_for_a_pipe_ends_as_with_the_kernel),
		CASE(a_call_that_waits_for_a_peer_ends_as_with_the_kernel),
		CASE(a_signal_ends_no_call_that_waits_for_a_pipe),
		CASE(every_exception_is_needed),
	};
	int code = oracle_init(), nr_failed;

	if (code)
		return code;
	stride = getenv("WAITING_ALL") ? 1 : STRIDE;
	nr_failed = cmocka_run_group_tests_name("waiting", tests, NULL, NULL);
	print_message("# %u calls that sleep end alike, %u more differ as documented\n", nr_played - nr_different,
		      nr_different);
	oracle_fini();
	return nr_failed != 0;
}
