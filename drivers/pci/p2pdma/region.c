// SPDX-License-Identifier: GPL-2.0
/*
 * Regions of device memory: which physical ranges exporters may grant, who owns
 * them, and the exporters attached to each.
 */
#include <linux/device.h>
#include <linux/export.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "topology.h"

#define P2P_NOT_A_BAR	-1

/* Regions are few and long-lived: one list, one lock. */
static LIST_HEAD(p2p_regions);
/* list, ref going to 0, exporters, pages */
static DEFINE_MUTEX(p2p_region_mutex);

static struct p2p_region *p2p_region_overlap(phys_addr_t start, size_t len)
{
	struct p2p_region *r;

	lockdep_assert_held(&p2p_region_mutex);
	list_for_each_entry(r, &p2p_regions, node)
		if (start <= r->start + (r->len - 1) &&
		    r->start <= start + (len - 1))
			return r;
	return NULL;
}

/* Add a region. The caller holds p2p_region_mutex and knows @owner is alive. */
static struct p2p_region *p2p_region_add(struct device *owner,
					 phys_addr_t start, size_t len, int bar)
{
	struct p2p_region *r, *next;

	if (!len || !PAGE_ALIGNED(start) || !PAGE_ALIGNED(len) ||
	    start + (len - 1) < start)
		return ERR_PTR(-EINVAL);
	if (p2p_region_overlap(start, len))
		return ERR_PTR(-EBUSY);

	r = kzalloc_obj(*r);
	if (!r)
		return ERR_PTR(-ENOMEM);
	r->start = start;
	r->len = len;
	r->owner = get_device(owner);
	r->bar = bar;
	INIT_LIST_HEAD(&r->exporter_list);
	kref_init(&r->ref);
	/* By address: p2p_region_nth() counts, new ones must not shuffle. */
	list_for_each_entry(next, &p2p_regions, node)
		if (next->start > start)
			break;
	list_add_tail(&r->node, &next->node);
	return r;
}

static void p2p_region_free(struct kref *ref)
{
	struct p2p_region *r = container_of(ref, struct p2p_region, ref);

	if (!list_empty(&r->node))
		list_del(&r->node);
	mutex_unlock(&p2p_region_mutex);
	put_device(r->owner);
	kfree(r);
}

/**
 * p2p_region_put - drop a reference to a region
 * @r: the region
 *
 * Context: may sleep.
 */
void p2p_region_put(struct p2p_region *r)
{
	kref_put_mutex(&r->ref, p2p_region_free, &p2p_region_mutex);
}
EXPORT_SYMBOL_GPL(p2p_region_put);

/**
 * p2p_region_bar - get the region of a memory BAR
 * @pdev: the PCI device, pinned by the region
 * @bar: BAR number
 *
 * The region belongs to the PCI core, not to the driver that is bound: every
 * caller gets the same one.
 *
 * Context: may sleep.
 * Return: the region, to be dropped with p2p_region_put(); -EINVAL if the BAR
 * is not memory, is not assigned or is smaller than a page; -EOPNOTSUPP if the
 * device's BARs may not be mapped; -EBUSY if the BAR moved under a region that is
 * in use, or overlaps another region; -ENOMEM.
 */
struct p2p_region *p2p_region_bar(struct pci_dev *pdev, int bar)
{
	struct resource *res;
	struct p2p_region *r;
	int ret;

	if (bar < 0 || bar >= PCI_STD_NUM_BARS)
		return ERR_PTR(-EINVAL);
	res = pci_resource_n(pdev, bar);
	/* One without a parent was never assigned, wherever it says it is. */
	if (!(res->flags & IORESOURCE_MEM) || !resource_size(res) ||
	    res->flags & IORESOURCE_UNSET || !res->parent)
		return ERR_PTR(-EINVAL);

	guard(mutex)(&p2p_region_mutex);
	list_for_each_entry(r, &p2p_regions, node) {
		if (r->owner != &pdev->dev || r->bar != bar)
			continue;
		if (r->start != res->start || r->len != resource_size(res))
			return ERR_PTR(-EBUSY);
		kref_get(&r->ref);
		return r;
	}
	ret = pcim_p2pdma_init(pdev);
	if (ret)
		return ERR_PTR(ret);
	r = p2p_region_add(&pdev->dev, res->start, resource_size(res), bar);
	if (!IS_ERR(r))
		r->provider = pcim_p2pdma_provider(pdev, bar);
	return r;
}
EXPORT_SYMBOL_GPL(p2p_region_bar);

/**
 * p2p_region_register - register device memory that is not a PCI BAR
 * @owner: the device whose memory it is
 * @start: physical address, page aligned
 * @len: bytes, page aligned
 *
 * Context: may sleep.
 * Return: the region, to be ended with p2p_region_unregister(); -EINVAL if the
 * range is not page aligned or is system RAM; -EBUSY if it overlaps a region;
 * -ENOMEM.
 */
struct p2p_region *p2p_region_register(struct device *owner, phys_addr_t start,
				       size_t len)
{
	struct p2p_region *r;

	if (len && region_intersects(start, len, IORESOURCE_SYSTEM_RAM,
				     IORES_DESC_NONE) != REGION_DISJOINT)
		return ERR_PTR(-EINVAL);
	mutex_lock(&p2p_region_mutex);
	r = p2p_region_add(owner, start, len, P2P_NOT_A_BAR);
	mutex_unlock(&p2p_region_mutex);
	return r;
}
EXPORT_SYMBOL_GPL(p2p_region_register);

/**
 * p2p_region_unregister - end a region made by p2p_region_register()
 * @r: the region; every exporter was detached
 *
 * Context: may sleep. Allocates nothing and cannot fail.
 */
void p2p_region_unregister(struct p2p_region *r)
{
	mutex_lock(&p2p_region_mutex);
	WARN_ON(r->exporters);
	/* Whoever still holds it must not keep the owner from coming back. */
	list_del_init(&r->node);
	mutex_unlock(&p2p_region_mutex);
	p2p_region_put(r);
}
EXPORT_SYMBOL_GPL(p2p_region_unregister);

/**
 * p2p_region_find - find the region that a physical address lies in
 * @phys: the address
 *
 * Context: may sleep.
 * Return: the region, to be dropped with p2p_region_put(), or NULL.
 */
struct p2p_region *p2p_region_find(phys_addr_t phys)
{
	struct p2p_region *r;

	mutex_lock(&p2p_region_mutex);
	r = p2p_region_overlap(phys, 1);
	if (r)
		kref_get(&r->ref);
	mutex_unlock(&p2p_region_mutex);
	return r;
}
EXPORT_SYMBOL_GPL(p2p_region_find);

/**
 * p2p_region_attach - let an exporter grant extents of a region
 * @r: the region
 * @e: the exporter, its ops are set
 *
 * A region may have several exporters: a vendor driver and resourceN, say.
 *
 * Context: may sleep.
 * Return: 0; -EINVAL if @e has no zap() or only one of the copy ops; -EBUSY as
 * long as pages of an exporter that went are pinned.
 */
int p2p_region_attach(struct p2p_region *r, struct p2p_exporter *e)
{
	if (!e->ops || !e->ops->zap || !e->ops->copy_to != !e->ops->copy_from)
		return -EINVAL;
	guard(mutex)(&p2p_region_mutex);
	if (r->orphaned)
		return -EBUSY;
	kref_get(&r->ref);
	r->exporters++;
	p2p_exporter_init(e, r);
	list_add(&e->node, &r->exporter_list);
	return 0;
}
EXPORT_SYMBOL_GPL(p2p_region_attach);

/**
 * p2p_region_detach - take everything back that an exporter granted
 * @r: the region
 * @e: the exporter
 *
 * No new extents; zap() of every mapping; wait until no importer holds an
 * extent and ->p2p_unmap() returned for the last one. A driver's remove() calls
 * this when its ->fault() gives nothing any more, and before what peers may
 * still use goes. Allocates nothing and cannot fail.
 *
 * If @e has pages, it waits for their pins, too, but not for ever: I/O that a
 * device does not end must not stop the removal of another one. Then the pages
 * stay, and nobody can attach to the region, until the I/O ends.
 *
 * Context: may sleep. The caller holds no lock that zap(), ->p2p_map() or
 * ->p2p_unmap() takes, and is not one of these.
 */
void p2p_region_detach(struct p2p_region *r, struct p2p_exporter *e)
{
	p2p_region_detach_until(r, e, p2p_detach_deadline());
}
EXPORT_SYMBOL_GPL(p2p_region_detach);

/**
 * p2p_region_detach_until - one of several detaches that go together
 * @r: the region
 * @e: the exporter
 * @deadline: of them all, p2p_detach_deadline() before the first one
 *
 * Context: as p2p_region_detach().
 * Return: 0, or -EBUSY if pages stay because they are pinned; detached anyway.
 */
int p2p_region_detach_until(struct p2p_region *r, struct p2p_exporter *e,
			    unsigned long deadline)
{
	int ret;

	p2p_exporter_drain(e);
	ret = p2p_pages_end(e, deadline);
	mutex_lock(&p2p_region_mutex);
	r->exporters--;
	list_del(&e->node);
	mutex_unlock(&p2p_region_mutex);
	p2p_region_put(r);
	return ret;
}
EXPORT_SYMBOL_GPL(p2p_region_detach_until);

/* For pages.c: @r gets pages, or has none any more. -EBUSY if it has. */
int p2p_region_set_pages(struct p2p_region *r, struct p2p_pages *pages)
{
	guard(mutex)(&p2p_region_mutex);
	if (pages && r->pages)
		return -EBUSY;
	r->pages = pages;
	if (!pages)
		r->orphaned = false;
	return 0;
}

/* For pages.c: keep @r, and exporters away from it, while its pages are pinned. */
void p2p_region_orphan(struct p2p_region *r)
{
	guard(mutex)(&p2p_region_mutex);
	r->orphaned = true;
	kref_get(&r->ref);
}

/* Is a part of the region what the device answers to now? */
static bool p2p_region_hit(const struct p2p_region *r, struct pci_dev *pdev)
{
	struct resource *res;
	int bar;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		res = pci_resource_n(pdev, bar);
		if (res->flags & IORESOURCE_MEM && res->parent &&
		    !(res->flags & IORESOURCE_UNSET) &&
		    res->start <= r->start + (r->len - 1) &&
		    r->start <= res->end)
			return true;
	}
	return false;
}

/**
 * p2p_device_orphaned - is memory of a device pinned that nobody exports any more?
 * @pdev: the device
 *
 * Whoever is to get the device, to do as he likes with it, has to wait. It may have
 * been another device's: one that was removed, and maybe found again, has left its
 * addresses to it, and the DMA goes there.
 *
 * Context: may sleep.
 * Return: true if so.
 */
bool p2p_device_orphaned(struct pci_dev *pdev)
{
	struct p2p_region *r;

	guard(mutex)(&p2p_region_mutex);
	list_for_each_entry(r, &p2p_regions, node)
		if (r->orphaned && (r->owner == &pdev->dev ||
				    p2p_region_hit(r, pdev)))
			return true;
	return false;
}
EXPORT_SYMBOL_GPL(p2p_device_orphaned);

/**
 * pci_p2p_may_move - may a BAR get addresses that are free?
 *
 * Not while I/O still goes to some of them, whose device was removed: it would end
 * in the memory of the one that moves there, whose driver knows nothing of it.
 *
 * Context: may sleep.
 * Return: true if so.
 */
bool pci_p2p_may_move(void)
{
	struct p2p_region *r;

	guard(mutex)(&p2p_region_mutex);
	list_for_each_entry(r, &p2p_regions, node)
		if (r->orphaned)
			return false;
	return true;
}
EXPORT_SYMBOL_GPL(pci_p2p_may_move);

/**
 * p2p_region_gone - was the device taken away, so that a copy got nothing?
 * @r: the region, a reference is held
 * @data: what was read from it, NULL if it was written to
 * @len: bytes
 *
 * The kernel may not know yet. But then reads give ones, from where it went on to
 * the last byte, and the device does not answer a config read either.
 *
 * Context: any.
 * Return: true if @data is void.
 */
bool p2p_region_gone(struct p2p_region *r, const void *data, size_t len)
{
	struct pci_dev *pdev;

	if (!dev_is_pci(r->owner))
		return false;
	pdev = to_pci_dev(r->owner);
	if (p2p_fn_gone(pdev))
		return true;
	return data && len && ((const u8 *)data)[len - 1] == 0xff &&
	       !pci_device_is_present(pdev);
}

/*
 * Call @fn for the @n-th region by address; false if there are not so many. Without
 * a reference, which readers of a file could keep alive in turn: a BAR that moves,
 * or comes back, needs the old region gone. So @fn does not sleep for long.
 */
bool p2p_region_nth(loff_t n, void (*fn)(struct p2p_region *r, void *arg),
		    void *arg)
{
	struct p2p_region *r;

	guard(mutex)(&p2p_region_mutex);
	list_for_each_entry(r, &p2p_regions, node) {
		if (n--)
			continue;
		fn(r, arg);
		return true;
	}
	return false;
}

/* A reference to an exporter that was not looked at since @generation began. */
static struct p2p_exporter *p2p_region_unchecked(unsigned int generation)
{
	struct p2p_exporter *e = NULL;
	struct p2p_region *r;

	mutex_lock(&p2p_region_mutex);
	list_for_each_entry(r, &p2p_regions, node) {
		list_for_each_entry(e, &r->exporter_list, node) {
			if (e->checked == generation)
				continue;
			e->checked = generation;
			if (p2p_exporter_get(e))
				goto out;
		}
	}
	e = NULL;
out:
	mutex_unlock(&p2p_region_mutex);
	return e;
}

/**
 * p2p_regions_recheck - end the mappings that the topology forbids by now
 *
 * Context: may sleep; holds no lock while it calls an exporter.
 */
void p2p_regions_recheck(void)
{
	unsigned int generation = p2p_topology_generation();
	struct p2p_exporter *e;

	while ((e = p2p_region_unchecked(generation))) {
		p2p_exporter_recheck(e);
		p2p_exporter_put(e);
	}
}
