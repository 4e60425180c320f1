/* SPDX-License-Identifier: MIT */
/*
 * script - the little language in which a scenario is written down, so that a kernel and a library can both play it.
 *
 * A script is words between blanks. A word is one step: an object, an operation, where the operation needs one a second
 * object, a length, and what else belongs to it:
 *
 *     Aw100        write 100 bytes into pipe A
 *     AsB4096/n    splice up to 4096 bytes from pipe A to pipe B, SPLICE_F_NONBLOCK
 *     FsA10@50     splice 10 bytes of file F, from offset 50, into pipe A
 *     AsG10>50     splice 10 bytes of pipe A into file G, to offset 50
 *     !AsB10       the same as AsB10 in a thread of its own, which may sleep until a later step wakes it
 *
 * Objects (world.c has the table): A B C D pipes; 4 a FIFO opened by its name; F G H I J K O files; U V, T W, X Y, Q R, E L sockets and what is at
 * their other ends, S one without; P M a terminal; N Z and the digits devices and files of /proc.
 *
 *     w r   write, read                     i q  write the read end, read the write end of a pipe
 *     s f   splice; from the write end      t    tee
 *     v V   vmsplice; as LEN segments       u    vmsplice out of the pipe
 *     d     sendfile                        e    seek to LEN
 *     z g   set, get the size of a pipe     p    packet mode on (1) or off (0)
 *     j k   O_NONBLOCK of the read end, of the write end or of what is not a pipe: on (1) or off (0)
 *     x y   close the read end or what is not a pipe; the write end
 *     h     shut down the writing side      D L  hold the end LEN (0, 1) once more, and let go of that again
 *     o c   fill by write until it would block, and empty by read; what moves is not compared
 *     b     send from a peer, the last byte as urgent
 *     m     SO_RCVTIMEO and SO_SNDTIMEO of LEN ms
 *     l     forbid files of more than LEN bytes, for everybody
 *     n     a signal, whose handler does not restart anything, for the step that sleeps
 *
 * Behind the length: @OFF and >OFF are the offset arguments of the call (of v and V: where in a page the memory begins),
 * and /nmvgx are flags: nonblock, more, move, gift, and one that does not exist. Numbers may be negative.
 */
#ifndef USP_TESTS_SCRIPT_H
#define USP_TESTS_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRIPT_BAD_FLAG 0x10u
#define SCRIPT_WORD_MAX 96

struct step {
	char op, from, to; /* to is 0 where there is no second object */
	bool is_background, has_off_in, has_off_out;
	unsigned flags; /* USP_SPLICE_*, which are the kernel's */
	size_t len;
	int64_t off_in, off_out;
};

/* Read one step and return where the next one begins; NULL at the end. */
const char *script_next(const char *at, struct step *ret_step);

/* The step as a word again, with a 0 behind it. */
void script_print(const struct step *step, char ret_word[SCRIPT_WORD_MAX]);

#endif
