// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the topology where things go wrong: what the log says of a
 * refusal, devices that vanish after the query, regions that go during one.
 */
#include <linux/delay.h>
#include <linux/kmsg_dump.h>
#include <linux/kthread.h>
#include <linux/p2p_vma.h>
#include <linux/pci-p2pdma.h>
#include <linux/ratelimit.h>

#include "../../drivers/pci/pci.h"
#include "../../mm/p2p_vma.h"
#include "p2p_soft_host.h"

#define RP	PCI_EXP_TYPE_ROOT_PORT
#define USP	PCI_EXP_TYPE_UPSTREAM
#define DSP	PCI_EXP_TYPE_DOWNSTREAM
#define EP	PCI_EXP_TYPE_ENDPOINT
#define RECORD	384

/* Two devices below one switch, a third one on a root port. */
static const struct soft_dev bad_devs[] = {
	{ -1, PCI_DEVFN(1, 0), RP, ACS_ALL, PCI_ACS_UF },
	{ 0, 0, USP },
	{ 1, PCI_DEVFN(0, 0), DSP, ACS_ALL, 0 },
	{ 1, PCI_DEVFN(1, 0), DSP, ACS_ALL, 0 },
	{ 2, 0, EP },
	{ 3, 0, EP },
	{ -1, PCI_DEVFN(2, 0), RP, ACS_ALL, PCI_ACS_UF },
	{ 6, 0, EP },
};

enum { PORT = 2, IMPORTER = 4, OWNER = 5, FAR = 7 };

static struct pci_dev *bad_pci(struct kunit *test, int i)
{
	struct pci_dev *pdev = soft_pci(i);

	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pdev->dma_mask = DMA_BIT_MASK(64);
	return pdev;
}

static struct p2p_region *bad_region(struct kunit *test)
{
	struct p2p_region *r;

	/* What forwards here must not depend on the machine. */
	if (p2pdma_cpu_listed())
		kunit_skip(test, "needs a processor that is not listed");
	soft_build(bad_devs, ARRAY_SIZE(bad_devs));
	r = p2p_region_bar(bad_pci(test, OWNER), 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	p2p_topology_settle();
	return r;
}

static u64 log_end(void)
{
	struct kmsg_dump_iter it;

	kmsg_dump_rewind(&it);
	return it.next_seq;
}

/* Lines since @from that hold all of the words. */
static int log_count(u64 from, const char *a, const char *b, const char *c)
{
	struct kmsg_dump_iter it;
	static char line[1024];
	int n = 0;
	size_t len;

	kmsg_dump_rewind(&it);
	it.cur_seq = from;
	while (kmsg_dump_get_line(&it, false, line, sizeof(line) - 1, &len)) {
		line[len] = 0;
		n += strstr(line, a) && strstr(line, b) && strstr(line, c);
	}
	return n;
}

/* A refusal is logged once, by name, with what could be done about it. */
static void log_refusal(struct kunit *test)
{
	struct p2p_region *r = bad_region(test);
	struct device *far = &bad_pci(test, FAR)->dev;
	struct pci_dev *owner = soft_pci(OWNER);
	const char *why = "no peer-to-peer DMA to";
	struct p2p_verdict v;
	char bridges[64];
	u64 from;
	int i;

	ratelimit_state_init(&p2p_log_limit, 10 * HZ, 10);
	p2p_topology_changed();
	from = log_end();
	__p2p_topology_query(r, far, false, &v);
	KUNIT_EXPECT_EQ(test, -1, pci_p2pdma_distance(owner, far, false));
	KUNIT_EXPECT_EQ(test, 0, log_count(from, dev_name(far), why, ""));

	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, -EREMOTEIO, p2p_topology_query(r, far, &v));
	KUNIT_EXPECT_EQ(test, -1, pci_p2pdma_distance(owner, far, true));
	snprintf(bridges, sizeof(bridges), "host bridges %04x:%04x, %04x:%04x",
		 v.host[1].vendor, v.host[1].device, v.host[0].vendor,
		 v.host[0].device);
	KUNIT_EXPECT_EQ(test, 1, log_count(from, dev_name(far), why, ""));
	KUNIT_EXPECT_EQ(test, 1, log_count(from, pci_name(owner), "host-bridge",
					   bridges));
	KUNIT_EXPECT_EQ(test, 1, log_count(from, dev_name(far),
					   p2p_topology_advice(v.reason), ""));

	/* Once more after a change, by those who only know distances, too. */
	p2p_topology_changed();
	KUNIT_EXPECT_EQ(test, -1, pci_p2pdma_distance(owner, far, true));
	KUNIT_EXPECT_EQ(test, 2, log_count(from, dev_name(far), why, ""));

	/* Refusals that are no matter of the path, too */
	pci_resource_n(owner, 0)->start += SZ_64K;
	p2p_topology_query(r, &bad_pci(test, IMPORTER)->dev, &v);
	p2p_topology_query(r, &bad_pci(test, IMPORTER)->dev, &v);
	pci_resource_n(owner, 0)->start -= SZ_64K;
	KUNIT_EXPECT_EQ(test, 1, log_count(from, pci_name(owner), "bar-moved",
					   pci_name(soft_pci(IMPORTER))));
	ratelimit_state_init(&p2p_log_limit, 10 * HZ, 8);

	/* And not without bounds. */
	for (i = 0; i < 20; i++) {
		p2p_topology_changed();
		p2p_topology_query(r, far, &v);
	}
	KUNIT_EXPECT_EQ(test, 10, log_count(from, dev_name(far), why, ""));
	ratelimit_state_init(&p2p_log_limit, 10 * HZ, 10);
	p2p_region_put(r);
}

/* Who reads how to relax ACS reads what that costs. */
static void log_acs_cost(struct kunit *test)
{
	struct p2p_region *r = bad_region(test);
	struct device *importer = &bad_pci(test, IMPORTER)->dev;
	struct p2p_verdict v;
	int reason;
	u64 from;

	pci_write_config_word(soft_pci(PORT), CAP_ACS + PCI_ACS_CTRL,
			      PCI_ACS_RR);
	ratelimit_state_init(&p2p_log_limit, 10 * HZ, 10);
	from = log_end();
	KUNIT_EXPECT_EQ(test, -EREMOTEIO, p2p_topology_query(r, importer, &v));
	KUNIT_EXPECT_EQ(test, 1, log_count(from, "acs-redirect",
					   pci_name(soft_pci(PORT)), ""));
	KUNIT_EXPECT_EQ(test, 1, log_count(from, dev_name(importer),
					   "disable_acs_redir", "isolation"));
	for (reason = 0; reason < P2P_TOPO_NR_REASONS; reason++) {
		const char *advice = p2p_topology_advice(reason);

		if (strstr(advice, "disable_acs_redir"))
			KUNIT_EXPECT_NOT_NULL(test, strstr(advice, "isolation"));
	}
	p2p_region_put(r);
}

struct vanish {
	struct p2p_exporter e;
	struct p2p_extent *ext;
};

static void vanish_zap(struct p2p_exporter *e)
{
	struct vanish *x = container_of(e, struct vanish, e);

	if (x->ext)
		p2p_extent_release(x->ext);
	x->ext = NULL;
}

static const struct p2p_exporter_ops vanish_ops = { .zap = vanish_zap };

static int vanish_map(struct kunit *test, struct vanish *x,
		      struct p2p_region *r, struct pci_dev *importer)
{
	enum p2p_reason reason = P2P_REASON_NONE;
	struct p2p_extent *ext;
	int ret;

	ext = p2p_extent_alloc(&x->e, &importer->dev);
	KUNIT_ASSERT_FALSE(test, IS_ERR_OR_NULL(ext));
	ext->phys = r->start;
	ext->len = SZ_64K;
	ret = p2p_extent_map(ext, PAGE_KERNEL, &reason);
	if (!ret) {
		x->ext = ext;
		return 0;
	}
	KUNIT_EXPECT_FALSE(test, ext->mapped);
	KUNIT_EXPECT_EQ(test, P2P_REASON_TOPOLOGY, reason);
	p2p_extent_release(ext);
	return ret;
}

/* Gone between the query and the mapping, with no change of the generation. */
static void vanish_after_query(struct kunit *test)
{
	struct vanish *x = kunit_kzalloc(test, sizeof(*x), GFP_KERNEL);
	struct p2p_region *r = bad_region(test);
	struct pci_dev *dev[2] = { bad_pci(test, IMPORTER), soft_pci(OWNER) };
	struct p2p_verdict v;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, x);
	x->e.ops = &vanish_ops;
	KUNIT_ASSERT_EQ(test, 0, p2p_region_attach(r, &x->e));
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, 0,
				p2p_topology_query(r, &dev[0]->dev, &v));
		dev[i]->error_state = pci_channel_io_perm_failure;
		KUNIT_EXPECT_EQ(test, -ENODEV, vanish_map(test, x, r, dev[0]));
		KUNIT_EXPECT_EQ(test, -ENODEV,
				p2p_topology_query(r, &dev[0]->dev, &v));
		KUNIT_EXPECT_EQ(test, P2P_TOPO_GONE, v.reason);
		KUNIT_EXPECT_EQ(test, pci_dev_id(dev[i]), v.culprit[0].rid);
		dev[i]->error_state = pci_channel_io_normal;
	}
	KUNIT_EXPECT_EQ(test, 0, vanish_map(test, x, r, dev[0]));
	p2p_region_detach(r, &x->e);
	KUNIT_EXPECT_NULL(test, x->ext);
	p2p_region_put(r);
}

static u8 copy_reads;
static size_t copy_gone_at;		/* where the device went, 0: nowhere */

static int copy_from_fake(struct p2p_extent *ext, size_t off, void *dst,
			  size_t len)
{
	memset(dst, copy_reads, len);
	if (copy_gone_at)
		memset(dst + copy_gone_at, 0xff, len - copy_gone_at);
	return 0;
}

static int copy_to_fake(struct p2p_extent *ext, size_t off, const void *src,
			size_t len)
{
	return 0;
}

static const struct p2p_exporter_ops copy_ops = {
	.zap = vanish_zap,
	.copy_to = copy_to_fake,
	.copy_from = copy_from_fake,
};

/* A removed device reads as ones, before the kernel knows that it is gone. */
static void copy_after_removal(struct kunit *test)
{
	struct vanish *x = kunit_kzalloc(test, sizeof(*x), GFP_KERNEL);
	struct p2p_region *r = bad_region(test);
	struct p2p_extent *ext;
	u8 buf[16] = {};

	KUNIT_ASSERT_NOT_NULL(test, x);
	x->e.ops = &copy_ops;
	KUNIT_ASSERT_EQ(test, 0, p2p_region_attach(r, &x->e));
	ext = p2p_extent_alloc(&x->e, NULL);
	KUNIT_ASSERT_NOT_NULL(test, ext);
	ext->len = sizeof(buf);

	/* Ones may be data. */
	copy_reads = 0xff;
	KUNIT_EXPECT_EQ(test, 0, p2p_copy_from(ext, 0, buf, sizeof(buf)));
	soft->node[OWNER].gone = true;
	KUNIT_EXPECT_EQ(test, -ENODEV, p2p_copy_from(ext, 0, buf, sizeof(buf)));
	KUNIT_EXPECT_EQ(test, 0, p2p_copy_from(ext, 0, buf, 0));
	KUNIT_EXPECT_EQ(test, 0, p2p_copy_to(ext, 0, buf, sizeof(buf)));
	/* It went in the middle: some of it is data. */
	copy_reads = 0;
	copy_gone_at = 5;
	KUNIT_EXPECT_EQ(test, -ENODEV, p2p_copy_from(ext, 0, buf, sizeof(buf)));
	copy_gone_at = 0;
	KUNIT_EXPECT_EQ(test, 0, p2p_copy_from(ext, 0, buf, sizeof(buf)));
	soft->node[OWNER].gone = false;

	/* Now the kernel knows. */
	copy_reads = 0;
	soft_pci(OWNER)->error_state = pci_channel_io_perm_failure;
	KUNIT_EXPECT_EQ(test, -ENODEV, p2p_copy_from(ext, 0, buf, sizeof(buf)));
	KUNIT_EXPECT_EQ(test, -ENODEV, p2p_copy_to(ext, 0, buf, sizeof(buf)));
	/* What was evicted is still there. */
	ext->flags = P2P_EXT_RAM;
	ext->phys = virt_to_phys(x);
	KUNIT_EXPECT_EQ(test, 0, p2p_copy_from(ext, 0, buf, sizeof(buf)));
	soft_pci(OWNER)->error_state = pci_channel_io_normal;

	p2p_extent_release(ext);
	p2p_region_detach(r, &x->e);
	p2p_region_put(r);
}

struct reader {
	struct device *importer;
	char *buf;
	atomic_t rounds, bad;
};

static int reader_run(void *arg)
{
	struct reader *rd = arg;
	ssize_t len, i;

	while (!kthread_should_stop()) {
		len = p2p_topology_show(rd->importer, rd->buf, 0, SZ_16K);
		if (len < 0 || len % RECORD)
			atomic_inc(&rd->bad);
		for (i = 0; i + RECORD <= len; i += RECORD)
			if (strncmp(rd->buf + i, "region=", 7) ||
			    rd->buf[i + RECORD - 1] != '\n' ||
			    !strnstr(rd->buf + i, " generation=", RECORD))
				atomic_inc(&rd->bad);
		atomic_inc(&rd->rounds);
		cond_resched();
	}
	return 0;
}

/* Regions and devices come and go while somebody reads the file. */
static void region_goes_during_query(struct kunit *test)
{
	struct reader *rd = kunit_kzalloc(test, sizeof(*rd), GFP_KERNEL);
	struct p2p_region *r = bad_region(test), *more;
	struct task_struct *task;
	int i, seen;

	KUNIT_ASSERT_NOT_NULL(test, rd);
	rd->buf = kunit_kzalloc(test, SZ_16K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, rd->buf);
	rd->importer = get_device(&bad_pci(test, IMPORTER)->dev);
	p2p_region_put(r);
	task = kthread_run(reader_run, rd, "p2p_reader");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));

	for (i = 0; i < 300; i++) {
		seen = atomic_read(&rd->rounds);
		r = p2p_region_bar(soft_pci(OWNER), 0);
		more = p2p_region_bar(soft_pci(FAR), 0);
		KUNIT_EXPECT_FALSE(test, IS_ERR(r) || IS_ERR(more));
		if (!(i % 10)) {
			pci_lock_rescan_remove();
			/* or the port above it */
			pci_stop_and_remove_bus_device(soft_pci(i % 20 ? FAR :
								FAR - 1));
			pci_unlock_rescan_remove();
			soft_fill(&soft->node[FAR - 1], FAR - 1);
			soft_fill(&soft->node[FAR], FAR);
		}
		p2p_region_put(more);
		if (!(i % 10))
			soft_scan();
		p2p_region_put(r);
		while (atomic_read(&rd->rounds) == seen)
			usleep_range(10, 100);
	}
	kthread_stop(task);
	put_device(rd->importer);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&rd->bad));
}

static struct kunit_case p2p_topology_bad_cases[] = {
	KUNIT_CASE(log_refusal),
	KUNIT_CASE(log_acs_cost),
	KUNIT_CASE(vanish_after_query),
	KUNIT_CASE(copy_after_removal),
	KUNIT_CASE_SLOW(region_goes_during_query),
	{}
};

static struct kunit_suite p2p_topology_bad_suite = {
	.name = "p2p_topology_bad",
	.init = soft_init,
	.exit = soft_exit,
	.test_cases = p2p_topology_bad_cases,
};

kunit_test_suite(p2p_topology_bad_suite);
