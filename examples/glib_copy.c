/* SPDX-License-Identifier: MIT */
/*
 * glib_copy - copy one source to several sinks, as a GSource of a GLib main loop. Ctrl-C ends it, and the report
 * says how far it came.
 */
#include <errno.h>
#include <glib-unix.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice.h>

#define MAX_WAITS 17 /* one for the source, and one for each sink */

/* A GSource that runs a pump until it is done. Any number of them may be in one loop. */
struct pump_source {
	GSource source;
	struct usp_pump *pump;
	gpointer tags[MAX_WAITS]; /* of the descriptors that are watched now */
	unsigned nr_tags;
	int result;
};

static GMainLoop *loop;

static void check(const char *what, int error)
{
	if (error >= 0)
		return;
	fprintf(stderr, "glib_copy: %s: %s\n", what, strerror(-error));
	exit(1);
}

/* The conditions of GLib are the numbers of poll(2). The same descriptor may be there twice. */
static void pump_source_wait(struct pump_source *it, const struct usp_pump_wait *waits, unsigned nr)
{
	int64_t least_ns = -1;

	for (unsigned i = 0; i < nr; i++) {
		if (waits[i].fd >= 0)
			it->tags[it->nr_tags++] =
				g_source_add_unix_fd(&it->source, waits[i].fd,
						     (GIOCondition)((unsigned)waits[i].events | G_IO_ERR | G_IO_HUP));
		if (waits[i].timeout_ns >= 0 && (least_ns < 0 || waits[i].timeout_ns < least_ns))
			least_ns = waits[i].timeout_ns;
	}
	g_source_set_ready_time(&it->source, least_ns < 0 ? -1 : g_get_monotonic_time() + (least_ns + 999) / 1000);
}

/* A descriptor is ready, or the time is over: do what goes without waiting. */
static gboolean pump_source_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct pump_source *it = (struct pump_source *)source;
	struct usp_pump_wait waits[MAX_WAITS] = {{.size = sizeof(waits[0])}};

	while (it->nr_tags > 0) /* the step may close what it waited for */
		g_source_remove_unix_fd(source, it->tags[--it->nr_tags]);
	it->result = usp_pump_step(it->pump, &waits[0]);
	if (it->result != -EAGAIN)
		return callback(data);
	pump_source_wait(it, waits, usp_pump_waits(it->pump, waits, MAX_WAITS));
	return G_SOURCE_CONTINUE;
}

static gboolean pump_is_done(gpointer data)
{
	(void)data;
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

static gboolean on_interrupt(gpointer data)
{
	struct pump_source *it = data;

	usp_pump_stop(it->pump);
	g_source_set_ready_time(&it->source, 0);
	return G_SOURCE_CONTINUE;
}

static int report(struct pump_source *it, struct usp_file *const *sinks, unsigned nr)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	for (unsigned i = 0; i < nr; i++) {
		int error = usp_file_close(sinks[i]); /* some disks tell only here that they are full */

		if (error && !it->result)
			it->result = error;
		usp_pump_sink_status(it->pump, i, &status);
		printf("%s: %llu bytes\n", usp_file_spec(sinks[i]), (unsigned long long)status.bytes);
	}
	if (it->result)
		fprintf(stderr, "glib_copy: %s\n", strerror(-it->result));
	return it->result != 0;
}

static void run(struct pump_source *it)
{
	guint interrupt = g_unix_signal_add(SIGINT, on_interrupt, it);

	loop = g_main_loop_new(NULL, FALSE);
	g_source_set_callback(&it->source, pump_is_done, NULL, NULL);
	g_source_set_ready_time(&it->source, 0); /* begin at once */
	g_source_attach(&it->source, NULL);
	g_main_loop_run(loop);
	g_source_remove(interrupt);
	g_main_loop_unref(loop);
}

int main(int argc, char **argv)
{
	static GSourceFuncs funcs = {.dispatch = pump_source_dispatch};
	const struct usp_open_params reads = {.size = sizeof(reads), .mode = USP_READ};
	const struct usp_open_params writes = {.size = sizeof(writes), .mode = USP_WRITE};
	struct pump_source *it = (struct pump_source *)g_source_new(&funcs, sizeof(*it));
	struct usp_file *from, *sinks[MAX_WAITS - 1];
	unsigned nr = (unsigned)argc - 2;
	int failed;

	check("a source and up to 16 sinks, please", argc >= 3 && nr < MAX_WAITS ? 0 : -EINVAL);
	check(argv[1], usp_open(argv[1], &reads, &from, NULL));
	check("pump", usp_pump_new(from, NULL, &it->pump));
	for (unsigned i = 0; i < nr; i++) {
		check(argv[2 + i], usp_open(argv[2 + i], &writes, &sinks[i], NULL));
		check("pump", usp_pump_add_sink(it->pump, sinks[i]));
	}
	run(it);
	failed = report(it, sinks, nr);
	usp_pump_free(it->pump);
	g_source_unref(&it->source);
	for (unsigned i = 0; i < nr; i++)
		usp_file_put(sinks[i]);
	usp_file_put(from);
	return failed;
}
