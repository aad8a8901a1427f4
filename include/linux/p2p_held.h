/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For who gets the pages of a buffer in several calls, and may get peer memory.
 *
 * Who moves such memory waits for the end of its pins.  So do not wait for him
 * with some of it pinned and not on its way: these flags turn a wait into -EAGAIN,
 * for mmap_lock as well.  Use them only while p2p_pages_in_use().
 */
#ifndef _LINUX_P2P_HELD_H
#define _LINUX_P2P_HELD_H

#include <linux/bits.h>
#include <linux/jump_label.h>
#include <linux/uio.h>

/* get_user_pages(), with FOLL_PCI_P2PDMA; beside the flags of mm_types.h */
#define FOLL_P2P_HELD	BIT(15)

/* iov_iter_extract_pages(), with ITER_ALLOW_P2PDMA; beside those of uio.h */
#define ITER_P2P_HELD	((__force iov_iter_extraction_t)0x80)

/*
 * The same: fault nothing in.  User space may delay a fault (userfaultfd, FUSE)
 * for as long as it likes, and an exporter that waits for pins would wait for it.
 */
#define ITER_P2P_NOFAULT	((__force iov_iter_extraction_t)0x40)

#ifdef CONFIG_P2P_VMA
DECLARE_STATIC_KEY_FALSE(p2p_pages_on);

/* May there be pages that somebody has to be waited for? */
static inline bool p2p_pages_in_use(void)
{
	return static_branch_unlikely(&p2p_pages_on);
}
#else
static inline bool p2p_pages_in_use(void)
{
	return false;
}
#endif

#endif /* _LINUX_P2P_HELD_H */
