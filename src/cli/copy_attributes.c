/* SPDX-License-Identifier: MIT */
/*
 * copy_attributes - what a sink gets of its source besides the bytes.
 *
 * The order: the owner, because to change it clears set-id bits and capabilities; then attributes, the
 * mode, the ACL, which changes the mode; and the times last, because all else may change them.
 */
#include "copy_attributes.h"
#include "cli.h"
#include "copy.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ATTRIBUTE_POSIX_ACL "system.posix_acl_access"
#define ATTRIBUTE_NFS4_ACL "system.nfs4_acl"

static const struct {
	const char *name;
	unsigned bit;
} attribute_words[] = {
	{"mode", ATTRIBUTE_MODE},   {"owner", ATTRIBUTE_OWNER}, {"times", ATTRIBUTE_TIMES},
	{"xattr", ATTRIBUTE_XATTR}, {"acl", ATTRIBUTE_ACL},	{"all", ATTRIBUTE_ALL},
};

#define ATTRIBUTE_NR_WORDS (sizeof(attribute_words) / sizeof(attribute_words[0]))

const char *attributes_parse(const char *value, void *field)
{
	unsigned *preserve = field;

	for (;;) {
		size_t i, len = strcspn(value, ",");

		for (i = 0; i < ATTRIBUTE_NR_WORDS; i++) {
			if (strlen(attribute_words[i].name) == len && strncmp(attribute_words[i].name, value, len) == 0)
				break;
		}
		if (i == ATTRIBUTE_NR_WORDS)
			return "has a word that is none of mode, owner, times, xattr, acl and all";
		*preserve |= attribute_words[i].bit;
		if (value[len] == '\0')
			return NULL;
		value += len + 1;
	}
}

const char *attributes_parse_all(const char *value, void *field)
{
	(void)value;
	*(unsigned *)field = ATTRIBUTE_ALL;
	return NULL;
}

const char *copy_attributes_check(const struct copy_request *request)
{
	if (request->preserve && request->nr_sources > 1)
		return "--preserve and -a are about one file, so they take one source";
	if (request->preserve && (request->append || request->seek >= 0))
		return "--preserve and -a are for whole files, so they exclude --append and --seek";
	return NULL;
}

/* --- Extended attributes ----------------------------------------------------------------------------------- */

/* One attribute or a list of names, as large as they can be. */
struct attribute_room {
	char names[XATTR_LIST_MAX];
	char value[XATTR_SIZE_MAX];
};

/*
 * Tell whether an attribute goes along. ACLs are asked for by another word. Labels and signatures of
 * security modules belong to the place and to the file, and a module sets them itself.
 */
static bool attribute_is_copied(const char *name)
{
	static const char *const left[] = {"system.",		"security.selinux", "security.SMACK",
					   "security.apparmor", "security.ima",	    "security.evm"};
	size_t i;

	for (i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		if (strncmp(name, left[i], strlen(left[i])) == 0)
			return false;
	}
	return true;
}

static int attribute_copy(int from, int to, const char *name, struct attribute_room *room)
{
	ssize_t len = fgetxattr(from, name, room->value, sizeof(room->value));

	if (len < 0)
		return errno == ENODATA ? 0 : -errno;
	return fsetxattr(to, name, room->value, (size_t)len, 0) < 0 ? -errno : 0;
}

static int attribute_copy_all(int from, int to, struct attribute_room *room)
{
	ssize_t len = flistxattr(from, room->names, sizeof(room->names));
	int error = len < 0 && errno != EOPNOTSUPP ? -errno : 0;
	const char *name;

	for (name = room->names; name < room->names + len && error == 0; name += strlen(name) + 1) {
		if (attribute_is_copied(name))
			error = attribute_copy(from, to, name, room);
	}
	return error;
}

/* Copy an ACL, or remove that of the sink where the source has none. EOPNOTSUPP: a source without ACLs. */
static int attribute_copy_acl(int from, int to, struct attribute_room *room)
{
	ssize_t len = fgetxattr(from, ATTRIBUTE_POSIX_ACL, room->value, sizeof(room->value));

	if (len >= 0)
		return fsetxattr(to, ATTRIBUTE_POSIX_ACL, room->value, (size_t)len, 0) < 0 ? -errno : 0;
	if (errno == EOPNOTSUPP && fgetxattr(from, ATTRIBUTE_NFS4_ACL, NULL, 0) >= 0)
		return attribute_copy(from, to, ATTRIBUTE_NFS4_ACL, room);
	if (errno != ENODATA && errno != EOPNOTSUPP)
		return -errno;
	return fremovexattr(to, ATTRIBUTE_POSIX_ACL) < 0 && errno != ENODATA && errno != EOPNOTSUPP ? -errno : 0;
}

/* --- Owner, mode and times ---------------------------------------------------------------------------------- */

/* Set owner and group. Where the owner cannot be set the group may: *ret_has_owner is false, and an error is returned. */
static int attribute_set_owner(int fd, const struct stat *from, bool *ret_has_owner)
{
	int error = fchown(fd, from->st_uid, from->st_gid) < 0 ? -errno : 0;

	*ret_has_owner = error == 0;
	if (error < 0 && fchown(fd, (uid_t)-1, from->st_gid) < 0)
		return error; /* the group cannot be set, either */
	return error;
}

/* Set-id bits are for the owner and group that the source has. */
static int attribute_set_mode(int fd, const struct stat *from, bool has_owner)
{
	return fchmod(fd, from->st_mode & (has_owner ? 07777 : 01777)) < 0 ? -errno : 0;
}

static int attribute_set_times(int fd, const struct stat *from)
{
	return futimens(fd, (const struct timespec[]){from->st_atim, from->st_mtim}) < 0 ? -errno : 0;
}

/* --- All of them ------------------------------------------------------------------------------------------------ */

/* Say why an attribute is missing, if it is, and note it as the failure of the sink. */
static bool attribute_is_given(struct copy_sink *sink, const char *what, int error)
{
	if (error == 0)
		return true;
	snprintf(sink->error, COPY_ERROR_MAX, "its %s cannot be preserved: %s", what, strerror(-error));
	message_say("sink %s: %s", sink->spec, sink->error);
	return false;
}

/* The same for the owner. To an ordinary user that happens with each sink, for one reason: say it once. */
static bool attribute_owner_is_given(struct copy *copy, struct copy_sink *sink, int error)
{
	if (error != -EPERM || geteuid() == 0)
		return attribute_is_given(sink, "owner", error);
	if (!copy->lacks_owner)
		message_say("the owner of %s cannot be preserved: only the superuser may give files away",
			    copy->request->source);
	copy->lacks_owner = true;
	return true;
}

static bool attributes_give(struct copy *copy, struct copy_sink *sink, struct attribute_room *room)
{
	int from = usp_file_fd(copy->source), to = usp_file_fd(sink->file);
	const struct stat *object = &copy->source_object;
	unsigned preserve = copy->request->preserve;
	bool has_owner = false, is_good = true;

	if (preserve & ATTRIBUTE_OWNER)
		is_good &= attribute_owner_is_given(copy, sink, attribute_set_owner(to, object, &has_owner));
	if (preserve & ATTRIBUTE_XATTR)
		is_good &= attribute_is_given(sink, "extended attributes", attribute_copy_all(from, to, room));
	if (preserve & ATTRIBUTE_MODE)
		is_good &= attribute_is_given(sink, "mode", attribute_set_mode(to, object, has_owner));
	if (preserve & ATTRIBUTE_ACL)
		is_good &= attribute_is_given(sink, "ACL", attribute_copy_acl(from, to, room));
	if (preserve & ATTRIBUTE_TIMES)
		is_good &= attribute_is_given(sink, "times", attribute_set_times(to, object));
	return is_good;
}

bool copy_attributes_give(struct copy *copy, struct copy_sink *sink)
{
	struct attribute_room *room;
	struct stat object;
	bool is_good;

	if (!copy->request->preserve || sink->is_inherited || fstat(usp_file_fd(sink->file), &object) < 0 ||
	    !S_ISREG(object.st_mode))
		return true;
	room = malloc(sizeof(*room));
	if (!room)
		return attribute_is_given(sink, "attributes", -ENOMEM);
	is_good = attributes_give(copy, sink, room);
	free(room);
	return is_good;
}
