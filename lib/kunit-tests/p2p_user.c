// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of peer-to-peer DMA through VMAs: the fake importer, the memory
 * of a test, and a record of the refusals.
 */
#include <kunit/device.h>
#include <linux/cleanup.h>
#include <linux/dma-mapping.h>
#include <linux/mman.h>
#include <linux/moduleparam.h>
#include <linux/tracepoint.h>
#include <linux/vmalloc.h>
#include <asm/tlb.h>
#include <trace/events/p2p.h>

#include "p2p_kunit.h"

/* The importer */

static bool p2p_user_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range,
				unsigned long cur_seq)
{
	struct p2p_user *user = container_of(mni, struct p2p_user, mni);
	unsigned long start = max(range->start, user->set.start);
	unsigned long end = min(range->end, user->set.end);

	if (!mmu_notifier_range_blockable(range))
		return false;

	mutex_lock(&user->lock);
	mmu_interval_set_seq(mni, cur_seq);
	user->invalidations++;
	if (p2p_extents_cut(&user->set, &start, &end)) {
		user->cuts++;
		user->cut_start = start;
		user->cut_end = end;
	}
	p2p_extents_cut_finish(&user->set);
	mutex_unlock(&user->lock);
	return true;
}

static const struct mmu_interval_notifier_ops p2p_user_ops = {
	.invalidate = p2p_user_invalidate,
};

/* The importer's object goes, as an MR does, with or before the test's mm. */
static void p2p_user_end(void *data)
{
	struct p2p_user *user = data;
	unsigned long start = user->set.start, end = user->set.end;

	mutex_lock(&user->lock);
	p2p_extents_cut(&user->set, &start, &end);
	p2p_extents_cut_finish(&user->set);
	mutex_unlock(&user->lock);
	mmu_interval_notifier_remove(&user->mni);
	kvfree(user->pfns);
}

/* The object [@start, @start + @len) of @importer, NULL to copy by CPU. */
struct p2p_user *p2p_user_create(struct kunit *test, struct device *importer,
				 unsigned long start, size_t len, bool write)
{
	struct p2p_user *user = kunit_kzalloc(test, sizeof(*user), GFP_KERNEL);
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, user);
	user->test = test;
	mutex_init(&user->lock);
	p2p_extents_init(&user->set, importer, start, start + len, write);
	user->pfns = kvcalloc(len >> PAGE_SHIFT, sizeof(*user->pfns),
			      GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, user->pfns);
	ret = mmu_interval_notifier_insert(&user->mni, current->mm, start, len,
					   &p2p_user_ops);
	KUNIT_ASSERT_EQ(test, 0, ret);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, p2p_user_end, user));
	return user;
}

/* Get ready for p2p_user_walk(). */
void p2p_user_range(struct p2p_user *user, struct hmm_range *range,
		    struct p2p_fault *fault, unsigned long addr, size_t len,
		    unsigned long flags)
{
	*range = (struct hmm_range) {
		.notifier = &user->mni,
		.start = addr,
		.end = addr + len,
		.hmm_pfns = user->pfns + ((addr - user->set.start) >> PAGE_SHIFT),
		.default_flags = flags,
		.peer = fault,
	};
	p2p_fault_init(fault, &user->set);
}

int p2p_user_walk(struct hmm_range *range)
{
	return hmm_range_fault_unlocked_timeout(range, 60 * HZ);
}

void p2p_user_commit(struct p2p_user *user, struct p2p_fault *fault,
		     unsigned long seq)
{
	mutex_lock(&user->lock);
	p2p_fault_commit(fault, seq);
	mutex_unlock(&user->lock);
}

/* All that an importer does in a fault. */
int p2p_user_fault(struct p2p_user *user, unsigned long addr, size_t len,
		   unsigned long flags)
{
	struct p2p_fault fault;
	struct hmm_range range;
	int ret;

	p2p_user_range(user, &range, &fault, addr, len, flags);
	for (;;) {
		ret = p2p_user_walk(&range);
		if (ret)
			return ret;
		if (user->before_commit)
			user->before_commit(user);
		mutex_lock(&user->lock);
		if (!mmu_interval_read_retry(&user->mni, range.notifier_seq))
			break;
		mutex_unlock(&user->lock);
		user->retries++;
	}
	p2p_fault_commit(&fault, range.notifier_seq);
	mutex_unlock(&user->lock);
	return 0;
}

/* The live extent at @addr; nobody else cuts it in a test. */
struct p2p_extent *p2p_user_extent(struct p2p_user *user, unsigned long addr)
{
	size_t off;

	guard(mutex)(&user->lock);
	return p2p_extents_lookup(&user->set, addr, &off);
}

unsigned long p2p_user_pfn(struct p2p_user *user, unsigned long addr)
{
	return user->pfns[(addr - user->set.start) >> PAGE_SHIFT];
}

/* A device of its own name, and with a DMA mask of 64 bits. */
struct device *p2p_test_device(struct kunit *test)
{
	static unsigned int nr;
	struct device *dev;
	char name[16];

	snprintf(name, sizeof(name), "dev%u", nr++);
	dev = kunit_device_register(test, name);
	KUNIT_ASSERT_FALSE(test, IS_ERR(dev));
	KUNIT_ASSERT_EQ(test, 0,
			dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64)));
	return dev;
}

/* The memory of the test */

unsigned long p2p_test_mmap(struct kunit *test, struct file *file,
			    unsigned long addr, size_t len, size_t off,
			    int prot, int flags)
{
	unsigned long ret;

	ret = kunit_vm_mmap(test, file, addr, len, prot, flags | MAP_FIXED, off);
	KUNIT_ASSERT_EQ(test, addr, ret);
	return ret;
}

unsigned long p2p_test_anon(struct kunit *test, unsigned long addr, size_t len)
{
	return p2p_test_mmap(test, NULL, addr, len, 0, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

/* mprotect() of a range that is all of a VMA. */
int p2p_test_mprotect(unsigned long addr, size_t len, vm_flags_t clear,
		      vm_flags_t set)
{
	struct vm_area_struct *vma, *prev = NULL;
	struct mm_struct *mm = current->mm;
	struct mmu_gather tlb;
	int ret = -ENOMEM;

	VMA_ITERATOR(vmi, mm, addr);

	mmap_write_lock(mm);
	vma = vma_find(&vmi, addr + len);
	if (vma) {
		tlb_gather_mmu(&tlb, mm);
		ret = mprotect_fixup(&vmi, &tlb, vma, &prev, addr, addr + len,
				     (vma->vm_flags & ~clear) | set);
		tlb_finish_mmu(&tlb);
	}
	mmap_write_unlock(mm);
	return ret;
}

/* Set a parameter of the kernel: 0 or -errno. */
int p2p_test_set_param(const char *name, unsigned int value)
{
	char args[40];
	char *after;

	snprintf(args, sizeof(args), "%s=%u", name, value);
	after = parse_args("p2p_kunit", args, __start___param,
			   __stop___param - __start___param, -1, -1, NULL, NULL);
	return IS_ERR(after) ? PTR_ERR(after) : 0;
}

static void p2p_test_default_wait(void *unused)
{
	p2p_test_set_param("p2p_vma.wait_ms", 5000);
}

/* Change the longest wait for an exporter, for the rest of this test. */
void p2p_test_wait_ms(struct kunit *test, unsigned int ms)
{
	KUNIT_ASSERT_EQ(test, 0, p2p_test_set_param("p2p_vma.wait_ms", ms));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, p2p_test_default_wait,
						  NULL));
}

/* Refusals */

static struct {
	unsigned int nr;
	unsigned long addr;
	enum p2p_reason reason;
	int err;
} p2p_refusals;

static void p2p_refusals_probe(void *data, const struct device *importer,
			       unsigned long addr, enum p2p_reason reason,
			       int err)
{
	p2p_refusals.nr++;
	p2p_refusals.addr = addr;
	p2p_refusals.reason = reason;
	p2p_refusals.err = err;
}

int p2p_refusals_start(struct kunit_suite *suite)
{
	return register_trace_p2p_refuse(p2p_refusals_probe, NULL);
}

void p2p_refusals_stop(struct kunit_suite *suite)
{
	unregister_trace_p2p_refuse(p2p_refusals_probe, NULL);
	tracepoint_synchronize_unregister();
}

/* The number of refusals since the last look. */
unsigned int p2p_refusals_take(void)
{
	unsigned int nr = p2p_refusals.nr;

	p2p_refusals.nr = 0;
	return nr;
}

void p2p_refused(struct kunit *test, int line, int ret, int err,
		 enum p2p_reason reason)
{
	KUNIT_EXPECT_EQ_MSG(test, err, ret, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, 1, p2p_refusals_take(), "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, err, p2p_refusals.err, "line %d", line);
	KUNIT_EXPECT_NE_MSG(test, 0, p2p_refusals.addr, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, reason, p2p_refusals.reason, "line %d", line);
}
