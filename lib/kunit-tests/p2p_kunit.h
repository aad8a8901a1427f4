/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit tests of peer-to-peer DMA through VMAs: a fake exporter, whose memory
 * is a hole in the physical address space, and a user that copies or pretends
 * to do DMA.
 */
#ifndef _P2P_KUNIT_H
#define _P2P_KUNIT_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/p2p_vma.h>
#include <linux/sizes.h>

/* A fresh mm has nothing here; a multiple of P2P_CHUNK_SIZE. */
#define P2P_TEST_ADDR	(64UL << 30)

#define P2P_READ	HMM_PFN_REQ_FAULT
#define P2P_WRITE	(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)
#define P2P_PEER_RO	(HMM_PFN_VALID | HMM_PFN_PEER)
#define P2P_PEER_RW	(P2P_PEER_RO | HMM_PFN_WRITE)

/*
 * An exporter. Offset 0 of its file is the first byte of its region. Without
 * @map it grants the whole window.
 */
struct p2p_fake {
	struct kunit *test;
	struct device *dev;
	struct resource *res;
	struct p2p_region *region;
	struct p2p_exporter exporter;
	const struct vm_operations_struct *vm_ops;
	vm_flags_t vm_flags;		/* of new mappings */
	atomic_t vmas;
	struct file *file;
	u8 *vram;			/* what the copy ops work on */
	bool detached;

	int (*map)(struct p2p_fake *fake, struct vm_area_struct *vma,
		   struct p2p_map_req *req);
	void *priv;			/* for @map */
	int err;			/* for @map */
	struct p2p_map_req req;		/* the last one, as it came */

	atomic_t maps;
	atomic_t granted;
	atomic_t unmaps;
	unsigned int zaps;
	struct p2p_extent last;		/* copy of the last one unmapped */
	struct completion *unmap_hold;	/* ->p2p_unmap() waits for this */
	struct completion unmap_begun;
};

/* For @vm_ops: without the one or the other */
extern const struct vm_operations_struct p2p_fake_no_map_ops;
extern const struct vm_operations_struct p2p_fake_no_fault_ops;
extern const struct vm_operations_struct p2p_fake_no_unmap_ops;

struct p2p_fake *p2p_fake_create(struct kunit *test, size_t size);
struct p2p_fake *p2p_fake_attach(struct kunit *test, struct p2p_region *r);
struct p2p_fake *p2p_fake_ivshmem(struct kunit *test);
void p2p_fake_evict(struct p2p_fake *fake);
void p2p_fake_add_vram(struct p2p_fake *fake);
void p2p_fake_detach(struct p2p_fake *fake);
struct file *p2p_fake_open(struct p2p_fake *fake, int flags);
unsigned long p2p_fake_mmap(struct p2p_fake *fake, unsigned long addr,
			    size_t len, size_t off, int prot);
int p2p_fake_grant(struct p2p_fake *fake, struct p2p_map_req *req,
		   unsigned long addr, phys_addr_t phys, size_t len,
		   unsigned int flags);
int p2p_fake_linear(struct p2p_fake *fake, struct vm_area_struct *vma,
		    struct p2p_map_req *req);
int p2p_fake_needed(struct p2p_fake *fake, struct vm_area_struct *vma,
		    struct p2p_map_req *req);
int p2p_fake_one(struct p2p_fake *fake, struct vm_area_struct *vma,
		 struct p2p_map_req *req);
int p2p_fake_error(struct p2p_fake *fake, struct vm_area_struct *vma,
		   struct p2p_map_req *req);
int p2p_fake_unmaps(struct p2p_fake *fake);
bool p2p_fake_all_unmapped(struct p2p_fake *fake);

/* Physical address that @vma maps at @addr. */
static inline phys_addr_t p2p_fake_phys(struct p2p_fake *fake,
					struct vm_area_struct *vma,
					unsigned long addr)
{
	return fake->region->start + (addr - vma->vm_start) +
	       ((phys_addr_t)vma->vm_pgoff << PAGE_SHIFT);
}

/* An importer's object, such as an MR. */
struct p2p_user {
	struct kunit *test;
	struct mmu_interval_notifier mni;
	struct mutex lock;		/* the user_lock */
	struct p2p_extents set;
	unsigned long *pfns;		/* of the whole object */

	void (*before_commit)(struct p2p_user *user);
	void *priv;			/* for @before_commit */

	unsigned int invalidations;
	unsigned int cuts;		/* those that met an extent */
	unsigned long cut_start;
	unsigned long cut_end;
	unsigned int retries;
};

struct p2p_user *p2p_user_create(struct kunit *test, struct device *importer,
				 unsigned long start, size_t len, bool write);
void p2p_user_range(struct p2p_user *user, struct hmm_range *range,
		    struct p2p_fault *fault, unsigned long addr, size_t len,
		    unsigned long flags);
int p2p_user_walk(struct hmm_range *range);
void p2p_user_commit(struct p2p_user *user, struct p2p_fault *fault,
		     unsigned long seq);
int p2p_user_fault(struct p2p_user *user, unsigned long addr, size_t len,
		   unsigned long flags);
struct p2p_extent *p2p_user_extent(struct p2p_user *user, unsigned long addr);
unsigned long p2p_user_pfn(struct p2p_user *user, unsigned long addr);

struct device *p2p_test_device(struct kunit *test);

/* Memory of the test, at a fixed address. */
unsigned long p2p_test_mmap(struct kunit *test, struct file *file,
			    unsigned long addr, size_t len, size_t off,
			    int prot, int flags);
unsigned long p2p_test_anon(struct kunit *test, unsigned long addr, size_t len);
int p2p_test_mprotect(unsigned long addr, size_t len, vm_flags_t clear,
		      vm_flags_t set);
int p2p_test_set_param(const char *name, unsigned int value);
void p2p_test_wait_ms(struct kunit *test, unsigned int ms);

/* Refusals, as the tracepoint tells them. */
int p2p_refusals_start(struct kunit_suite *suite);
void p2p_refusals_stop(struct kunit_suite *suite);
unsigned int p2p_refusals_take(void);
void p2p_refused(struct kunit *test, int line, int ret, int err,
		 enum p2p_reason reason);

/* @ret is the errno of a call that was refused once, for @reason. */
#define P2P_EXPECT_REFUSED(test, ret, err, reason) \
	p2p_refused(test, __LINE__, ret, err, reason)

#endif /* _P2P_KUNIT_H */
