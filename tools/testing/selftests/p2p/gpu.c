// SPDX-License-Identifier: GPL-2.0
/* See gpu.h. */

#include "gpu.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int gpu_open(int flags)
{
	int fd = -1, n, newest = -1;
	char path[32];
	glob_t g;

	if (glob("/dev/p2p_gpu*", 0, NULL, &g))
		return -ENODEV;
	for (size_t i = 0; i < g.gl_pathc; i++)
		if (sscanf(g.gl_pathv[i], "/dev/p2p_gpu%d", &n) == 1 &&
		    n > newest)
			newest = n;
	globfree(&g);
	if (newest < 0)
		return -ENODEV;
	snprintf(path, sizeof(path), "/dev/p2p_gpu%d", newest);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int gpu_alloc(struct gpu_obj *o, int fd, size_t size, unsigned int flags)
{
	struct p2p_gpu_alloc arg = { .size = size, .flags = flags };

	if (ioctl(fd, P2P_GPU_IOC_ALLOC, &arg))
		return -errno;
	*o = (struct gpu_obj) { .fd = fd, .offset = arg.offset, .size = size };
	return 0;
}

int gpu_free(struct gpu_obj *o)
{
	__u64 offset = o->offset;

	return ioctl(o->fd, P2P_GPU_IOC_FREE, &offset) ? -errno : 0;
}

int gpu_map(struct gpu_obj *o, void *addr, int prot)
{
	void *p = mmap(addr, o->size, prot, MAP_SHARED | (addr ? MAP_FIXED : 0),
		       o->fd, o->offset);

	if (p == MAP_FAILED)
		return -errno;
	o->ptr = p;
	return 0;
}

int gpu_move(struct gpu_obj *o, unsigned int where)
{
	struct p2p_gpu_move arg = { .offset = o->offset, .where = where };

	return ioctl(o->fd, P2P_GPU_IOC_MOVE, &arg) ? -errno : 0;
}

int gpu_info(struct gpu_obj *o, struct p2p_gpu_info *info)
{
	memset(info, 0, sizeof(*info));
	info->offset = o->offset;
	return ioctl(o->fd, P2P_GPU_IOC_INFO, info) ? -errno : 0;
}

int gpu_extents(struct gpu_obj *o)
{
	struct p2p_gpu_info info;
	int err = gpu_info(o, &info);

	return err ? err : (int)info.extents;
}

int gpu_wait_extents(struct gpu_obj *o, unsigned int n)
{
	for (int i = 0; i < 1000; i++) {
		int held = gpu_extents(o);

		if (held < 0 || held == (int)n)
			return held < 0 ? held : 0;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

unsigned char *gpu_map_vram(size_t *len)
{
	unsigned char *p = MAP_FAILED;
	glob_t g;
	int fd;

	if (glob("/sys/bus/pci/drivers/p2p_gpu/*:*/resource2_wc", 0, NULL, &g))
		return MAP_FAILED;
	fd = open(g.gl_pathv[0], O_RDWR);
	globfree(&g);
	if (fd >= 0) {
		*len = lseek(fd, 0, SEEK_END);
		p = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	return p;
}

int gpu_objects(void)
{
	char line[128];
	int n = -1;	/* the header */
	glob_t g;
	FILE *f;

	if (glob("/sys/kernel/debug/p2p_gpu*/objects", 0, NULL, &g))
		return -ENOENT;
	f = fopen(g.gl_pathv[0], "r");
	globfree(&g);
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		n++;
	fclose(f);
	return n;
}
