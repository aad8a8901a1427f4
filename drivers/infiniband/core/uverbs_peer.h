/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Peer-to-peer DMA to the pages that uverbs maps: uverbs_peer.c. */
#ifndef _UVERBS_PEER_H
#define _UVERBS_PEER_H

#include <linux/mm.h>
#include <linux/p2p_vma.h>
#include <rdma/ib_verbs.h>

struct ib_uverbs_file;

/* Those of uverbs_main.c, with ->p2p_map(); not static for KUnit. */
extern const struct vm_operations_struct rdma_umap_peer_ops;

#ifdef CONFIG_P2P_VMA

bool uverbs_peer_vma(struct ib_device *dev, const struct vm_area_struct *vma);
int uverbs_peer_p2p_map(struct vm_area_struct *vma, struct p2p_map_req *req);
void uverbs_peer_detach(struct ib_uverbs_file *ufile);

#else /* !CONFIG_P2P_VMA */

static inline bool uverbs_peer_vma(struct ib_device *dev,
				   const struct vm_area_struct *vma)
{
	return false;
}

static inline void uverbs_peer_detach(struct ib_uverbs_file *ufile)
{
}

#endif /* CONFIG_P2P_VMA */

#endif /* _UVERBS_PEER_H */
