// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of regions with struct pages: an exporter of a BAR that has some. */
#include <linux/mman.h>

#include "p2p_pages.h"

/* The memory of QEMU's ivshmem, with pages, mapped at P2P_TEST_ADDR. */
struct p2p_fake *pages_fake(struct kunit *test, unsigned int order)
{
	struct p2p_fake *fake = p2p_fake_ivshmem(test);

	KUNIT_ASSERT_EQ(test, 0,
			p2p_region_add_pages(fake->region, &fake->exporter,
					     order, PAGES_PROT));
	p2p_fake_mmap(fake, P2P_TEST_ADDR, PAGES_MAX * PAGE_SIZE, 0,
		      PROT_READ | PROT_WRITE);
	return fake;
}

/* Page @nr of the memory */
struct page *pages_page(struct p2p_fake *fake, unsigned long nr)
{
	return pfn_to_page(PHYS_PFN(fake->region->start) + nr);
}

int pages_refs(struct p2p_fake *fake, unsigned long nr)
{
	return folio_ref_count(page_folio(pages_page(fake, nr)));
}

/* Nobody has any of the first @nr pages. */
bool pages_rest(struct p2p_fake *fake, unsigned long nr)
{
	while (nr--)
		if (pages_refs(fake, nr) != 1)
			return false;
	return true;
}
