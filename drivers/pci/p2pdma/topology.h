/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inside of the peer-to-peer topology code.
 *
 *   p2pdma.c -> cache.c -> topology.c  link verdict: pure, of memory only
 *                     \-> verdict.c   and the importer: pure, too
 *                     \-> policy.c    what the administrator said
 *   config.c  keeps what the verdict needs of config space
 *   region.c, sysfs.c  ask for regions
 *   pages.c   struct pages of regions
 *   stats.c   counts block I/O, however it went
 */
#ifndef _PCI_P2P_TOPOLOGY_H
#define _PCI_P2P_TOPOLOGY_H

#include <linux/p2p_topology.h>
#include <linux/pci.h>

struct p2p_exporter;
struct p2p_pages;
struct p2pdma_provider;

/**
 * struct p2p_link - what the PCI fabric between two functions can do
 * @v: distance, common, turn, host bridges
 * @direct: a request by bus address reaches the owner
 * @host: the way through the host bridge exists and is allowed
 * @iova_only: the way through the host bridge needs an IOVA: a bus or physical
 *	address would be blocked on its way up
 * @tb: ACS translation blocking is on above the importer
 * @policy: what the policy said: P2P_VERDICT_ALLOWED, P2P_VERDICT_DENIED
 * @bars: BARs of the owner that all bridges let through
 * @up: why it is not direct, or why the direct way does not do for reads
 * @no_host: why not through the host bridge
 * @why_iova: why @iova_only
 * @direct_read: reads work on the direct path
 * @direct_write: writes work on the direct path
 * @atomic_direct: AtomicOps work on the direct path
 * @atomic_host: AtomicOps work through the host bridge
 * @limit: why not @direct_read or not @direct_write
 * @dead: nothing works at all, and why
 * @dead_at: the function behind @dead
 * @up_at: the function behind @up
 * @no_host_at: the function behind @no_host
 * @iova_at: the function behind @why_iova
 * @limit_at: the function behind @limit
 * @window_at: the bridge that does not let a BAR through
 * @tb_at: the port behind @tb
 */
struct p2p_link {
	struct p2p_verdict v;
	bool direct;
	bool host;
	bool iova_only;
	bool tb;
	bool direct_read;
	bool direct_write;
	bool atomic_direct;
	bool atomic_host;
	u8 bars;
	unsigned int policy;
	enum p2p_topo_reason dead;
	enum p2p_topo_reason up;
	enum p2p_topo_reason no_host;
	enum p2p_topo_reason why_iova;
	enum p2p_topo_reason limit;
	struct p2p_fn dead_at;
	struct p2p_fn up_at;
	struct p2p_fn no_host_at;
	struct p2p_fn iova_at;
	struct p2p_fn limit_at;
	struct p2p_fn window_at;
	struct p2p_fn tb_at;
};

/**
 * struct p2p_importer_state - what is looked at when mapping, not cached
 * @translated: an IOMMU translates for the importer
 * @ats: ATS is on
 * @guest: we run under a hypervisor
 * @guest_refuse: the policy refuses guests
 * @confidential: memory of this guest is encrypted
 */
struct p2p_importer_state {
	bool translated;
	bool ats;
	bool guest;
	bool guest_refuse;
	bool confidential;
};

/* topology.c, verdict.c */
void p2p_link_compute(struct pci_dev *owner, struct pci_dev *importer,
		      struct p2p_link *link);
void p2p_link_decide(const struct p2p_link *link,
		     const struct p2p_importer_state *state,
		     struct p2p_verdict *v);
void p2p_verdict_by_iova(const struct p2p_link *link,
			 enum p2p_topo_reason reason, struct p2p_verdict *v);
bool p2p_host_bridge_known(struct pci_dev *a, struct pci_dev *b);
struct pci_dev *p2p_requester(struct pci_dev *pdev);

/* policy.c */
unsigned int p2p_policy_ask(struct pci_dev *owner, struct pci_dev *importer,
			    const struct p2p_host *host, bool log);
bool p2p_policy_guest_refuse(void);
int p2p_policy_set(const char *text);
int p2p_policy_get(char *buf, size_t size);

/* cache.c */
void p2p_topology_changed(void);
void p2p_topology_settle(void);
void p2p_pair_verdict(struct pci_dev *owner, struct pci_dev *importer,
		      bool verbose, struct p2p_verdict *v);
void p2p_importer_state(struct device *importer, struct pci_dev *pdev,
			struct p2p_importer_state *state);
extern atomic_long_t p2p_walks;
extern struct ratelimit_state p2p_log_limit;

/* region.c, sysfs.c, resource.c, pages.c */
#ifdef CONFIG_P2P_VMA
extern struct device_attribute dev_attr_p2p_mmap;
enum p2p_mmap { P2P_MMAP_OFF, P2P_MMAP_ON, P2P_MMAP_PAGES };

int pci_p2p_resource_set(struct pci_dev *pdev, enum p2p_mmap to);
int __p2p_topology_query(struct p2p_region *r, struct device *importer,
			 bool verbose, struct p2p_verdict *v);
void p2p_regions_recheck(void);
bool p2p_region_nth(loff_t n, void (*fn)(struct p2p_region *r, void *arg),
		    void *arg);
int p2p_region_set_pages(struct p2p_region *r, struct p2p_pages *pages);
void p2p_region_orphan(struct p2p_region *r);
ssize_t p2p_topology_show(struct device *importer, char *buf, loff_t off,
			  size_t count);

/* pages.c */
int p2p_pages_end(struct p2p_exporter *e, unsigned long deadline);
#else
static inline void p2p_regions_recheck(void) { }
#endif

/* stats.c */
int p2pdma_stats_alloc(struct p2pdma_provider *mem, int nr);
void p2pdma_stats_free(struct p2pdma_provider *mem);
extern struct device_attribute dev_attr_p2p_io;
extern struct device_attribute dev_attr_p2p_cpu;

/* p2pdma.c */
struct p2pdma_provider *pci_p2pdma_providers(struct pci_dev *pdev);
struct pci_dev *p2pdma_host_bridge_dev(struct pci_host_bridge *host);
bool p2pdma_host_bridge_listed(struct pci_host_bridge *host, bool same);
bool p2pdma_cpu_listed(void);

static inline struct p2p_fn p2p_fn(struct pci_dev *pdev)
{
	return (struct p2p_fn) {
		.domain = pci_domain_nr(pdev->bus),
		.rid = pci_dev_id(pdev),
		.valid = true,
	};
}

/* Has the function failed, or been taken away? The kernel knows by now. */
static inline bool p2p_fn_gone(struct pci_dev *pdev)
{
	pci_channel_state_t state = READ_ONCE(pdev->error_state);

	return state == pci_channel_io_frozen ||
	       state == pci_channel_io_perm_failure;
}

/* The PCI function that does DMA for a device: itself or an ancestor. */
static inline struct pci_dev *p2p_pci_dev(struct device *dev)
{
	while (dev && !dev_is_pci(dev))
		dev = dev->parent;
	return dev ? to_pci_dev(dev) : NULL;
}

#endif /* _PCI_P2P_TOPOLOGY_H */
