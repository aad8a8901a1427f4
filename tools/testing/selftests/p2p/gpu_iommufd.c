// SPDX-License-Identifier: GPL-2.0
/*
 * iommufd did not opt in: it refuses to map GPU memory for a device, by the
 * user's address, as it does on stock Linux. The device is QEMU's DMA engine.
 *
 * VM: --iommu strict
 */

#include "kselftest_harness.h"
#include "vfio.h"

#include <errno.h>
#include <string.h>

FIXTURE(iommufd)
{
	struct gpu_mr m;
	struct vfio_dev v;
};

FIXTURE_SETUP(iommufd)
{
	char edu[PCI_NAME];

	self->m.ram = 4 * GPU_PAGE;
	self->m.gpu = 8 * GPU_PAGE;
	ASSERT_EQ(0, gpu_mr_open(&self->m));
	ASSERT_EQ(0, pci_find_edu(edu));
	ASSERT_EQ(0, vfio_bind(&self->v, edu));
	ASSERT_EQ(0, vfio_open_cdev(&self->v));
}

FIXTURE_TEARDOWN(iommufd)
{
	vfio_close(&self->v);
	vfio_unbind(&self->v);
	gpu_mr_close(&self->m);
}

TEST_F_TIMEOUT(iommufd, refuses_gpu_memory, 120)
{
	struct gpu_mr *m = &self->m;
	struct vfio_dev *v = &self->v;

	/* An MR may have the memory, and the CPU may: that changes nothing. */
	memset(m->buf, 0x11, m->len);
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, p2p_trace_begin());
	EXPECT_EQ(0, vfio_ioas_map(v, m->buf, m->ram));
	EXPECT_EQ(-EFAULT, vfio_ioas_map(v, m->o.ptr, m->gpu));
	EXPECT_EQ(-EFAULT, vfio_ioas_map(v, m->buf, m->len));
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	m->o.ptr[0] = 1;
	EXPECT_EQ(-EFAULT, vfio_ioas_map(v, m->o.ptr, m->gpu));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	EXPECT_WORKS(m, 0, m->len);
}

TEST_HARNESS_MAIN
