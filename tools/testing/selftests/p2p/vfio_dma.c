// SPDX-License-Identifier: GPL-2.0
/*
 * A device masters the bus to the BAR of another, which a user-space driver has
 * by vfio-pci: QEMU's DMA engine, by bus address and by IOVA.
 *
 * VM: --topo switch
 * VM: --topo default --cpu EPYC --iommu lazy
 * TIMEOUT: 300
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR	2
#define POLICY	"/sys/module/pci_p2p/parameters/policy"
#define OFF	0x5000		/* of the mapping in the BAR */
#define LEN	(3 * EDU_PAGE)

FIXTURE(dma)
{
	struct vfio_dev v;
	unsigned char *p, want[LEN], got[LEN];
	int fd;
	uint64_t dev;
};

FIXTURE_SETUP(dma)
{
	char name[PCI_NAME];

	srandom(7);
	ASSERT_EQ(0, pci_find_gpu(name));
	ASSERT_EQ(0, vfio_bind(&self->v, name));
	ASSERT_EQ(0, vfio_open(&self->v));
	self->p = vfio_map(&self->v, BAR, OFF, LEN, EDU_RW, NULL);
	ASSERT_NE(MAP_FAILED, self->p);
	self->fd = edu_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, edu_reg(self->fd, self->p, LEN, 0, &self->dev));
	fill_random(self->want, LEN);
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(dma)
{
	close(self->fd);
	munmap(self->p, LEN);
	/* The last reference was the mapping's: closed by now. */
	EXPECT_EQ(0, edu_dma_live("mappings"));
	vfio_close(&self->v);
	vfio_unbind(&self->v);
}

static int policy(const char *text)
{
	int fd = open(POLICY, O_WRONLY), err = 0;

	if (fd < 0)
		return -errno;
	if (dprintf(fd, "%s\n", text) < 0)
		err = -errno;
	close(fd);
	return err;
}

TEST_F_TIMEOUT(dma, write_read, 60)
{
	ASSERT_EQ(0, edu_write(self->fd, self->dev + 1001, self->want, 5000));
	EXPECT_EQ(0, memcmp(self->p + 1001, self->want, 5000));
	ASSERT_EQ(0, edu_vram(OFF + 1001, self->got, 5000));
	EXPECT_EQ(0, memcmp(self->got, self->want, 5000));
	memset(self->got, 0, LEN);
	ASSERT_EQ(0, edu_read(self->fd, self->dev + 1001, self->got, 5000));
	EXPECT_EQ(0, memcmp(self->got, self->want, 5000));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(1, edu_dma_live("mappings"));
}

/* What takes the BAR from the CPU ends the DMA mapping, at once. */
TEST_F_TIMEOUT(dma, revoke, 100)
{
	ASSERT_EQ(0, edu_write(self->fd, self->dev, self->want, 9));
	EXPECT_EQ(1, edu_dma_live("mappings"));
	ASSERT_EQ(0, vfio_decode(&self->v, false));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(-ENXIO, edu_write(self->fd, self->dev, self->want, 9));
	EXPECT_EQ(-ENXIO, edu_read(self->fd, self->dev, self->got, 9));
	ASSERT_EQ(0, vfio_decode(&self->v, true));
	ASSERT_EQ(0, edu_read(self->fd, self->dev, self->got, 9));
	EXPECT_EQ(0, memcmp(self->got, self->want, 9));

	ASSERT_EQ(0, vfio_reset(&self->v));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	ASSERT_EQ(0, edu_write(self->fd, self->dev + 9, self->want, 9));
	EXPECT_EQ(0, memcmp(self->p + 9, self->want, 9));

	/* The only mapping of a device whose descriptors are closed */
	vfio_close(&self->v);
	ASSERT_EQ(0, edu_write(self->fd, self->dev + 18, self->want, 9));
	EXPECT_EQ(0, memcmp(self->p + 18, self->want, 9));
	ASSERT_EQ(0, munmap(self->p, LEN));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(p2p_trace_count("p2p_map", NULL),
		  p2p_trace_count("p2p_unmap", NULL));
	EXPECT_EQ(-EFAULT, edu_write(self->fd, self->dev, self->want, 9));
}

/* The administrator forbids the path: the exporter is asked to zap. */
TEST_F_TIMEOUT(dma, policy, 60)
{
	char text[80], edu[PCI_NAME];

	ASSERT_EQ(0, edu_write(self->fd, self->dev, self->want, 9));
	ASSERT_EQ(0, pci_find_edu(edu));
	snprintf(text, sizeof(text), "deny=%s/%s", edu, self->v.name);
	ASSERT_EQ(0, policy(text));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(-EACCES, edu_write(self->fd, self->dev, self->want, 9));
	/* The CPU lost nothing. */
	EXPECT_EQ(0, memcmp(self->p, self->want, 9));
	ASSERT_EQ(0, policy(""));
	EXPECT_EQ(0, edu_write(self->fd, self->dev + 9, self->want, 9));
	EXPECT_EQ(0, memcmp(self->p + 9, self->want, 9));
}

TEST_HARNESS_MAIN
