/* SPDX-License-Identifier: GPL-2.0 */
/* KUnit tests of regions with struct pages: an exporter of a BAR that has some. */
#ifndef _P2P_KUNIT_PAGES_H
#define _P2P_KUNIT_PAGES_H

#include <linux/mm.h>

#include "p2p_kunit.h"

#define PAGES_2M	get_order(SZ_2M)
#define PAGES_MAX	16

/* The cache mode that a BAR has by default */
#define PAGES_PROT	pgprot_noncached(PAGE_KERNEL)

struct p2p_fake *pages_fake(struct kunit *test, unsigned int order);
struct page *pages_page(struct p2p_fake *fake, unsigned long nr);
int pages_refs(struct p2p_fake *fake, unsigned long nr);
bool pages_rest(struct p2p_fake *fake, unsigned long nr);

#endif /* _P2P_KUNIT_PAGES_H */
