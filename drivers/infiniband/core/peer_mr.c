// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Plain memory regions over peer memory: what cannot be pinned is registered on
 * demand, and faulted in at once, where the device has on-demand paging.
 *
 * The decision is made here, for all drivers, where user space asks for an MR,
 * and only after the driver could not pin the range. So RAM never comes here;
 * nor do queues and doorbell records, for which drivers call ib_umem_get_va().
 * Some drivers (irdma, mthca) register queues as MRs: they have no on-demand
 * paging, and so can only fail.
 */
#include <linux/overflow.h>
#include <linux/p2p_vma.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <rdma/ib_verbs.h>
#include <trace/events/p2p.h>

#include "peer_mr.h"

#define PEER_MR_CHUNK	SZ_1G	/* one sge of a prefetch; its length is 32 bit */

/* Did the driver fail to pin memory that it may get on demand? */
static bool peer_mr_wanted(const struct ib_mr *mr, u64 start, u64 length,
			   int access)
{
	u64 end;

	/*
	 * The first is what pin_user_pages() says of device memory; the second
	 * is RLIMIT_MEMLOCK, which does not concern what is not pinned.
	 */
	return (PTR_ERR(mr) == -EFAULT || PTR_ERR(mr) == -ENOMEM) &&
	       !(access & IB_ACCESS_ON_DEMAND) &&
	       !check_add_overflow(start, length, &end) &&
	       p2p_mm_has_p2p(current->mm, start, end);
}

/* Huge on-demand pages have to be RAM; a pinned MR ignores the flag. */
static int peer_mr_access(int access)
{
	return (access & ~IB_ACCESS_HUGETLB) | IB_ACCESS_ON_DEMAND;
}

/* A DMA handle is a hint where in RAM data should go. */
static bool peer_mr_possible(struct ib_device *dev, u64 start, int access,
			     const struct ib_dmah *dmah)
{
	if (!dmah && dev->ops.advise_mr &&
	    !ib_check_mr_access(dev, peer_mr_access(access)))
		return true;
	trace_p2p_refuse(&dev->dev, start, P2P_REASON_PIN, -EOPNOTSUPP);
	return false;
}

/*
 * A plain registration promises access, or fails. Access may end later, when
 * somebody takes the memory away; then it is faulted in again, or refused.
 */
static int peer_mr_prefault(struct ib_pd *pd, struct ib_mr *mr, u64 iova,
			    u64 length, int access)
{
	enum ib_uverbs_advise_mr_advice advice = ib_access_writable(access) ?
		IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE :
		IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH;
	int ret = 0;

	while (length && !ret) {
		struct ib_sge sge = {
			.addr = iova,
			.length = min_t(u64, length, PEER_MR_CHUNK),
			.lkey = mr->lkey,
		};

		ret = ib_advise_mr(pd, advice, IB_UVERBS_ADVISE_MR_FLAG_FLUSH,
				   &sge, 1);
		iova += sge.length;
		length -= sge.length;
	}
	return ret;
}

/* @mr: registered on demand, or the driver's error. */
static struct ib_mr *peer_mr_finish(struct ib_pd *pd, struct ib_mr *mr,
				    u64 start, u64 length, u64 iova, int access)
{
	int ret = PTR_ERR_OR_ZERO(mr);

	if (!ret)
		ret = peer_mr_prefault(pd, mr, iova, length, access);
	trace_p2p_on_demand(&pd->device->dev, start, length, ret);
	if (!ret || IS_ERR(mr))
		return mr;
	/*
	 * Nobody was told its key. If it was guessed and a memory window bound
	 * to it, then it stays, and it is the accesses that fail.
	 */
	if (pd->device->ops.dereg_mr(mr, NULL))
		return mr;
	return ERR_PTR(ret);
}

/**
 * ib_uverbs_reg_user_mr - register user memory, on demand if it must be
 * @pd: the protection domain
 * @start: first user address
 * @length: in bytes
 * @iova: address of the first byte in the MR
 * @access: IB_ACCESS_*, checked
 * @dmah: DMA handle, or NULL
 * @udata: for the driver
 *
 * As the driver's ->reg_user_mr(). But where that cannot pin (-EFAULT, -ENOMEM)
 * and the range contains peer memory, it is called again for an on-demand MR, all of
 * which is then faulted in.
 *
 * Context: takes mmap_lock.
 * Return: the MR, as from the driver; an error of the driver, or of the fault
 * (that of the refusal: Documentation/mm/p2p_vma.rst); -EOPNOTSUPP if the range
 * contains peer memory and the device can only pin.
 */
struct ib_mr *ib_uverbs_reg_user_mr(struct ib_pd *pd, u64 start, u64 length,
				    u64 iova, int access, struct ib_dmah *dmah,
				    struct ib_udata *udata)
{
	struct ib_device *dev = pd->device;
	struct ib_mr *mr;
	bool peer;

	mr = dev->ops.reg_user_mr(pd, start, length, iova, access, dmah, udata);
	peer = peer_mr_wanted(mr, start, length, access);
	if (peer) {
		if (!peer_mr_possible(dev, start, access, dmah))
			return ERR_PTR(-EOPNOTSUPP);
		mr = dev->ops.reg_user_mr(pd, start, length, iova,
					  peer_mr_access(access), NULL, udata);
		mr = peer_mr_finish(pd, mr, start, length, iova, access);
	}
	if (!IS_ERR(mr)) {
		mr->user_access = access;
		mr->made_on_demand = peer;
	}
	return mr;
}

static struct ib_mr *peer_mr_rereg(struct ib_mr *mr, int flags, u64 start,
				   u64 length, u64 iova, int access,
				   struct ib_pd *pd, struct ib_udata *udata)
{
	struct ib_device *dev = mr->device;

	if (!peer_mr_possible(dev, start, access, mr->dmah))
		return ERR_PTR(-EOPNOTSUPP);
	mr = dev->ops.rereg_user_mr(mr, flags | IB_MR_REREG_ACCESS, start,
				    length, iova, peer_mr_access(access), pd,
				    udata);
	/* No driver changes the memory of an on-demand MR in place. */
	if (WARN_ON_ONCE(!mr))
		return NULL;
	return peer_mr_finish(pd, mr, start, length, iova, access);
}

/**
 * ib_uverbs_rereg_user_mr - change an MR, on demand if it must be
 * @mr: the MR, its uobject locked
 * @flags: IB_MR_REREG_*: what changes
 * @start: first user address (IB_MR_REREG_TRANS)
 * @length: in bytes (IB_MR_REREG_TRANS)
 * @iova: address of the first byte in the MR (IB_MR_REREG_TRANS)
 * @access: IB_ACCESS_*, checked (IB_MR_REREG_ACCESS)
 * @pd: the protection domain, new or not
 * @udata: for the driver
 *
 * As the driver's ->rereg_user_mr(). An MR that ib_uverbs_reg_user_mr() made
 * on-demand stays so until it gets other memory; user space need not know.
 *
 * Context: takes mmap_lock.
 * Return: a new MR, NULL if @mr was changed in place, or an error as from
 * ib_uverbs_reg_user_mr().
 */
struct ib_mr *ib_uverbs_rereg_user_mr(struct ib_mr *mr, int flags, u64 start,
				      u64 length, u64 iova, int access,
				      struct ib_pd *pd, struct ib_udata *udata)
{
	int asked = flags & IB_MR_REREG_ACCESS ? access : mr->user_access;
	bool peer = mr->made_on_demand;
	struct ib_mr *new;

	if (peer && (flags & IB_MR_REREG_TRANS)) {
		/* The driver knows other access flags than user space. */
		flags |= IB_MR_REREG_ACCESS;
		access = asked;
	} else if (peer) {
		access = peer_mr_access(access);
	}

	new = mr->device->ops.rereg_user_mr(mr, flags, start, length, iova,
					    access, pd, udata);
	if (flags & IB_MR_REREG_TRANS) {
		peer = peer_mr_wanted(new, start, length, asked);
		if (peer)
			new = peer_mr_rereg(mr, flags, start, length, iova,
					    asked, pd, udata);
	}
	if (IS_ERR(new))
		return new;
	mr = new ?: mr;
	mr->user_access = asked;
	mr->made_on_demand = peer;
	return new;
}
