// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the exporter of uverbs mappings: a file of uverbs and a driver
 * with ->mmap_get_pfns(), whose doorbells are in BAR 2 of QEMU's shared memory
 * device. mmap() does what ib_uverbs_mmap() does.
 */
#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>

#include "../../drivers/infiniband/core/core_priv.h"
#include "../../drivers/infiniband/core/rdma_core.h"
#include "../../drivers/infiniband/core/uverbs.h"
#include "../../drivers/infiniband/core/uverbs_peer.h"
#include "p2p_kunit.h"

#define ADDR		P2P_TEST_ADDR
#define PAGES(n)	((unsigned long)(n) * PAGE_SIZE)
#define SIZE		PAGES(6)
#define FILE_OFF	PAGES(64)	/* what mmap() is called with */
#define BAR_OFF		PAGES(3)	/* where the doorbells are */

struct peer_world {
	struct kunit *test;
	struct p2p_fake *fake;		/* another exporter of the BAR */
	struct pci_dev *pdev;
	struct ib_device ib;
	struct ib_ucontext ucontext;
	struct ib_uverbs_file ufile;
	struct rdma_user_mmap_entry entry;
	struct file *file;
	int bar, err;			/* of ->mmap_get_pfns() */
};

static int peer_get_pfns(struct rdma_user_mmap_entry *entry,
			 struct phys_vec *phys, struct p2pdma_provider **provider)
{
	struct peer_world *w = container_of(entry, struct peer_world, entry);

	phys->paddr = pci_resource_start(w->pdev, w->bar) + BAR_OFF;
	phys->len = SIZE;
	*provider = pcim_p2pdma_provider(w->pdev, w->bar);
	return w->err;
}

static int peer_f_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct ib_uverbs_file *ufile = file->private_data;
	struct peer_world *w = container_of(ufile, struct peer_world, ufile);
	struct rdma_umap_priv *priv = kzalloc_obj(*priv, GFP_KERNEL);

	if (!priv)
		return -ENOMEM;
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP);
	rdma_umap_priv_init(priv, vma, &w->entry);
	vma->vm_ops = &rdma_umap_peer_ops;
	KUNIT_EXPECT_TRUE(w->test, uverbs_peer_vma(&w->ib, vma));
	return 0;
}

static const struct file_operations peer_fops = {
	.mmap = peer_f_mmap,
};

/* As ufile_destroy_ucontext() does. */
static void peer_destroy(struct peer_world *w)
{
	down_write(&w->ufile.hw_destroy_rwsem);
	uverbs_peer_detach(&w->ufile);
	uverbs_user_mmap_disassociate(&w->ufile);
	w->ufile.ucontext = NULL;
	up_write(&w->ufile.hw_destroy_rwsem);
}

static bool peer_busy(struct peer_world *w)
{
	guard(mutex)(&w->ufile.umap_lock);
	return !list_empty(&w->ufile.umaps);
}

/* The test's mm is on its way out. */
static void peer_end(void *data)
{
	struct peer_world *w = data;
	int i;

	for (i = 0; i < 500 && peer_busy(w); i++)
		msleep(20);
	KUNIT_EXPECT_FALSE(w->test, peer_busy(w));
	peer_destroy(w);
	KUNIT_EXPECT_EQ(w->test, 1, kref_read(&w->entry.ref));
	fput(w->file);
	flush_delayed_fput();
}

static struct peer_world *peer_setup(struct kunit *test)
{
	struct p2p_fake *fake = p2p_fake_ivshmem(test);
	struct peer_world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	unsigned long addr;

	KUNIT_ASSERT_NOT_NULL(test, w);
	w->test = test;
	w->fake = fake;
	w->pdev = to_pci_dev(fake->dev);
	w->bar = 2;
	w->ib.ops.mmap_get_pfns = peer_get_pfns;
	w->ucontext.device = &w->ib;
	w->ucontext.ufile = &w->ufile;
	w->ufile.ucontext = &w->ucontext;
	init_rwsem(&w->ufile.hw_destroy_rwsem);
	mutex_init(&w->ufile.umap_lock);
	INIT_LIST_HEAD(&w->ufile.umaps);
	kref_init(&w->entry.ref);
	w->entry.ucontext = &w->ucontext;
	w->entry.npages = SIZE >> PAGE_SHIFT;
	w->file = anon_inode_create_getfile("[uverbs_peer]", &peer_fops,
					    &w->ufile, O_RDWR, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(w->file));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, peer_end, w));
	addr = p2p_test_mmap(test, w->file, ADDR, SIZE, FILE_OFF,
			     PROT_READ | PROT_WRITE, MAP_SHARED);
	KUNIT_ASSERT_EQ(test, ADDR, addr);
	p2p_refusals_take();
	return w;
}

/* An extent at @addr, and that it is where the driver says. */
static void peer_expect(struct kunit *test, struct peer_world *w,
			struct p2p_user *user, unsigned long addr)
{
	phys_addr_t bar = pci_resource_start(w->pdev, 2);
	struct p2p_extent *ext;
	size_t off;

	KUNIT_ASSERT_EQ(test, 0, p2p_user_fault(user, addr, PAGE_SIZE,
						P2P_READ));
	mutex_lock(&user->lock);
	ext = p2p_extents_lookup(&user->set, addr, &off);
	KUNIT_EXPECT_NOT_NULL(test, ext);
	if (ext)
		KUNIT_EXPECT_EQ(test, bar + BAR_OFF + (addr - ADDR),
				ext->phys + off);
	mutex_unlock(&user->lock);
}

static void peer_grant(struct kunit *test)
{
	struct peer_world *w = peer_setup(test);
	struct p2p_user *user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	struct p2p_extent *ext;
	const u32 ring = 0x12345678;
	u32 seen = 0;
	size_t off;

	KUNIT_EXPECT_NULL(test, w->ufile.peer);
	peer_expect(test, w, user, ADDR + PAGES(2));
	mutex_lock(&user->lock);
	ext = p2p_extents_lookup(&user->set, ADDR + PAGES(2) + 8, &off);
	KUNIT_ASSERT_NOT_NULL(test, ext);
	KUNIT_EXPECT_EQ(test, SIZE, ext->len);
	KUNIT_EXPECT_EQ(test, 0, p2p_copy_to(ext, off, &ring, sizeof(ring)));
	KUNIT_EXPECT_EQ(test, 0, p2p_copy_from(ext, off, &seen, sizeof(seen)));
	mutex_unlock(&user->lock);
	KUNIT_EXPECT_EQ(test, ring, seen);
}

/* Each part still knows where the whole begins. */
static void peer_split(struct kunit *test)
{
	struct peer_world *w = peer_setup(test);
	struct p2p_user *user = p2p_user_create(test, NULL, ADDR, SIZE, true);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR + PAGES(1), PAGES(1)));
	peer_expect(test, w, user, ADDR);
	peer_expect(test, w, user, ADDR + PAGES(2));
	peer_expect(test, w, user, ADDR + PAGES(5));
}

/* All parts of it, and then again. */
static void peer_zap(struct kunit *test)
{
	struct peer_world *w = peer_setup(test);
	struct p2p_user *user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	struct p2p_exporter *e;
	int i;

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR + PAGES(1), PAGES(1)));
	for (i = 0; i < 3; i++) {
		peer_expect(test, w, user, ADDR);
		peer_expect(test, w, user, ADDR + PAGES(2));
		e = p2p_user_extent(user, ADDR)->exporter;
		KUNIT_ASSERT_PTR_NE(test, e, &w->fake->exporter);
		e->ops->zap(e);
		KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR));
		KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR + PAGES(2)));
	}
	KUNIT_EXPECT_EQ(test, 0, w->fake->zaps);
}

static void peer_gone(struct kunit *test, struct p2p_user *user)
{
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, PAGE_SIZE, P2P_READ),
			   -ENODEV, P2P_REASON_EXPORTER);
}

/* The driver revokes its mappings: the file lives on, these pages do not. */
static void peer_disassociate(struct kunit *test)
{
	struct peer_world *w = peer_setup(test);
	struct p2p_user *user = p2p_user_create(test, NULL, ADDR, SIZE, true);

	peer_expect(test, w, user, ADDR);
	down_write(&w->ufile.hw_destroy_rwsem);
	peer_gone(test, p2p_user_create(test, NULL, ADDR, SIZE, true));
	uverbs_user_mmap_disassociate(&w->ufile);
	up_write(&w->ufile.hw_destroy_rwsem);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR));
	peer_gone(test, user);
	/* its VMA has closed the tracking already */
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(ADDR, SIZE));
}

static void peer_destroyed(struct kunit *test)
{
	struct peer_world *w = peer_setup(test);
	struct p2p_user *user = p2p_user_create(test, NULL, ADDR, SIZE, true);
	unsigned int before = w->fake->region->exporters;

	peer_expect(test, w, user, ADDR);
	KUNIT_EXPECT_EQ(test, before + 1, w->fake->region->exporters);
	peer_destroy(w);
	KUNIT_EXPECT_NULL(test, w->ufile.peer);
	KUNIT_EXPECT_EQ(test, before, w->fake->region->exporters);
	KUNIT_EXPECT_NULL(test, p2p_user_extent(user, ADDR));
	peer_gone(test, user);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(ADDR, SIZE));
}

static void peer_refuse(struct kunit *test)
{
	struct peer_world *w = peer_setup(test);
	struct p2p_user *user = p2p_user_create(test, NULL, ADDR, SIZE, true);

	/* the driver does not want to, or BAR 0, which is smaller than a page */
	w->err = -EPROTO;
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, PAGE_SIZE, P2P_READ),
			   -EPROTO, P2P_REASON_EXPORTER);
	w->err = 0;
	w->bar = 0;
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR, PAGE_SIZE, P2P_READ),
			   -EINVAL, P2P_REASON_EXPORTER);
	KUNIT_EXPECT_NULL(test, w->ufile.peer);
	/* a second BAR */
	w->bar = 2;
	peer_expect(test, w, user, ADDR);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(ADDR, PAGES(1)));
	w->bar = 0;
	P2P_EXPECT_REFUSED(test, p2p_user_fault(user, ADDR + PAGES(1), PAGE_SIZE,
						P2P_READ),
			   -EOPNOTSUPP, P2P_REASON_EXPORTER);
}

/* Mappings that are none of this. */
static void peer_not_ours(struct kunit *test)
{
	struct peer_world *w = peer_setup(test);
	struct rdma_umap_priv priv = { .entry = &w->entry };
	struct vm_area_struct *vma;

	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, ADDR);
	KUNIT_EXPECT_NOT_NULL(test, vma);
	if (vma) {
		void *mine = vma->vm_private_data;

		KUNIT_EXPECT_TRUE(test, uverbs_peer_vma(&w->ib, vma));
		vma->vm_private_data = NULL;
		KUNIT_EXPECT_FALSE(test, uverbs_peer_vma(&w->ib, vma));
		vma->vm_private_data = &priv;
		KUNIT_EXPECT_TRUE(test, uverbs_peer_vma(&w->ib, vma));
		priv.entry = NULL;
		KUNIT_EXPECT_FALSE(test, uverbs_peer_vma(&w->ib, vma));
		vma->vm_private_data = mine;
		w->ib.ops.mmap_get_pfns = NULL;
		KUNIT_EXPECT_FALSE(test, uverbs_peer_vma(&w->ib, vma));
	}
	mmap_write_unlock(current->mm);
}

static struct kunit_case uverbs_peer_cases[] = {
	KUNIT_CASE(peer_grant),
	KUNIT_CASE(peer_split),
	KUNIT_CASE(peer_zap),
	KUNIT_CASE(peer_disassociate),
	KUNIT_CASE(peer_destroyed),
	KUNIT_CASE(peer_refuse),
	KUNIT_CASE(peer_not_ours),
	{}
};

static struct kunit_suite uverbs_peer_suite = {
	.name = "p2p_uverbs_peer",
	.suite_init = p2p_refusals_start,
	.suite_exit = p2p_refusals_stop,
	.test_cases = uverbs_peer_cases,
};

kunit_test_suite(uverbs_peer_suite);

MODULE_DESCRIPTION("KUnit tests of the exporter of uverbs mappings");
MODULE_LICENSE("GPL");
