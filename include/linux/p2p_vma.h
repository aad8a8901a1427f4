/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Peer-to-peer DMA through VMAs: what exporters and importers see.
 *
 * An exporter is a driver that mmaps device memory. It sets ->p2p_map() in its
 * vm_operations_struct, and there grants extents of a region with p2p_req_add().
 * An importer is a device (or a CPU-copy user, such as a software RDMA device)
 * that walks user addresses with hmm_range_fault_unlocked_timeout() and keeps
 * the granted extents in a struct p2p_extents.
 *
 * Lock order: mmap_lock -> exporter's lock -> fs_reclaim -> i_mmap, mmu
 * notifier -> importer's user_lock -> p2p_extents.lock (a leaf).
 *
 * See Documentation/mm/p2p_vma.rst.
 */
#ifndef _LINUX_P2P_VMA_H
#define _LINUX_P2P_VMA_H

#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interval_tree.h>
#include <linux/jump_label.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct device;
struct p2p_exporter;
struct p2p_pages;
struct p2p_region;
struct p2pdma_provider;
struct pci_dev;

/* A grant never crosses a multiple of this many bytes of user address space. */
#define P2P_CHUNK_SIZE	BIT(30)

/**
 * enum p2p_reason - why a peer access was refused
 *
 * Each refusal has one of these in the p2p_refuse tracepoint. The errno that
 * goes with each is in Documentation/mm/p2p_vma.rst.
 *
 * @P2P_REASON_NONE: not refused
 * @P2P_REASON_NOT_PFNMAP: the VMA has ->p2p_map() but is not VM_PFNMAP
 * @P2P_REASON_NO_FAULT: the VMA has no ->fault(): a zap would be for good
 * @P2P_REASON_NOT_SHARED: the VMA is private (copy on write)
 * @P2P_REASON_VMA_READ: the VMA may not be accessed
 * @P2P_REASON_VMA_WRITE: write asked, the VMA may not be written
 * @P2P_REASON_IMPORTER_WRITE: write asked, the importer's object is read-only
 * @P2P_REASON_EXPORTER: ->p2p_map() returned an error
 * @P2P_REASON_GRANT_WRITE: write asked, the exporter granted read only
 * @P2P_REASON_NO_EXTENT: nothing granted for the needed range
 * @P2P_REASON_BAD_EXTENT: the exporter broke the rules of p2p_req_add()
 * @P2P_REASON_WAIT_TIMEOUT: the exporter asked to wait for too long
 * @P2P_REASON_TOPOLOGY: the importer cannot reach the region
 * @P2P_REASON_DMA_MASK: the importer cannot address the memory
 * @P2P_REASON_DMA_MAP: the DMA mapping failed
 * @P2P_REASON_CPU_MAP: the kernel mapping for a CPU-copy user failed
 * @P2P_REASON_NO_MEMORY: an allocation failed
 * @P2P_REASON_OPERATION: the importer cannot do this operation on peer memory
 * @P2P_REASON_GONE: the device that has the memory was taken away
 * @P2P_REASON_PIN: the importer can only use memory that it has pinned
 * @P2P_REASON_NO_PAGES: pages asked, the exporter has none
 */
enum p2p_reason {
	P2P_REASON_NONE,
	P2P_REASON_NOT_PFNMAP,
	P2P_REASON_NO_FAULT,
	P2P_REASON_NOT_SHARED,
	P2P_REASON_VMA_READ,
	P2P_REASON_VMA_WRITE,
	P2P_REASON_IMPORTER_WRITE,
	P2P_REASON_EXPORTER,
	P2P_REASON_GRANT_WRITE,
	P2P_REASON_NO_EXTENT,
	P2P_REASON_BAD_EXTENT,
	P2P_REASON_WAIT_TIMEOUT,
	P2P_REASON_TOPOLOGY,
	P2P_REASON_DMA_MASK,
	P2P_REASON_DMA_MAP,
	P2P_REASON_CPU_MAP,
	P2P_REASON_NO_MEMORY,
	P2P_REASON_OPERATION,
	P2P_REASON_GONE,
	P2P_REASON_PIN,
	P2P_REASON_NO_PAGES,
};

/**
 * struct p2p_region - a physical range of device memory
 * @start: physical address of the first byte, page aligned
 * @len: length in bytes, page aligned
 * @owner: the device whose memory this is; pinned by the region
 * @provider: P2PDMA provider of a BAR, NULL for memory that is not PCI
 *
 * The region of a BAR belongs to the PCI core: p2p_region_bar() finds or
 * creates it, the last p2p_region_put() frees it. Other regions are registered
 * by their owner. Regions never overlap.
 */
struct p2p_region {
	phys_addr_t start;
	size_t len;
	struct device *owner;
	struct p2pdma_provider *provider;
	/* private: */
	struct kref ref;
	struct list_head node;
	int bar;
	unsigned int exporters;
	struct list_head exporter_list;
	struct p2p_pages *pages;	/* NULL: no struct pages */
	bool orphaned;			/* pins have outlived the exporter */
};

/**
 * struct p2p_exporter_ops - what the core asks of an attached exporter
 * @zap: Mandatory. Call unmap_mapping_range() on every address_space through
 *	which @e was mapped. Called by p2p_region_detach(), and whenever a
 *	change of the topology or of its policy takes a path away from an
 *	importer; users then fault again and get what is possible now. So it
 *	may run at any time while attached, and more than once, and the VMAs
 *	need ->fault(). May sleep.
 * @copy_to: Optional. Copy from kernel memory into an MMIO extent.
 * @copy_from: Optional. Copy from an MMIO extent into kernel memory.
 *
 * @copy_to and @copy_from are called under the importer's user_lock: no
 * allocation, no sleeping lock. Without them the core maps the extent with the
 * cache mode of the user mapping and copies itself. They come in pairs.
 */
struct p2p_exporter_ops {
	void (*zap)(struct p2p_exporter *e);
	int (*copy_to)(struct p2p_extent *ext, size_t off, const void *src,
		       size_t len);
	int (*copy_from)(struct p2p_extent *ext, size_t off, void *dst,
			 size_t len);
};

/**
 * struct p2p_exporter - a driver's (or one object's) attachment to a region
 * @ops: set by the driver before p2p_region_attach()
 *
 * Embedded in a driver's structure that lives as long as any VMA whose
 * ->p2p_map() names it: the file pins it. After p2p_region_detach() no extent
 * refers to it, and ->p2p_map() gets -ENODEV.
 */
struct p2p_exporter {
	const struct p2p_exporter_ops *ops;
	/* private: */
	struct p2p_region *region;
	spinlock_t lock;		/* dead, users, extents */
	bool dead;
	unsigned int users;		/* extents and waiters */
	struct list_head extents;	/* mapped for a peer's DMA */
	struct list_head node;		/* region->exporter_list */
	unsigned int checked;		/* topology generation */
	struct p2p_pages *pages;	/* from add to detach, else NULL */
	struct completion drained;
	wait_queue_head_t wait;
	atomic_t wakes;
	struct llist_head put_list;
	struct work_struct put_work;
};

/* Flags of p2p_req_add() */
#define P2P_EXT_RAM	BIT(0)	/* direct-mapped system RAM, not MMIO */
#define P2P_EXT_RDONLY	BIT(1)	/* importers may only read */

/**
 * struct p2p_extent - one physically contiguous piece granted to one importer
 * @exporter: who granted it; its region names the device memory
 * @importer: who uses it, NULL for a CPU-copy user
 * @phys: physical address of the first byte, page aligned
 * @len: length in bytes, page aligned
 * @flags: P2P_EXT_RAM, P2P_EXT_RDONLY
 * @map_type: enum pci_p2pdma_map_type: how @importer reaches the memory, frozen
 *	when it is mapped; PCI_P2PDMA_MAP_NONE for P2P_EXT_RAM
 * @priv: for the exporter
 *
 * Mapped for DMA (or for CPU copies) once and as a whole, invalidated as a
 * whole. Pending from p2p_req_add() until p2p_fault_commit() makes it live; an
 * invalidation cuts it; then the exporter's worker calls ->p2p_unmap() and
 * frees it.
 */
struct p2p_extent {
	struct p2p_exporter *exporter;
	struct device *importer;
	phys_addr_t phys;
	size_t len;
	unsigned int flags;
	u8 map_type;
	void *priv;
	/* private: */
	struct interval_tree_node node;	/* user addresses, pending or live */
	union {
		struct list_head link;	/* req.extents, then set.cut */
		struct llist_node put;
	};
	struct list_head sibling;	/* exporter->extents */
	unsigned int generation;	/* of the topology it was mapped under */
	void (*unmap)(struct p2p_extent *ext);
	unsigned long seq;		/* notifier sequence it was made under */
	dma_addr_t dma;
	size_t iova_off;
	bool mapped;
	struct dma_iova_state iova;
	void __iomem *kva;
};

/**
 * struct p2p_extents - an importer's index of live extents
 * @importer: device that masters the bus, NULL if the CPU copies
 * @start: first user address of the importer's object, page aligned
 * @end: end of the importer's object, exclusive
 * @write: the importer may write
 *
 * One for each mmu_interval_notifier of an importer. Insertion (commit) and
 * removal (cut) happen under the importer's user_lock and allocate nothing.
 */
struct p2p_extents {
	struct device *importer;
	unsigned long start;
	unsigned long end;
	bool write;
	/* private: */
	spinlock_t lock;		/* live; a leaf */
	struct rb_root_cached live;
	struct p2p_extent *last;	/* looked up; user_lock */
	struct list_head cut;		/* user_lock */
};

/**
 * struct p2p_fault - one importer's call of hmm_range_fault_unlocked_timeout()
 * @set: the importer's index
 *
 * Lives on the caller's stack; hmm_range.peer points to it. Holds the extents
 * that were granted during the call and are not live yet. get_user_pages() has
 * one, too, for the pages that it gets.
 */
struct p2p_fault {
	struct p2p_extents *set;
	/* private: */
	struct rb_root_cached pending;
	struct p2p_exporter *wait_on;
	int wait_seen;
	unsigned long waited;		/* jiffies, in all */
	struct page **pages;		/* of get_user_pages(), else NULL */
	unsigned long nr_pages;		/* pages got so far */
	unsigned int gup_flags;
};

/**
 * struct p2p_map_req - what an importer asks of ->p2p_map()
 * @importer: the device, NULL for a CPU-copy user
 * @start: first user address that is needed now, page aligned
 * @end: end of the needed range, exclusive
 * @window_start: lowest user address that may be granted
 * @window_end: end of the window, exclusive
 * @write: the extents will be written if they may be; an exporter that grants
 *	read only says so by P2P_EXT_RDONLY
 * @pages: get_user_pages() asks, for the struct pages of the needed range, to be
 *	used for a short time and by a device that nobody knows yet. Grant it as
 *	any other request; p2p_req_add() takes the references on the pages. They
 *	outlive the extent: see p2p_wait_pins().
 *
 * Grant wide, up to the window, where that costs nothing. Do no work (populate,
 * migrate) outside of the needed range, and grant nothing larger than what the
 * exporter moves at once.
 */
struct p2p_map_req {
	struct device *importer;
	unsigned long start;
	unsigned long end;
	unsigned long window_start;
	unsigned long window_end;
	bool write;
	bool pages;
	/* private: */
	struct vm_area_struct *vma;
	struct p2p_fault *fault;
	struct list_head extents;
	unsigned long next;		/* grants come in address order */
	struct p2p_exporter *wait_on;
	int wait_seen;
	int err;
	enum p2p_reason reason;
};

#ifdef CONFIG_P2P_VMA

/* Regions: drivers/pci/p2pdma/region.c */
struct p2p_region *p2p_region_bar(struct pci_dev *pdev, int bar);
struct p2p_region *p2p_region_register(struct device *owner, phys_addr_t start,
				       size_t len);
void p2p_region_unregister(struct p2p_region *r);
struct p2p_region *p2p_region_find(phys_addr_t phys);
void p2p_region_put(struct p2p_region *r);
int p2p_region_attach(struct p2p_region *r, struct p2p_exporter *e);
void p2p_region_detach(struct p2p_region *r, struct p2p_exporter *e);
int p2p_region_detach_until(struct p2p_region *r, struct p2p_exporter *e,
			    unsigned long deadline);

/* Struct pages for get_user_pages(): drivers/pci/p2pdma/pages.c */
int p2p_region_add_pages(struct p2p_region *r, struct p2p_exporter *e,
			 unsigned int order, pgprot_t prot);
int p2p_wait_pins(struct p2p_exporter *e, phys_addr_t phys, size_t len,
		  unsigned long timeout);
unsigned long p2p_detach_deadline(void);
bool p2p_device_orphaned(struct pci_dev *pdev);

/* Exporters: mm/p2p_vma.c */
int p2p_req_add(struct p2p_map_req *req, struct p2p_exporter *e,
		unsigned long addr, phys_addr_t phys, size_t len,
		unsigned int flags, void *priv);
int p2p_req_wait(struct p2p_map_req *req, struct p2p_exporter *e);
void p2p_wake(struct p2p_exporter *e);
int p2p_map_linear(struct vm_area_struct *vma, struct p2p_map_req *req,
		   struct p2p_exporter *e, phys_addr_t base);
void p2p_zap_mapping(struct address_space *mapping, u64 start, u64 len);

/* Importers: mm/p2p_extent.c */
void p2p_extents_init(struct p2p_extents *set, struct device *importer,
		      unsigned long start, unsigned long end, bool write);
bool p2p_extents_cut(struct p2p_extents *set, unsigned long *start,
		     unsigned long *end);
void p2p_extents_cut_finish(struct p2p_extents *set);
struct p2p_extent *p2p_extents_lookup(struct p2p_extents *set,
				      unsigned long addr, size_t *off);
bool p2p_mm_has_p2p(struct mm_struct *mm, unsigned long start,
		    unsigned long end);
int p2p_extents_refuse(struct p2p_extents *set, unsigned long addr);
dma_addr_t p2p_extents_dma_addr(struct p2p_extents *set, unsigned long addr);
int p2p_copy_to(struct p2p_extent *ext, size_t off, const void *src,
		size_t len);
int p2p_copy_from(struct p2p_extent *ext, size_t off, void *dst, size_t len);

void p2p_fault_init(struct p2p_fault *fault, struct p2p_extents *set);
void p2p_fault_commit(struct p2p_fault *fault, unsigned long seq);
void p2p_fault_drop(struct p2p_fault *fault);

/* DMA mappings: kernel/dma/peer.c */
dma_addr_t dma_map_peer_resource(struct device *dev, struct p2p_extent *ext,
				 enum dma_data_direction dir,
				 unsigned long attrs);
void dma_unmap_peer_resource(struct device *dev, struct p2p_extent *ext,
			     enum dma_data_direction dir, unsigned long attrs);

/* For the core only */
DECLARE_STATIC_KEY_FALSE(p2p_pages_on);
bool p2p_region_gone(struct p2p_region *r, const void *data, size_t len);
void p2p_exporter_init(struct p2p_exporter *e, struct p2p_region *r);
void p2p_exporter_drain(struct p2p_exporter *e);
bool p2p_exporter_get(struct p2p_exporter *e);
void p2p_exporter_put(struct p2p_exporter *e);
void p2p_exporter_recheck(struct p2p_exporter *e);
bool p2p_extent_stale(struct p2p_extent *ext);
dma_addr_t p2p_dma_direct(struct device *dev, phys_addr_t phys);
int p2p_extent_dma_map(struct p2p_extent *ext, enum p2p_reason *reason);
void p2p_extent_dma_unmap(struct p2p_extent *ext);

/**
 * p2p_extents_any - may there be a live extent?
 * @set: the importer's index
 *
 * Return: true if so; without user_lock a hint.
 */
static inline bool p2p_extents_any(const struct p2p_extents *set)
{
	return READ_ONCE(set->live.rb_root.rb_node);
}

/**
 * vma_has_p2p - may peers ask for the memory behind this VMA?
 * @vma: any VMA, mmap_lock or its VMA lock held
 *
 * Return: true if it has ->p2p_map().
 */
static inline bool vma_has_p2p(const struct vm_area_struct *vma)
{
	return vma->vm_ops && vma->vm_ops->p2p_map;
}

#else /* !CONFIG_P2P_VMA */

static inline int p2p_map_linear(struct vm_area_struct *vma,
				 struct p2p_map_req *req,
				 struct p2p_exporter *e, phys_addr_t base)
{
	return -EOPNOTSUPP;
}

static inline void p2p_extents_init(struct p2p_extents *set,
				    struct device *importer,
				    unsigned long start, unsigned long end,
				    bool write)
{
}

static inline bool p2p_extents_cut(struct p2p_extents *set,
				   unsigned long *start, unsigned long *end)
{
	return false;
}

static inline void p2p_extents_cut_finish(struct p2p_extents *set)
{
}

static inline struct p2p_extent *p2p_extents_lookup(struct p2p_extents *set,
						    unsigned long addr,
						    size_t *off)
{
	return NULL;
}

static inline bool p2p_mm_has_p2p(struct mm_struct *mm, unsigned long start,
				  unsigned long end)
{
	return false;
}

static inline int p2p_extents_refuse(struct p2p_extents *set,
				     unsigned long addr)
{
	return -EOPNOTSUPP;
}

static inline dma_addr_t p2p_extents_dma_addr(struct p2p_extents *set,
					      unsigned long addr)
{
	return DMA_MAPPING_ERROR;
}

static inline int p2p_copy_to(struct p2p_extent *ext, size_t off,
			      const void *src, size_t len)
{
	return -EOPNOTSUPP;
}

static inline int p2p_copy_from(struct p2p_extent *ext, size_t off, void *dst,
				size_t len)
{
	return -EOPNOTSUPP;
}

static inline void p2p_fault_init(struct p2p_fault *fault,
				  struct p2p_extents *set)
{
}

static inline void p2p_fault_commit(struct p2p_fault *fault, unsigned long seq)
{
}

static inline void p2p_fault_drop(struct p2p_fault *fault)
{
}

static inline bool p2p_extents_any(const struct p2p_extents *set)
{
	return false;
}

static inline bool vma_has_p2p(const struct vm_area_struct *vma)
{
	return false;
}

#endif /* CONFIG_P2P_VMA */

#endif /* _LINUX_P2P_VMA_H */
