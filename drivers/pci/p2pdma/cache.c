// SPDX-License-Identifier: GPL-2.0
/*
 * Verdicts: link verdicts cached with a generation, the state of the importer
 * added at each query, and a log line once for each pair and generation.
 */
#define pr_fmt(fmt) "pci_p2p: " fmt

#include <kunit/static_stub.h>
#include <linux/acpi.h>
#include <linux/cc_platform.h>
#include <linux/cpufeature.h>
#include <linux/dma-map-ops.h>
#include <linux/hash.h>
#include <linux/iommu-dma.h>
#include <linux/p2p_vma.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/ratelimit.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/swiotlb.h>
#include <linux/workqueue.h>

#include "../pci.h"
#include "topology.h"

/*
 * Two ways and of fixed size: a pair that finds both places of its hash taken
 * replaces one, and costs a walk when it is asked again. Keyed by the devices
 * themselves, so numbers cannot collide; a device that goes away changes the
 * generation, so its address cannot be taken for another. Readers take no lock:
 * block drivers ask for each request.
 */
#define P2P_CACHE_WAYS	2
#define P2P_CACHE_BITS	8

struct p2p_cache_entry {
	seqcount_t seq;
	unsigned int generation;
	struct pci_dev *owner;
	struct pci_dev *importer;
	struct p2p_link link;
};

static struct p2p_cache_entry p2p_cache[P2P_CACHE_WAYS << P2P_CACHE_BITS] = {
	[0 ... (P2P_CACHE_WAYS << P2P_CACHE_BITS) - 1] = {
		.seq = SEQCNT_ZERO(p2p_cache.seq),
	},
};

static DEFINE_RAW_SPINLOCK(p2p_cache_lock);	/* writers */

/* What was said in the log, so that it is not said twice. */
enum p2p_log_what { P2P_LOG_POLICY, P2P_LOG_REFUSAL };

#define P2P_LOG_BITS	7

struct p2p_log_entry {
	struct device *owner;
	struct device *importer;
	enum p2p_log_what what;
	unsigned int generation;
};

static struct p2p_log_entry p2p_logged[1 << P2P_LOG_BITS];
static DEFINE_RAW_SPINLOCK(p2p_log_lock);	/* p2p_logged */

/* 0 is the generation of an entry that was never used. */
static atomic_t p2p_generation = ATOMIC_INIT(1);

/* Link verdicts that were computed, for tests. */
atomic_long_t p2p_walks;

/* Of refusals in the log. */
DEFINE_RATELIMIT_STATE(p2p_log_limit, 10 * HZ, 10);

static void p2p_recheck_work(struct work_struct *work)
{
	p2p_regions_recheck();
}

static DECLARE_WORK(p2p_recheck, p2p_recheck_work);

/**
 * p2p_topology_generation - number of the present topology
 *
 * Context: any.
 * Return: the number; another one means that verdicts may differ.
 */
unsigned int p2p_topology_generation(void)
{
	return atomic_read_acquire(&p2p_generation);
}
EXPORT_SYMBOL_GPL(p2p_topology_generation);

/**
 * p2p_topology_changed - cached verdicts are void, live extents may be
 *
 * The caller made the change visible before.
 *
 * Context: any.
 */
void p2p_topology_changed(void)
{
	if (!atomic_inc_return(&p2p_generation))
		atomic_inc(&p2p_generation);
	if (system_state >= SYSTEM_SCHEDULING)
		queue_work(system_dfl_wq, &p2p_recheck);
}

/**
 * p2p_topology_settle - wait until live extents match the topology
 *
 * Context: may sleep; holds no lock that an exporter's zap() takes.
 */
void p2p_topology_settle(void)
{
	flush_work(&p2p_recheck);
}

static struct p2p_cache_entry *p2p_cache_set(struct pci_dev *owner,
					     struct pci_dev *importer)
{
	u32 hash = hash_ptr(owner, 32) * 3 + hash_ptr(importer, 32);

	return &p2p_cache[hash_32(hash, P2P_CACHE_BITS) * P2P_CACHE_WAYS];
}

static bool p2p_cache_find(struct pci_dev *owner, struct pci_dev *importer,
			   unsigned int gen, struct p2p_link *link)
{
	struct p2p_cache_entry *set = p2p_cache_set(owner, importer), *e;
	unsigned int seq;
	bool hit;

	for (e = set; e < set + P2P_CACHE_WAYS; e++) {
		do {
			seq = read_seqcount_begin(&e->seq);
			hit = e->generation == gen && e->owner == owner &&
			      e->importer == importer;
			if (hit)
				*link = e->link;
		} while (read_seqcount_retry(&e->seq, seq));
		if (hit)
			return true;
	}
	return false;
}

static void p2p_cache_store(struct pci_dev *owner, struct pci_dev *importer,
			    unsigned int gen, const struct p2p_link *link)
{
	struct p2p_cache_entry *set = p2p_cache_set(owner, importer), *e;
	static unsigned int victim;
	unsigned long flags;

	raw_spin_lock_irqsave(&p2p_cache_lock, flags);
	for (e = set; e < set + P2P_CACHE_WAYS; e++)
		if (e->generation != gen)
			break;
	if (e == set + P2P_CACHE_WAYS)
		e = set + victim++ % P2P_CACHE_WAYS;
	write_seqcount_begin(&e->seq);
	e->generation = gen;
	e->owner = owner;
	e->importer = importer;
	e->link = *link;
	write_seqcount_end(&e->seq);
	raw_spin_unlock_irqrestore(&p2p_cache_lock, flags);
}

static bool p2p_in_guest(void)
{
	KUNIT_STATIC_STUB_REDIRECT(p2p_in_guest);
#ifdef CONFIG_X86
	if (boot_cpu_has(X86_FEATURE_HYPERVISOR))
		return true;
#endif
#ifdef CONFIG_ACPI
	if (!acpi_disabled && acpi_gbl_FADT.header.revision >= 6 &&
	    acpi_gbl_FADT.hypervisor_id)
		return true;
#endif
	return false;	/* or nobody tells */
}

/**
 * p2p_importer_state - what a verdict depends on besides the fabric
 * @importer: the device that the DMA API is called with
 * @pdev: the function that does its DMA
 * @s: the result
 *
 * Context: any.
 */
void p2p_importer_state(struct device *importer, struct pci_dev *pdev,
			struct p2p_importer_state *s)
{
	KUNIT_STATIC_STUB_REDIRECT(p2p_importer_state, importer, pdev, s);
	*s = (struct p2p_importer_state) {
		.translated = use_dma_iommu(importer),
		.ats = pdev->ats_enabled,
		.guest = p2p_in_guest(),
		.guest_refuse = p2p_policy_guest_refuse(),
		.confidential = cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT),
	};
}

static int p2p_fn_print(char *buf, size_t size, struct p2p_fn fn)
{
	return scnprintf(buf, size, "%04x:%02x:%02x.%d", fn.domain,
			 fn.rid >> 8, PCI_SLOT(fn.rid), PCI_FUNC(fn.rid));
}

/* Not yet said of these two in this generation? A collision says it again. */
static bool p2p_log_first(struct device *owner, struct device *importer,
			  enum p2p_log_what what, unsigned int generation)
{
	u32 hash = hash_ptr(owner, 32) * 3 + hash_ptr(importer, 32) + what;
	struct p2p_log_entry *e = &p2p_logged[hash_32(hash, P2P_LOG_BITS)];
	struct p2p_log_entry now = { owner, importer, what, generation };
	unsigned long flags;
	bool first;

	raw_spin_lock_irqsave(&p2p_log_lock, flags);
	first = e->owner != owner || e->importer != importer ||
		e->what != what || e->generation != generation;
	*e = now;
	raw_spin_unlock_irqrestore(&p2p_log_lock, flags);
	return first;
}

static void p2p_log_refusal(struct device *owner, struct device *importer,
			    const struct p2p_verdict *v)
{
	char names[P2P_VERDICT_CULPRITS * 18 + 1] = "-";
	unsigned int i;
	int len = 0;

	if (!__ratelimit(&p2p_log_limit))
		return;
	for (i = 0; i < v->nr_culprits; i++) {
		if (len)
			len += scnprintf(names + len, sizeof(names) - len, " ");
		len += p2p_fn_print(names + len, sizeof(names) - len,
				    v->culprit[i]);
	}
	dev_warn(importer, "no peer-to-peer %s to %s: %s (at %s; host bridges %04x:%04x, %04x:%04x)\n",
		 v->path == P2P_PATH_NONE ? "DMA" : v->read ? "writes" : "reads",
		 dev_name(owner), p2p_topology_reason_name(v->reason), names,
		 v->host[1].vendor, v->host[1].device, v->host[0].vendor,
		 v->host[0].device);
	dev_warn(importer, "%s\n", p2p_topology_advice(v->reason));
}

/* A refusal, and what the policy decided: once for each pair and generation. */
static void p2p_log(struct device *owner, struct device *importer,
		    const struct p2p_verdict *v)
{
	if (v->flags & (P2P_VERDICT_ALLOWED | P2P_VERDICT_DENIED) &&
	    p2p_log_first(owner, importer, P2P_LOG_POLICY, v->generation))
		p2p_policy_ask(to_pci_dev(owner), p2p_pci_dev(importer),
			       v->host, true);
	if ((!v->read || !v->write) &&
	    p2p_log_first(owner, importer, P2P_LOG_REFUSAL, v->generation))
		p2p_log_refusal(owner, importer, v);
}

/* @keep: in the cache; what users ask must not push out what drivers need. */
static void p2p_pair(struct pci_dev *owner, struct pci_dev *importer, bool keep,
		     const struct p2p_importer_state *state,
		     struct p2p_link *link, struct p2p_verdict *v)
{
	unsigned int gen = p2p_topology_generation();

	if (!p2p_cache_find(owner, importer, gen, link)) {
		atomic_long_inc(&p2p_walks);
		p2p_link_compute(owner, importer, link);
		if (keep)
			p2p_cache_store(owner, importer, gen, link);
	}
	p2p_link_decide(link, state, v);
	v->generation = gen;
}

/**
 * p2p_pair_verdict - verdict of two functions, without regard to a region
 * @owner: whose memory it is
 * @importer: who sends requests
 * @verbose: log a refusal, once for each pair and generation
 * @v: the result
 *
 * Nor to the power state of @owner, whose driver may resume it before the DMA.
 *
 * Context: any. A reference to both is held.
 */
void p2p_pair_verdict(struct pci_dev *owner, struct pci_dev *importer,
		      bool verbose, struct p2p_verdict *v)
{
	struct p2p_importer_state state;
	struct p2p_link link;

	p2p_importer_state(&importer->dev, importer, &state);
	p2p_pair(owner, importer, true, &state, &link, v);
	if (verbose)
		p2p_log(&owner->dev, &importer->dev, v);
}

#ifdef CONFIG_P2P_VMA
static void p2p_verdict_none(struct p2p_verdict *v, enum p2p_topo_reason reason,
			     struct pci_dev *at)
{
	v->path = P2P_PATH_NONE;
	v->read = false;
	v->write = false;
	v->atomic = false;
	v->reason = reason;
	v->flags &= ~(P2P_VERDICT_DEMOTED | P2P_VERDICT_IOVA |
		      P2P_VERDICT_ALLOWED);
	v->nr_culprits = 0;
	if (at)
		v->culprit[v->nr_culprits++] = p2p_fn(at);
}

/* Not in D0, as far as it is known. */
static bool p2p_asleep(const struct pci_dev *pdev)
{
	int state = (__force int)pdev->current_state;

	return state >= (__force int)PCI_D1 && state <= (__force int)PCI_D3cold;
}

/*
 * What a query for a region adds. Not in the cache, since it changes without a
 * trace. Devices below a port that failed are marked themselves.
 */
static void p2p_check_owner(struct p2p_region *r, struct pci_dev *importer,
			    const struct p2p_link *link, struct p2p_verdict *v)
{
	struct pci_dev *owner = to_pci_dev(r->owner);
	const struct resource *bar = pci_resource_n(owner, r->bar);

	if (p2p_fn_gone(owner)) {
		p2p_verdict_none(v, P2P_TOPO_GONE, owner);
	} else if (p2p_fn_gone(importer)) {
		p2p_verdict_none(v, P2P_TOPO_GONE, importer);
	} else if (p2p_asleep(owner)) {
		p2p_verdict_none(v, P2P_TOPO_POWER, owner);
	} else if (v->path == P2P_PATH_NONE) {
		return;
	} else if (bar->start != r->start || resource_size(bar) != r->len) {
		p2p_verdict_none(v, P2P_TOPO_BAR_MOVED, owner);
	} else if (!(link->bars & BIT(r->bar))) {
		p2p_verdict_none(v, P2P_TOPO_WINDOW, NULL);
		v->culprit[v->nr_culprits++] = link->window_at;
	} else if (!owner->is_virtfn && owner->p2p_config.valid &&
		   !(READ_ONCE(owner->p2p_config.command) &
		     PCI_COMMAND_MEMORY)) {
		p2p_verdict_none(v, P2P_TOPO_DECODE, owner);
	} else if (!v->read) {
		/* No mapping is for writes only: both sides may read. */
		v->path = P2P_PATH_NONE;
		v->write = false;
	}
}

/* Can the importer put the addresses on the wire? */
static void p2p_check_mask(struct p2p_region *r, struct device *importer,
			   const struct p2p_importer_state *state,
			   const struct p2p_link *link, struct p2p_verdict *v)
{
	u64 limit, addr;

	if (v->path == P2P_PATH_NONE)
		return;
	if (!importer->dma_mask || !dma_pci_p2pdma_supported(importer)) {
		p2p_verdict_none(v, P2P_TOPO_DMA_OPS, NULL);
		return;
	}
	if (v->path == P2P_PATH_HOST && state->translated)
		return;
	if (v->path == P2P_PATH_HOST && is_swiotlb_force_bounce(importer)) {
		p2p_verdict_none(v, P2P_TOPO_BOUNCE, NULL);
		return;
	}
	addr = v->path == P2P_PATH_BUS ?
	       pci_p2pdma_bus_addr_map(r->provider, r->start) :
	       p2p_dma_direct(importer, r->start);
	limit = min_not_zero(dma_get_mask(importer), importer->bus_dma_limit);
	if (addr <= limit && PAGE_SIZE - 1 <= limit - addr) {
		if (r->len - 1 > limit - addr)
			v->flags |= P2P_VERDICT_MASK_PART;
	} else if (state->translated && link->host && v->distance) {
		p2p_verdict_by_iova(link, P2P_TOPO_DMA_MASK, v);
	} else {
		p2p_verdict_none(v, P2P_TOPO_DMA_MASK, NULL);
	}
}

/* p2p_topology_query() for users: neither logs nor fills the cache. */
int __p2p_topology_query(struct p2p_region *r, struct device *importer,
			 bool verbose, struct p2p_verdict *v)
{
	struct pci_dev *pdev = p2p_pci_dev(importer);
	struct p2p_importer_state state;
	struct p2p_link link;

	*v = (struct p2p_verdict) {
		.distance = -1,
		.generation = p2p_topology_generation(),
	};
	if (!r->provider || !dev_is_pci(r->owner)) {
		v->reason = P2P_TOPO_OWNER_NOT_PCI;
	} else if (!pdev) {
		v->reason = P2P_TOPO_IMPORTER_NOT_PCI;
	} else {
		p2p_importer_state(importer, pdev, &state);
		p2p_pair(to_pci_dev(r->owner), pdev, verbose, &state, &link, v);
		p2p_check_owner(r, pdev, &link, v);
		p2p_check_mask(r, importer, &state, &link, v);
	}
	if (verbose)
		p2p_log(r->owner, importer, v);
	return p2p_topology_errno(v->path == P2P_PATH_NONE ? v->reason :
							    P2P_TOPO_OK);
}

/**
 * p2p_topology_query - may a device use a region, by which way, and why (not)?
 * @r: the region, a reference is held
 * @importer: the device that the DMA API will be called with, or the child of
 *	a PCI device
 * @v: the verdict
 *
 * The same function decides when memory is mapped and when users ask.
 *
 * Context: any; neither sleeps nor touches the hardware.
 * Return: 0 if it may read, and @v says if it may write; else what
 * p2p_topology_errno() says of the reason.
 */
int p2p_topology_query(struct p2p_region *r, struct device *importer,
		       struct p2p_verdict *v)
{
	return __p2p_topology_query(r, importer, true, v);
}
EXPORT_SYMBOL_GPL(p2p_topology_query);
#endif /* CONFIG_P2P_VMA */
