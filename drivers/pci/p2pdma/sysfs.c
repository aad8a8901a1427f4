// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/bus/pci/devices/.../p2p_topology: what this device may do with each
 * region, one record of fixed size for each, since a page does not hold those
 * of a large machine. Documentation/ABI/testing/sysfs-bus-pci-p2p.
 *
 * Readable for all: it names devices and settings, no addresses and no secrets.
 */
#include <linux/kernel.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/sysfs.h>

#include "../pci.h"
#include "topology.h"

#define P2P_RECORD	384	/* bytes, the last one is a newline */

static int p2p_emit_fn(char *buf, size_t size, const char *key,
		       const struct p2p_fn *fn, unsigned int nr)
{
	unsigned int i;
	int len;

	len = scnprintf(buf, size, " %s=", key);
	for (i = 0; i < nr && fn[i].valid; i++)
		len += scnprintf(buf + len, size - len,
				 "%s%04x:%02x:%02x.%d", i ? "," : "",
				 fn[i].domain, fn[i].rid >> 8,
				 PCI_SLOT(fn[i].rid), PCI_FUNC(fn[i].rid));
	if (!i)
		len += scnprintf(buf + len, size - len, "-");
	return len;
}

static int p2p_emit_flags(char *buf, size_t size, unsigned int flags)
{
	static const char * const names[] = {
		"guest", "allowed", "denied", "demoted", "assumed", "iova",
		"mask-part",
	};
	int i, len = 0;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (flags & BIT(i))
			len += scnprintf(buf + len, size - len, "%s%s",
					 len ? "," : "", names[i]);
	if (!len)
		len = scnprintf(buf, size, "-");
	return len;
}

/* Writes P2P_RECORD bytes and a 0 behind them. */
static void p2p_emit_record(char *buf, struct p2p_region *r,
			    const struct p2p_verdict *v)
{
	static const char * const paths[] = { "none", "bus", "host" };
	size_t size = P2P_RECORD;
	int len;

	len = scnprintf(buf, size, "region=%.24s/", dev_name(r->owner));
	if (dev_is_pci(r->owner))
		len += scnprintf(buf + len, size - len, "%d", r->bar);
	else
		len += scnprintf(buf + len, size - len, "-");
	len += scnprintf(buf + len, size - len,
			 " size=0x%zx path=%s distance=%d read=%d write=%d atomic=%d reason=%s errno=%d",
			 r->len, paths[v->path], v->distance, v->read, v->write,
			 v->atomic, p2p_topology_reason_name(v->reason),
			 v->path == P2P_PATH_NONE ?
			 -p2p_topology_errno(v->reason) : 0);
	len += p2p_emit_fn(buf + len, size - len, "culprit", v->culprit,
			   v->nr_culprits);
	len += p2p_emit_fn(buf + len, size - len, "common", &v->common, 1);
	len += p2p_emit_fn(buf + len, size - len, "turn", &v->turn, 1);
	len += scnprintf(buf + len, size - len,
			 " owner-bridge=%04x:%02x/%04x:%04x importer-bridge=%04x:%02x/%04x:%04x flags=",
			 v->host[0].domain, v->host[0].bus, v->host[0].vendor,
			 v->host[0].device, v->host[1].domain, v->host[1].bus,
			 v->host[1].vendor, v->host[1].device);
	len += p2p_emit_flags(buf + len, size - len, v->flags);
	len += scnprintf(buf + len, size - len, " generation=%u",
			 v->generation);
	memset(buf + len, ' ', P2P_RECORD - len);
	buf[P2P_RECORD - 1] = '\n';
	buf[P2P_RECORD] = 0;
}

struct p2p_ask {
	struct device *importer;
	char record[P2P_RECORD + 1];
};

static void p2p_ask_region(struct p2p_region *r, void *arg)
{
	struct p2p_ask *ask = arg;
	struct p2p_verdict v;

	__p2p_topology_query(r, ask->importer, false, &v);
	p2p_emit_record(ask->record, r, &v);
}

/**
 * p2p_topology_show - records of a device, as in its file
 * @importer: the device
 * @buf: where to
 * @off: first byte of the file
 * @count: number of bytes
 *
 * A record that is read in pieces may be of two different moments, so reads end
 * with a whole record where they can.
 *
 * Return: number of bytes, 0 at the end of the file.
 */
ssize_t p2p_topology_show(struct device *importer, char *buf, loff_t off,
			  size_t count)
{
	struct p2p_ask ask = { .importer = importer };
	loff_t whole = rounddown(off + count, P2P_RECORD);
	size_t done = 0;

	if (whole > off)
		count = whole - off;
	while (done < count) {
		size_t skip = (off + done) % P2P_RECORD;
		size_t n = min(count - done, P2P_RECORD - skip);

		if (!p2p_region_nth((off + done) / P2P_RECORD, p2p_ask_region,
				    &ask))
			break;
		memcpy(buf + done, ask.record + skip, n);
		done += n;
	}
	return done;
}

static ssize_t p2p_topology_read(struct file *file, struct kobject *kobj,
				 const struct bin_attribute *attr, char *buf,
				 loff_t off, size_t count)
{
	return p2p_topology_show(kobj_to_dev(kobj), buf, off, count);
}

static const BIN_ATTR(p2p_topology, 0444, p2p_topology_read, NULL, 0);

static const struct bin_attribute *const p2p_bin_attrs[] = {
	&bin_attr_p2p_topology,
	NULL,
};

static struct attribute *p2p_attrs[] = {
	&dev_attr_p2p_mmap.attr,
	&dev_attr_p2p_io.attr,
	&dev_attr_p2p_cpu.attr,
	NULL,
};

/* Bridges and ports do no DMA of their own that could be granted. */
static umode_t p2p_bin_attr_visible(struct kobject *kobj,
				    const struct bin_attribute *attr, int n)
{
	return pci_is_bridge(to_pci_dev(kobj_to_dev(kobj))) ? 0 :
							      attr->attr.mode;
}

/* Nor is their memory used by peers. p2p_mmap is beside the files that it is about. */
static umode_t p2p_attr_visible(struct kobject *kobj, struct attribute *attr,
				int n)
{
	struct pci_dev *pdev = to_pci_dev(kobj_to_dev(kobj));

	if (attr == &dev_attr_p2p_mmap.attr && pdev->non_mappable_bars)
		return 0;
	return pci_is_bridge(pdev) ? 0 : attr->mode;
}

const struct attribute_group pci_p2p_attr_group = {
	.attrs = p2p_attrs,
	.bin_attrs = p2p_bin_attrs,
	.is_visible = p2p_attr_visible,
	.is_bin_visible = p2p_bin_attr_visible,
};
