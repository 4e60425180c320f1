/* SPDX-License-Identifier: MIT */
/* gift - memory of the caller as a folio, with a call of done when the library has finished with it. */
#include "mm/gift.h"

#include <errno.h>
#include <limits.h>

#include "base/alloc.h"
#include "base/compiler.h"

static void gift_release(struct usp_folio *folio)
{
	struct usp_gift *gift = usp_container_of(folio, struct usp_gift, folio);
	void (*done)(void *arg) = gift->done;
	void *arg = gift->arg;

	usp_free(gift);
	if (done)
		done(arg); /* the last act: the callback may free the memory or fill it and give it again */
}

int usp_gift_new(void *base, size_t len, void (*done)(void *arg), void *arg, struct usp_gift **ret_gift)
{
	struct usp_gift *gift;

	if (!base || len == 0 || len > SSIZE_MAX || (uintptr_t)base > UINTPTR_MAX - len)
		return -EINVAL;
	gift = usp_alloc(sizeof(*gift));
	if (!gift)
		return -ENOMEM;
	gift->done = done;
	gift->arg = arg;
	usp_folio_init(&gift->folio, base, len, gift_release);
	*ret_gift = gift;
	return 0;
}

void usp_gift_put(struct usp_gift *gift)
{
	if (gift)
		usp_folio_put(&gift->folio);
}
