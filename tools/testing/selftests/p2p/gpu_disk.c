// SPDX-License-Identifier: GPL-2.0
/* See gpu_disk.h. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dio_trace.h"
#include "edu.h"
#include "gpu_disk.h"
#include "gpu_mr.h"
#include "sysfs.h"

static int gpu_disk_reload(const char *pages)
{
	char args[64];
	int err = module_unload("p2p_gpu");

	if (err && err != -ENOENT)
		return err;
	snprintf(args, sizeof(args), "pages=%s canary=%d", pages,
		 strcmp(pages, "0") != 0);
	return module_load("p2p_gpu", args);
}

int gpu_disk_obj_open(struct gpu_disk *d)
{
	int fd = gpu_open(O_RDWR), err;

	if (fd < 0)
		return fd;
	err = gpu_alloc(&d->o, fd, DIO_SIZE, d->flags);
	if (!err)
		err = gpu_map(&d->o, NULL, PROT_READ | PROT_WRITE);
	if (err)
		close(fd);
	return err;
}

void gpu_disk_obj_close(struct gpu_disk *d)
{
	if (d->o.ptr)
		munmap(d->o.ptr, d->o.size);
	if (d->o.fd > 0)
		close(d->o.fd);
	d->o = (struct gpu_obj) { };
}

int gpu_disk_open(struct gpu_disk *d)
{
	int err = gpu_disk_reload(d->pages);

	d->disk = -1;
	if (err)
		return err;
	d->disk = open(DIO_DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (d->disk < 0)
		return -errno;
	d->ram = mmap(NULL, DIO_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (d->ram == MAP_FAILED)
		return -errno;
	d->traced = trace_end();
	if (d->traced < 0)
		return d->traced;
	return gpu_disk_obj_open(d);
}

void gpu_disk_close(struct gpu_disk *d)
{
	gpu_disk_obj_close(d);
	if (d->ram)
		munmap(d->ram, DIO_SIZE);
	if (d->disk >= 0)
		close(d->disk);
	gpu_disk_reload("0");
}

int gpu_disk_fill(struct gpu_disk *d, size_t off, size_t len)
{
	ssize_t n;

	fill_random(d->ram + off, len);
	n = pwrite(d->disk, d->ram + off, len, off);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int gpu_disk_check(struct gpu_disk *d, size_t off, size_t len)
{
	struct p2p_gpu_info info;
	unsigned char *vram;
	int err;

	if (memcmp(d->o.ptr + off, d->ram + off, len))
		return -EBADMSG;
	err = gpu_info(&d->o, &info);
	if (err || info.where != P2P_GPU_VRAM)
		return err;
	vram = malloc(len);
	if (!vram)
		return -ENOMEM;
	err = edu_vram(info.vram + off, vram, len);
	if (!err && memcmp(vram, d->ram + off, len))
		err = -EBADMSG;
	free(vram);
	return err;
}

long gpu_disk_traced(struct gpu_disk *d, size_t off, size_t len)
{
	struct p2p_gpu_info info;
	char gpu[PCI_NAME];
	uint64_t bar;
	long n;

	if (gpu_info(&d->o, &info) || info.where != P2P_GPU_VRAM ||
	    pci_find_gpu(gpu))
		return -ENODEV;
	bar = pci_bar(gpu, 2);
	if (!bar)
		return -ENXIO;
	n = trace_bytes(d->traced, bar + info.vram + off, len);
	d->traced = trace_end();
	return n;
}
