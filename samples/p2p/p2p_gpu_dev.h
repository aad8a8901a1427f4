/* SPDX-License-Identifier: GPL-2.0 */
/* p2p_gpu as its parts see it: the device and its buffer objects. */
#ifndef _P2P_GPU_DEV_H
#define _P2P_GPU_DEV_H

#include <linux/kref.h>
#include <linux/maple_tree.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/rwsem.h>
#include <linux/wait.h>

#include "p2p_gpu_vram.h"

/* How long I/O to memory that is taken back may take. */
#define P2P_GPU_PIN_WAIT	(5 * HZ)

struct p2p_gpu {
	struct kref ref;		/* one for the device, one for each file */
	struct miscdevice misc;
	char name[16];
	struct pci_dev *pdev;		/* not ours any more when gone */
	struct p2p_region *region;
	struct p2p_exporter exporter;
	struct p2p_gpu_vram vram;
	struct dentry *debugfs;
	/* read: an ioctl; write: remove(), and the begin of a reset */
	struct rw_semaphore unplug;

	/* Orders grants and CPU faults against moves. mmap_lock is outside. */
	struct mutex lock;
	bool gone;			/* write: unplug too */
	bool paused;			/* asleep or in reset: hands off VRAM */
	bool copies_blocked;		/* by a reset; unplug */
	unsigned int opened;		/* times that something was opened again */
	struct maple_tree objects;	/* by file offset, in pages */
	struct list_head lost;		/* objects whose VRAM stayed pinned */
	unsigned long next_pgoff;	/* never reused */
	wait_queue_head_t wait;		/* CPU users: opened */
};

struct p2p_gpu_obj {
	struct kref ref;		/* one for the file, one for each extent */
	struct p2p_gpu *gpu;
	struct file *file;		/* the owner; it pins us */
	unsigned long pgoff;
	unsigned long nr_pages;
	unsigned int flags;
	atomic_t extents;
	/* gpu->lock */
	struct list_head lost;
	struct p2p_gpu_place place;
	bool moving;
	bool freed;
};

/* p2p_gpu_drv.c: the device */
void p2p_gpu_release(struct kref *ref);
int p2p_gpu_enter(struct p2p_gpu *gpu);
void p2p_gpu_exit(struct p2p_gpu *gpu);

/* p2p_gpu_file.c: what a program sees */
extern const struct file_operations p2p_gpu_fops;
void p2p_gpu_obj_release(struct kref *ref);

/* p2p_gpu_mmap.c: what the CPU and peers get */
extern const struct p2p_exporter_ops p2p_gpu_exporter_ops;
extern const struct vm_operations_struct p2p_gpu_vm_ops;
void p2p_gpu_zap_obj(struct p2p_gpu_obj *obj);
int p2p_gpu_wait_pins(struct p2p_gpu *gpu, struct p2p_gpu_place *place,
		      unsigned long nr_pages);
void p2p_gpu_retire(struct p2p_gpu *gpu, struct p2p_gpu_obj *obj);
void p2p_gpu_wake(struct p2p_gpu *gpu);
int p2p_gpu_move(struct p2p_gpu *gpu, struct p2p_gpu_obj *obj, u32 where);
int p2p_gpu_pause(struct p2p_gpu *gpu);
void p2p_gpu_unpause(struct p2p_gpu *gpu);

#endif /* _P2P_GPU_DEV_H */
