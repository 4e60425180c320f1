/* SPDX-License-Identifier: MIT */
/*
 * atomic_keep - what a file that takes the place of another one keeps of it.
 *
 * The order of the steps protects the bytes. The new file begins as ours, and closed to all others:
 *
 * 	0600, ours    security labels, and user.* attributes, which only a user with the right to write can set
 * 	0000, ours    closed to its owner, too, before the owner changes
 * 	0000, theirs  group, then owner: a file that was given away cannot be changed any more
 * 	as the old    the ACL, which brings the mode with it; or the mode, when no ACL is left that the directory gave
 *
 * Set-id bits, security.capability, security.ima and security.evm vouch for the old bytes, so they
 * are not kept. The kernel removes the first two from a file that is written in place, too.
 */
#include "atomic_keep.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <linux/limits.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define KEEP_ACL "system.posix_acl_access"
#define KEEP_NFS4_ACL "system.nfs4_acl" /* every file of NFSv4 has it instead of a POSIX ACL */

/* Keeps as much of each attribute as the kernel allows. */
struct keep {
	int fd;		  /* the new file */
	const char *path; /* the old one */
	char names[XATTR_LIST_MAX];
	_Alignas(uint32_t) char value[XATTR_SIZE_MAX];
	char given[XATTR_SIZE_MAX];
};

/* --- Attributes ----------------------------------------------------------------------------------------- */

/*
 * Labels by which a security module, or Samba, decides about a file. security.SMACK64EXEC is not
 * one of them: it gives rights to a program.
 */
static const char *const keep_labels[] = {
	"security.selinux", "security.SMACK64", "security.SMACK64MMAP", "security.apparmor", "security.NTACL",
};

static bool keep_is_label(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(keep_labels) / sizeof(keep_labels[0]); i++) {
		if (strcmp(name, keep_labels[i]) == 0)
			return true;
	}
	return false;
}

/* Read an attribute of the old file: its length or -errno. */
static ssize_t keep_get(struct keep *keep, const char *name)
{
	ssize_t len = lgetxattr(keep->path, name, keep->value, sizeof(keep->value));

	return len < 0 ? -errno : len;
}

static int keep_set(struct keep *keep, const char *name, ssize_t len)
{
	return fsetxattr(keep->fd, name, keep->value, (size_t)len, 0) < 0 ? -errno : 0;
}

/*
 * Keep a label. An active security module has given the new file a label. Without one, the old
 * label protects nothing.
 */
static int keep_label(struct keep *keep, const char *name, ssize_t len)
{
	ssize_t given = fgetxattr(keep->fd, name, keep->given, sizeof(keep->given));
	int error;

	if (given == len && memcmp(keep->given, keep->value, (size_t)len) == 0)
		return 0;
	error = keep_set(keep, name, len);
	return error == -EPERM && given < 0 ? 0 : error;
}

static int keep_attribute(struct keep *keep, const char *name)
{
	ssize_t len = keep_get(keep, name);

	if (len < 0)
		return len == -ENODATA ? 0 : (int)len;
	return keep_is_label(name) ? keep_label(keep, name, len) : keep_set(keep, name, len);
}

static int keep_attributes(struct keep *keep)
{
	ssize_t len = llistxattr(keep->path, keep->names, sizeof(keep->names));
	int error = len < 0 && errno != EOPNOTSUPP ? -errno : 0;
	const char *name;

	for (name = keep->names; name < keep->names + len && error == 0; name += strlen(name) + 1) {
		if (strncmp(name, "user.", 5) == 0 || keep_is_label(name))
			error = keep_attribute(keep, name);
	}
	return error;
}

/* --- Owner and permissions ------------------------------------------------------------------------------ */

static bool keep_chown(int fd, uid_t uid, gid_t gid)
{
	return fchown(fd, uid, gid) == 0;
}

/*
 * Set the owner. True if the group is the old one. The owner may differ: it is then the user of
 * these bytes.
 */
static bool keep_owner(int fd, const struct stat *old)
{
	struct stat new;
	bool has_group;

	if (fstat(fd, &new) < 0)
		return false;
	has_group = new.st_gid == old->st_gid || keep_chown(fd, (uid_t)-1, old->st_gid);
	if (new.st_uid != old->st_uid)
		keep_chown(fd, old->st_uid, (gid_t)-1);
	return has_group;
}

/*
 * Narrow a mode for a new group. Members of the old group become others, and some others are
 * members of the new group. So both get only the rights that both had.
 */
static mode_t keep_narrow_mode(mode_t mode)
{
	mode_t both = mode >> 3 & mode & 07;

	return (mode & ~(mode_t)077) | both << 3 | both;
}

/* Narrow an ACL in the same way. A user in two groups had the rights of either, so all groups count. */
static void keep_narrow_acl(struct keep *keep, ssize_t len)
{
	struct posix_acl_xattr_entry *first = (void *)(keep->value + sizeof(struct posix_acl_xattr_header)), *entry;
	const struct posix_acl_xattr_entry *end = (void *)(keep->value + len);
	const uint16_t of_groups = htole16(ACL_GROUP_OBJ | ACL_GROUP | ACL_MASK), of_others = htole16(ACL_OTHER);
	uint16_t both = htole16(ACL_READ | ACL_WRITE | ACL_EXECUTE);

	for (entry = first; entry < end; entry++) {
		if (entry->e_tag & (of_groups | of_others))
			both &= entry->e_perm;
	}
	for (entry = first; entry < end; entry++) {
		if (entry->e_tag == htole16(ACL_GROUP_OBJ) || entry->e_tag == of_others)
			entry->e_perm = both;
	}
}

/*
 * Keep an ACL. An NFSv4 ACL is copied as it is, or not at all. EINVAL: the ACL names a user that
 * does not exist in this user namespace, which is not a mistake of the command line.
 */
static int keep_acl(struct keep *keep, const char *name, ssize_t len, bool has_group)
{
	int error;

	if (!has_group && strcmp(name, KEEP_ACL) != 0)
		return -EPERM;
	if (!has_group)
		keep_narrow_acl(keep, len);
	error = keep_set(keep, name, len);
	return error == -EINVAL ? -EPERM : error;
}

static int keep_mode(struct keep *keep, mode_t mode, bool has_group)
{
	if (fremovexattr(keep->fd, KEEP_ACL) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		return -errno;
	return fchmod(keep->fd, has_group ? mode : keep_narrow_mode(mode)) < 0 ? -errno : 0;
}

/* Keep the permissions. An ACL sets all nine bits, and leaves the sticky bit. */
static int keep_access(struct keep *keep, const struct stat *old)
{
	const char *name = KEEP_ACL;
	ssize_t len = keep_get(keep, name);
	bool has_group;

	if (len == -EOPNOTSUPP) {
		name = KEEP_NFS4_ACL;
		len = keep_get(keep, name);
	}
	if (len < 0 && len != -ENODATA && len != -EOPNOTSUPP)
		return (int)len;
	if (fchmod(keep->fd, old->st_mode & S_ISVTX) < 0)
		return -errno;
	has_group = keep_owner(keep->fd, old);
	return len > 0 ? keep_acl(keep, name, len, has_group) : keep_mode(keep, old->st_mode & 01777, has_group);
}

int atomic_keep(int fd, const char *path, const struct stat *old, const char **ret_why)
{
	struct keep *keep = malloc(sizeof(*keep));
	int error;

	if (!keep)
		return -ENOMEM;
	keep->fd = fd;
	keep->path = path;
	*ret_why = "the security label or the user.* attributes of the old file cannot be kept";
	error = keep_attributes(keep);
	if (error == 0) {
		*ret_why = "the permissions of the old file cannot be kept";
		error = keep_access(keep, old);
	}
	free(keep);
	return error;
}
