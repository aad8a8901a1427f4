// SPDX-License-Identifier: GPL-2.0
/* See vfio.h. */

#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#define NOIOMMU	"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
#define HUGE	0x200000UL

int vfio_bind(struct vfio_dev *v, const char *name)
{
	int err;

	v->container = -1;
	v->group = -1;
	v->iommufd = -1;
	v->fd = -1;
	if (name != v->name)
		snprintf(v->name, sizeof(v->name), "%s", name);
	err = sysfs_write(NOIOMMU, "1");
	if (err && err != -ENOENT)
		return err;
	pci_write(name, "driver/unbind", name);
	err = pci_write(name, "driver_override", "vfio-pci");
	return err ? err : sysfs_write("/sys/bus/pci/drivers_probe", name);
}

void vfio_unbind(struct vfio_dev *v)
{
	pci_write(v->name, "driver/unbind", v->name);
	pci_write(v->name, "driver_override", "\n");
	sysfs_write("/sys/bus/pci/drivers_probe", v->name);
}

/* The group's file and whether it is one without IOMMU. */
static int open_group(const char *name, bool *noiommu)
{
	char link[128], target[128], path[160];
	ssize_t n;
	int fd;

	snprintf(link, sizeof(link), PCI_DEVICES "%s/iommu_group", name);
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	*noiommu = false;
	snprintf(path, sizeof(path), "/dev/vfio%s", strrchr(target, '/'));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	*noiommu = true;
	snprintf(path, sizeof(path), "/dev/vfio/noiommu-%s",
		 strrchr(target, '/') + 1);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int vfio_open(struct vfio_dev *v)
{
	bool noiommu;
	int type;

	v->group = open_group(v->name, &noiommu);
	if (v->group < 0)
		return v->group;
	type = noiommu ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU;
	v->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (v->container < 0 ||
	    ioctl(v->group, VFIO_GROUP_SET_CONTAINER, &v->container) ||
	    ioctl(v->container, VFIO_SET_IOMMU, type))
		goto fail;
	v->fd = ioctl(v->group, VFIO_GROUP_GET_DEVICE_FD, v->name);
	if (v->fd >= 0)
		return 0;
fail:
	type = -errno;
	vfio_close(v);
	return type;
}

int vfio_open_cdev(struct vfio_dev *v)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	char path[128];
	glob_t g;
	int err;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/vfio-dev/*vfio*", v->name);
	if (glob(path, 0, NULL, &g))
		return -ENOENT;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
		 strrchr(g.gl_pathv[0], '/') + 1);
	globfree(&g);
	v->fd = open(path, O_RDWR | O_CLOEXEC);
	v->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	bind.iommufd = v->iommufd;
	if (v->fd < 0 || v->iommufd < 0 ||
	    ioctl(v->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) ||
	    ioctl(v->iommufd, IOMMU_IOAS_ALLOC, &alloc))
		goto fail;
	v->ioas = alloc.out_ioas_id;
	attach.pt_id = v->ioas;
	if (!ioctl(v->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		return 0;
fail:
	err = -errno;
	vfio_close(v);
	return err;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void vfio_close(struct vfio_dev *v)
{
	close_one(&v->fd);
	close_one(&v->group);
	close_one(&v->container);
	close_one(&v->iommufd);
}

static int region(struct vfio_dev *v, int index, struct vfio_region_info *info)
{
	*info = (struct vfio_region_info) {
		.argsz = sizeof(*info), .index = index,
	};
	return ioctl(v->fd, VFIO_DEVICE_GET_REGION_INFO, info) ? -errno : 0;
}

size_t vfio_bar(struct vfio_dev *v, int bar, uint32_t *flags)
{
	struct vfio_region_info info;

	if (region(v, bar, &info))
		return 0;
	if (flags)
		*flags = info.flags;
	return info.size;
}

void *vfio_map(struct vfio_dev *v, int bar, size_t off, size_t len, int prot,
	       void *addr)
{
	struct vfio_region_info info;

	if (region(v, bar, &info))
		return MAP_FAILED;
	return mmap(addr, len, prot, MAP_SHARED | (addr ? MAP_FIXED : 0), v->fd,
		    info.offset + off);
}

int vfio_reset(struct vfio_dev *v)
{
	return ioctl(v->fd, VFIO_DEVICE_RESET) ? -errno : 0;
}

int vfio_hot_reset(struct vfio_dev *v)
{
	struct {
		struct vfio_pci_hot_reset r;
		int group;
	} arg = {
		.r = { .argsz = sizeof(arg), .count = 1 },
		.group = v->group,
	};

	return ioctl(v->fd, VFIO_DEVICE_PCI_HOT_RESET, &arg) ? -errno : 0;
}

int vfio_config_read(struct vfio_dev *v, int reg, uint16_t *val)
{
	struct vfio_region_info info;
	int err = region(v, VFIO_PCI_CONFIG_REGION_INDEX, &info);

	if (err)
		return err;
	return pread(v->fd, val, 2, info.offset + reg) == 2 ? 0 : -errno;
}

int vfio_config_write(struct vfio_dev *v, int reg, uint16_t val)
{
	struct vfio_region_info info;
	int err = region(v, VFIO_PCI_CONFIG_REGION_INDEX, &info);

	if (err)
		return err;
	return pwrite(v->fd, &val, 2, info.offset + reg) == 2 ? 0 : -errno;
}

uint16_t vfio_capability(struct vfio_dev *v, uint8_t id)
{
	uint16_t pos, head;

	if (vfio_config_read(v, PCI_CAPABILITY_LIST, &pos))
		return 0;
	while ((pos &= 0xfc)) {
		if (vfio_config_read(v, pos, &head))
			return 0;
		if ((head & 0xff) == id)
			return pos;
		pos = head >> 8;
	}
	return 0;
}

int vfio_decode(struct vfio_dev *v, bool on)
{
	uint16_t cmd;
	int err = vfio_config_read(v, PCI_COMMAND, &cmd);

	if (err)
		return err;
	cmd &= ~PCI_COMMAND_MEMORY;
	return vfio_config_write(v, PCI_COMMAND,
				 cmd | (on ? PCI_COMMAND_MEMORY : 0));
}

int vfio_low_power(struct vfio_dev *v, bool on)
{
	struct vfio_device_feature f = {
		.argsz = sizeof(f),
		.flags = VFIO_DEVICE_FEATURE_SET |
			 (on ? VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY :
			       VFIO_DEVICE_FEATURE_LOW_POWER_EXIT),
	};

	return ioctl(v->fd, VFIO_DEVICE_FEATURE, &f) ? -errno : 0;
}

int vfio_ioas_map(struct vfio_dev *v, void *p, size_t len)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_READABLE,
		.ioas_id = v->ioas,
		.user_va = (uintptr_t)p,
		.length = len,
		.iova = 0x10000000,
	};
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = v->ioas,
		.iova = map.iova,
		.length = len,
	};

	if (ioctl(v->iommufd, IOMMU_IOAS_MAP, &map))
		return -errno;
	return ioctl(v->iommufd, IOMMU_IOAS_UNMAP, &unmap) ? -errno : 0;
}

uint64_t vfio_offset(struct vfio_dev *v, int bar)
{
	struct vfio_region_info info;

	return region(v, bar, &info) ? 0 : info.offset;
}

/* RAM, such that the BAR in its middle is at an address like its offset. */
static int ram_around(struct gpu_mr *m, size_t off)
{
	size_t len = m->ram + m->gpu + m->ram, skip;
	unsigned char *p;

	p = mmap(NULL, len + HUGE, GPU_MR_RW, MAP_PRIVATE | MAP_ANONYMOUS,
		 -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	skip = (off - (uintptr_t)p - m->ram) % HUGE;
	munmap(p, skip);
	munmap(p + skip + len, HUGE - skip);
	m->buf = p + skip;
	return 0;
}

int vfio_mr_open(struct gpu_mr *m, struct vfio_dev *v, int bar, size_t off)
{
	int err = ram_around(m, off);

	if (err)
		return err;
	m->o.fd = dup(v->fd);
	m->o.offset = vfio_offset(v, bar) + off;
	err = gpu_mr_open_file(m);
	/* The mapping is enough, and who closes the device means it. */
	close_one(&m->o.fd);
	return err;
}
