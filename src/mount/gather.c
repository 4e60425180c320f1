/* SPDX-License-Identifier: MIT */
/*
 * gather - copy a source before it can be read: what has no positions, or has to be verified as a whole.
 *
 * The copy is a memfd while all copies fit into the budget, and a file without a name in the spool beyond that.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "mm/folio.h"
#include "mount/inside.h"

#define GATHER_STEP ((uint64_t)8 << 20)
#define GATHER_STEP_MIN ((uint64_t)64 << 10)

struct gather {
	struct usp_mount *mount;
	const char *name;
	struct usp_file *from;
	int fd;
	int64_t len, total; /* bytes so far; all, or negative */
	uint64_t reserved;  /* bytes of the budget */
};

/* Move at most count bytes to the end of the copy: how many, or -errno. */
static int64_t gather_some(struct gather *gather, int64_t count)
{
	const struct usp_pump_params params = {
		.size = sizeof(params), .flags = USP_PUMP_NO_PROBE | USP_PUMP_COUNT, .count = count};
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_file *to = NULL;
	struct usp_pump *pump = NULL;
	int64_t pos;
	int fd = usp_sys_dup(gather->fd), ret;

	if (fd < 0)
		return fd;
	ret = usp_open_fd(fd, USP_WRITE | USP_EXCLUSIVE, gather->name, &to);
	if (ret < 0) {
		usp_sys_close(fd);
		return ret;
	}
	pos = usp_file_seek(to, gather->len, SEEK_SET);
	ret = pos < 0 ? (int)pos : usp_pump_new(gather->from, &params, &pump);
	if (ret == 0)
		ret = usp_pump_add_sink(pump, to);
	if (ret == 0)
		ret = usp_pump_run(pump);
	if (ret == 0)
		usp_pump_status(pump, &status);
	usp_pump_free(pump);
	if (ret == 0)
		ret = usp_file_close(to);
	usp_file_put(to);
	if (ret == 0)
		gather->len += (int64_t)status.bytes;
	return ret < 0 ? ret : (int64_t)status.bytes;
}

/* Note how far it is: 0, or -ECANCELED if the mount ends. */
static int gather_tell(const struct gather *gather)
{
	const struct usp_mount_params *params = &gather->mount->params;

	mount_metrics_gathered(gather->mount, gather->name, gather->len, gather->total);
	if (params->progress)
		params->progress(params->progress_arg, gather->name, gather->len, gather->total);
	return atomic_load(&gather->mount->must_end) ? -ECANCELED : 0;
}

/* Reserve memory of the budget, as much as there is already: how many bytes, 0 if it is used up. */
static int64_t gather_reserve(struct gather *gather)
{
	struct usp_mount *mount = gather->mount;
	uint64_t step = usp_min(usp_max(gather->reserved, GATHER_STEP_MIN), GATHER_STEP);
	uint64_t taken = atomic_load(&mount->copies), more;

	do {
		more = taken < mount->params.budget ? mount->params.budget - taken : 0;
		more = usp_min(more, step);
	} while (!atomic_compare_exchange_weak(&mount->copies, &taken, taken + more));
	gather->reserved += more;
	return (int64_t)more;
}

/* Give back what the copy does not fill, but for its last page: other copies need it. */
static void gather_give_back(struct gather *gather)
{
	uint64_t used = ((uint64_t)gather->len + USP_PAGE - 1) / USP_PAGE * USP_PAGE;

	if (used < gather->reserved) {
		atomic_fetch_sub(&gather->mount->copies, gather->reserved - used);
		gather->reserved = used;
	}
}

/* Copy into memory: 1 at the end of the source, 0 if the budget is used up and there is more, or -errno. */
static int gather_memory(struct gather *gather)
{
	int64_t room, ret;

	do {
		room = (int64_t)gather->reserved - gather->len;
		if (room == 0)
			room = gather_reserve(gather);
		ret = gather_some(gather, room ? room : 1); /* the end has to be seen: a digest is checked there */
		if (ret > 0 && room)
			ret = gather_tell(gather);
		else if (ret >= 0)
			return ret == 0;
	} while (ret == 0);
	return (int)ret;
}

/* Put what is in memory into a file of the spool: 0 or -errno. */
static int gather_move(struct gather *gather, const char **ret_why)
{
	const char *folder = gather->mount->spool;
	struct usp_file *memory, *from = gather->from;
	int64_t len = gather->len, ret;
	int fd;

	*ret_why = "its copy does not fit into the budget, and there is no spool";
	if (!folder)
		return -EFBIG;
	*ret_why = "no file without a name can be made in the spool";
	fd = usp_sys_open(folder, O_TMPFILE | O_RDWR, 0600);
	if (fd < 0)
		return fd;
	*ret_why = NULL;
	ret = usp_open_fd(gather->fd, USP_READ | USP_EXCLUSIVE, gather->name, &memory);
	if (ret < 0)
		usp_sys_close(gather->fd);
	gather->fd = fd;
	if (ret < 0)
		return (int)ret;
	gather->len = 0;
	gather->from = memory;
	ret = gather_some(gather, len);
	gather->from = from;
	usp_file_put(memory);
	return ret < 0 ? (int)ret : ret == len ? 0 : -EIO;
}

/* Copy the rest into the spool: 0 or -errno. */
static int gather_rest(struct gather *gather)
{
	int64_t ret;

	do {
		ret = gather_some(gather, (int64_t)GATHER_STEP);
		if (ret > 0 && gather_tell(gather) < 0)
			ret = -ECANCELED;
	} while (ret > 0);
	return (int)ret;
}

int mount_gather(struct usp_mount *mount, const char *name, struct usp_file *from, struct mount_copy *ret_copy,
		 const char **ret_why)
{
	struct gather gather = {.mount = mount, .name = name, .from = from, .total = usp_file_size(from)};
	int ret;

	gather.fd = usp_sys_memfd("usplice mount");
	if (gather.fd < 0)
		return gather.fd;
	ret = gather_memory(&gather);
	if (ret == 0) {
		ret = gather_move(&gather, ret_why);
		if (ret == 0)
			ret = gather_rest(&gather);
		atomic_fetch_sub(&mount->copies, gather.reserved);
		gather.reserved = 0;
	}
	if (ret < 0) {
		atomic_fetch_sub(&mount->copies, gather.reserved);
		usp_sys_close(gather.fd);
		return ret;
	}
	gather_give_back(&gather);
	*ret_copy = (struct mount_copy){.fd = gather.fd, .len = gather.len, .memory = gather.reserved};
	return 0;
}
