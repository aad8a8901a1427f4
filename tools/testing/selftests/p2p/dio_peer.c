// SPDX-License-Identifier: GPL-2.0
/* See dio_peer.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dio_peer.h"

/* 8 bytes at a time: device memory may be slow, and not cached. */
static uint64_t pattern(size_t word, unsigned int seed)
{
	return (word + 1) * 0x9e3779b97f4a7c15ull ^ seed * 0x100000001b3ull;
}

void dio_fill(void *buf, size_t len, unsigned int seed)
{
	uint64_t *p = buf;

	for (size_t i = 0; i < len / 8; i++)
		__atomic_store_n(&p[i], pattern(i, seed), __ATOMIC_RELAXED);
}

long dio_differs(const void *buf, size_t len, unsigned int seed)
{
	const uint64_t *p = buf;

	for (size_t i = 0; i < len / 8; i++)
		if (__atomic_load_n(&p[i], __ATOMIC_RELAXED) !=
		    pattern(i, seed))
			return i * 8;
	return -1;
}

int dio_find_p2pmem(char *name)
{
	glob_t g;
	char *s;

	if (glob(PCI_DEVICES "*/p2pmem/allocate", 0, NULL, &g))
		return -ENOENT;
	s = g.gl_pathv[0] + strlen(PCI_DEVICES);
	snprintf(name, PCI_NAME, "%.*s", (int)strcspn(s, "/"), s);
	globfree(&g);
	return 0;
}

void *dio_map_p2pmem(const char *name, size_t len)
{
	char path[128];
	void *p;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/p2pmem/allocate", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return MAP_FAILED;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

uint64_t dio_stat(const char *name, const char *stat)
{
	char path[128], word[64];
	uint64_t sum = 0;
	size_t n = strlen(stat);
	FILE *f;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/p2p_io", name);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fscanf(f, "%63s", word) == 1)
		if (!strncmp(word, stat, n) && word[n] == '=')
			sum += strtoull(word + n + 1, NULL, 10);
	fclose(f);
	return sum;
}

int dio_find_disk(const char *serial, char *path, size_t size)
{
	int err = -ENOENT;
	glob_t g;

	if (glob("/sys/block/nvme*n1", 0, NULL, &g))
		return -ENOENT;
	for (size_t i = 0; i < g.gl_pathc && err; i++) {
		const char *name = strrchr(g.gl_pathv[i], '/') + 1;
		char word[SYSFS_WORD];

		/* nvme0c1n1 is one path of several to nvme0n1 */
		if (strchr(name, 'c') ||
		    sysfs_word(g.gl_pathv[i], "device/serial", word) ||
		    strcmp(word, serial))
			continue;
		snprintf(path, size, "/dev/%s", name);
		err = 0;
	}
	globfree(&g);
	return err;
}
