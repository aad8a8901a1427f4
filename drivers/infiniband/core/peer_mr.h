/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Registration of user memory that may contain peer memory: peer_mr.c. */
#ifndef _PEER_MR_H
#define _PEER_MR_H

#include <rdma/ib_verbs.h>

#ifdef CONFIG_P2P_VMA

struct ib_mr *ib_uverbs_reg_user_mr(struct ib_pd *pd, u64 start, u64 length,
				    u64 iova, int access, struct ib_dmah *dmah,
				    struct ib_udata *udata);
struct ib_mr *ib_uverbs_rereg_user_mr(struct ib_mr *mr, int flags, u64 start,
				      u64 length, u64 iova, int access,
				      struct ib_pd *pd, struct ib_udata *udata);

#else /* !CONFIG_P2P_VMA */

static inline struct ib_mr *
ib_uverbs_reg_user_mr(struct ib_pd *pd, u64 start, u64 length, u64 iova,
		      int access, struct ib_dmah *dmah, struct ib_udata *udata)
{
	return pd->device->ops.reg_user_mr(pd, start, length, iova, access,
					   dmah, udata);
}

static inline struct ib_mr *
ib_uverbs_rereg_user_mr(struct ib_mr *mr, int flags, u64 start, u64 length,
			u64 iova, int access, struct ib_pd *pd,
			struct ib_udata *udata)
{
	return mr->device->ops.rereg_user_mr(mr, flags, start, length, iova,
					     access, pd, udata);
}

#endif /* CONFIG_P2P_VMA */

#endif /* _PEER_MR_H */
