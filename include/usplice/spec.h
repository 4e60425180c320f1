/* SPDX-License-Identifier: MIT */
/*
 * usplice/spec.h - texts that people write: the spec of an endpoint, a size, a rate, a time.
 *
 * Everything here works on text alone. Nothing blocks or waits, and all functions are safe from any thread. Common rules are
 * those of usplice.h.
 */
#ifndef USPLICE_SPEC_H
#define USPLICE_SPEC_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- Specs --------------------------------------------------------------------------------------- */

/* "tcp:host:80,retry=5" taken apart: the scheme "tcp", the address "host:80", and one option. */
struct usp_spec;

/*
 * Parse text, which is copied. The result is freed by usp_spec_free. Opens nothing, and looks at the file system only to see
 * whether a name with an unknown scheme is a file. 0, -ENOMEM, or -EINVAL with a static sentence in *ret_why, which may be
 * NULL. That the address makes sense is found by usp_open.
 */
USP_EXPORT int usp_spec_parse(const char *text, struct usp_spec **ret_spec, const char **ret_why);
USP_EXPORT void usp_spec_free(struct usp_spec *spec); /* NULL is allowed */

/* The parts. All strings belong to the spec. */
USP_EXPORT const char *usp_spec_text(const struct usp_spec *spec);   /* as it was parsed */
USP_EXPORT const char *usp_spec_scheme(const struct usp_spec *spec); /* "file" for every path, "-" for "-" */
USP_EXPORT const char *usp_spec_address(
	const struct usp_spec *spec); /* behind the scheme, without options and backslashes */

/* How many options there are, and one of them by its index: its name. *ret_value is NULL where there is no "=". NULL: no such
 * index. */
USP_EXPORT unsigned usp_spec_nr_options(const struct usp_spec *spec);
USP_EXPORT const char *usp_spec_option_at(const struct usp_spec *spec, unsigned index, const char **ret_value);

/* The value of an option: "" where it was given without one, NULL where it was not given. */
USP_EXPORT const char *usp_spec_option(const struct usp_spec *spec, const char *name);

/* The path that it names, or NULL: another endpoint, or an empty path. */
USP_EXPORT const char *usp_spec_path(const struct usp_spec *spec);

/*
 * The descriptor that it names: N for "fd:N", and for "-" 0 where mode is USP_READ and 1 where it is USP_WRITE. -ENXIO for
 * another endpoint, -EINVAL where no number follows "fd:" or "-" is to have both directions. Whether it is open is not asked.
 */
USP_EXPORT int usp_spec_descriptor(const struct usp_spec *spec, unsigned mode);

/* --- Numbers with units ---------------------------------------------------------------------------- */

/*
 * Bytes: "64", "64k" and "64KiB" (powers of 1024: k K M G T), "64kB" (powers of 1000), "64B". 0, or -EINVAL, or -ERANGE beyond
 * INT64_MAX; *ret_why, which may be NULL, is then a static predicate: "is negative".
 */
USP_EXPORT int usp_size_parse(const char *text, int64_t *ret_bytes, const char **ret_why);

/* Bytes per second: a size, with or without "/s" behind it. 0 is -EINVAL. */
USP_EXPORT int usp_rate_parse(const char *text, uint64_t *ret_rate, const char **ret_why);

/*
 * A time in nanoseconds: a number with or without a fraction, and ms, s, m or h; without a unit, seconds. "2.5", "500ms". At
 * most 10^18 ns. The same results.
 */
USP_EXPORT int usp_time_parse(const char *text, uint64_t *ret_ns, const char **ret_why);

/* --- Characters ------------------------------------------------------------------------------------ */

/* The length in bytes of the UTF-8 character that text begins with, which is not at its end. 0: there is no valid one. */
USP_EXPORT size_t usp_utf8_len(const char *text, uint32_t *ret_point);

/*
 * Could a terminal take this character for a command, or show a text as another one than it is? C0, DEL and C1, separators of
 * lines and paragraphs, and all that turns the order of letters.
 */
USP_EXPORT bool usp_utf8_is_control(uint32_t point);

#ifdef __cplusplus
}
#endif
#endif
