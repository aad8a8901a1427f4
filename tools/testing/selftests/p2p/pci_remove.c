// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping of resourceN in sysfs ends when its device is removed, and only
 * that one.
 *
 * VM: --topo default
 */

#include "kselftest_harness.h"
#include "sysfs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define EDU_ID_LOW	0xed
#define BAR_BYTES	8192

static sigjmp_buf jump;

static void on_sigbus(int sig)
{
	siglongjmp(jump, 1);
}

/* What the mapping reads, or -1 for SIGBUS. */
static long peek(const unsigned int *p)
{
	struct sigaction sa = { .sa_handler = on_sigbus }, old;
	long val = -1;	/* set after sigsetjmp() only if there is no jump */

	sigaction(SIGBUS, &sa, &old);
	if (!sigsetjmp(jump, 1))
		val = __atomic_load_n(p, __ATOMIC_RELAXED);
	sigaction(SIGBUS, &old, NULL);
	return val;
}

static void *map_bar(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *p;

	if (fd < 0)
		return MAP_FAILED;
	p = mmap(NULL, BAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

FIXTURE(remove)
{
	char gpu[PCI_NAME], edu[PCI_NAME], bar[64];
	unsigned int *vram, *io;
};

FIXTURE_SETUP(remove)
{
	char path[64];

	ASSERT_EQ(0, pci_find_gpu(self->gpu));
	ASSERT_EQ(0, pci_find_edu(self->edu));
	snprintf(self->bar, sizeof(self->bar), PCI_DEVICES "%s/resource2",
		 self->gpu);
	snprintf(path, sizeof(path), PCI_DEVICES "%s/resource0", self->edu);
	self->vram = map_bar(self->bar);
	self->io = map_bar(path);
	ASSERT_NE(MAP_FAILED, self->vram);
	ASSERT_NE(MAP_FAILED, self->io);
	self->vram[0] = 0x600d;
	ASSERT_EQ(0x600d, peek(self->vram));
	ASSERT_EQ(EDU_ID_LOW, peek(self->io) & 0xff);
}

FIXTURE_TEARDOWN(remove)
{
	munmap(self->vram, BAR_BYTES);
	munmap(self->io, BAR_BYTES);
	sysfs_write("/sys/bus/pci/rescan", "1");
}

TEST_F(remove, ends_the_mapping)
{
	ASSERT_EQ(0, pci_write(self->gpu, "remove", "1"));
	EXPECT_EQ(-1, peek(self->vram));
	EXPECT_EQ(-1, peek(self->vram + BAR_BYTES / 4 - 1));
}

TEST_F(remove, leaves_other_devices_alone)
{
	ASSERT_EQ(0, pci_write(self->gpu, "remove", "1"));
	EXPECT_EQ(EDU_ID_LOW, peek(self->io) & 0xff);
}

TEST_F(remove, is_not_for_ever)
{
	unsigned int *again;

	ASSERT_EQ(0, pci_write(self->gpu, "remove", "1"));
	ASSERT_EQ(0, sysfs_write("/sys/bus/pci/rescan", "1"));
	again = map_bar(self->bar);
	ASSERT_NE(MAP_FAILED, again);
	EXPECT_EQ(0x600d, peek(again));
	EXPECT_EQ(-1, peek(self->vram));
	munmap(again, BAR_BYTES);
}

TEST_HARNESS_MAIN
