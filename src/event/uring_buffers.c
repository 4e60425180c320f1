/* SPDX-License-Identifier: MIT */
/* uring_buffers - the buffers that all streams of a ring receive into. The kernel takes buffers and tells which. */
#include <errno.h>

#include "base/sys.h"
#include "event/uring_ring.h"

unsigned char *usp_uring_buffer(struct usp_uring *uring, int number)
{
	return uring->bytes + (size_t)number * USP_URING_BUFFER_BYTES;
}

void usp_uring_give_back(struct usp_uring *uring, int number)
{
	io_uring_buf_ring_add(uring->buffers, usp_uring_buffer(uring, number), USP_URING_BUFFER_BYTES,
			      (unsigned short)number, io_uring_buf_ring_mask(USP_URING_NR_BUFFERS), 0);
	io_uring_buf_ring_advance(uring->buffers, 1);
}

int usp_uring_make_buffers(struct usp_uring *uring)
{
	struct io_uring_buf_reg registration = {.ring_entries = USP_URING_NR_BUFFERS, .bgid = USP_URING_GROUP};
	int ret;

	uring->bytes = usp_sys_map_anon(USP_URING_NR_BUFFERS * USP_URING_BUFFER_BYTES);
	uring->buffers = usp_sys_map_anon(USP_URING_NR_BUFFERS * sizeof(struct io_uring_buf));
	if (!uring->bytes || !uring->buffers)
		return -ENOMEM;
	registration.ring_addr = (uint64_t)(uintptr_t)uring->buffers;
	ret = io_uring_register_buf_ring(&uring->ring, &registration, 0);
	if (ret < 0)
		return ret;
	io_uring_buf_ring_init(uring->buffers);
	for (int i = 0; i < USP_URING_NR_BUFFERS; i++)
		usp_uring_give_back(uring, i);
	return 0;
}

void usp_uring_free_buffers(struct usp_uring *uring)
{
	usp_sys_unmap(uring->bytes, USP_URING_NR_BUFFERS * USP_URING_BUFFER_BYTES);
	usp_sys_unmap(uring->buffers, USP_URING_NR_BUFFERS * sizeof(struct io_uring_buf));
}
