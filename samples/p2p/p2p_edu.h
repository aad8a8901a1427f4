/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * User interface of p2p_edu, the reference importer: ioctls of /dev/p2p_eduN.
 *
 * A program registers ranges of its memory and lets the device's DMA engine
 * read and write them. A range is on demand: registering checks nothing but
 * its place, and what is mapped there may change at any time. An access fails
 * with
 *
 *	EFAULT		nothing is mapped there, or it does not allow the access
 *	EPERM		the memory or the range is read-only, or the range belongs
 *			to another address space: that of the process which
 *			registered it counts, not that of who holds the file
 *	ENOENT		no such range in this file
 *	EINVAL		malformed argument, or an access past the end of a range
 *	EINTR		a signal; what came before the interrupted piece is done
 *	EIO		the DMA mapping failed, or the engine does not stop: then the
 *			device is unusable
 *	ENODEV		the device is gone
 *
 * or, on peer memory, as Documentation/mm/p2p_vma.rst says.
 */
#ifndef _P2P_EDU_H
#define _P2P_EDU_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define P2P_EDU_RDONLY	0x1	/* the engine may only read the range */

/**
 * struct p2p_edu_register - let the engine use a range of memory
 * @addr: user address, page aligned
 * @len: bytes, whole pages
 * @flags: P2P_EDU_RDONLY
 * @pad: 0
 * @offset: out: where the range is for the device, and its name
 *
 * EOPNOTSUPP if the device cannot address all RAM: such a device would have to
 * bounce, and memory on demand cannot.
 */
struct p2p_edu_register {
	__u64 addr;
	__u64 len;
	__u32 flags;
	__u32 pad;
	__u64 offset;
};

/**
 * struct p2p_edu_move - let the engine move data
 * @from: first byte to read
 * @to: first byte to write
 * @len: bytes
 *
 * In a registered range a place is given as the device sees it, that is
 * p2p_edu_register.offset plus something; the buffer of READ and WRITE is given
 * by its user address. Pieces of unspecified size go through the device one by
 * one, upwards: a COPY between places that overlap gives unspecified data.
 */
struct p2p_edu_move {
	__u64 from;
	__u64 to;
	__u64 len;
};

/**
 * struct p2p_edu_counters - what the device has done since it was bound
 * @bus: bytes moved from and to peers by bus address
 * @bridge: bytes moved from and to peers through the host bridge
 * @ram: bytes moved from and to registered RAM, evicted objects included
 * @faults: pages that were faulted in
 * @invalidations: how often memory of a range was taken back, or might have been
 */
struct p2p_edu_counters {
	__u64 bus;
	__u64 bridge;
	__u64 ram;
	__u64 faults;
	__u64 invalidations;
};

#define P2P_EDU_IOC_REGISTER	_IOWR('P', 0x90, struct p2p_edu_register)
#define P2P_EDU_IOC_UNREGISTER	_IOW('P', 0x91, __u64)
/* From a range to a buffer; from a buffer to a range; from range to range */
#define P2P_EDU_IOC_READ	_IOW('P', 0x92, struct p2p_edu_move)
#define P2P_EDU_IOC_WRITE	_IOW('P', 0x93, struct p2p_edu_move)
#define P2P_EDU_IOC_COPY	_IOW('P', 0x94, struct p2p_edu_move)
#define P2P_EDU_IOC_COUNTERS	_IOR('P', 0x95, struct p2p_edu_counters)

#endif /* _P2P_EDU_H */
