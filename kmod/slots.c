// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* slots - the pages of a ring: who may have how many, and how a program sees them. */
#include <linux/cred.h>
#include <linux/fs_context.h>
#include <linux/moduleparam.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "ring.h"

#define RING_FS_MAGIC 0x75737072 /* "uspr" */

static unsigned int max_slots = 4096;
module_param(max_slots, uint, 0644);
MODULE_PARM_DESC(max_slots, "Slots of one ring, at most (4096)");

static unsigned int max_rings_per_user = 16;
module_param(max_rings_per_user, uint, 0644);
MODULE_PARM_DESC(max_rings_per_user, "Rings of one user without CAP_SYS_RESOURCE, at most (16)");

/* --- How many rings a user has --- */

struct ring_user {
	struct list_head list;
	kuid_t uid;
	unsigned int nr_rings;
};

static LIST_HEAD(ring_users);
static DEFINE_MUTEX(ring_users_lock);

static struct ring_user *ring_user_find(kuid_t uid)
{
	struct ring_user *user;

	list_for_each_entry(user, &ring_users, list)
	{
		if (uid_eq(user->uid, uid))
			return user;
	}
	user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	if (user) {
		user->uid = uid;
		list_add(&user->list, &ring_users);
	}
	return user;
}

static void ring_user_drop(struct ring_user *user)
{
	if (user->nr_rings)
		return;
	list_del(&user->list);
	kfree(user);
}

/* Count one ring more for the user who calls. */
static int ring_user_get(struct ring_user **ret_user)
{
	struct ring_user *user;
	int ret = 0;

	mutex_lock(&ring_users_lock);
	user = ring_user_find(current_uid());
	if (!user)
		ret = -ENOMEM;
	else if (user->nr_rings >= max_rings_per_user && !capable(CAP_SYS_RESOURCE))
		ret = -EDQUOT;
	else
		user->nr_rings++;
	if (user)
		ring_user_drop(user);
	mutex_unlock(&ring_users_lock);
	if (!ret)
		*ret_user = user;
	return ret;
}

static void ring_user_put(struct ring_user *user)
{
	if (!user)
		return;
	mutex_lock(&ring_users_lock);
	user->nr_rings--;
	ring_user_drop(user);
	mutex_unlock(&ring_users_lock);
}

/* --- An inode for each ring ---
 *
 * All opens of a device node share its address space: taking a page out of one ring would unmap that page of all. So each ring has
 * an address space of its own, of an inode that has no name.
 */

static struct vfsmount *ring_mount;

static int ring_fs_init_context(struct fs_context *context)
{
	return init_pseudo(context, RING_FS_MAGIC) ? 0 : -ENOMEM;
}

/* Without an owner: it would keep the module from being unloaded. Every inode belongs to a file, and that has the module. */
static struct file_system_type ring_fs = {
	.name = "usplice",
	.init_fs_context = ring_fs_init_context,
	.kill_sb = kill_anon_super,
};

int ring_slots_init(void)
{
	ring_mount = kern_mount(&ring_fs);
	return PTR_ERR_OR_ZERO(ring_mount);
}

void ring_slots_fini(void)
{
	kern_unmount(ring_mount);
}

int ring_inode_new(struct ring *ring)
{
	struct inode *inode = alloc_anon_inode(ring_mount->mnt_sb);

	if (IS_ERR(inode))
		return PTR_ERR(inode);
	ring->inode = inode;
	ring->file->f_mapping = inode->i_mapping;
	return 0;
}

/* --- Pages --- */

void ring_slots_free(struct ring *ring)
{
	u32 i;

	for (i = 0; ring->slots && i < ring->nr_slots && ring->slots[i].page; i++)
		put_page(ring->slots[i].page);
	kvfree(ring->slots);
	ring->slots = NULL;
	ring->nr_slots = 0;
	ring_user_put(ring->user);
	ring->user = NULL;
	if (ring->event)
		eventfd_ctx_put(ring->event);
	ring->event = NULL;
}

/* The pages count for the memory control group of the caller. Each is of order 0, so that a pipe or socket can lend a part of the ring. */
static int ring_slots_new(struct ring *ring, u32 nr_slots)
{
	u32 i;

	ring->slots = kvcalloc(nr_slots, sizeof(*ring->slots), GFP_KERNEL_ACCOUNT);
	if (!ring->slots)
		return -ENOMEM;
	ring->nr_slots = nr_slots;
	for (i = 0; i < nr_slots; i++) {
		struct slot *slot = &ring->slots[i];

		slot->page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
		if (!slot->page)
			return -ENOMEM;
		slot->ring = ring;
		INIT_LIST_HEAD(&slot->queue);
		INIT_LIST_HEAD(&slot->clock);
		INIT_LIST_HEAD(&slot->news);
	}
	return 0;
}

/* USPLICE_SETUP. The caller has ring->lock. */
int ring_setup(struct ring *ring, const struct usplice_setup *setup)
{
	int ret;

	if (ring->nr_slots)
		return -EBUSY;
	if (!setup->nr_slots || setup->nr_slots > max_slots || setup->reserved)
		return -EINVAL;
	ret = ring_user_get(&ring->user);
	if (ret)
		return ret;
	if (setup->event_fd >= 0) {
		struct eventfd_ctx *event = eventfd_ctx_fdget(setup->event_fd);

		ret = PTR_ERR_OR_ZERO(event);
		if (!ret)
			ring->event = event;
	}
	if (!ret)
		ret = ring_slots_new(ring, setup->nr_slots);
	if (ret) {
		ring_slots_free(ring);
		return ret;
	}
	ring->timeout = msecs_to_jiffies(setup->timeout_ms ? setup->timeout_ms : 1000);
	return 0;
}

/*
 * Give a FILLING slot another page, which is the caller's, and drop the old one. A fault looks at the slot and maps what it finds
 * under ring->lock, so after the swap only old entries show the old page, and they are taken away before it is dropped.
 */
void ring_slot_swap(struct slot *slot, struct page *page)
{
	struct ring *ring = slot->ring;
	loff_t at = (loff_t)(slot - ring->slots) << PAGE_SHIFT;
	struct page *old = slot->page;

	mutex_lock(&ring->lock);
	slot->page = page;
	mutex_unlock(&ring->lock);
	unmap_mapping_range(ring->inode->i_mapping, at, PAGE_SIZE, 1);
	put_page(old);
}

/* --- Mappings ---
 *
 * Page frames are mapped, and not pages: an entry of a page table then counts no reference, so "nothing else refers to this page"
 * stays a count of 1 while the program has the ring mapped. The price: get_user_pages() refuses such memory, so vmsplice(2)
 * and O_DIRECT from the mapping fail with EFAULT. Everything that copies works.
 */

static vm_fault_t ring_fault(struct vm_fault *vmf)
{
	struct ring *ring = ring_of(vmf->vma->vm_file);
	vm_fault_t ret = VM_FAULT_SIGBUS;

	mutex_lock(&ring->lock);
	if (vmf->pgoff < ring->nr_slots)
		ret = vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(ring->slots[vmf->pgoff].page));
	mutex_unlock(&ring->lock);
	return ret;
}

static const struct vm_operations_struct ring_vm_ops = {
	.fault = ring_fault,
};

int ring_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct ring *ring = ring_of(file);
	u32 nr_slots;

	mutex_lock(&ring->lock);
	nr_slots = ring->nr_slots;
	mutex_unlock(&ring->lock);
	if (!nr_slots)
		return -ENXIO;
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_pgoff > nr_slots || vma_pages(vma) > nr_slots - vma->vm_pgoff)
		return -EINVAL;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
#else
	vma->vm_flags |= VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP;
#endif
	vma->vm_ops = &ring_vm_ops;
	return 0;
}
