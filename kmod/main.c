// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* main - /dev/usplice: its hooks, and the module. */
#include <linux/compat.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ring.h"

static int ring_open(struct inode *inode, struct file *file)
{
	struct ring *ring = kzalloc(sizeof(*ring), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!ring)
		return -ENOMEM;
	mutex_init(&ring->lock);
	INIT_LIST_HEAD(&ring->queued);
	INIT_LIST_HEAD(&ring->offered);
	INIT_LIST_HEAD(&ring->loose);
	INIT_LIST_HEAD(&ring->clock);
	INIT_LIST_HEAD(&ring->news);
	INIT_DELAYED_WORK(&ring->look, ring_look_work);
	init_waitqueue_head(&ring->wait);
	ring->pause = 1;
	ring->file = file;
	ret = ring_inode_new(ring);
	if (ret) {
		kfree(ring);
		return ret;
	}
	file->private_data = ring;
	return stream_open(inode, file);
}

/* No mapping and no buf in a pipe is left: each has the file. Sockets may have pages, and free them without us. */
static int ring_release(struct inode *inode, struct file *file)
{
	struct ring *ring = ring_of(file);

	cancel_delayed_work_sync(&ring->look);
	ring_slots_free(ring);
	file->f_mapping = inode->i_mapping;
	iput(ring->inode);
	kfree(ring);
	return 0;
}

static __poll_t ring_poll(struct file *file, poll_table *table)
{
	struct ring *ring = ring_of(file);
	__poll_t events = 0;

	poll_wait(file, &ring->wait, table);
	mutex_lock(&ring->lock);
	if (!list_empty(&ring->news) || (ring->has_ended && !ring->stat.nr_out))
		events |= EPOLLPRI;
	if (!list_empty(&ring->queued) || ring->has_ended)
		events |= EPOLLIN | EPOLLRDNORM;
	if (!list_empty(&ring->offered))
		events |= EPOLLOUT | EPOLLWRNORM;
	mutex_unlock(&ring->lock);
	return events;
}

static long ring_do_setup(struct ring *ring, void __user *arg)
{
	struct usplice_setup setup;
	int ret;

	if (copy_from_user(&setup, arg, sizeof(setup)))
		return -EFAULT;
	mutex_lock(&ring->lock);
	ret = ring_setup(ring, &setup);
	mutex_unlock(&ring->lock);
	return ret;
}

static long ring_do_end(struct ring *ring)
{
	mutex_lock(&ring->lock);
	smp_store_release(&ring->has_ended, true);
	mutex_unlock(&ring->lock);
	wake_up_interruptible(&ring->wait);
	return 0;
}

static long ring_do_stat(struct ring *ring, void __user *arg)
{
	struct usplice_stat stat;

	mutex_lock(&ring->lock);
	stat = ring->stat;
	stat.nr_slots = ring->nr_slots;
	stat.slot_bytes = PAGE_SIZE;
	mutex_unlock(&ring->lock);
	return copy_to_user(arg, &stat, sizeof(stat)) ? -EFAULT : 0;
}

static long ring_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	struct ring *ring = ring_of(file);

	switch (command) {
	case USPLICE_SETUP:
		return ring_do_setup(ring, (void __user *)arg);
	case USPLICE_END:
		return ring_do_end(ring);
	case USPLICE_STAT:
		return ring_do_stat(ring, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations ring_fops = {
	.owner = THIS_MODULE,
	.open = ring_open,
	.release = ring_release,
	.read_iter = ring_read_iter,
	.write_iter = ring_write_iter,
	.splice_read = ring_splice_read,
	.splice_write = ring_splice_write,
	.poll = ring_poll,
	.mmap = ring_mmap,
	.unlocked_ioctl = ring_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice ring_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "usplice",
	.fops = &ring_fops,
	.mode = 0600,
};

static int __init ring_init(void)
{
	int ret = ring_slots_init();

	if (ret)
		return ret;
	ret = misc_register(&ring_device);
	if (ret)
		ring_slots_fini();
	return ret;
}

/* There is no file any more. The task that put the last one may still be at the end of lend_release(): wait until each has slept or left. */
static void __exit ring_exit(void)
{
	misc_deregister(&ring_device);
	synchronize_rcu_tasks();
	ring_slots_fini();
}

module_init(ring_init);
module_exit(ring_exit);
MODULE_DESCRIPTION("Rings of pages that programs lend to pipes and take from them, with a notification");
MODULE_AUTHOR("the usplice authors");
MODULE_LICENSE("Dual MIT/GPL");
