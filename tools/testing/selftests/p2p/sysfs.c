// SPDX-License-Identifier: GPL-2.0
/* PCI devices by their files in sysfs. */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sysfs.h"

int sysfs_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int sysfs_word(const char *dir, const char *file, char *word)
{
	char path[256];
	int err = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "r");
	if (!f)
		return -errno;
	if (fscanf(f, "%63s", word) != 1)
		err = -ENODATA;
	fclose(f);
	return err;
}

int pci_write(const char *name, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", name, file);
	return sysfs_write(path, text);
}

static unsigned int pci_id(const char *device, const char *file)
{
	unsigned int id = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", device, file);
	f = fopen(path, "r");
	if (f && fscanf(f, "%x", &id) != 1)
		id = 0;
	if (f)
		fclose(f);
	return id;
}

static int pci_find(unsigned int vendor, unsigned int device, char *name)
{
	int err = -ENOENT;
	glob_t g;

	if (glob(PCI_DEVICES "*", 0, NULL, &g))
		return -ENOENT;
	for (size_t i = 0; i < g.gl_pathc && err; i++) {
		const char *base = strrchr(g.gl_pathv[i], '/') + 1;

		if (pci_id(g.gl_pathv[i], "vendor") == vendor &&
		    pci_id(g.gl_pathv[i], "device") == device &&
		    strlen(base) < PCI_NAME) {
			strcpy(name, base);
			err = 0;
		}
	}
	globfree(&g);
	return err;
}

int pci_find_gpu(char *name)
{
	return pci_find(0x1af4, 0x1110, name);		/* ivshmem */
}

int pci_find_edu(char *name)
{
	return pci_find(0x1234, 0x11e8, name);
}

uint64_t pci_bar(const char *name, int bar)
{
	unsigned long long start = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/resource", name);
	f = fopen(path, "r");
	if (!f)
		return 0;
	while (bar-- >= 0)
		if (fscanf(f, "%llx %*x %*x", &start) != 1)
			start = 0;
	fclose(f);
	return start;
}

int module_load(const char *name, const char *args)
{
	const char *build = getenv("P2P_BUILD");
	char path[512];
	int fd, err;

	snprintf(path, sizeof(path), "%s/samples/p2p/%s.ko",
		 build ? build : ".", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, args, 0) ? -errno : 0;
	close(fd);
	return err;
}

int module_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}
