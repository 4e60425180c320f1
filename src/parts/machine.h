/* SPDX-License-Identifier: MIT */
/* machine - lanes and features: what the running kernel lets this process use. */
#ifndef USP_PARTS_MACHINE_H
#define USP_PARTS_MACHINE_H

#include <usplice.h>

unsigned usp_machine_nr_parts(void);

/* Tell of the part of this index; the rest of the fields stay. Makes an experiment, and undoes it. */
void usp_machine_tell(unsigned index, struct usp_part *ret_part);

#endif
