// SPDX-License-Identifier: GPL-2.0
/*
 * Struct pages for a region, so that get_user_pages() has something to give: made
 * when an exporter asks for them, waited for when it takes memory back, and
 * removed when it detaches.
 *
 * The pages are P2PDMA pages as those of pci_p2pdma_add_resource(), but no
 * allocator hands them out. The exporter owns the memory, and for it the core
 * holds one reference on each folio from begin to end: the count rests at 1, not
 * at 0 as that of free P2PDMA pages, and a grant adds to it. Whoever looks at the
 * count with grants kept out knows whether there are pins.
 */
#include <linux/delay.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pgtable.h>
#include <linux/pm_runtime.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "pagemap.h"
#include "topology.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "pci_p2p."

/* How long after the last look at pins that outlived their exporter. */
#define P2P_ORPHAN_HZ	HZ

static unsigned int pin_wait_ms = 60000;
module_param(pin_wait_ms, uint, 0644);
MODULE_PARM_DESC(pin_wait_ms, "Longest wait of a driver that goes for pins of its memory, in ms");

struct p2p_pages {
	struct pci_p2pdma_pagemap map;
	struct p2p_region *region;
	unsigned int order;
	struct delayed_work end_work;	/* pins have outlived the exporter */
};

static struct folio *p2p_folio(phys_addr_t phys)
{
	return page_folio(pfn_to_page(PHYS_PFN(phys)));
}

/* What the struct pages take, in bytes. */
static size_t p2p_pages_price(struct p2p_pages *p)
{
	size_t nr = p->region->len >> (PAGE_SHIFT + p->order);

	if (vmemmap_can_optimize(NULL, &p->map.pgmap))
		return nr * VMEMMAP_RESERVE_NR * PAGE_SIZE;
	return (nr << p->order) * sizeof(struct page);
}

static bool p2p_pages_overlap(const struct p2p_region *r)
{
	struct dev_pagemap *pgmap;
	size_t off;

	for (off = 0; off < r->len; off += SUBSECTION_SIZE) {
		pgmap = get_dev_pagemap(PHYS_PFN(r->start + off));
		if (pgmap) {
			put_dev_pagemap(pgmap);
			return true;
		}
		cond_resched();
	}
	return false;
}

/* memremap_pages() warns of all that it cannot do: look first. */
static int p2p_pages_possible(const struct p2p_region *r, unsigned int order)
{
	struct range range = mhp_get_pluggable_range(true);

	if (order && order != get_order(SZ_2M))
		return -EINVAL;
	if (!r->provider)
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(r->start | r->len, memremap_compat_align()))
		return -EINVAL;
	if (r->start < range.start || r->start + (r->len - 1) > range.end)
		return -ERANGE;
	return p2p_pages_overlap(r) ? -EBUSY : 0;
}

/*
 * The kernel's direct map of the pages must not disagree with the mappings of
 * the exporter about the cache mode. So reserve theirs first: the page map then
 * adopts it. If somebody has another one already, it is too late.
 */
static int p2p_pages_track(const struct p2p_region *r, pgprot_t prot)
{
	pgprot_t got = prot;
	int ret;

	ret = pfnmap_track(PHYS_PFN(r->start), r->len, &got);
	if (ret || pgprot_val(got) == pgprot_val(prot))
		return ret;
	pfnmap_untrack(PHYS_PFN(r->start), r->len);
	return -EBUSY;
}

static int p2p_pages_map(struct p2p_pages *p, pgprot_t prot)
{
	struct dev_pagemap *pgmap = &p->map.pgmap;
	struct p2p_region *r = p->region;
	phys_addr_t phys;
	void *ret;
	int err;

	err = p2p_pages_track(r, prot);
	if (err)
		return err;
	p->map.mem = r->provider;
	pgmap->type = MEMORY_DEVICE_PCI_P2PDMA;
	pgmap->range.start = r->start;
	pgmap->range.end = r->start + (r->len - 1);
	pgmap->nr_range = 1;
	pgmap->vmemmap_shift = p->order;
	ret = memremap_pages(pgmap, dev_to_node(r->owner));
	if (IS_ERR(ret)) {
		pfnmap_untrack(PHYS_PFN(r->start), r->len);
		return PTR_ERR(ret);
	}
	for (phys = r->start; phys - r->start < r->len;
	     phys += PAGE_SIZE << p->order) {
		folio_set_count(p2p_folio(phys), 1);
		cond_resched();
	}
	return 0;
}

/**
 * p2p_region_add_pages - give the memory of a BAR struct pages
 * @r: the region of a BAR, see p2p_region_bar()
 * @e: the exporter that will hand them out, attached to @r
 * @order: 0, or get_order(SZ_2M) if @e allocates and takes back memory in whole,
 *	aligned pieces of that size: a folio is pinned as a whole
 * @prot: protection of the exporter's mappings; only the cache mode matters
 *
 * From now on get_user_pages() users that can handle P2PDMA pages, such as
 * O_DIRECT, get those that @e grants. Whenever @e takes memory back, it calls
 * p2p_wait_pins() after the zap. One exporter of a region can have pages; they
 * go with p2p_region_detach().
 *
 * The price, about 16 MiB of RAM for each GiB with @order 0 and 4 MiB with 2 MiB
 * folios, is printed.
 *
 * Context: process context, no locks: takes those of memory hotplug. Never in
 * ->p2p_map().
 * Return: 0; -EINVAL for another @order, or if the BAR is not a multiple of 2 MiB;
 * -EOPNOTSUPP if the region is not a BAR; -ERANGE if the kernel's direct map
 * cannot reach it; -EBUSY if it has pages, or was mapped with another cache
 * mode than @prot's; -ENOMEM.
 */
int p2p_region_add_pages(struct p2p_region *r, struct p2p_exporter *e,
			 unsigned int order, pgprot_t prot)
{
	struct p2p_pages *p;
	int ret;

	might_sleep();
	p = kzalloc_obj(*p);
	if (!p)
		return -ENOMEM;
	p->region = r;
	p->order = order;
	ret = p2p_region_set_pages(r, p);
	if (ret)
		goto free;
	ret = p2p_pages_possible(r, order);
	if (!ret)
		ret = p2p_pages_map(p, prot);
	if (ret)
		goto unset;

	dev_info(r->owner, "BAR at %pa: %zu MiB of P2PDMA pages of order %u, which take %zu KiB\n",
		 &r->start, r->len / SZ_1M, order, p2p_pages_price(p) / SZ_1K);
	static_branch_inc(&p2p_pages_on);
	/* Pairs with p2p_req_pin(): the folios have their references. */
	smp_store_release(&e->pages, p);
	return 0;

unset:
	p2p_region_set_pages(r, NULL);
free:
	kfree(p);
	return ret;
}
EXPORT_SYMBOL_GPL(p2p_region_add_pages);

/* The first byte of the first folio in the range that is pinned, or @end. */
static phys_addr_t p2p_pins_next(phys_addr_t phys, phys_addr_t end)
{
	while (phys < end) {
		struct folio *folio = p2p_folio(phys);

		if (folio_ref_count(folio) > 1)
			return phys;
		phys = PFN_PHYS(folio_pfn(folio) + folio_nr_pages(folio));
		cond_resched();
	}
	return end;
}

/* Nobody is told when the last pin goes, since the count does not become 0. */
static int p2p_pins_wait(phys_addr_t phys, phys_addr_t end,
			 unsigned long deadline)
{
	unsigned int us = 20;
	bool late;

	for (;;) {
		late = time_after_eq(jiffies, deadline);
		phys = p2p_pins_next(phys, end);
		if (phys >= end)
			break;
		if (late)
			return -ETIMEDOUT;
		usleep_range(us, 2 * us);
		us = min(2 * us, 5000U);
	}
	/* What was written before the last pin went is seen after this. */
	smp_mb();
	return 0;
}

/**
 * p2p_wait_pins - wait until nobody has pinned memory that was taken back
 * @e: the exporter
 * @phys: first byte of the memory, in a region to which @e is attached, or of
 *	RAM that @e granted with P2P_EXT_RAM, and of which it holds one reference
 *	on each folio and nobody else any
 * @len: bytes
 * @timeout: jiffies
 *
 * get_user_pages() users, such as O_DIRECT, learn of no revocation: what they
 * have got is theirs until the end of the I/O. So an exporter with pages waits
 * for them when it has flipped its state, so that ->p2p_map() grants none of
 * this memory, and has zapped it. Only then may it copy, or use the memory for
 * something else. If I/O does not end, it has two choices: leave the memory where
 * it is, and open it again; or never use the range again.
 *
 * At once 0 if @e has no pages.
 *
 * Context: may sleep. Holds up p2p_region_detach(), and whoever waits for locks
 * that the caller holds.
 * Return: 0, -ETIMEDOUT, or -ENODEV if p2p_region_detach() is at work: it waits
 * for all pins.
 */
int p2p_wait_pins(struct p2p_exporter *e, phys_addr_t phys, size_t len,
		  unsigned long timeout)
{
	int ret;

	might_sleep();
	if (!READ_ONCE(e->pages))
		return 0;
	/* The pages stay for as long as there is a user. */
	if (!p2p_exporter_get(e))
		return -ENODEV;
	ret = p2p_pins_wait(phys, phys + len, jiffies + timeout);
	p2p_exporter_put(e);
	return ret;
}
EXPORT_SYMBOL_GPL(p2p_wait_pins);

/* There are no pins. A reference that somebody tries to get just now is short. */
static void p2p_pages_freeze(const struct p2p_pages *p)
{
	const struct p2p_region *r = p->region;
	phys_addr_t phys;

	for (phys = r->start; phys - r->start < r->len;
	     phys += PAGE_SIZE << p->order) {
		while (!folio_ref_freeze(p2p_folio(phys), 1))
			usleep_range(20, 40);
		cond_resched();
	}
}

static void p2p_pages_free(struct p2p_pages *p)
{
	struct p2p_region *r = p->region;

	pci_p2pdma_copy_unblock(r->provider);
	p2p_pages_freeze(p);
	memunmap_pages(&p->map.pgmap);
	pfnmap_untrack(PHYS_PFN(r->start), r->len);
	p2p_region_set_pages(r, NULL);
	/* Not before: who has pins looks at it to know how to get more. */
	static_branch_dec(&p2p_pages_on);
	kfree(p);
}

/* The exporter is gone and pins were left. Are they now? */
static void p2p_pages_end_work(struct work_struct *work)
{
	struct p2p_pages *p = container_of(to_delayed_work(work),
					   struct p2p_pages, end_work);
	struct p2p_region *r = p->region;

	if (p2p_pins_wait(r->start, r->start + r->len, jiffies)) {
		queue_delayed_work(system_dfl_wq, &p->end_work, P2P_ORPHAN_HZ);
		return;
	}
	dev_info(r->owner, "BAR at %pa: no pins are left\n", &r->start);
	p2p_pages_free(p);
	pm_runtime_put(r->owner);
	p2p_region_put(r);
}

/**
 * p2p_detach_deadline - until when somebody who goes waits for pins
 *
 * Return: jiffies, pci_p2p.pin_wait_ms from now.
 */
unsigned long p2p_detach_deadline(void)
{
	return jiffies + msecs_to_jiffies(READ_ONCE(pin_wait_ms));
}
EXPORT_SYMBOL_GPL(p2p_detach_deadline);

/**
 * p2p_pages_end - take back the pages of an exporter that goes
 * @e: the exporter, drained: it grants nothing any more
 * @deadline: how long to wait for pins, jiffies
 *
 * Pages that are pinned for longer stay, and keep the region, and the device
 * awake, until I/O ends: nobody can attach to it as long. From now on the CPU does
 * not copy for such I/O.
 *
 * Return: 0, or -EBUSY if there are such pages.
 */
int p2p_pages_end(struct p2p_exporter *e, unsigned long deadline)
{
	struct p2p_region *r = e->region;
	struct p2p_pages *p = e->pages;
	int left;

	if (!p)
		return 0;
	pci_p2pdma_copy_block(r->provider);
	left = p2p_pins_wait(r->start, r->start + r->len, deadline);
	/* Not before: p2p_wait_pins() must not say that there are no pins. */
	WRITE_ONCE(e->pages, NULL);
	if (!left) {
		p2p_pages_free(p);
		return 0;
	}
	dev_warn(r->owner, "BAR at %pa: still pinned; nobody can have it until that ends\n",
		 &r->start);
	pm_runtime_get_noresume(r->owner);
	p2p_region_orphan(r);
	INIT_DELAYED_WORK(&p->end_work, p2p_pages_end_work);
	queue_delayed_work(system_dfl_wq, &p->end_work, P2P_ORPHAN_HZ);
	return -EBUSY;
}
