/* SPDX-License-Identifier: MIT */
/* mount - the life of a mount, from its parameters to its end. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "base/sys.h"
#include "mount/inside.h"

#define MOUNT_FLAGS                                                                                                   \
	(USP_MOUNT_ALLOW_OTHER | USP_MOUNT_DIRECT | USP_MOUNT_PREFETCH | USP_MOUNT_NO_PASSTHROUGH | USP_MOUNT_WRITE | \
	 USP_MOUNT_NOEXEC | USP_MOUNT_SYNC | USP_MOUNT_NOATIME)
#define MOUNT_THREADS_MAX 64
#define MOUNT_CLOSABLE_MAX 1024u /* sources that stay open: each may have a page cache and threads */
#define MOUNT_BUDGET_MIN ((size_t)1 << 20)

/* --- Making ----------------------------------------------------------------------------------------------- */

static int mount_take_params(struct usp_mount *mount, const struct usp_mount_params *params)
{
	struct usp_mount_params *own = &mount->params;
	int ret = params ? usp_sized_take(own, sizeof(*own), params) : 0;

	if (ret < 0)
		return ret;
	if (!own->budget)
		own->budget = MOUNT_BUDGET;
	if (own->flags & ~MOUNT_FLAGS || own->nr_threads > MOUNT_THREADS_MAX || own->budget < MOUNT_BUDGET_MIN)
		return -EINVAL;
	if (own->flags & USP_MOUNT_WRITE && own->flags & USP_MOUNT_PREFETCH)
		return -EINVAL; /* a copy is not the source */
	mount->device = usp_alloc_string(own->name ? own->name : "usplice");
	if (own->spool)
		mount->spool = usp_alloc_string(own->spool);
	own->name = own->spool = NULL; /* the caller's */
	return mount->device && (mount->spool || !params || !params->spool) ? 0 : -ENOMEM;
}

/* Find out what is mounted on: 0 or -errno. The path is kept whole, because a daemon changes its folder. */
static int mount_take_point(struct usp_mount *mount, const char *mountpoint, const char **ret_why)
{
	char path[PATH_MAX];
	struct stat st;
	int ret = usp_sys_stat(mountpoint, &st);

	if (ret < 0)
		return ret;
	*ret_why = "it is neither a directory nor a regular file";
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return -EINVAL;
	*ret_why = NULL;
	mount->is_file = S_ISREG(st.st_mode);
	if (!realpath(mountpoint, path))
		return -ENOENT;
	mount->mountpoint = usp_alloc_string(path);
	return mount->mountpoint ? 0 : -ENOMEM;
}

/* Look whether FUSE can be used. Otherwise a program of libfuse would say so in its own way. */
static int mount_check_device(const char **ret_why)
{
	int fd = usp_sys_open("/dev/fuse", O_RDWR, 0);

	*ret_why = fd == -EACCES || fd == -EPERM    ? "this user may not open /dev/fuse"
		   : fd == -ENOENT || fd == -ENODEV ? "this kernel has no FUSE: there is no /dev/fuse"
						    : NULL;
	if (fd < 0)
		return fd;
	return usp_sys_close(fd);
}

static int mount_init(struct usp_mount *mount)
{
	LIST_INIT(&mount->opens);
	TAILQ_INIT(&mount->reads);
	TAILQ_INIT(&mount->works);
	pthread_cond_init(&mount->has_work, NULL);
	pthread_cond_init(&mount->has_forget, NULL);
	TAILQ_INIT(&mount->idles);
	mount->nr_closable_max = usp_min(usp_sys_fd_limit() / 2, MOUNT_CLOSABLE_MAX);
	pthread_mutex_init(&mount->session_lock, NULL);
	pthread_mutex_init(&mount->lock, NULL);
	pthread_cond_init(&mount->idle, NULL);
	pthread_cond_init(&mount->has_settled, NULL);
	mount->wake_fd = mount->stop_fd = mount->end_fd = mount->fuse_fd = -1;
	mount->user = usp_sys_user();
	mount->group = usp_sys_group();
	usp_sys_date(&mount->born);
	return 0;
}

static int mount_open_fds(struct usp_mount *mount)
{
	mount->wake_fd = usp_sys_eventfd();
	if (mount->wake_fd < 0)
		return mount->wake_fd;
	mount->stop_fd = usp_sys_eventfd();
	if (mount->stop_fd < 0)
		return mount->stop_fd;
	mount->end_fd = usp_sys_eventfd();
	return mount->end_fd < 0 ? mount->end_fd : mount_read_init(mount);
}

int usp_mount_new(const char *mountpoint, const struct usp_mount_params *params, struct usp_mount **ret_mount,
		  const char **ret_why)
{
	const char *why = NULL;
	struct usp_mount *mount = mountpoint ? usp_alloc(sizeof(*mount)) : NULL;
	int ret = mount ? mount_init(mount) : mountpoint ? -ENOMEM : -EINVAL;

	if (ret == 0)
		ret = mount_take_params(mount, params);
	if (ret == 0)
		ret = mount_take_point(mount, mountpoint, &why);
	if (ret == 0)
		ret = mount_check_device(&why);
	if (ret == 0)
		ret = mount_open_fds(mount);
	if (ret == 0)
		*ret_mount = mount;
	else
		usp_mount_free(mount);
	if (ret_why)
		*ret_why = why;
	return ret;
}

static int mount_check_source(const struct usp_mount *mount, const struct usp_mount_source *source)
{
	if (!source->name || !source->open || !*source->name || strchr(source->name, '/') ||
	    strlen(source->name) > NAME_MAX || strcmp(source->name, ".") == 0 || strcmp(source->name, "..") == 0)
		return -EINVAL;
	if (mount->is_file)
		return mount->nr_nodes ? -EINVAL : 0;
	for (unsigned i = 0; i < mount->nr_nodes; i++) {
		if (strcmp(mount->nodes[i]->name, source->name) == 0)
			return -EEXIST;
	}
	return 0;
}

/* Make room for one more source, in steps that double. */
static int mount_grow(struct usp_mount *mount)
{
	unsigned nr = mount->nr_nodes;
	struct mount_node **nodes;

	if (nr & (nr - 1))
		return 0;
	nodes = usp_alloc_array(nr ? 2 * (size_t)nr : 1, sizeof(struct mount_node *));
	if (!nodes)
		return -ENOMEM;
	if (nr)
		memcpy(nodes, mount->nodes, nr * sizeof(struct mount_node *));
	usp_free(mount->nodes);
	mount->nodes = nodes;
	return 0;
}

int usp_mount_add(struct usp_mount *mount, const struct usp_mount_source *source)
{
	struct usp_mount_source own = {.size = sizeof(own)};
	struct mount_node *node;
	int ret = mount->session || mount->metrics ? -EBUSY : usp_sized_take(&own, sizeof(own), source);

	if (ret == 0)
		ret = mount_check_source(mount, &own);
	if (ret == 0)
		ret = mount_grow(mount);
	if (ret < 0)
		return ret;
	node = usp_alloc(sizeof(*node));
	if (node)
		node->name = usp_alloc_string(own.name);
	if (!node || !node->name) {
		usp_free(node);
		return -ENOMEM;
	}
	own.name = node->name;
	node->mount = mount;
	node->source = own;
	node->fd = node->rights_fd = -1;
	node->forget_from = MOUNT_NOTHING;
	node->ino = mount->is_file ? FUSE_ROOT_ID : MOUNT_FIRST_INO + mount->nr_nodes;
	TAILQ_INIT(&node->waits);
	mount->nodes[mount->nr_nodes++] = node;
	return 0;
}

/* --- Running ---------------------------------------------------------------------------------------------- */

int usp_mount_start(struct usp_mount *mount, const char **ret_why)
{
	int ret = mount->nr_nodes && !mount->session ? 0 : -EINVAL;
	const char *why = NULL;

	if (ret == 0)
		ret = mount_metrics_begin(mount);
	for (unsigned i = 0; ret == 0 && i < mount->nr_nodes; i++) {
		struct mount_node *node = mount->nodes[i];

		if (!node->source.is_lazy || mount->is_file)
			ret = mount_node_open(node);
		why = node->why;
	}
	if (ret == 0) {
		pthread_mutex_lock(&mount->session_lock);
		ret = mount_session_begin(mount);
		pthread_mutex_unlock(&mount->session_lock);
		why = ret == -EPERM ? "neither mount(2) nor fusermount3 could mount there" : NULL;
	}
	if (ret_why)
		*ret_why = why;
	return ret;
}

int usp_mount_run(struct usp_mount *mount)
{
	int ret = mount->is_mounted ? mount_serve(mount) : -EINVAL, late = mount_end(mount);

	if (ret == 0)
		ret = atomic_load(&mount->error);
	return ret < 0 ? ret : late;
}

int usp_mount_detach(struct usp_mount *mount)
{
	int ret = 0;

	pthread_mutex_lock(&mount->session_lock);
	if (mount->session && mount->is_mounted && !mount->is_detached)
		ret = mount_session_detach(mount);
	pthread_mutex_lock(&mount->lock);
	if (ret == 0)
		mount->is_detached = true;
	pthread_mutex_unlock(&mount->lock);
	pthread_mutex_unlock(&mount->session_lock);
	return ret;
}

void usp_mount_free(struct usp_mount *mount)
{
	if (!mount)
		return;
	mount_serve_stop(mount);
	mount_end_join(mount);
	pthread_mutex_lock(&mount->lock);
	while (mount->nr_openers > 0)
		pthread_cond_wait(&mount->idle, &mount->lock);
	pthread_mutex_unlock(&mount->lock);
	mount_metrics_end(mount);
	mount_ops_fini(mount);
	for (unsigned i = 0; i < mount->nr_nodes; i++)
		mount_node_close(mount->nodes[i]);
	mount_read_fini(mount);
	usp_sys_close(mount->wake_fd);
	usp_sys_close(mount->stop_fd);
	usp_sys_close(mount->end_fd);
	pthread_cond_destroy(&mount->idle);
	pthread_cond_destroy(&mount->has_settled);
	pthread_cond_destroy(&mount->has_work);
	pthread_cond_destroy(&mount->has_forget);
	pthread_mutex_destroy(&mount->session_lock);
	pthread_mutex_destroy(&mount->lock);
	usp_free(mount->nodes);
	usp_free(mount->counts);
	usp_free(mount->device);
	usp_free(mount->spool);
	usp_free(mount->mountpoint);
	usp_free(mount);
}
