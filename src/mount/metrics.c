/* SPDX-License-Identifier: MIT */
/* metrics - what a mount tells over HTTP: a thread of its own, so that no request waits for who asks. */
#include <errno.h>

#include "base/alloc.h"
#include "base/sys.h"
#include "base/thread.h"
#include "event/loop.h"
#include "metrics/door.h"
#include "metrics/server.h"
#include "mount/counts.h"
#include "mount/inside.h"
#include "mount/page.h"
#include "mount/report.h"

struct mount_metrics {
	struct usp_mount *mount;
	struct usp_metrics_doors doors;
	struct usp_metrics *server;
	struct usp_loop *loop;
	uint64_t since_ns;
	pthread_t thread;
	bool has_thread;
};

/* --- What is told ------------------------------------------------------------------------------------------- */

static void metrics_write_numbers(void *arg, struct usp_numbers *numbers)
{
	const struct mount_metrics *metrics = arg;

	mount_report_numbers(metrics->mount, numbers);
}

static void metrics_write_json(void *arg, struct usp_text *text)
{
	const struct mount_metrics *metrics = arg;

	mount_report_json(metrics->mount, usp_sys_now_ns() - metrics->since_ns, text);
}

/* There is no history: Prometheus keeps its own. */
static void metrics_tick(void *arg, uint64_t now_ns)
{
	(void)arg;
	(void)now_ns;
}

void mount_metrics_gathered(struct usp_mount *mount, const char *name, int64_t done, int64_t total)
{
	for (unsigned i = 0; mount->metrics && i < mount->nr_nodes; i++) {
		struct mount_node *node = mount->nodes[i];

		if (node->name == name) {
			atomic_store(&node->gather_total, total);
			atomic_store(&node->gathered, done);
		}
	}
}

/* --- Life --------------------------------------------------------------------------------------------------- */

static void metrics_free(struct mount_metrics *metrics)
{
	usp_metrics_free(metrics->server);
	usp_loop_free(metrics->loop);
	usp_metrics_unlisten(&metrics->doors);
	usp_free(metrics);
}

/* Make what serves: 0 or -errno. */
static int metrics_make(struct mount_metrics *metrics)
{
	const struct usp_metrics_source source = {
		.arg = metrics,
		.prefix = "usplice_mount",
		.write_numbers = metrics_write_numbers,
		.write_json = metrics_write_json,
		.tick = metrics_tick,
		.page = &usp_mount_page,
	};
	int ret = usp_loop_new(&metrics->loop);

	if (ret < 0)
		return ret;
	return usp_metrics_new(&source, metrics->doors.fds, metrics->doors.nr_fds, &metrics->server);
}

int usp_mount_serve_metrics(struct usp_mount *mount, const char *address, const char **ret_why)
{
	const char *why = NULL;
	struct mount_metrics *metrics;
	int ret = mount->metrics || mount->session || !mount->nr_nodes ? -EINVAL : 0;

	if (ret < 0)
		return ret;
	metrics = usp_alloc(sizeof(*metrics));
	if (!metrics)
		return -ENOMEM;
	metrics->mount = mount;
	metrics->since_ns = usp_sys_now_ns();
	ret = usp_metrics_listen(address, &metrics->doors, &why);
	if (ret == 0)
		ret = metrics_make(metrics);
	if (ret == 0 && !mount->counts)
		mount->counts = mount_counts_new();
	if (ret == 0 && !mount->counts)
		ret = -ENOMEM;
	if (ret < 0)
		metrics_free(metrics);
	else
		mount->metrics = metrics;
	if (ret < 0 && ret_why)
		*ret_why = why;
	return ret;
}

int usp_mount_add_metrics_host(struct usp_mount *mount, const char *name, const char **ret_why)
{
	const char *why = NULL;
	int ret = mount->metrics && !mount->metrics->has_thread
			  ? usp_metrics_add_host(mount->metrics->server, name, &why)
			  : -EINVAL;

	if (ret < 0 && ret_why)
		*ret_why = why;
	return ret;
}

ssize_t usp_mount_metrics_address(struct usp_mount *mount, char *ret_text, size_t len)
{
	return mount->metrics ? usp_metrics_print_address(&mount->metrics->doors, ret_text, len) : -EINVAL;
}

/* --- The thread --------------------------------------------------------------------------------------------- */

static void metrics_woken(void *arg)
{
	struct mount_metrics *metrics = arg;

	usp_loop_stop(metrics->loop);
}

static void *metrics_run(void *arg)
{
	struct mount_metrics *metrics = arg;

	usp_loop_run(metrics->loop);
	return NULL;
}

int mount_metrics_begin(struct usp_mount *mount)
{
	struct mount_metrics *metrics = mount->metrics;
	int ret;

	if (!metrics || metrics->has_thread) /* a start that failed may be tried again */
		return 0;
	ret = usp_metrics_start(metrics->server, metrics->loop);
	if (ret < 0)
		return ret;
	usp_loop_on_wake(metrics->loop, metrics_woken, metrics);
	ret = usp_thread_start(&metrics->thread, metrics_run, metrics);
	metrics->has_thread = ret == 0;
	return ret;
}

void mount_metrics_end(struct usp_mount *mount)
{
	struct mount_metrics *metrics = mount->metrics;

	if (!metrics)
		return;
	if (metrics->has_thread) {
		usp_loop_wake(metrics->loop);
		pthread_join(metrics->thread, NULL);
		usp_loop_finish(metrics->loop);
	}
	metrics_free(metrics);
	mount->metrics = NULL;
}
