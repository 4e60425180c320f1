/* SPDX-License-Identifier: MIT */
/*
 * usplice/spec.h - texts that people write: the spec of an endpoint, a size, a rate, a time.
 *
 * Everything here works on text alone, but for usp_spec_open. Nothing else blocks, and all functions are safe from any thread.
 * The rules common to all functions are those of usplice.h.
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
 * Parse text, which is copied. Free the result with usp_spec_free. Opens nothing; looks at the file
 * system only to see whether a name with an unknown scheme is a file. 0, -ENOMEM, or -EINVAL with a
 * static sentence in *ret_why, which may be NULL. Does not check the address: usp_open does.
 */
USP_EXPORT int usp_spec_parse(const char *text, struct usp_spec **ret_spec, const char **ret_why);
USP_EXPORT void usp_spec_free(struct usp_spec *spec); /* NULL is allowed */

/* Return the parts. The spec owns all strings. The address is without options and backslashes. */
USP_EXPORT const char *usp_spec_text(const struct usp_spec *spec);    /* as it was parsed */
USP_EXPORT const char *usp_spec_scheme(const struct usp_spec *spec);  /* "file" for every path, "-" for "-" */
USP_EXPORT const char *usp_spec_address(const struct usp_spec *spec); /* what follows the scheme */

/* Return the number of options, or the name of one by its index; NULL: no such index. *ret_value is
 * NULL for an option without "=". */
USP_EXPORT unsigned usp_spec_nr_options(const struct usp_spec *spec);
USP_EXPORT const char *usp_spec_option_at(const struct usp_spec *spec, unsigned index, const char **ret_value);

/* Return the value of an option: "" for an option without a value, NULL for one that was not given. */
USP_EXPORT const char *usp_spec_option(const struct usp_spec *spec, const char *name);

/* Return the path that the spec names, or NULL for another endpoint or an empty path. */
USP_EXPORT const char *usp_spec_path(const struct usp_spec *spec);

/*
 * Return the descriptor that the spec names: N for "fd:N"; for "-" 0 if mode is USP_READ and 1 if
 * it is USP_WRITE. -ENXIO for another endpoint. -EINVAL if no number follows "fd:", or for "-" with
 * both directions. Does not check whether the descriptor is open.
 */
USP_EXPORT int usp_spec_descriptor(const struct usp_spec *spec, unsigned mode);

/* Open what the spec names, as usp_open does, which parses the text first. The spec stays the caller's. */
USP_EXPORT int usp_spec_open(const struct usp_spec *spec, const struct usp_open_params *params,
			     struct usp_file **ret_file, const char **ret_why);

/* --- Numbers with units ---------------------------------------------------------------------------- */

/*
 * Parse a size in bytes: "64", "64k" and "64KiB" (powers of 1024: k M G T), "64kB" (powers of
 * 1000), "64B", in any case, and with a fraction where all of it is whole bytes: "1.5M". 0, -EINVAL,
 * or -ERANGE beyond INT64_MAX. *ret_why is then a static predicate such as "is negative"; ret_why
 * may be NULL.
 */
USP_EXPORT int usp_size_parse(const char *text, int64_t *ret_bytes, const char **ret_why);

/*
 * Parse bytes per second: a size, or bits such as "100Mbit" (powers of 1000) and "1Mibit" (of 1024) that are
 * whole bytes; with or without "/s" behind it. 0 is -EINVAL. Else as usp_size_parse.
 */
USP_EXPORT int usp_rate_parse(const char *text, uint64_t *ret_rate, const char **ret_why);

/*
 * Parse a time into nanoseconds: a number, with or without a fraction, and ms, s, m or h; seconds
 * without a unit. "2.5", "500ms". At most 10^18 ns. Results as of usp_size_parse.
 */
USP_EXPORT int usp_time_parse(const char *text, uint64_t *ret_ns, const char **ret_why);

/* --- Characters ------------------------------------------------------------------------------------ */

/*
 * Return the length in bytes of the UTF-8 character at the start of text, and the character in
 * *ret_point. 0 if it is not valid. text must not be empty.
 */
USP_EXPORT size_t usp_utf8_len(const char *text, uint32_t *ret_point);

/*
 * Tell whether a terminal could take this character for a command, or show a text as a different
 * one: C0, DEL and C1, separators of lines and paragraphs, and all that changes the order of
 * letters.
 */
USP_EXPORT bool usp_utf8_is_control(uint32_t point);

#ifdef __cplusplus
}
#endif
#endif
