/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* User interface of p2p_gpu, the reference exporter: ioctls of /dev/p2p_gpuN. */
#ifndef _P2P_GPU_H
#define _P2P_GPU_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Who may use an object besides its owner */
#define P2P_GPU_PEERS_NONE	0x1	/* no peer */
#define P2P_GPU_PEERS_READ	0x2	/* peers may only read */

/* Where an object is */
#define P2P_GPU_VRAM		0
#define P2P_GPU_RAM		1		/* evicted */

/**
 * struct p2p_gpu_alloc - allocate a buffer object in VRAM
 * @size: bytes, rounded up to pages
 * @flags: P2P_GPU_PEERS_*
 * @pad: 0
 * @offset: out: for mmap(), and the name of the object for the other ioctls
 */
struct p2p_gpu_alloc {
	__u64 size;
	__u32 flags;
	__u32 pad;
	__u64 offset;
};

/**
 * struct p2p_gpu_move - move an object and its contents
 * @offset: the object
 * @where: P2P_GPU_VRAM (a new place, or back from RAM) or P2P_GPU_RAM
 * @pad: 0
 */
struct p2p_gpu_move {
	__u64 offset;
	__u32 where;
	__u32 pad;
};

/**
 * struct p2p_gpu_info - where an object is and who uses it
 * @offset: the object
 * @size: out: bytes
 * @vram: out: its first byte in VRAM, if it is there
 * @where: out: P2P_GPU_VRAM or P2P_GPU_RAM
 * @extents: out: extents that peers hold, dropped ones not yet unmapped included
 */
struct p2p_gpu_info {
	__u64 offset;
	__u64 size;
	__u64 vram;
	__u32 where;
	__u32 extents;
};

#define P2P_GPU_IOC_ALLOC	_IOWR('P', 0x80, struct p2p_gpu_alloc)
#define P2P_GPU_IOC_FREE	_IOW('P', 0x81, __u64)
#define P2P_GPU_IOC_MOVE	_IOW('P', 0x82, struct p2p_gpu_move)
#define P2P_GPU_IOC_INFO	_IOWR('P', 0x83, struct p2p_gpu_info)

#endif /* _P2P_GPU_H */
