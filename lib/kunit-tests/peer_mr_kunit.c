// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of plain memory regions over peer memory: which calls a driver
 * gets, with a driver that notes them. It pins nothing that is on demand.
 */
#include <linux/mman.h>
#include <linux/sizes.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_verbs.h>

#include "../../drivers/infiniband/core/peer_mr.h"
#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define SIZE		(4 * PAGE_SIZE)
#define IOVA		0x5000UL
#define READ_ONLY	IB_ACCESS_REMOTE_READ
#define READ_WRITE	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE)
#define MAX_ADVICES	4

struct peer_mr_dev {
	struct ib_device ib;
	struct ib_pd pd;
	struct ib_mr mr, other;		/* @other comes of a rereg */
	bool pins;			/* the range is RAM */
	int pin_err;			/* otherwise: not EFAULT, but this */
	int reg_err;			/* of an on-demand registration */
	int advise_err, dereg_err;

	unsigned int regs, reregs, advices, deregs;
	int access, flags;		/* of the last call */
	enum ib_uverbs_advise_mr_advice advice;
	struct ib_sge sge[MAX_ADVICES];
};

static struct peer_mr_dev *peer_mr_dev(struct ib_device *ib)
{
	return container_of(ib, struct peer_mr_dev, ib);
}

static int peer_mr_answer(struct peer_mr_dev *dev, int access)
{
	dev->access = access;
	if (access & IB_ACCESS_ON_DEMAND)
		return dev->reg_err;
	return dev->pins ? 0 : dev->pin_err ?: -EFAULT;
}

static struct ib_mr *peer_mr_reg(struct ib_pd *pd, u64 start, u64 length,
				 u64 iova, int access, struct ib_dmah *dmah,
				 struct ib_udata *udata)
{
	struct peer_mr_dev *dev = peer_mr_dev(pd->device);
	int ret = peer_mr_answer(dev, access);

	dev->regs++;
	return ret ? ERR_PTR(ret) : &dev->mr;
}

static struct ib_mr *peer_mr_rereg(struct ib_mr *mr, int flags, u64 start,
				   u64 length, u64 iova, int access,
				   struct ib_pd *pd, struct ib_udata *udata)
{
	struct peer_mr_dev *dev = peer_mr_dev(mr->device);
	int ret = 0;

	dev->reregs++;
	dev->flags = flags;
	dev->access = access;
	if (flags & IB_MR_REREG_TRANS)
		ret = peer_mr_answer(dev, access);
	if (ret)
		return ERR_PTR(ret);
	return flags & IB_MR_REREG_TRANS ? &dev->other : NULL;
}

static int peer_mr_advise(struct ib_pd *pd,
			  enum ib_uverbs_advise_mr_advice advice, u32 flags,
			  struct ib_sge *sg_list, u32 num_sge,
			  struct uverbs_attr_bundle *attrs)
{
	struct peer_mr_dev *dev = peer_mr_dev(pd->device);

	if (flags != IB_UVERBS_ADVISE_MR_FLAG_FLUSH || num_sge != 1 ||
	    dev->advices == MAX_ADVICES)
		return -EINVAL;
	dev->advice = advice;
	dev->sge[dev->advices++] = *sg_list;
	return dev->advise_err;
}

static int peer_mr_dereg(struct ib_mr *mr, struct ib_udata *udata)
{
	struct peer_mr_dev *dev = peer_mr_dev(mr->device);

	dev->deregs++;
	return dev->dereg_err;
}

/* A device with on-demand paging, and peer memory at ADDR. */
static struct peer_mr_dev *peer_mr_setup(struct kunit *test)
{
	struct peer_mr_dev *dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);

	KUNIT_ASSERT_NOT_NULL(test, dev);
	dev->ib.ops.reg_user_mr = peer_mr_reg;
	dev->ib.ops.rereg_user_mr = peer_mr_rereg;
	dev->ib.ops.advise_mr = peer_mr_advise;
	dev->ib.ops.dereg_mr = peer_mr_dereg;
	dev->ib.attrs.kernel_cap_flags = IBK_ON_DEMAND_PAGING;
	dev->ib.dev.init_name = "peer_mr";
	dev->pd.device = &dev->ib;
	dev->mr.device = &dev->ib;
	dev->mr.pd = &dev->pd;
	dev->mr.lkey = 7;
	dev->other = dev->mr;
	dev->other.lkey = 8;
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	p2p_refusals_take();
	return dev;
}

static struct ib_mr *peer_mr_plain(struct peer_mr_dev *dev, u64 start,
				   u64 length, int access)
{
	return ib_uverbs_reg_user_mr(&dev->pd, start, length, IOVA, access,
				     NULL, NULL);
}

static void peer_mr_on_demand(struct kunit *test)
{
	struct peer_mr_dev *dev = peer_mr_setup(test);

	KUNIT_EXPECT_PTR_EQ(test, &dev->mr,
			    peer_mr_plain(dev, ADDR + 3, SIZE - 9, READ_WRITE));
	KUNIT_EXPECT_EQ(test, 2, dev->regs);
	KUNIT_EXPECT_EQ(test, READ_WRITE | IB_ACCESS_ON_DEMAND, dev->access);
	KUNIT_EXPECT_EQ(test, READ_WRITE, dev->mr.user_access);
	KUNIT_EXPECT_TRUE(test, dev->mr.made_on_demand);
	KUNIT_EXPECT_EQ(test, 1, dev->advices);
	KUNIT_EXPECT_EQ(test, IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE,
			dev->advice);
	KUNIT_EXPECT_EQ(test, IOVA, dev->sge[0].addr);
	KUNIT_EXPECT_EQ(test, SIZE - 9, dev->sge[0].length);
	KUNIT_EXPECT_EQ(test, 7, dev->sge[0].lkey);
	KUNIT_EXPECT_EQ(test, 0, dev->deregs);
}

/* More than RLIMIT_MEMLOCK, and a flag that means nothing to a pinned MR. */
static void peer_mr_limits(struct kunit *test)
{
	struct peer_mr_dev *dev = peer_mr_setup(test);
	struct ib_mr *mr;

	dev->pin_err = -ENOMEM;
	mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE | IB_ACCESS_HUGETLB);
	KUNIT_EXPECT_PTR_EQ(test, &dev->mr, mr);
	KUNIT_EXPECT_EQ(test, READ_WRITE | IB_ACCESS_ON_DEMAND, dev->access);
	KUNIT_EXPECT_EQ(test, 1, dev->advices);
	dev->pin_err = -EINVAL;
	mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR(mr));
}

/* More than one prefetch can name; it is for reading, as the MR is. */
static void peer_mr_long(struct kunit *test)
{
	struct peer_mr_dev *dev = peer_mr_setup(test);
	const u64 len = 2 * (u64)SZ_1G + 5;

	KUNIT_EXPECT_PTR_EQ(test, &dev->mr,
			    peer_mr_plain(dev, ADDR - SZ_1G, len, READ_ONLY));
	KUNIT_ASSERT_EQ(test, 3, dev->advices);
	KUNIT_EXPECT_EQ(test, IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH, dev->advice);
	KUNIT_EXPECT_EQ(test, IOVA + SZ_1G, dev->sge[1].addr);
	KUNIT_EXPECT_EQ(test, SZ_1G, dev->sge[1].length);
	KUNIT_EXPECT_EQ(test, IOVA + 2 * (u64)SZ_1G, dev->sge[2].addr);
	KUNIT_EXPECT_EQ(test, 5, dev->sge[2].length);
}

/* One call of the driver, and its answer, where we have no business. */
static void peer_mr_as_stock(struct kunit *test)
{
	struct peer_mr_dev *dev = peer_mr_setup(test);
	struct ib_mr *mr;

	/* no peer memory in the range, which may wrap */
	mr = peer_mr_plain(dev, ADDR + SIZE, SIZE, READ_WRITE);
	KUNIT_EXPECT_EQ(test, -EFAULT, PTR_ERR(mr));
	mr = peer_mr_plain(dev, ADDR + SIZE, U64_MAX, READ_WRITE);
	KUNIT_EXPECT_EQ(test, -EFAULT, PTR_ERR(mr));
	KUNIT_EXPECT_EQ(test, 2, dev->regs);

	/* an on-demand MR that the user asked for */
	dev->reg_err = -EFAULT;
	mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE | IB_ACCESS_ON_DEMAND);
	KUNIT_EXPECT_EQ(test, -EFAULT, PTR_ERR(mr));
	dev->reg_err = 0;
	mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE | IB_ACCESS_ON_DEMAND);
	KUNIT_EXPECT_PTR_EQ(test, &dev->mr, mr);
	KUNIT_EXPECT_FALSE(test, mr->made_on_demand);

	/* a range that can be pinned, whatever it is */
	dev->pins = true;
	mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE);
	KUNIT_EXPECT_PTR_EQ(test, &dev->mr, mr);
	KUNIT_EXPECT_FALSE(test, mr->made_on_demand);
	KUNIT_EXPECT_EQ(test, 5, dev->regs);
	KUNIT_EXPECT_EQ(test, 0, dev->advices);
	KUNIT_EXPECT_EQ(test, 0, p2p_refusals_take());
}

/* A device that can only pin, and hints that are for pinned memory. */
static void peer_mr_cannot(struct kunit *test)
{
	struct peer_mr_dev *dev = peer_mr_setup(test);
	struct ib_dmah dmah = {};
	struct ib_mr *mr;

	mr = ib_uverbs_reg_user_mr(&dev->pd, ADDR, SIZE, IOVA, READ_WRITE,
				   &dmah, NULL);
	P2P_EXPECT_REFUSED(test, PTR_ERR(mr), -EOPNOTSUPP, P2P_REASON_PIN);
	dev->ib.ops.advise_mr = NULL;
	P2P_EXPECT_REFUSED(test,
			   PTR_ERR(peer_mr_plain(dev, ADDR, SIZE, READ_WRITE)),
			   -EOPNOTSUPP, P2P_REASON_PIN);
	dev->ib.ops.advise_mr = peer_mr_advise;
	dev->ib.attrs.kernel_cap_flags = 0;
	P2P_EXPECT_REFUSED(test,
			   PTR_ERR(peer_mr_plain(dev, ADDR, SIZE, READ_WRITE)),
			   -EOPNOTSUPP, P2P_REASON_PIN);
	mr = ib_uverbs_rereg_user_mr(&dev->mr, IB_MR_REREG_TRANS, ADDR, SIZE,
				     IOVA, 0, &dev->pd, NULL);
	P2P_EXPECT_REFUSED(test, PTR_ERR(mr), -EOPNOTSUPP, P2P_REASON_PIN);
	KUNIT_EXPECT_EQ(test, 3, dev->regs);
	KUNIT_EXPECT_EQ(test, 1, dev->reregs);
	KUNIT_EXPECT_EQ(test, 0, dev->advices);
}

static void peer_mr_fails(struct kunit *test)
{
	struct peer_mr_dev *dev = peer_mr_setup(test);
	struct ib_mr *mr;

	/* the driver: nothing to fault in, nothing to undo */
	dev->reg_err = -ENOSPC;
	mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE);
	KUNIT_EXPECT_EQ(test, -ENOSPC, PTR_ERR(mr));
	KUNIT_EXPECT_EQ(test, 0, dev->advices);
	KUNIT_EXPECT_EQ(test, 0, dev->deregs);

	/* the fault */
	dev->reg_err = 0;
	dev->advise_err = -EACCES;
	mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE);
	KUNIT_EXPECT_EQ(test, -EACCES, PTR_ERR(mr));
	KUNIT_EXPECT_EQ(test, 1, dev->advices);
	KUNIT_EXPECT_EQ(test, 1, dev->deregs);

	/* and the MR is in use already, whoever did that: it must not leak */
	dev->dereg_err = -EBUSY;
	mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE);
	KUNIT_EXPECT_PTR_EQ(test, &dev->mr, mr);
	KUNIT_EXPECT_TRUE(test, dev->mr.made_on_demand);
}

static struct ib_mr *peer_mr_change(struct peer_mr_dev *dev, struct ib_mr *mr,
				    int flags, int access)
{
	return ib_uverbs_rereg_user_mr(mr, flags, ADDR, SIZE, IOVA, access,
				       &dev->pd, NULL);
}

/* In place: permissions and protection domain. */
static void peer_mr_rereg_access(struct kunit *test)
{
	struct peer_mr_dev *dev = peer_mr_setup(test);
	struct ib_mr *mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE);

	KUNIT_ASSERT_PTR_EQ(test, &dev->mr, mr);
	KUNIT_EXPECT_NULL(test, peer_mr_change(dev, mr, IB_MR_REREG_ACCESS,
					       READ_ONLY));
	KUNIT_EXPECT_EQ(test, READ_ONLY | IB_ACCESS_ON_DEMAND, dev->access);
	KUNIT_EXPECT_EQ(test, READ_ONLY, mr->user_access);
	KUNIT_EXPECT_NULL(test, peer_mr_change(dev, mr, IB_MR_REREG_PD, 0));
	KUNIT_EXPECT_EQ(test, IB_MR_REREG_PD, dev->flags);
	KUNIT_EXPECT_EQ(test, READ_ONLY, mr->user_access);
	KUNIT_EXPECT_TRUE(test, mr->made_on_demand);

	/* one that is pinned, or on demand by the user's wish: as it comes */
	mr->made_on_demand = false;
	KUNIT_EXPECT_NULL(test, peer_mr_change(dev, mr, IB_MR_REREG_ACCESS,
					       READ_WRITE));
	KUNIT_EXPECT_EQ(test, READ_WRITE, dev->access);
	KUNIT_EXPECT_FALSE(test, mr->made_on_demand);
}

/* Other memory: peer memory, RAM, and peer memory again. */
static void peer_mr_rereg_trans(struct kunit *test)
{
	struct peer_mr_dev *dev = peer_mr_setup(test);
	struct ib_mr *mr;

	mr = peer_mr_plain(dev, ADDR, SIZE, READ_WRITE);
	KUNIT_ASSERT_PTR_EQ(test, &dev->mr, mr);
	dev->advices = 0;
	mr = peer_mr_change(dev, mr, IB_MR_REREG_TRANS, 0);
	KUNIT_ASSERT_PTR_EQ(test, &dev->other, mr);
	KUNIT_EXPECT_EQ(test, 2, dev->reregs);
	KUNIT_EXPECT_EQ(test, IB_MR_REREG_TRANS | IB_MR_REREG_ACCESS,
			dev->flags);
	KUNIT_EXPECT_EQ(test, READ_WRITE | IB_ACCESS_ON_DEMAND, dev->access);
	KUNIT_EXPECT_EQ(test, 1, dev->advices);
	KUNIT_EXPECT_EQ(test, 8, dev->sge[0].lkey);
	KUNIT_EXPECT_TRUE(test, mr->made_on_demand);

	dev->pins = true;
	mr = peer_mr_change(dev, mr, IB_MR_REREG_TRANS, 0);
	KUNIT_ASSERT_PTR_EQ(test, &dev->other, mr);
	KUNIT_EXPECT_EQ(test, 3, dev->reregs);
	KUNIT_EXPECT_EQ(test, READ_WRITE, dev->access);
	KUNIT_EXPECT_EQ(test, 1, dev->advices);
	KUNIT_EXPECT_FALSE(test, mr->made_on_demand);

	dev->pins = false;
	dev->advise_err = -ETIMEDOUT;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT,
			PTR_ERR(peer_mr_change(dev, mr, IB_MR_REREG_TRANS, 0)));
	KUNIT_EXPECT_EQ(test, 1, dev->deregs);
	KUNIT_EXPECT_FALSE(test, mr->made_on_demand);
	dev->advise_err = 0;
	mr = peer_mr_change(dev, mr, IB_MR_REREG_TRANS | IB_MR_REREG_ACCESS,
			    READ_ONLY);
	KUNIT_ASSERT_PTR_EQ(test, &dev->other, mr);
	KUNIT_EXPECT_EQ(test, READ_ONLY | IB_ACCESS_ON_DEMAND, dev->access);
	KUNIT_EXPECT_EQ(test, READ_ONLY, mr->user_access);
	KUNIT_EXPECT_TRUE(test, mr->made_on_demand);
}

/* What drivers call for queues and doorbell records. */
static void peer_mr_not_queues(struct kunit *test)
{
	struct ib_device *ib = kunit_kzalloc(test, sizeof(*ib), GFP_KERNEL);
	struct p2p_fake *fake = p2p_fake_create(test, SIZE);
	struct ib_umem *umem;

	KUNIT_ASSERT_NOT_NULL(test, ib);
	ib->attrs.kernel_cap_flags = IBK_ON_DEMAND_PAGING;
	p2p_fake_mmap(fake, ADDR, SIZE, 0, PROT_READ | PROT_WRITE);
	p2p_refusals_take();
	umem = ib_umem_get_va(ib, ADDR, SIZE, IB_ACCESS_LOCAL_WRITE);
	KUNIT_EXPECT_EQ(test, -EFAULT, PTR_ERR(umem));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->maps));
	KUNIT_EXPECT_EQ(test, 0, p2p_refusals_take());
}

static struct kunit_case peer_mr_cases[] = {
	KUNIT_CASE(peer_mr_on_demand),
	KUNIT_CASE(peer_mr_limits),
	KUNIT_CASE(peer_mr_long),
	KUNIT_CASE(peer_mr_as_stock),
	KUNIT_CASE(peer_mr_cannot),
	KUNIT_CASE(peer_mr_fails),
	KUNIT_CASE(peer_mr_rereg_access),
	KUNIT_CASE(peer_mr_rereg_trans),
	KUNIT_CASE(peer_mr_not_queues),
	{}
};

static struct kunit_suite peer_mr_suite = {
	.name = "p2p_peer_mr",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = peer_mr_cases,
};

kunit_test_suite(peer_mr_suite);

MODULE_DESCRIPTION("KUnit tests of plain memory regions over peer memory");
MODULE_LICENSE("GPL");
