// SPDX-License-Identifier: GPL-2.0
/*
 * What one DMA engine can do with the memory of one GPU, by trying it:
 *
 *	topo_pair /dev/p2p_eduN /dev/p2p_gpuN
 *
 * prints "PATH READ WRITE ERRNO": "bus", "host" or "none", whether data written
 * and read by DMA was right, and the errno of the refusal or 0. The GPU's side
 * is looked at through the CPU's mapping. For topo_matrix.py.
 */
#include "edu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "topo_pair: %s: %s\n", what, strerror(-err));
	exit(2);
}

static int open_node(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	check(fd < 0 ? -errno : 0, path);
	return fd;
}

int main(int argc, char **argv)
{
	static const char data[] = "topo_pair: this goes to the peer";
	struct p2p_edu_counters before, after;
	char back[sizeof(data)] = "";
	int edu, gpu, werr, rerr;
	const char *path = "none";
	struct gpu_obj o;
	uint64_t dev;

	if (argc != 3)
		check(-EINVAL, "usage: topo_pair EDU GPU");
	edu = open_node(argv[1]);
	gpu = open_node(argv[2]);
	check(gpu_alloc(&o, gpu, EDU_PAGE, 0), "allocate");
	check(gpu_map(&o, NULL, EDU_RW), "map");
	check(edu_reg(edu, o.ptr, EDU_PAGE, 0, &dev), "register");

	check(edu_counters(edu, &before), "counters");
	werr = edu_write(edu, dev + 100, data, sizeof(data));
	if (!werr && memcmp(o.ptr + 100, data, sizeof(data)))
		check(-EIO, "the GPU's memory does not hold what was written");
	strcpy((char *)o.ptr + 100, "and this comes from it");
	rerr = edu_read(edu, dev + 100, back, sizeof(data));
	if (!rerr && strcmp(back, "and this comes from it"))
		check(-EIO, "what was read is not what the GPU's memory holds");
	check(edu_counters(edu, &after), "counters");

	if (after.bus != before.bus)
		path = "bus";
	else if (after.bridge != before.bridge)
		path = "host";
	if (after.ram != before.ram)
		check(-EIO, "the object is not in the GPU's memory");
	printf("%s %d %d %d\n", path, !rerr, !werr, -(werr ? werr : rerr));
	return 0;
}
