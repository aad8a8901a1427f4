/* SPDX-License-Identifier: GPL-2.0 */
/* An importer that works by the extent: nothing in it grows with the pages. */
#ifndef _BENCH_USER_H
#define _BENCH_USER_H

#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>

struct bench_user {
	struct mmu_interval_notifier mni;
	struct mutex lock;		/* the user_lock */
	struct p2p_extents set;
};

struct bench_user *bench_user_create(unsigned long addr, size_t len);
int bench_user_map(struct bench_user *u, unsigned int *extents);
void bench_user_destroy(struct bench_user *u);

#endif /* _BENCH_USER_H */
