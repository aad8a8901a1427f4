// SPDX-License-Identifier: GPL-2.0
/*
 * What a vfio user may ask for and does not get, or not all of it: mappings and
 * BARs that peers cannot use, and iommufd, which did not opt in.
 *
 * VM: --iommu strict
 * TIMEOUT: 200
 */

#include "kselftest_harness.h"
#include "vfio.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BAR	2

FIXTURE(bad)
{
	struct vfio_dev v;
	struct gpu_mr m;
};

/* By the character device: the other tests open the group. */
FIXTURE_SETUP(bad)
{
	char name[PCI_NAME];

	srandom(5);
	ASSERT_EQ(0, pci_find_gpu(name));
	ASSERT_EQ(0, vfio_bind(&self->v, name));
	ASSERT_EQ(0, vfio_open_cdev(&self->v));
	self->m.ram = 2 * GPU_PAGE;
	self->m.gpu = 8 * GPU_PAGE;
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(bad)
{
	gpu_mr_close(&self->m);
	vfio_close(&self->v);
	vfio_unbind(&self->v);
}

TEST_F_TIMEOUT(bad, iommufd, 120)
{
	struct vfio_dev *v = &self->v;
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, vfio_mr_open(m, v, BAR, 0));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, p2p_trace_begin());
	EXPECT_EQ(0, vfio_ioas_map(v, m->buf, m->ram));
	EXPECT_EQ(-EFAULT, vfio_ioas_map(v, vfio_mr_bar(m), m->gpu));
	EXPECT_EQ(-EFAULT, vfio_ioas_map(v, vfio_mr_bar(m), GPU_PAGE));
	EXPECT_EQ(-EFAULT, vfio_ioas_map(v, m->buf, m->len));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	/* The zap reaches mappings of the character device, too. */
	ASSERT_EQ(0, vfio_decode(v, false));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 1));
	ASSERT_EQ(0, vfio_decode(v, true));
	EXPECT_WORKS(m, 0, m->len);
}

/* A mapping of the program may forbid what the BAR allows. */
TEST_F_TIMEOUT(bad, read_only, 120)
{
	struct gpu_mr *m = &self->m;

	m->prot = PROT_READ;
	ASSERT_EQ(0, vfio_mr_open(m, &self->v, BAR, 0));
	EXPECT_EQ(0, gpu_mr_read(m, m->ram + 9, 5000));
	EXPECT_EQ(0, memcmp(m->peer, m->buf + m->ram + 9, 5000));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram + 9, 1));
	EXPECT_EQ(1, p2p_trace_count("p2p_refuse", "reason=vma-write err=-1"));
	EXPECT_RAM_WORKS(m);
	ASSERT_EQ(0, mprotect(vfio_mr_bar(m), m->gpu, GPU_MR_RW));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, mprotect(vfio_mr_bar(m), m->gpu, PROT_NONE));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram + 9, 1));
	EXPECT_EQ(1, p2p_trace_count("p2p_refuse", "reason=vma-read err=-14"));
}

/* vfio itself refuses these. */
TEST_F(bad, no_such_mapping)
{
	struct vfio_dev *v = &self->v;
	size_t len = vfio_bar(v, BAR, NULL);
	uint32_t flags;

	ASSERT_NE(0, len);
	/* private */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, GPU_PAGE, GPU_MR_RW, MAP_PRIVATE,
				   v->fd, (off_t)BAR << 40));
	EXPECT_EQ(EINVAL, errno);
	/* past the end, and across it */
	EXPECT_EQ(MAP_FAILED, vfio_map(v, BAR, len, GPU_PAGE, PROT_READ, NULL));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, vfio_map(v, BAR, len - GPU_PAGE, 2 * GPU_PAGE,
				       PROT_READ, NULL));
	EXPECT_EQ(EINVAL, errno);
	/* a BAR of size 0, and configuration space */
	EXPECT_EQ(0, vfio_bar(v, 4, NULL));
	EXPECT_EQ(MAP_FAILED, vfio_map(v, 4, 0, GPU_PAGE, PROT_READ, NULL));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_LT(0, vfio_bar(v, VFIO_PCI_CONFIG_REGION_INDEX, &flags));
	EXPECT_EQ(0, flags & VFIO_REGION_INFO_FLAG_MMAP);
	EXPECT_EQ(MAP_FAILED, vfio_map(v, VFIO_PCI_CONFIG_REGION_INDEX, 0,
				       GPU_PAGE, PROT_READ, NULL));
	EXPECT_EQ(EINVAL, errno);
}

/*
 * The registers of the GPU are fewer than a page. vfio maps a whole page, since
 * nobody else has the rest of it; peers get none.
 */
TEST_F_TIMEOUT(bad, sub_page, 120)
{
	struct gpu_mr *m = &self->m;
	size_t len = vfio_bar(&self->v, 0, NULL);

	ASSERT_LT(0, len);
	ASSERT_GT(GPU_PAGE, len);
	m->gpu = GPU_PAGE;
	ASSERT_EQ(0, vfio_mr_open(m, &self->v, 0, 0));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 4));
	EXPECT_EQ(1, p2p_trace_count("p2p_refuse", "reason=exporter err=-22"));
	EXPECT_RAM_WORKS(m);
}

/* The SATA controller of the machine has a BAR of I/O ports, and one of a page. */
TEST_F_TIMEOUT(bad, io_bar, 120)
{
	struct gpu_mr *m = &self->m;
	struct vfio_dev v;
	uint32_t flags;

	ASSERT_EQ(0, vfio_bind(&v, "0000:00:1f.2"));
	ASSERT_EQ(0, vfio_open_cdev(&v));
	ASSERT_LT(0, vfio_bar(&v, 4, &flags));
	EXPECT_EQ(0, flags & VFIO_REGION_INFO_FLAG_MMAP);
	EXPECT_EQ(MAP_FAILED, vfio_map(&v, 4, 0, GPU_PAGE, PROT_READ, NULL));
	EXPECT_EQ(EINVAL, errno);

	m->gpu = GPU_PAGE;
	ASSERT_EQ(0, vfio_mr_open(m, &v, 5, 0));
	EXPECT_EQ(0, gpu_mr_read(m, m->ram, 16));
	EXPECT_EQ(0, memcmp(m->peer, vfio_mr_bar(m), 16));
	gpu_mr_close(m);
	vfio_close(&v);
	vfio_unbind(&v);
}

TEST_HARNESS_MAIN
