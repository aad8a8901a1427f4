/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A PCI device in the hands of a user-space driver, by vfio-pci.
 *
 *	struct vfio_dev v;
 *
 *	vfio_bind(&v, name);
 *	vfio_open(&v);
 *	p = vfio_map(&v, 2, 0, len, PROT_READ | PROT_WRITE, NULL);
 *	vfio_close(&v);
 *	vfio_unbind(&v);
 *
 * Functions return 0 or -errno unless they say otherwise.
 */
#ifndef VFIO_H
#define VFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "gpu_mr.h"
#include "sysfs.h"

/* The ones of the system may be older than what is used here. */
#define __user
#define __counted_by(member)
#include "../../../../include/uapi/linux/iommufd.h"
#include "../../../../include/uapi/linux/vfio.h"

struct vfio_dev {
	char name[PCI_NAME];
	int container, group;	/* vfio_open() */
	int iommufd;		/* vfio_open_cdev() */
	uint32_t ioas;
	int fd;			/* of the device */
};

/* Take the device from its driver, if it has one, and give it back. */
int vfio_bind(struct vfio_dev *v, const char *name);
void vfio_unbind(struct vfio_dev *v);

/* By its group: type 1, or without an IOMMU in no-iommu mode. */
int vfio_open(struct vfio_dev *v);
/* By its character device, with an empty I/O address space of iommufd. */
int vfio_open_cdev(struct vfio_dev *v);
void vfio_close(struct vfio_dev *v);

/* Size of BAR @bar, 0 if there is none; *flags (may be NULL) says what it is. */
size_t vfio_bar(struct vfio_dev *v, int bar, uint32_t *flags);
/* Where BAR @bar is in the file. */
uint64_t vfio_offset(struct vfio_dev *v, int bar);
/* Map a part of a BAR, at @addr exactly unless NULL. MAP_FAILED and errno. */
void *vfio_map(struct vfio_dev *v, int bar, size_t off, size_t len, int prot,
	       void *addr);
int vfio_reset(struct vfio_dev *v);
/* Of its whole bus, on which it is alone; vfio_open() */
int vfio_hot_reset(struct vfio_dev *v);
/* Registers of configuration space, as the user-space driver sees them. */
int vfio_config_read(struct vfio_dev *v, int reg, uint16_t *val);
int vfio_config_write(struct vfio_dev *v, int reg, uint16_t val);
/* Where the capability is, or 0. */
uint16_t vfio_capability(struct vfio_dev *v, uint8_t id);
/* Memory decode of the command register. */
int vfio_decode(struct vfio_dev *v, bool on);
/* Low power, or awake again. */
int vfio_low_power(struct vfio_dev *v, bool on);

/* Map [p, p + len) of memory for the device in the address space, and unmap. */
int vfio_ioas_map(struct vfio_dev *v, void *p, size_t len);

/*
 * As gpu_mr_open(): an on-demand MR over RAM, m->gpu bytes of a BAR from @off
 * on, and RAM. The part of the BAR is where huge pages are possible. Ended by
 * gpu_mr_close().
 */
int vfio_mr_open(struct gpu_mr *m, struct vfio_dev *v, int bar, size_t off);
/* The mapping of the BAR in it */
static inline unsigned char *vfio_mr_bar(struct gpu_mr *m)
{
	return m->buf + m->ram;
}

#endif
