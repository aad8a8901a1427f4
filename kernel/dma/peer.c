// SPDX-License-Identifier: GPL-2.0
/*
 * DMA mappings of peer memory: one extent, mapped and unmapped as a whole, by
 * bus address, by physical address, or into an IOVA of its own.
 */
#include <linux/cc_platform.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu-dma.h>
#include <linux/p2p_vma.h>
#include <linux/pci-p2pdma.h>
#include <linux/sizes.h>

#include "direct.h"

static enum dma_data_direction p2p_extent_dir(const struct p2p_extent *ext)
{
	return ext->flags & P2P_EXT_RDONLY ? DMA_TO_DEVICE : DMA_BIDIRECTIONAL;
}

static unsigned long p2p_extent_attrs(const struct p2p_extent *ext)
{
	/*
	 * HMM cannot transfer buffer ownership, so RAM must not bounce. MMIO
	 * is never cached by the CPU, whatever the device says of coherence,
	 * and many importers may map the same piece.
	 */
	return ext->flags & P2P_EXT_RAM ?
		DMA_ATTR_REQUIRE_COHERENT :
		DMA_ATTR_MMIO | DMA_ATTR_DEBUGGING_IGNORE_CACHELINES;
}

/* The DMA API warns about an address that the device cannot reach: ask first. */
static bool p2p_dma_reachable(struct device *dev, dma_addr_t addr, size_t len)
{
	u64 limit = min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);

	return addr <= limit && len - 1 <= limit - addr;
}

/* What dma_direct_map_phys() will make of it. */
static dma_addr_t p2p_extent_direct(const struct p2p_extent *ext)
{
	if (!(ext->flags & P2P_EXT_RAM) &&
	    cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT))
		return phys_to_dma_unencrypted(ext->importer, ext->phys);
	return phys_to_dma(ext->importer, ext->phys);
}

static int p2p_extent_verdict(struct p2p_extent *ext)
{
	struct p2pdma_provider *provider = ext->exporter->region->provider;

	if (ext->flags & P2P_EXT_RAM)
		ext->map_type = PCI_P2PDMA_MAP_NONE;
	else if (!provider || !dma_pci_p2pdma_supported(ext->importer) ||
		 cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT))
		ext->map_type = PCI_P2PDMA_MAP_NOT_SUPPORTED;
	else
		ext->map_type = pci_p2pdma_map_type(provider, ext->importer);
	return ext->map_type == PCI_P2PDMA_MAP_NOT_SUPPORTED ? -EREMOTEIO : 0;
}

/*
 * Behind an IOMMU only dma_iova_*(): dma_unmap_phys() on a lazily flushed
 * domain leaves the device access to memory that was taken back. The IOVA is
 * congruent to the physical address, so that large IOPTEs fit.
 */
static int p2p_extent_map_iova(struct p2p_extent *ext)
{
	enum dma_data_direction dir = p2p_extent_dir(ext);
	unsigned long attrs = p2p_extent_attrs(ext);
	int ret;

	/* An IOVA range is aligned to its size. */
	if (ext->len >= SZ_2M)
		ext->iova_off = ext->phys & (SZ_2M - 1);
	if (!dma_iova_try_alloc(ext->importer, &ext->iova, 0,
				ext->iova_off + ext->len))
		return -ENOMEM;
	ret = dma_iova_link(ext->importer, &ext->iova, ext->phys,
			    ext->iova_off, ext->len, dir, attrs);
	if (ret)
		goto free;
	ret = dma_iova_sync(ext->importer, &ext->iova, ext->iova_off,
			    ext->len);
	if (ret)
		goto unlink;
	ext->dma = ext->iova.addr + ext->iova_off;
	return 0;

unlink:
	dma_iova_unlink(ext->importer, &ext->iova, ext->iova_off, ext->len,
			dir, attrs);
free:
	dma_iova_free(ext->importer, &ext->iova);
	return ret == -ENOMEM ? ret : -EIO;
}

/**
 * p2p_extent_dma_map - map a pending extent for its importer
 * @ext: the extent
 * @reason: why not, on error
 *
 * Context: fault phase, may sleep.
 * Return: 0, -EREMOTEIO if the topology forbids it, -ERANGE if the importer
 * cannot address the memory, -ENOMEM or -EIO if the DMA API fails.
 */
int p2p_extent_dma_map(struct p2p_extent *ext, enum p2p_reason *reason)
{
	struct device *dev = ext->importer;
	struct p2pdma_provider *provider;
	int ret;

	ret = p2p_extent_verdict(ext);
	if (ret) {
		*reason = P2P_REASON_TOPOLOGY;
		return ret;
	}

	if (ext->map_type == PCI_P2PDMA_MAP_BUS_ADDR) {
		provider = ext->exporter->region->provider;
		ext->dma = pci_p2pdma_bus_addr_map(provider, ext->phys);
		if (p2p_dma_reachable(dev, ext->dma, ext->len))
			return 0;
		goto mask;
	}

	if (use_dma_iommu(dev)) {
		ret = p2p_extent_map_iova(ext);
		if (ret)
			*reason = P2P_REASON_DMA_MAP;
		return ret;
	}

	if (!p2p_dma_reachable(dev, p2p_extent_direct(ext), ext->len))
		goto mask;
	ext->dma = dma_map_phys(dev, ext->phys, ext->len, p2p_extent_dir(ext),
				p2p_extent_attrs(ext));
	if (dma_mapping_error(dev, ext->dma)) {
		*reason = P2P_REASON_DMA_MAP;
		return -EIO;
	}
	return 0;

mask:
	*reason = P2P_REASON_DMA_MASK;
	return -ERANGE;
}

/**
 * p2p_extent_dma_unmap - end the importer's DMA access to an extent
 * @ext: the extent, mapped by p2p_extent_dma_map()
 *
 * Symmetric by the type that was frozen in @ext. An IOMMU mapping is unlinked
 * and flushed on return. Allocates nothing; may be called under user_lock.
 */
void p2p_extent_dma_unmap(struct p2p_extent *ext)
{
	enum dma_data_direction dir = p2p_extent_dir(ext);
	unsigned long attrs = p2p_extent_attrs(ext);

	if (ext->map_type == PCI_P2PDMA_MAP_BUS_ADDR)
		return;
	if (dma_use_iova(&ext->iova)) {
		dma_iova_unlink(ext->importer, &ext->iova, ext->iova_off,
				ext->len, dir, attrs);
		dma_iova_free(ext->importer, &ext->iova);
	} else {
		dma_unmap_phys(ext->importer, ext->dma, ext->len, dir, attrs);
	}
}
