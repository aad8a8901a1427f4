// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Exporter of the pages of a device that uverbs maps, such as doorbells: a GPU
 * can ring a NIC. For drivers that say with ->mmap_get_pfns() what is behind an
 * mmap entry, as for the export of a dma-buf.
 *
 * One exporter for each file that peers ask for, and for one BAR: the first one
 * asked for. It is made by the first request, and ends with the ucontext.
 *
 * Locks: hw_destroy_rwsem (ib_uverbs_file.peer), mmap_lock, umap_lock (umaps,
 * their entries, the rounds). ->p2p_map() has mmap_lock and only tries for the
 * first: whoever writes waits for ->p2p_map().
 */
#include <linux/mmu_notifier.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "core_priv.h"
#include "uverbs.h"
#include "uverbs_peer.h"

struct uverbs_peer {
	struct p2p_exporter exporter;
	struct p2p_region *region;
	struct ib_uverbs_file *ufile;
	unsigned int round;		/* of zap(), umap_lock */
};

/* Let peers forget a mapping, and leave it to the CPU. */
static void uverbs_peer_notify(struct vm_area_struct *vma)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm,
				vma->vm_start, vma->vm_end);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
}

/* Some umap that this round has not seen yet. */
static struct rdma_umap_priv *uverbs_peer_unseen(struct ib_uverbs_file *ufile,
						 unsigned int round)
{
	struct rdma_umap_priv *priv;

	lockdep_assert_held(&ufile->umap_lock);
	list_for_each_entry(priv, &ufile->umaps, list)
		if ((int)(priv->peer_round - round) < 0)
			return priv;
	return NULL;
}

/*
 * Not unmap_mapping_range(): all users of the device share the address_space,
 * and a fault in a umap gets the page of a device that is gone. The CPU may keep
 * its mapping: what changed concerns peers. As in uverbs_user_mmap_disassociate(),
 * umap_lock is inside mmap_lock: one mm at a time.
 */
static void uverbs_peer_zap(struct p2p_exporter *e)
{
	struct uverbs_peer *peer = container_of(e, struct uverbs_peer, exporter);
	struct ib_uverbs_file *ufile = peer->ufile;
	struct rdma_umap_priv *priv;
	unsigned int round;

	mutex_lock(&ufile->umap_lock);
	round = ++peer->round;
	while ((priv = uverbs_peer_unseen(ufile, round))) {
		struct mm_struct *mm = priv->vma->vm_mm;

		if (!mmget_not_zero(mm)) {
			/* It exits, which invalidates everything. */
			priv->peer_round = round;
			continue;
		}
		mutex_unlock(&ufile->umap_lock);
		mmap_read_lock(mm);
		mutex_lock(&ufile->umap_lock);
		list_for_each_entry(priv, &ufile->umaps, list) {
			if (priv->vma->vm_mm != mm)
				continue;
			uverbs_peer_notify(priv->vma);
			priv->peer_round = peer->round;
		}
		mutex_unlock(&ufile->umap_lock);
		mmap_read_unlock(mm);
		mmput(mm);
		mutex_lock(&ufile->umap_lock);
	}
	mutex_unlock(&ufile->umap_lock);
}

static const struct p2p_exporter_ops uverbs_peer_ops = {
	.zap = uverbs_peer_zap,
};

static struct p2p_region *uverbs_peer_region(struct p2pdma_provider *provider,
					     phys_addr_t phys)
{
	struct pci_dev *pdev = to_pci_dev(provider->owner);
	struct resource *res;
	int bar;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		res = pci_resource_n(pdev, bar);
		if (res->flags & IORESOURCE_MEM && resource_size(res) &&
		    phys >= res->start && phys <= res->end)
			return p2p_region_bar(pdev, bar);
	}
	return ERR_PTR(-EINVAL);
}

/* The exporter of the BAR that @phys lies in. */
static struct uverbs_peer *uverbs_peer_get(struct ib_uverbs_file *ufile,
					   struct p2pdma_provider *provider,
					   phys_addr_t phys)
{
	struct uverbs_peer *peer = ufile->peer;
	int ret;

	lockdep_assert_held(&ufile->umap_lock);
	if (peer)
		return peer->region->provider == provider ?
			peer : ERR_PTR(-EOPNOTSUPP);

	peer = kzalloc_obj(*peer);
	if (!peer)
		return ERR_PTR(-ENOMEM);
	peer->ufile = ufile;
	peer->exporter.ops = &uverbs_peer_ops;
	peer->region = uverbs_peer_region(provider, phys);
	ret = PTR_ERR_OR_ZERO(peer->region);
	if (ret)
		goto free;
	ret = p2p_region_attach(peer->region, &peer->exporter);
	if (ret)
		goto put;
	ufile->peer = peer;
	return peer;

put:
	p2p_region_put(peer->region);
free:
	kfree(peer);
	return ERR_PTR(ret);
}

static int uverbs_peer_grant(struct ib_uverbs_file *ufile,
			     struct vm_area_struct *vma,
			     struct p2p_map_req *req)
{
	struct rdma_umap_priv *priv = vma->vm_private_data;
	struct p2pdma_provider *provider;
	struct uverbs_peer *peer;
	struct phys_vec phys;
	int ret;

	/* Disassociated: the CPU has a page of zeroes there. */
	if (!ufile->ucontext || !priv || !priv->entry)
		return -ENODEV;
	ret = ufile->ucontext->device->ops.mmap_get_pfns(priv->entry, &phys,
							 &provider);
	if (ret)
		return ret;
	peer = uverbs_peer_get(ufile, provider, phys.paddr);
	if (IS_ERR(peer))
		return PTR_ERR(peer);
	/* The VMA may be a part of what mmap() made, from the entry's begin. */
	return p2p_map_linear(vma, req, &peer->exporter, phys.paddr -
			      ((phys_addr_t)priv->pgoff << PAGE_SHIFT));
}

/**
 * uverbs_peer_p2p_map - ->p2p_map() of a umap
 * @vma: the VMA
 * @req: the request
 *
 * Context: mmap_lock.
 * Return: as p2p_req_add(); -ENODEV if the device goes away or its mappings
 * were revoked; -EOPNOTSUPP for a second BAR; or the driver's error.
 */
int uverbs_peer_p2p_map(struct vm_area_struct *vma, struct p2p_map_req *req)
{
	struct ib_uverbs_file *ufile = vma->vm_file->private_data;
	int ret;

	if (!down_read_trylock(&ufile->hw_destroy_rwsem))
		return -ENODEV;
	mutex_lock(&ufile->umap_lock);
	ret = uverbs_peer_grant(ufile, vma, req);
	mutex_unlock(&ufile->umap_lock);
	up_read(&ufile->hw_destroy_rwsem);
	return ret;
}

/**
 * uverbs_peer_vma - may peers ask for what a driver has mapped?
 * @dev: the device
 * @vma: the VMA, a umap or not
 *
 * Return: true if its vm_ops should have ->p2p_map().
 */
bool uverbs_peer_vma(struct ib_device *dev, const struct vm_area_struct *vma)
{
	const struct rdma_umap_priv *priv = vma->vm_private_data;

	return dev->ops.mmap_get_pfns && vma->vm_flags & VM_PFNMAP && priv &&
	       priv->entry;
}

/**
 * uverbs_peer_detach - take back what peers got through a file
 * @ufile: the file; its ucontext goes away
 *
 * Context: hw_destroy_rwsem held for writing, for which ->p2p_map() does not
 * wait. Takes mmap_lock.
 */
void uverbs_peer_detach(struct ib_uverbs_file *ufile)
{
	struct uverbs_peer *peer = ufile->peer;

	lockdep_assert_held_write(&ufile->hw_destroy_rwsem);
	if (!peer)
		return;
	p2p_region_detach(peer->region, &peer->exporter);
	p2p_region_put(peer->region);
	ufile->peer = NULL;
	kfree(peer);
}
