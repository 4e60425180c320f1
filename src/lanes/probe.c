/* SPDX-License-Identifier: MIT */
/*
 * probe - which experiment answers for a file, and what is remembered of it.
 *
 * An answer is about one file, not about its relatives. A finding is kept for a mount, or for a protocol in
 * one network namespace, because it holds there. What differs from file to file is asked each time: the
 * protocol, the device on the way, encryption in the kernel.
 */
#include "lanes/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/device.h"
#include "base/own.h"
#include "base/sized.h"
#include "base/sys.h"
#include "lanes/alias.h"
#include "lanes/evict.h"
#include "lanes/pairs.h"
#include "lanes/pieces.h"
#include "splice/file.h"

#define PROBE_CACHE_MAX 64
#define PROBE_PATH_MAX 4096
#define PROBE_LARGE_MSS 16384 /* more than any device but loopback takes */

static void probe_say(struct usp_probe_result *ret_result, enum usp_way way, const char *reason)
{
	ret_result->way = way;
	ret_result->reason = reason;
}

/* Say one of three sentences: for by reference, copied, and unknown. */
static void probe_say_found(struct usp_probe_result *ret_result, enum usp_way way,
			    const char *const reasons[USP_NR_WAYS])
{
	probe_say(ret_result, way, reasons[way]);
}

/* --- Findings ------------------------------------------------------------------------------------------ */

/* What a finding holds for. Fields that do not matter are 0. */
struct probe_key {
	enum usp_way (*experiment)(const struct usp_file *file, const struct probe_key *key);
	dev_t mount;
	int64_t net_cookie;
	int protocol;
	unsigned side;
};

static struct {
	struct usp_own_lock lock;
	struct {
		struct probe_key key;
		enum usp_way way;
	} findings[PROBE_CACHE_MAX];
	unsigned nr_findings;
} probe_cache;

static bool probe_is_same(const struct probe_key *a, const struct probe_key *b)
{
	return a->experiment == b->experiment && a->mount == b->mount && a->net_cookie == b->net_cookie &&
	       a->protocol == b->protocol && a->side == b->side;
}

/* Return what was found for the key, or make the experiment. That it could not decide is a finding, too. */
static enum usp_way probe_find(const struct usp_file *file, const struct probe_key *key)
{
	enum usp_way way;
	unsigned i;

	if (usp_own_lock(&probe_cache.lock))
		probe_cache.nr_findings = 0; /* in a child: a thread of the parent may have been writing these */
	for (i = 0; i < probe_cache.nr_findings; i++) {
		if (probe_is_same(&probe_cache.findings[i].key, key))
			break;
	}
	if (i < probe_cache.nr_findings) {
		way = probe_cache.findings[i].way;
	} else {
		struct usp_sigpipe_guard guard;

		usp_sigpipe_begin(&guard); /* the experiments write files, which may exceed RLIMIT_FSIZE */
		way = key->experiment(file, key);
		usp_sigpipe_end(&guard);
		if (i < PROBE_CACHE_MAX) {
			probe_cache.findings[i].key = *key;
			probe_cache.findings[i].way = way;
			probe_cache.nr_findings++;
		}
	}
	usp_own_unlock(&probe_cache.lock);
	return way;
}

/* --- Files on disk --------------------------------------------------------------------------------------- */

static const char dax_reason[] = "DAX: the file has no pages in the page cache, and the kernel copies";
static const char differ_reason[] = "this file behaves otherwise than a scratch file on its mount";
static const char append_reason[] = "splice(2) refuses a file that appends, and a write copies";
static const char direct_reason[] = "O_DIRECT goes around the page cache, where the probe cannot look";
static const char *const regular_reasons[2][USP_NR_WAYS] = {
	{"the page cache's own pages, as probed on this mount",
	 "the kernel copies out of the page cache, as probed on this mount",
	 "no experiment could decide on this mount"},
	{"the page cache takes the pages themselves, as probed on this mount",
	 "the kernel copies into the page cache, as probed on this mount", "no experiment could decide on this mount"},
};
static const char *const evict_reasons[USP_NR_WAYS] = {
	"the page cache keeps the page while a pipe has it, as probed on this file",
	"the page cache drops the page while a pipe has it, so it was copied, as probed on this file",
	"no experiment could decide for this file",
};

/* Make an empty file without a name in a folder: its descriptor, or -1 if the folder is on another mount. */
static int probe_tmpfile(const char *folder, dev_t mount)
{
	int fd = folder ? usp_sys_open(folder, O_TMPFILE | O_RDWR, 0600) : -1;
	struct stat st;

	if (fd >= 0 && usp_sys_fstat(fd, &st) == 0 && st.st_dev == mount && usp_sys_is_dax(fd) <= 0)
		return fd;
	usp_sys_close(fd);
	return -1;
}

/* The same in the folder of the file itself. */
static int probe_tmpfile_beside(const struct usp_file *file, dev_t mount)
{
	char link[sizeof("/proc/self/fd/") + 3 * sizeof(int)], path[PROBE_PATH_MAX], *slash;
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file->fd);
	len = usp_sys_readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return -1;
	path[len] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return -1;
	slash[slash == path] = '\0';
	return probe_tmpfile(path, mount);
}

/* The mount of all memfds has no folder. */
static int probe_memfd(dev_t mount)
{
	int fd = usp_sys_memfd("usplice-probe");
	struct stat st;

	if (fd >= 0 && usp_sys_fstat(fd, &st) == 0 && st.st_dev == mount)
		return fd;
	usp_sys_close(fd);
	return -1;
}

/* Open an empty file without a name on the mount of the file; -1 if there can be none. */
static int probe_scratch(const struct usp_file *file, dev_t mount)
{
	const char *const folders[] = {getenv("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"};
	int fd = probe_tmpfile_beside(file, mount);

	for (unsigned i = 0; fd < 0 && i < usp_array_len(folders); i++)
		fd = probe_tmpfile(folders[i], mount);
	return fd < 0 ? probe_memfd(mount) : fd;
}

static bool probe_make_file(const struct usp_alias_maker *maker, int ret_pair[2])
{
	struct stat st;

	ret_pair[1] = usp_sys_fstat(maker->file->fd, &st) < 0 ? -1 : probe_scratch(maker->file, st.st_dev);
	ret_pair[0] = ret_pair[1] < 0 ? -1 : usp_sys_reopen(ret_pair[1], O_RDONLY);
	return ret_pair[0] >= 0;
}

static enum usp_way probe_mount(const struct usp_file *file, const struct probe_key *key)
{
	const struct usp_alias_maker maker = {.make = probe_make_file, .file = file};

	return key->side == USP_WRITE ? usp_alias_pair(&maker, USP_WRITE)
				      : usp_alias_page_cache(probe_scratch(file, key->mount));
}

/* Look at a page of the file itself. One without a size may be generated, and is not read. */
static enum usp_way probe_evict(const struct usp_file *file)
{
	int64_t size = usp_file_size(file);

	if (size <= 0)
		return USP_UNKNOWN;
	return usp_evict(file->fd, file->pos >= 0 && file->pos < size ? file->pos : 0);
}

/*
 * A finding on a scratch file is about a file of our own, with a dirty page. The page of the file itself may
 * be clean, and of another owner. Where the two differ, say that it is unknown.
 */
static void probe_cross_check(const struct usp_file *file, struct usp_probe_result *ret_result)
{
	enum usp_way way = probe_evict(file);

	if (ret_result->way == USP_UNKNOWN)
		probe_say_found(ret_result, way, evict_reasons);
	else if (way != USP_UNKNOWN && way != ret_result->way)
		probe_say(ret_result, USP_UNKNOWN, differ_reason);
}

/*
 * The files of a FUSE mount differ: the server decides for each whether it has pages in the cache. Those of an
 * overlay lie on several file systems. There a scratch file says nothing about the others.
 */
void usp_probe_regular(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	struct probe_key key = {.experiment = probe_mount, .side = side};
	int is_dax = usp_sys_is_dax(file->fd);
	long fs_type = usp_sys_fs_type(file->fd);
	enum usp_way way = USP_UNKNOWN;
	struct stat st;

	if (is_dax > 0) {
		probe_say(ret_result, USP_COPIED, dax_reason);
		return;
	}
	if (is_dax < 0 && is_dax != -ENODATA) { /* ENODATA: an old kernel, where DAX belongs to the whole mount */
		probe_say(ret_result, USP_UNKNOWN, regular_reasons[0][USP_UNKNOWN]);
		return;
	}
	if (fs_type >= 0 && fs_type != FUSE_SUPER_MAGIC && fs_type != OVERLAYFS_SUPER_MAGIC &&
	    usp_sys_fstat(file->fd, &st) == 0) {
		key.mount = st.st_dev;
		way = probe_find(file, &key);
	}
	probe_say_found(ret_result, way, regular_reasons[side == USP_WRITE]);
	if (side == USP_READ)
		probe_cross_check(file, ret_result);
}

void usp_probe_block(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	if (side == USP_READ)
		probe_say_found(ret_result, probe_evict(file), evict_reasons);
	else
		probe_say(ret_result, USP_UNKNOWN, "how a device takes bytes could only be probed by writing to it");
}

void usp_probe_drop(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	(void)file;
	if (side == USP_WRITE)
		probe_say(ret_result, USP_BY_REFERENCE, "dropped, not read");
}

/* --- Pipes ------------------------------------------------------------------------------------------------- */

static const char *const fifo_reasons[USP_NR_WAYS] = {
	"pipes hand their pages on, as probed on this kernel",
	"the kernel copies between pipes, as probed on this kernel",
	"the probe could not tell on this kernel",
};

static bool probe_make_pipe(const struct usp_alias_maker *maker, int ret_pair[2])
{
	(void)maker;
	return usp_sys_pipe(ret_pair, O_NONBLOCK) == 0;
}

static enum usp_way probe_pipe(const struct usp_file *file, const struct probe_key *key)
{
	(void)file;
	return usp_alias_pair(&(struct usp_alias_maker){.make = probe_make_pipe}, key->side);
}

void usp_probe_fifo(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	probe_say_found(ret_result, probe_find(file, &(struct probe_key){.experiment = probe_pipe, .side = side}),
			fifo_reasons);
}

/* --- Sockets ----------------------------------------------------------------------------------------------- */

static const char *const unix_reasons[2][USP_NR_WAYS] = {
	{"the pages that were received, as probed on this kernel",
	 "the kernel copies out of the socket, as probed on this kernel",
	 "it depends on the pieces that the peer writes: the kernel copies out of small ones"},
	{"the socket passes the pages themselves, as probed on this kernel",
	 "the kernel copies into the socket, as probed on this kernel", "the probe could not tell on this kernel"},
};
static const char *const tcp_reasons[2][USP_NR_WAYS] = {
	{"the pages that were received, as probed over loopback on this kernel",
	 "the kernel copies out of the socket, as probed over loopback on this kernel",
	 "the probe could not tell over loopback on this kernel"},
	{"the socket sends the pages themselves, as probed over loopback on this kernel",
	 "the kernel copies into the socket, as probed over loopback on this kernel",
	 "the probe could not tell over loopback on this kernel"},
};
static const char mptcp_copied_reason[] = "the kernel copies into a multipath connection, as probed over loopback";
static const char foreign_reason[] = "the socket is of another network namespace, or the kernel does not say of which";
static const char kernel_tls_reason[] =
	"a protocol above TCP, such as TLS in the kernel, may make other bytes of these";
static const char protocol_reason[] = "there is no experiment for the protocol of this socket";
static const char no_device_reason[] = "the device on the way to the peer is not known";
static const char rerouted_reason[] = "the route is loopback, but the packets are cut for another device";
static const char veiled_reason[] = "the device does not show what the one below it does";
static const char no_gather_reason[] = "the device takes no packets in pieces or no checksums, so the kernel copies";
static const char receiver_reason[] = "how the device of the receiver stores packets is not known";
static const char *const device_reasons[USP_NR_WAYS] = {
	"the socket sends the pages themselves, as probed over loopback, and the device gathers them",
	"the kernel copies into the socket, as probed over loopback on this kernel",
	"the probe could not tell over loopback on this kernel",
};

static bool probe_make_unix(const struct usp_alias_maker *maker, int ret_pair[2])
{
	(void)maker;
	return usp_sys_socketpair(AF_UNIX, SOCK_STREAM, ret_pair) == 0;
}

static bool probe_make_tcp(const struct usp_alias_maker *maker, int ret_pair[2])
{
	return usp_pair_stream(maker->protocol, ret_pair) == 0;
}

/* The peer writes pieces of its own: pages that were spliced in say nothing about them. */
static enum usp_way probe_socket_pair(const struct usp_alias_maker *maker, unsigned side)
{
	enum usp_way way = usp_alias_pair(maker, side);
	int pair[2] = {-1, -1};

	if (way == USP_BY_REFERENCE && side == USP_READ && !(maker->make(maker, pair) && usp_pieces_are_pages(pair)))
		way = USP_UNKNOWN;
	usp_sys_close(pair[0]);
	usp_sys_close(pair[1]);
	return way;
}

static enum usp_way probe_unix_pair(const struct usp_file *file, const struct probe_key *key)
{
	(void)file;
	return probe_socket_pair(&(struct usp_alias_maker){.make = probe_make_unix}, key->side);
}

static enum usp_way probe_tcp_pair(const struct usp_file *file, const struct probe_key *key)
{
	(void)file;
	return probe_socket_pair(&(struct usp_alias_maker){.make = probe_make_tcp, .protocol = key->protocol},
				 key->side);
}

void usp_probe_unix(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	const struct probe_key key = {.experiment = probe_unix_pair, .side = side};

	probe_say_found(ret_result, probe_find(file, &key), unix_reasons[side == USP_WRITE]);
}

/* Return the number of the network namespace that the socket shares with this process; negative: it does not. */
static int64_t probe_net_cookie(int fd)
{
	int own = usp_sys_socket(AF_INET, SOCK_DGRAM, 0);
	int64_t cookie = usp_sys_net_cookie(fd), own_cookie = own < 0 ? -1 : usp_sys_net_cookie(own);

	usp_sys_close(own);
	return cookie == own_cookie ? cookie : -1;
}

/* Tell whether no protocol above TCP changes the bytes, such as TLS. MPTCP is one for its own connections. */
static bool probe_is_plain(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name);
	int ret = usp_sys_getsockopt(fd, IPPROTO_TCP, TCP_ULP, name, &len);

	return ret == 0 && (!name[0] || strncmp(name, "mptcp", sizeof(name)) == 0);
}

/* Packets that are rewritten on their way to another device are cut for that one. */
static bool probe_has_large_segments(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	memset(&info, 0, sizeof(info));
	return usp_sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_snd_mss >= PROBE_LARGE_MSS;
}

/* Say what is known of the device on the way: true if the experiment over loopback decides. */
static bool probe_passes_device(const struct usp_file *file, unsigned side, struct usp_device *device,
				struct usp_probe_result *ret_result)
{
	if (usp_device_of(file->fd, device) < 0)
		probe_say(ret_result, USP_UNKNOWN, no_device_reason);
	else if (device->is_loopback && !probe_has_large_segments(file->fd))
		probe_say(ret_result, USP_UNKNOWN, rerouted_reason);
	else if (device->is_loopback)
		return true;
	else if (side == USP_READ)
		probe_say(ret_result, USP_UNKNOWN, receiver_reason);
	else if (device->gathers == 0)
		probe_say(ret_result, USP_COPIED, no_gather_reason);
	else if (device->is_physical && device->gathers > 0)
		return true;
	else
		probe_say(ret_result, USP_UNKNOWN, veiled_reason);
	return false;
}

void usp_probe_tcp(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	struct probe_key key = {.experiment = probe_tcp_pair, .side = side};
	struct usp_device device = {.is_loopback = false};
	enum usp_way way;

	key.protocol = usp_sys_getsockopt_int(file->fd, SOL_SOCKET, SO_PROTOCOL);
	key.net_cookie = probe_net_cookie(file->fd);
	if (key.protocol != IPPROTO_TCP && key.protocol != IPPROTO_MPTCP)
		probe_say(ret_result, USP_UNKNOWN, protocol_reason);
	else if (!probe_is_plain(file->fd))
		probe_say(ret_result, USP_UNKNOWN, kernel_tls_reason);
	else if (key.net_cookie < 0)
		probe_say(ret_result, USP_UNKNOWN, foreign_reason);
	else if (probe_passes_device(file, side, &device, ret_result)) {
		way = probe_find(file, &key);
		probe_say_found(ret_result, way, device.is_loopback ? tcp_reasons[side == USP_WRITE] : device_reasons);
		if (way == USP_COPIED && key.protocol == IPPROTO_MPTCP && side == USP_WRITE)
			ret_result->reason = mptcp_copied_reason;
	}
}

/* --- The door ------------------------------------------------------------------------------------------------ */

int usp_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	void (*probe)(const struct usp_file *, unsigned, struct usp_probe_result *) = USP_FILE_HOOK(file, probe);
	struct usp_probe_result result = {.way = USP_UNKNOWN, .reason = "there is no experiment for this kind of file"};

	if (side != USP_READ && side != USP_WRITE)
		return -EINVAL;
	if (!probe && file->fd < 0)
		result.reason = "there is no descriptor that the kernel could splice";
	else if (atomic_load(usp_u32(&file->flags)) & USP_DIRECT)
		result.reason = direct_reason;
	else if (side == USP_WRITE && file->fd >= 0 && atomic_load(usp_u32(&file->flags)) & USP_APPEND)
		probe_say(&result, USP_COPIED, append_reason);
	else if (probe)
		probe(file, side, &result);
	usp_sized_give(ret_result, &result, sizeof(result));
	return 0;
}
