// SPDX-License-Identifier: GPL-2.0
/*
 * DMA mappings of peer memory: one extent, mapped and unmapped as a whole, by
 * bus address, by physical address, or into an IOVA of its own.
 */
#include <linux/atomic.h>
#include <linux/cc_platform.h>
#include <linux/debugfs.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/init.h>
#include <linux/iommu-dma.h>
#include <linux/p2p_topology.h>
#include <linux/p2p_vma.h>
#include <linux/pci-p2pdma.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>

#include <trace/events/p2p.h>

#include "direct.h"

/* What is mapped now: DMA_API_DEBUG does not see dma_iova_*(). */
enum p2p_dma_kind {
	P2P_DMA_BUS,		/* by bus address */
	P2P_DMA_BRIDGE,		/* through the host bridge, not translated */
	P2P_DMA_IOVA,		/* through the host bridge, translated */
	P2P_DMA_RAM,		/* evicted objects */
	P2P_DMA_RAM_IOVA,
	P2P_DMA_KINDS
};

static atomic_long_t p2p_dma_live[P2P_DMA_KINDS];
static atomic_long_t p2p_dma_iova_bytes;

static enum p2p_dma_kind p2p_dma_kind(struct p2p_extent *ext)
{
	bool iova = dma_use_iova(&ext->iova);

	if (ext->map_type == PCI_P2PDMA_MAP_BUS_ADDR)
		return P2P_DMA_BUS;
	if (ext->map_type == PCI_P2PDMA_MAP_NONE)
		return iova ? P2P_DMA_RAM_IOVA : P2P_DMA_RAM;
	return iova ? P2P_DMA_IOVA : P2P_DMA_BRIDGE;
}

static void p2p_dma_count(struct p2p_extent *ext, long n)
{
	atomic_long_add(n, &p2p_dma_live[p2p_dma_kind(ext)]);
	if (dma_use_iova(&ext->iova))
		atomic_long_add(n * (long)ext->len, &p2p_dma_iova_bytes);
}

/* Verdict and mapping checks */

/* The DMA API warns about an address that the device cannot reach: ask first. */
static bool p2p_dma_reachable(struct device *dev, dma_addr_t addr, size_t len)
{
	u64 limit = min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);

	return addr <= limit && len - 1 <= limit - addr;
}

/**
 * p2p_dma_direct - DMA address of a BAR for a device that is not translated
 * @dev: the device
 * @phys: physical address in the BAR
 *
 * Context: any.
 * Return: what dma_map_phys() will make of it.
 */
dma_addr_t p2p_dma_direct(struct device *dev, phys_addr_t phys)
{
	if (cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT))
		return phys_to_dma_unencrypted(dev, phys);
	return phys_to_dma(dev, phys);
}

/* How the importer reaches the memory of the extent, by the topology. */
static int p2p_extent_verdict(struct p2p_extent *ext, struct p2p_verdict *v,
			      u8 *map_type)
{
	int ret = p2p_topology_query(ext->exporter->region, ext->importer, v);

	*map_type = v->path == P2P_PATH_BUS ? PCI_P2PDMA_MAP_BUS_ADDR :
					      PCI_P2PDMA_MAP_THRU_HOST_BRIDGE;
	return ret;
}

/**
 * p2p_extent_stale - would a mapped extent be refused or mapped otherwise now?
 * @ext: the extent, not P2P_EXT_RAM
 *
 * Context: any.
 * Return: true if so; then it has to go.
 */
bool p2p_extent_stale(struct p2p_extent *ext)
{
	struct p2p_verdict v;
	u8 map_type;

	return p2p_extent_verdict(ext, &v, &map_type) ||
	       (!v.write && !(ext->flags & P2P_EXT_RDONLY)) ||
	       map_type != ext->map_type;
}

/* RAM needs no verdict. Else freezes the type of the mapping. */
static int p2p_extent_ask(struct p2p_extent *ext, enum p2p_reason *reason)
{
	struct p2p_verdict v;
	int ret;

	ext->map_type = PCI_P2PDMA_MAP_NONE;
	if (ext->flags & P2P_EXT_RAM)
		return 0;
	ret = p2p_extent_verdict(ext, &v, &ext->map_type);
	ext->generation = v.generation;
	/* Whoever wants to write will hear that it is read-only. */
	if (!v.write)
		ext->flags |= P2P_EXT_RDONLY;
	if (!v.read || !v.write)
		trace_p2p_unreachable(ext, p2p_topology_reason_name(v.reason),
				      ret);
	if (ret)
		*reason = ret == -ERANGE ? P2P_REASON_DMA_MASK :
					   P2P_REASON_TOPOLOGY;
	return ret;
}

static int p2p_extent_check(struct p2p_extent *ext, enum p2p_reason *reason)
{
	struct device *dev = ext->importer;
	dma_addr_t addr;
	int ret;

	ret = p2p_extent_ask(ext, reason);
	if (ret)
		return ret;
	/* The verdict is for the region; the mask may do for a part of it. */
	if (ext->map_type == PCI_P2PDMA_MAP_BUS_ADDR)
		addr = pci_p2pdma_bus_addr_map(ext->exporter->region->provider,
					       ext->phys);
	else if (use_dma_iommu(dev))
		return 0;	/* the IOVA is made to fit */
	else if (ext->flags & P2P_EXT_RAM)
		addr = phys_to_dma(dev, ext->phys);
	else
		addr = p2p_dma_direct(dev, ext->phys);
	if (p2p_dma_reachable(dev, addr, ext->len))
		return 0;
	*reason = P2P_REASON_DMA_MASK;
	return -ERANGE;
}

/* The mapping */

/*
 * Behind an IOMMU only dma_iova_*(): dma_unmap_phys() on a lazily flushed
 * domain leaves the device access to memory that was taken back. The IOVA is
 * congruent to the physical address, so that large IOPTEs fit: the allocator
 * aligns it to its size.
 */
static dma_addr_t p2p_map_iova(struct device *dev, struct p2p_extent *ext,
			       enum dma_data_direction dir, unsigned long attrs)
{
	struct dma_iova_state *state = &ext->iova;

	ext->iova_off = ext->len < SZ_2M ? 0 : ext->phys & (SZ_2M - 1);
	if (!dma_iova_try_alloc(dev, state, 0, ext->len + ext->iova_off)) {
		/* The allocator rounds sizes up: a narrow device may be full. */
		ext->iova_off = 0;
		if (!dma_iova_try_alloc(dev, state, 0, ext->len))
			return DMA_MAPPING_ERROR;
	}
	if (dma_iova_link(dev, state, ext->phys, ext->iova_off, ext->len, dir,
			  attrs))
		goto free;
	if (dma_iova_sync(dev, state, ext->iova_off, ext->len))
		goto unlink;
	return state->addr + ext->iova_off;

unlink:
	dma_iova_unlink(dev, state, ext->iova_off, ext->len, dir, attrs);
free:
	dma_iova_free(dev, state);
	*state = (struct dma_iova_state) {};
	return DMA_MAPPING_ERROR;
}

/**
 * dma_map_peer_resource - map an extent of peer memory for DMA, as a whole
 * @dev: the device that will master the bus
 * @ext: the extent; its map_type was set by the topology's verdict for @dev
 * @dir: what @dev may do
 * @attrs: DMA_ATTR_MMIO, or for P2P_EXT_RAM DMA_ATTR_REQUIRE_COHERENT
 *
 * Gives the bus address if the transfer stays below a switch. Else it gives an
 * IOVA of its own behind an IOMMU, flushed once, or the physical address. The
 * address at an offset of the extent is the result plus that offset.
 *
 * Context: may sleep.
 * Return: the DMA address, or DMA_MAPPING_ERROR.
 */
dma_addr_t dma_map_peer_resource(struct device *dev, struct p2p_extent *ext,
				 enum dma_data_direction dir,
				 unsigned long attrs)
{
	dma_addr_t addr = DMA_MAPPING_ERROR;

	switch (ext->map_type) {
	case PCI_P2PDMA_MAP_BUS_ADDR:
		addr = pci_p2pdma_bus_addr_map(ext->exporter->region->provider,
					       ext->phys);
		break;
	case PCI_P2PDMA_MAP_NONE:
	case PCI_P2PDMA_MAP_THRU_HOST_BRIDGE:
		if (use_dma_iommu(dev))
			addr = p2p_map_iova(dev, ext, dir, attrs);
		else
			addr = dma_map_phys(dev, ext->phys, ext->len, dir,
					    attrs);
		break;
	}
	/* dma_mapping_error() also tells DMA_API_DEBUG that somebody looked. */
	if (dma_mapping_error(dev, addr))
		return DMA_MAPPING_ERROR;
	ext->dma = addr;
	p2p_dma_count(ext, 1);
	return addr;
}

/**
 * dma_unmap_peer_resource - end a mapping made by dma_map_peer_resource()
 * @dev: as given there
 * @ext: the extent
 * @dir: as given there
 * @attrs: as given there
 *
 * An IOVA is unlinked and flushed from the IOTLB on return, also where the
 * domain flushes lazily: @dev cannot reach the memory any more. A bus address
 * or an untranslated one cannot be taken from a device, it has to be idle.
 *
 * Context: allocates nothing; may be called under an importer's user_lock.
 */
void dma_unmap_peer_resource(struct device *dev, struct p2p_extent *ext,
			     enum dma_data_direction dir, unsigned long attrs)
{
	p2p_dma_count(ext, -1);
	if (dma_use_iova(&ext->iova)) {
		dma_iova_unlink(dev, &ext->iova, ext->iova_off, ext->len, dir,
				attrs);
		dma_iova_free(dev, &ext->iova);
		/* It may be mapped again, and then in another way. */
		ext->iova = (struct dma_iova_state) {};
	} else if (ext->map_type != PCI_P2PDMA_MAP_BUS_ADDR) {
		dma_unmap_phys(dev, ext->dma, ext->len, dir, attrs);
	}
}

/* What the core calls */

static enum dma_data_direction p2p_extent_dir(const struct p2p_extent *ext)
{
	return ext->flags & P2P_EXT_RDONLY ? DMA_TO_DEVICE : DMA_BIDIRECTIONAL;
}

static unsigned long p2p_extent_attrs(const struct p2p_extent *ext)
{
	/*
	 * HMM cannot transfer buffer ownership, so RAM must not bounce. MMIO
	 * is never cached by the CPU, whatever the device says of coherence,
	 * and many importers may have the same of it.
	 */
	if (ext->flags & P2P_EXT_RAM)
		return DMA_ATTR_REQUIRE_COHERENT;
	return DMA_ATTR_MMIO | DMA_ATTR_DEBUGGING_IGNORE_CACHELINES;
}

/**
 * p2p_extent_dma_map - map a pending extent for its importer
 * @ext: the extent
 * @reason: why not, on error
 *
 * Context: fault phase, may sleep.
 * Return: 0; what p2p_topology_errno() says if the topology or its policy
 * forbids it; -ERANGE if the importer cannot address the memory; -ENOMEM or
 * -EIO if the DMA API fails.
 */
int p2p_extent_dma_map(struct p2p_extent *ext, enum p2p_reason *reason)
{
	struct device *dev = ext->importer;
	int ret;

	ret = p2p_extent_check(ext, reason);
	if (ret)
		return ret;
	if (dma_map_peer_resource(dev, ext, p2p_extent_dir(ext),
				  p2p_extent_attrs(ext)) != DMA_MAPPING_ERROR)
		return 0;
	*reason = P2P_REASON_DMA_MAP;
	/* Behind an IOMMU it is out of IOVA space or of page tables. */
	return use_dma_iommu(dev) ? -ENOMEM : -EIO;
}

/**
 * p2p_extent_dma_unmap - end the importer's DMA access to an extent
 * @ext: the extent, mapped by p2p_extent_dma_map()
 *
 * Context: as dma_unmap_peer_resource().
 */
void p2p_extent_dma_unmap(struct p2p_extent *ext)
{
	dma_unmap_peer_resource(ext->importer, ext, p2p_extent_dir(ext),
				p2p_extent_attrs(ext));
}

/* debugfs */

static int p2p_dma_show(struct seq_file *s, void *unused)
{
	static const char * const names[P2P_DMA_KINDS] = {
		[P2P_DMA_BUS] = "bus",
		[P2P_DMA_BRIDGE] = "bridge",
		[P2P_DMA_IOVA] = "iova",
		[P2P_DMA_RAM] = "ram",
		[P2P_DMA_RAM_IOVA] = "ram iova",
	};
	long all = 0, n;
	int i;

	seq_puts(s, "# DMA mappings of peer memory that are live\n");
	for (i = 0; i < P2P_DMA_KINDS; i++) {
		n = atomic_long_read(&p2p_dma_live[i]);
		all += n;
		seq_printf(s, "%s: %ld\n", names[i], n);
	}
	seq_printf(s, "mappings: %ld\n", all);
	seq_printf(s, "iova bytes: %ld\n",
		   atomic_long_read(&p2p_dma_iova_bytes));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(p2p_dma);

static int __init p2p_dma_debugfs_init(void)
{
	debugfs_create_file("p2p_dma", 0400, NULL, NULL, &p2p_dma_fops);
	return 0;
}
late_initcall(p2p_dma_debugfs_init);
