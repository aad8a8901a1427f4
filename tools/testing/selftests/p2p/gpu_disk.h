/* SPDX-License-Identifier: GPL-2.0 */
/*
 * O_DIRECT between the NVMe disk and an object of a GPU whose memory has struct
 * pages.
 *
 *	struct gpu_disk d = { .pages = "4K" };
 *
 *	gpu_disk_open(&d);
 *	pread(d.disk, d.o.ptr, DIO_SIZE, 0);
 *
 * Functions return 0 or -errno.
 */
#ifndef P2P_GPU_DISK_H
#define P2P_GPU_DISK_H

#include <sys/mman.h>
#include "gpu.h"

#define DIO_SIZE	0x100000UL
#define DIO_PAGE	4096UL
#define DIO_SECTOR	512UL
#define DIO_DISK	"/dev/nvme0n1"

struct gpu_disk {
	/* set before gpu_disk_open() */
	const char *pages;	/* parameter of p2p_gpu */
	unsigned int flags;	/* P2P_GPU_PEERS_* */

	int disk;		/* O_DIRECT */
	struct gpu_obj o;	/* DIO_SIZE bytes */
	unsigned char *ram;	/* as much RAM */
	long traced;		/* where the trace ended */
};

/* Loads p2p_gpu anew; gpu_disk_close() leaves it as it is at boot. */
int gpu_disk_open(struct gpu_disk *d);
void gpu_disk_close(struct gpu_disk *d);

/* The object alone */
int gpu_disk_obj_open(struct gpu_disk *d);
void gpu_disk_obj_close(struct gpu_disk *d);

/* Fill [off, off + len) of the disk with random data, kept at d->ram + off. */
int gpu_disk_fill(struct gpu_disk *d, size_t off, size_t len);

/* Is [off, off + len) of the object that of d->ram, for CPU and host? -EBADMSG */
int gpu_disk_check(struct gpu_disk *d, size_t off, size_t len);

/*
 * How many bytes of [off, off + len) of the object the disk has used by DMA since
 * the last call: what of VRAM it mapped, as QEMU's trace says. Or -errno.
 */
long gpu_disk_traced(struct gpu_disk *d, size_t off, size_t len);

#endif
