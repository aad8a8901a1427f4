// SPDX-License-Identifier: GPL-2.0
/*
 * iommufd did not opt in: it refuses to map GPU memory for a device, by the
 * user's address, as it does on stock Linux. The device is QEMU's DMA engine.
 *
 * VM: --iommu strict
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"
#include "sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The ones of the system may be older than iommufd. */
#define __user
#define __counted_by(member)
#include "../../../../include/uapi/linux/iommufd.h"
#include "../../../../include/uapi/linux/vfio.h"

FIXTURE(iommufd)
{
	struct gpu_mr m;
	char bdf[PCI_NAME];
	int device, iommufd;
	uint32_t ioas;
};

/* The character device of a PCI device that vfio-pci is bound to. */
static int open_vfio(const char *bdf)
{
	char path[128];
	glob_t g;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/vfio-dev/vfio*", bdf);
	if (glob(path, 0, NULL, &g))
		return -1;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
		 strrchr(g.gl_pathv[0], '/') + 1);
	globfree(&g);
	return open(path, O_RDWR | O_CLOEXEC);
}

FIXTURE_SETUP(iommufd)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	self->m.ram = 4 * GPU_PAGE;
	self->m.gpu = 8 * GPU_PAGE;
	ASSERT_EQ(0, gpu_mr_open(&self->m));

	ASSERT_EQ(0, pci_find_edu(self->bdf));
	/* p2p_edu has it, if that is loaded. */
	pci_write(self->bdf, "driver/unbind", self->bdf);
	ASSERT_EQ(0, pci_write(self->bdf, "driver_override", "vfio-pci"));
	ASSERT_EQ(0, sysfs_write("/sys/bus/pci/drivers_probe", self->bdf));
	self->device = open_vfio(self->bdf);
	ASSERT_LE(0, self->device);

	self->iommufd = open("/dev/iommu", O_RDWR);
	ASSERT_LE(0, self->iommufd);
	bind.iommufd = self->iommufd;
	ASSERT_EQ(0, ioctl(self->device, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	ASSERT_EQ(0, ioctl(self->iommufd, IOMMU_IOAS_ALLOC, &alloc));
	self->ioas = alloc.out_ioas_id;
	attach.pt_id = self->ioas;
	ASSERT_EQ(0, ioctl(self->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
}

FIXTURE_TEARDOWN(iommufd)
{
	close(self->device);
	close(self->iommufd);
	pci_write(self->bdf, "driver/unbind", self->bdf);
	pci_write(self->bdf, "driver_override", "\n");
	sysfs_write("/sys/bus/pci/drivers_probe", self->bdf);
	gpu_mr_close(&self->m);
}

static int ioas_map(int fd, uint32_t ioas, void *p, size_t len)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_READABLE,
		.ioas_id = ioas,
		.user_va = (uintptr_t)p,
		.length = len,
		.iova = 0x10000000,
	};
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = ioas,
		.iova = map.iova,
		.length = len,
	};

	if (ioctl(fd, IOMMU_IOAS_MAP, &map))
		return -errno;
	return ioctl(fd, IOMMU_IOAS_UNMAP, &unmap) ? -errno : 0;
}

TEST_F_TIMEOUT(iommufd, refuses_gpu_memory, 120)
{
	struct gpu_mr *m = &self->m;
	uint32_t ioas = self->ioas;
	int fd = self->iommufd;

	/* An MR may have the memory, and the CPU may: that changes nothing. */
	memset(m->buf, 0x11, m->len);
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, p2p_trace_begin());
	EXPECT_EQ(0, ioas_map(fd, ioas, m->buf, m->ram));
	EXPECT_EQ(-EFAULT, ioas_map(fd, ioas, m->o.ptr, m->gpu));
	EXPECT_EQ(-EFAULT, ioas_map(fd, ioas, m->buf, m->len));
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	m->o.ptr[0] = 1;
	EXPECT_EQ(-EFAULT, ioas_map(fd, ioas, m->o.ptr, m->gpu));
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	EXPECT_WORKS(m, 0, m->len);
}

TEST_HARNESS_MAIN
