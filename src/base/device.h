/* SPDX-License-Identifier: MIT */
/* device - the network device that a connection sends through. */
#ifndef USP_BASE_DEVICE_H
#define USP_BASE_DEVICE_H

#include <stdbool.h>

struct usp_device {
	bool is_loopback;
	bool is_physical; /* hardware, or what a virtual machine sees as such: no other network device below */
	int gathers; /* 1: it takes a packet in pieces, and computes checksums; 0: the kernel copies for it; < 0: unknown */
};

/*
 * Find the device that a connected IPv4 or IPv6 socket sends through now, by the routes of the network
 * namespace of this process, which must be that of the socket. 0, or -errno. Does not block.
 */
int usp_device_of(int fd, struct usp_device *ret_device);

#endif
