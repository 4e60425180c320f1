/* SPDX-License-Identifier: MIT */
/* nfs4_acl - access lists of NFS 4, as Linux gives them in the attribute system.nfs4_acl. */
#ifndef USP_BASE_NFS4_ACL_H
#define USP_BASE_NFS4_ACL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Tell whether a list knows only the owner, the group and everyone: then the mode of the file says the same. False for bytes
 * that are no list.
 */
bool usp_nfs4_acl_is_mode(const void *bytes, size_t len);

#endif
