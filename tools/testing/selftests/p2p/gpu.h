/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Buffer objects of p2p_gpu, the reference exporter (samples/p2p).
 *
 *	struct gpu_obj o;
 *
 *	gpu_alloc(&o, gpu_open(O_RDWR), size, 0);
 *	gpu_map(&o, NULL, PROT_READ | PROT_WRITE);
 *	gpu_move(&o, P2P_GPU_RAM);
 *
 * Functions return 0 or -errno unless they say otherwise. An object lives as
 * long as its file: close it to free all objects.
 */
#ifndef GPU_H
#define GPU_H

#include <stddef.h>
#include <stdint.h>
#include "../../../../samples/p2p/p2p_gpu.h"

struct gpu_obj {
	int fd;
	uint64_t offset;	/* its name, and its offset for mmap() */
	size_t size;
	unsigned char *ptr;
};

/* The newest /dev/p2p_gpuN: a file descriptor or -errno. */
int gpu_open(int flags);
int gpu_alloc(struct gpu_obj *o, int fd, size_t size, unsigned int flags);
int gpu_free(struct gpu_obj *o);
/* Map the object, at @addr exactly (replacing what is there) unless NULL. */
int gpu_map(struct gpu_obj *o, void *addr, int prot);
int gpu_move(struct gpu_obj *o, unsigned int where);
int gpu_info(struct gpu_obj *o, struct p2p_gpu_info *info);
/* How many extents peers hold. */
int gpu_extents(struct gpu_obj *o);
/* Extents are given back in the background: wait up to 10 s until @n are left. */
int gpu_wait_extents(struct gpu_obj *o, unsigned int n);

/* VRAM past the driver: BAR 2 through sysfs. MAP_FAILED if there is none. */
unsigned char *gpu_map_vram(size_t *len);
/* How many objects the driver knows, of whatever process. Or -errno. */
int gpu_objects(void);

#endif
