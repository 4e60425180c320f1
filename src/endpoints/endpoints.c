/* SPDX-License-Identifier: MIT */
/* endpoints - the list of endpoint types, the parser of specs, and opening by either name or descriptor. */
#include "endpoints/endpoints.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "base/sys.h"

static int descriptor_open(const struct usp_spec *spec, const struct usp_open_params *params,
			   struct usp_file **ret_file, const char **ret_why);
static int standard_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
			 const char **ret_why);

static const struct usp_endpoint descriptor_endpoint = {
	.scheme = "fd",
	.summary = "fd:N, a descriptor that this process was started with",
	.open = descriptor_open,
};

static const struct usp_endpoint standard_endpoint = {
	.summary = "-, standard input or standard output",
	.open = standard_open,
};

static const struct usp_endpoint *const endpoints[] = {
	&usp_regular_endpoint, &usp_block_endpoint,	 &usp_chardev_endpoint, &usp_fifo_endpoint,
	&usp_tcp_endpoint,     &usp_tcp_listen_endpoint, &usp_unix_endpoint,	&usp_unix_listen_endpoint,
	&usp_udp_endpoint,     &usp_udp_listen_endpoint, &usp_socket_endpoint,	&usp_null_endpoint,
	&usp_zero_endpoint,    &usp_memory_endpoint,	 &descriptor_endpoint,	&standard_endpoint,
};

/* --- The parser of specs --------------------------------------------------------------------------- */

#define DIGITS "0123456789"
#define SPEC_NS_PER_S 1000000000u
#define SPEC_SECONDS_DIGITS_MAX 9
#define SCHEME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" DIGITS "-"

/* The length of what looks like a scheme in front of a colon, or 0. A name such as 12:30 or ./a:b has none. */
static size_t spec_scheme_len(const char *text)
{
	size_t len = strspn(text, SCHEME_CHARS);

	return len > 0 && text[len] == ':' && !strchr(DIGITS "-", text[0]) ? len : 0;
}

static const struct usp_endpoint *spec_find_scheme(const char *text, size_t len)
{
	for (unsigned i = 0; i < usp_array_len(endpoints); i++) {
		const char *scheme = endpoints[i]->scheme;

		if (endpoints[i]->open && scheme && strlen(scheme) == len && memcmp(scheme, text, len) == 0)
			return endpoints[i];
	}
	return NULL;
}

static bool spec_has_option(const char *const *names, const char *text, size_t len)
{
	for (; names && *names; names++) {
		if (strlen(*names) == len && memcmp(*names, text, len) == 0)
			return true;
	}
	return false;
}

/*
 * Unescape text in place up to the comma that ends it, and return what follows that comma, or NULL. With names given, only
 * a comma in front of one of those options ends it.
 */
static char *spec_cut(char *text, const char *const *names)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] == ',')
			from++;
		else if (*from == ',' && (!names || spec_has_option(names, from + 1, strcspn(from + 1, ",=")))) {
			char *rest = text + (from - text) + 1;

			*to = '\0';
			return rest;
		}
		*to++ = *from;
	}
	*to = '\0';
	return NULL;
}

static int spec_add_option(struct usp_spec *spec, const char *const *names, char *text, const char **ret_why)
{
	char *value = strchr(text, '=');

	if (value)
		*value++ = '\0';
	if (!spec_has_option(names, text, strlen(text)))
		*ret_why = "it has no such option; a comma that belongs to the name is written \\,";
	else if (usp_spec_option(spec, text))
		*ret_why = "an option is given twice";
	else if (spec->nr_options == USP_SPEC_OPTIONS_MAX)
		*ret_why = "too many options";
	else {
		spec->options[spec->nr_options].name = text;
		spec->options[spec->nr_options++].value = value;
		return 0;
	}
	return -EINVAL;
}

/* Paths may have commas in them: there, only the name of an option makes one special. */
static int spec_split(struct usp_spec *spec, const struct usp_endpoint *endpoint, char *text, const char **ret_why)
{
	bool is_path = endpoint == &usp_regular_endpoint;
	char *rest = spec_cut(text, is_path ? endpoint->options : NULL);

	spec->address = text;
	while (rest) {
		char *option = rest;
		int ret;

		rest = spec_cut(option, NULL);
		ret = spec_add_option(spec, endpoint->options, option, ret_why);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Which type text names, and where in it the address begins. */
static int spec_find_endpoint(const char *text, const struct usp_endpoint **ret_endpoint, size_t *ret_start,
			      const char **ret_why)
{
	size_t len = spec_scheme_len(text);
	const struct usp_endpoint *endpoint = spec_find_scheme(text, len);
	struct stat st;

	*ret_start = 0;
	if (endpoint)
		*ret_start = len + (strncmp(text + len, "://", 3) == 0 ? 3 : 1);
	else if (strcmp(text, "-") == 0)
		endpoint = &standard_endpoint;
	else if (len == 0 || usp_sys_stat(text, &st) == 0)
		endpoint = &usp_regular_endpoint;
	if (!endpoint) {
		*ret_why = "unknown endpoint type; if it is the name of a file, write file: in front of it";
		return -EINVAL;
	}
	*ret_endpoint = endpoint;
	return 0;
}

int usp_spec_parse(const char *text, struct usp_spec *ret_spec, const struct usp_endpoint **ret_endpoint,
		   const char **ret_why)
{
	struct usp_spec spec = {.text = text};
	const struct usp_endpoint *endpoint;
	size_t start;
	int ret = spec_find_endpoint(text, &endpoint, &start, ret_why);

	if (ret < 0)
		return ret;
	spec.storage = usp_alloc_string(text + start);
	if (!spec.storage)
		return -ENOMEM;
	ret = spec_split(&spec, endpoint, spec.storage, ret_why);
	if (ret < 0) {
		usp_spec_fini(&spec);
		return ret;
	}
	*ret_spec = spec;
	*ret_endpoint = endpoint;
	return 0;
}

void usp_spec_fini(struct usp_spec *spec)
{
	usp_free(spec->storage);
	spec->storage = NULL;
}

const char *usp_spec_option(const struct usp_spec *spec, const char *name)
{
	for (unsigned i = 0; i < spec->nr_options; i++) {
		if (strcmp(spec->options[i].name, name) == 0)
			return spec->options[i].value ? spec->options[i].value : "";
	}
	return NULL;
}

/* Digits only, all of them. */
static int spec_parse_number(const char *text, size_t len, int64_t *ret_number)
{
	int64_t number = 0;

	if (len == 0 || strspn(text, DIGITS) < len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, text[i] - '0', &number))
			return -ERANGE;
	}
	*ret_number = number;
	return 0;
}

int usp_spec_parse_len(const char *text, int64_t *ret_len)
{
	static const char *const units[] = {"", "k", "M", "G", "T"};
	size_t nr_digits = strspn(text, DIGITS);
	const char *unit = text + nr_digits;
	int64_t len, factor = 1, base;
	int ret = spec_parse_number(text, nr_digits, &len);
	unsigned i;

	if (ret < 0)
		return ret;
	base = *unit && strcmp(unit + 1, "B") == 0 ? 1000 : 1024;
	for (i = 0; i < usp_array_len(units); i++, factor *= base) {
		if (unit[0] == units[i][0] || (i == 1 && unit[0] == 'K'))
			break;
	}
	if (i == usp_array_len(units) || (base == 1024 && unit[0] && unit[1]))
		return -EINVAL;
	if (__builtin_mul_overflow(len, factor, &len))
		return -ERANGE;
	*ret_len = len;
	return 0;
}

int usp_spec_parse_moment(const char *text, uint64_t *ret_moment_ns)
{
	uint64_t ns = 0, unit = SPEC_NS_PER_S;
	size_t nr_digits = strspn(text, DIGITS);

	if (!nr_digits || nr_digits > SPEC_SECONDS_DIGITS_MAX)
		return -EINVAL;
	for (; nr_digits; nr_digits--, text++)
		ns = ns * 10 + (uint64_t)(*text - '0') * SPEC_NS_PER_S;
	if (*text == '.') {
		for (text++; *text >= '0' && *text <= '9'; text++) {
			unit /= 10;
			ns += (uint64_t)(*text - '0') * unit;
		}
	}
	if (*text)
		return -EINVAL;
	*ret_moment_ns = usp_sys_now_ns() + ns;
	return 0;
}

int usp_spec_path(const char *text, char *ret_path, size_t len)
{
	const struct usp_endpoint *endpoint;
	struct usp_spec spec;
	const char *why;
	size_t path_len;
	int ret = usp_spec_parse(text, &spec, &endpoint, &why);

	if (ret < 0)
		return ret;
	path_len = strlen(spec.address);
	if (endpoint != &usp_regular_endpoint || path_len == 0)
		ret = -ENXIO;
	else if (path_len >= len)
		ret = -ENAMETOOLONG;
	else
		ret = (int)path_len;
	if (ret > 0)
		memcpy(ret_path, spec.address, path_len + 1);
	usp_spec_fini(&spec);
	return ret;
}

/* --- By name --------------------------------------------------------------------------------------- */

#define DEVICE_MEMORY_MAJOR 1 /* of these, mem, kmem and port have positions; null, zero, full and random only say so */

static bool device_has_positions(int fd, const struct stat *st)
{
	unsigned nr = minor(st->st_rdev);

	if (!S_ISCHR(st->st_mode))
		return S_ISBLK(st->st_mode);
	return usp_sys_lseek(fd, 0, SEEK_CUR) >= 0 &&
	       (major(st->st_rdev) != DEVICE_MEMORY_MAJOR || nr == 1 || nr == 2 || nr == 4);
}

int usp_endpoint_check_append(int fd, const char **ret_why)
{
	struct stat st;
	int ret = usp_sys_fstat(fd, &st);

	if (ret < 0 || !device_has_positions(fd, &st))
		return ret;
	*ret_why = "it has positions and no end of its own, so nothing can be appended";
	return -EINVAL;
}

/* A descriptor that this process was started with. It appends if its opener said so. */
static int descriptor_adopt(int fd, const struct usp_spec *spec, const struct usp_open_params *params,
			    struct usp_file **ret_file, const char **ret_why)
{
	int ret = params->append ? usp_endpoint_check_append(fd, ret_why) : 0;

	if (ret < 0)
		return ret;
	ret = usp_open_fd(fd, params->mode, spec->text, ret_file);
	if (ret == -EBADF)
		*ret_why = usp_sys_get_flags(fd) < 0 ? "this descriptor is not open"
						     : "this descriptor is not open for that direction";
	else if (ret == -EINVAL)
		*ret_why = "no bytes flow through it, as through a socket that listens";
	return ret;
}

static int descriptor_open(const struct usp_spec *spec, const struct usp_open_params *params,
			   struct usp_file **ret_file, const char **ret_why)
{
	int64_t fd;
	int ret = spec_parse_number(spec->address, strlen(spec->address), &fd);

	if (ret < 0 || fd > INT_MAX) {
		*ret_why = "fd: is followed by the number of a descriptor";
		return -EINVAL;
	}
	return descriptor_adopt((int)fd, spec, params, ret_file, ret_why);
}

static int standard_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
			 const char **ret_why)
{
	if (params->mode == (USP_READ | USP_WRITE)) {
		*ret_why = "standard input and output each have one direction; use fd:N for both";
		return -EINVAL;
	}
	return descriptor_adopt(params->mode == USP_READ ? 0 : 1, spec, params, ret_file, ret_why);
}

/* Leads the path, through /proc, to a socket that some process has open? The file of a UNIX socket is on a disk. */
static bool path_is_open_socket(const char *path)
{
	int fd = usp_sys_open(path, O_PATH, 0);
	bool is_open = fd >= 0 && usp_sys_fs_type(fd) == SOCKFS_MAGIC;

	usp_sys_close(fd);
	return is_open;
}

/* Which type a path names: what is there, or a regular file that can be made. */
static int path_find_endpoint(const char *path, const struct usp_endpoint **ret_endpoint, const char **ret_why)
{
	struct stat st;
	int ret = usp_sys_stat(path, &st);

	if (ret == -ENOENT)
		return 0; /* opening it makes it, or says what is missing */
	if (ret < 0)
		return ret;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISSOCK(st.st_mode)) {
		*ret_why = path_is_open_socket(path)
				   ? "it is a socket that is open already; write - or fd:N in place of the path"
				   : "it is a socket; to connect to it, write unix: and its path";
		return -ENXIO;
	}
	if (!(st.st_mode & S_IFMT)) {
		*ret_why = "no bytes flow through it";
		return -EINVAL;
	}
	for (unsigned i = 0; i < usp_array_len(endpoints); i++) {
		if (endpoints[i]->adopts == (st.st_mode & S_IFMT))
			*ret_endpoint = endpoints[i];
	}
	return 0;
}

static int path_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		     const char **ret_why)
{
	const struct usp_endpoint *endpoint = &usp_regular_endpoint;
	int ret;

	if (!spec->address[0]) {
		*ret_why = "the name of the file is missing";
		return -EINVAL;
	}
	ret = path_find_endpoint(spec->address, &endpoint, ret_why);
	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < spec->nr_options; i++) {
		const char *name = spec->options[i].name;

		if (spec_has_option(endpoint->options, name, strlen(name)))
			continue;
		*ret_why = "this type of file does not have that option";
		return -EINVAL;
	}
	return endpoint->open(spec, params, ret_file, ret_why);
}

/* Files have a mode of these two bits. */
static bool mode_is_valid(unsigned mode)
{
	return mode && !(mode & ~(USP_READ | USP_WRITE));
}

/* creat_mode may say what st_mode does of a regular file. */
static bool open_can(const struct usp_open_params *params)
{
	return mode_is_valid(params->mode) && !(params->creat_mode & ~(S_IFREG | 07777));
}

static int open_by_name(const char *text, const struct usp_open_params *params, struct usp_file **ret_file,
			const char **ret_why)
{
	const struct usp_endpoint *endpoint;
	struct usp_open_params own;
	struct usp_spec spec;
	int ret = text && params ? usp_sized_take(&own, sizeof(own), params) : -EINVAL;

	if (ret == 0)
		ret = open_can(&own) ? usp_spec_parse(text, &spec, &endpoint, ret_why) : -EINVAL;
	if (ret < 0)
		return ret;
	if (endpoint == &usp_regular_endpoint)
		ret = path_open(&spec, &own, ret_file, ret_why);
	else
		ret = endpoint->open(&spec, &own, ret_file, ret_why);
	usp_spec_fini(&spec);
	return ret;
}

int usp_open(const char *text, const struct usp_open_params *params, struct usp_file **ret_file, const char **ret_why)
{
	const char *why = NULL;
	int ret = open_by_name(text, params, ret_file, &why);

	if (ret_why)
		*ret_why = ret < 0 ? why : NULL;
	return ret;
}

/* --- By descriptor ----------------------------------------------------------------------------------- */

/* What fd is open for, or -errno. An O_PATH descriptor is open for nothing. */
static int descriptor_mode(int fd)
{
	int flags = usp_sys_get_flags(fd);

	if (flags < 0 || flags & O_PATH)
		return flags < 0 ? flags : -EBADF;
	switch (flags & O_ACCMODE) {
	case O_RDONLY:
		return USP_READ;
	case O_WRONLY:
		return USP_WRITE;
	default:
		return USP_READ | USP_WRITE;
	}
}

int usp_open_fd(int fd, unsigned mode, const char *name, struct usp_file **ret_file)
{
	unsigned traits = mode & USP_EXCLUSIVE ? 0 : USP_FILE_SHARED;
	struct stat st;
	int ret;

	mode &= ~USP_EXCLUSIVE;
	if (!name || !mode_is_valid(mode))
		return -EINVAL;
	ret = usp_sys_fstat(fd, &st);
	if (ret < 0)
		return ret;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	ret = descriptor_mode(fd);
	if (ret < 0)
		return ret;
	if (mode & ~(unsigned)ret)
		return -EBADF;
	for (unsigned i = 0; i < usp_array_len(endpoints); i++) {
		if (endpoints[i]->adopt && endpoints[i]->adopts == (st.st_mode & S_IFMT))
			return endpoints[i]->adopt(fd, &st, mode, traits, name, ret_file);
	}
	return -EINVAL; /* an eventfd and the like: nothing that bytes flow through */
}
