// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the topology on PCI trees that the kernel itself found, and of
 * live extents when the topology changes.
 */
#include <linux/p2p_vma.h>
#include <linux/pci-p2pdma.h>
#include <linux/workqueue.h>

#include "../../drivers/pci/pci.h"
#include "../../mm/p2p_vma.h"
#include "p2p_soft_host.h"

#define EP	PCI_EXP_TYPE_ENDPOINT
#define RP	PCI_EXP_TYPE_ROOT_PORT
#define USP	PCI_EXP_TYPE_UPSTREAM
#define DSP	PCI_EXP_TYPE_DOWNSTREAM
#define PCIB	PCI_EXP_TYPE_PCI_BRIDGE
#define RCE	PCI_EXP_TYPE_RC_END
#define RR	PCI_ACS_RR
#define CR	PCI_ACS_CR
#define UF	PCI_ACS_UF
#define EC	PCI_ACS_EC
#define SLOT(n)	PCI_DEVFN(n, 0)

/* The last device is the owner, the one before it the importer. */
struct scan_row {
	const char *name;
	struct soft_dev devs[12];
	bool known;
	struct {
		enum p2p_path path;
		bool read, write;
	} way;
	enum p2p_topo_reason reason;
	int distance;
};

#define ROOT(ctrl)	{ -1, SLOT(1), RP, ACS_ALL, ctrl }
#define UP		{ 0, 0, USP }
#define DOWN(n, ctrl)	{ 1, SLOT(n), DSP, ACS_ALL, ctrl }
#define END(parent)	{ parent, 0, EP }
#define WHY(r)		P2P_TOPO_##r
#define YES(path)	{ P2P_PATH_##path, 1, 1 }
#define NO		{ P2P_PATH_NONE, 0, 0 }

static const struct scan_row scan_rows[] = {
	{ "switch",
	  { ROOT(UF), UP, DOWN(0, 0), DOWN(1, 0), END(2), END(3) },
	  0, YES(BUS), WHY(OK), 4 },
	{ "switch-rr",
	  { ROOT(UF), UP, DOWN(0, RR | CR), DOWN(1, 0), END(2), END(3) },
	  0, NO, WHY(ACS_REDIRECT), 4 },
	{ "switch-rr-known",
	  { ROOT(UF), UP, DOWN(0, RR | CR), DOWN(1, 0), END(2), END(3) },
	  1, YES(HOST), WHY(ACS_REDIRECT), 4 },
	{ "switch-rr-owner",
	  { ROOT(UF), UP, DOWN(0, 0), DOWN(1, RR), END(2), END(3) },
	  0, YES(BUS), WHY(OK), 4 },
	{ "switch-cr-owner",
	  { ROOT(UF), UP, DOWN(0, 0), DOWN(1, CR), END(2), END(3) },
	  0, { P2P_PATH_BUS, 0, 1 }, WHY(ACS_COMPLETION), 4 },
	{ "switch-ec",
	  { ROOT(UF), UP, DOWN(0, EC), DOWN(1, 0), END(2), END(3) },
	  0, YES(BUS), WHY(OK), 4 },
	{ "switch-ec-rr",
	  { ROOT(UF), UP, DOWN(0, EC | RR), DOWN(1, 0), END(2), END(3) },
	  0, YES(BUS), WHY(OK), 4 },
	{ "switch-no-acs",
	  { ROOT(RR), { 0, 0, USP }, { 1, SLOT(0), DSP }, { 1, SLOT(1), DSP },
	    END(2), END(3) },
	  0, YES(BUS), WHY(OK), 4 },
	{ "switch-uf-off",
	  { ROOT(0), { 0, 0, USP }, { 1, SLOT(0), DSP, ACS_ALL, RR },
	    { 1, SLOT(1), DSP }, END(2), END(3) },
	  1, NO, WHY(ACS_UPSTREAM), 4 },
	{ "two-switches",
	  { ROOT(UF), UP, DOWN(0, 0), DOWN(1, 0), { 2, 0, USP },
	    { 4, SLOT(3), DSP, ACS_ALL, RR | CR }, END(5), END(3) },
	  0, YES(BUS), WHY(OK), 6 },
	{ "two-switches-up",
	  { ROOT(UF), UP, DOWN(0, 0), DOWN(1, RR), { 2, 0, USP },
	    { 4, SLOT(3), DSP }, END(3), END(5) },
	  0, NO, WHY(ACS_REDIRECT), 6 },
	{ "root-ports",
	  { ROOT(0), { -1, SLOT(2), RP }, END(0), END(1) },
	  0, NO, WHY(HOST_BRIDGE), 4 },
	{ "root-ports-known",
	  { ROOT(0), { -1, SLOT(2), RP }, END(0), END(1) },
	  1, YES(HOST), WHY(OK), 4 },
	{ "functions",
	  { ROOT(UF), { 0, 0, EP }, { 0, 1, EP } },
	  0, YES(BUS), WHY(OK), 2 },
	{ "functions-root-rr",
	  { ROOT(RR | UF), { 0, 0, EP }, { 0, 1, EP } },
	  0, YES(BUS), WHY(OK), 2 },
	{ "functions-rr",
	  { ROOT(UF), { 0, 0, EP, RR | CR, RR }, { 0, 1, EP, RR | CR } },
	  0, NO, WHY(ACS_REDIRECT), 2 },
	{ "functions-isolated",
	  { ROOT(UF), { 0, 0, EP, PCI_ACS_DT }, { 0, 1, EP } },
	  1, YES(HOST), WHY(FUNCTIONS), 2 },
	{ "rciep",
	  { { -1, SLOT(2), RCE }, { -1, SLOT(3), RCE } },
	  0, NO, WHY(HOST_BRIDGE), 2 },
	{ "pci-bus",
	  { ROOT(RR), { 0, 0, PCIB }, { 1, SLOT(1), -1 }, { 1, SLOT(2), -1 } },
	  0, YES(BUS), WHY(OK), 2 },
	{ "pci-bridge",
	  { ROOT(UF), UP, DOWN(0, 0), DOWN(1, 0), { 2, 0, PCIB },
	    { 4, SLOT(1), -1 }, { 3, 0, EP } },
	  0, YES(BUS), WHY(OK), 5 },
};

static void scan_desc(const struct scan_row *row, char *desc)
{
	strscpy(desc, row->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(scan, scan_rows, scan_desc);

static int scan_nr(const struct scan_row *row)
{
	int n = ARRAY_SIZE(row->devs);

	while (n && !row->devs[n - 1].devfn && !row->devs[n - 1].type &&
	       !row->devs[n - 1].parent)
		n--;
	return n;
}

static void topology_scan(struct kunit *test)
{
	const struct scan_row *row = test->param_value;
	int nr = scan_nr(row);
	struct pci_dev *owner, *importer;
	struct p2p_verdict v, old;
	struct p2p_region *r;
	unsigned int reads;
	int dist;

	soft->known = row->known;
	soft_build(row->devs, nr);
	importer = soft_pci(nr - 2);
	owner = soft_pci(nr - 1);
	KUNIT_ASSERT_NOT_NULL(test, importer);
	KUNIT_ASSERT_NOT_NULL(test, owner);
	importer->dma_mask = DMA_BIT_MASK(64);

	r = p2p_region_bar(owner, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(r));
	KUNIT_EXPECT_EQ(test, r->start - BUS_OFFSET,
			pci_p2pdma_bus_addr_map(r->provider, r->start));

	reads = soft->reads;
	p2p_topology_query(r, &importer->dev, &v);
	KUNIT_EXPECT_EQ(test, reads, soft->reads);
	/* Writes alone are of no use for a mapping. */
	KUNIT_EXPECT_EQ(test, row->way.read ? row->way.path : P2P_PATH_NONE,
			v.path);
	KUNIT_EXPECT_EQ(test, row->way.read, v.read);
	KUNIT_EXPECT_EQ(test, row->way.read && row->way.write, v.write);
	KUNIT_EXPECT_STREQ(test, p2p_topology_reason_name(row->reason),
			   p2p_topology_reason_name(v.reason));
	KUNIT_EXPECT_EQ(test, row->distance, v.distance);
	KUNIT_EXPECT_EQ(test, soft->sd.domain, v.host[0].domain);

	/* Those who asked before get the same. */
	p2p_pair_verdict(owner, importer, false, &old);
	dist = pci_p2pdma_distance(owner, &importer->dev, false);
	KUNIT_EXPECT_EQ(test, row->way.path, old.path);
	KUNIT_EXPECT_EQ(test, row->way.write, old.write);
	KUNIT_EXPECT_EQ(test, row->way.read && row->way.write ? row->distance : -1,
			dist);
	p2p_region_put(r);
}

/* A switch with two devices whose links live extents go over. */

static const struct soft_dev live_devs[] = {
	ROOT(UF), UP, DOWN(0, 0), DOWN(1, 0), END(2), END(3)
};

struct live {
	struct p2p_exporter e;
	struct p2p_region *r;
	struct p2p_extent *ext;
	struct pci_dev *owner, *importer, *port;
	unsigned int zaps;
};

static void live_release(struct live *l)
{
	if (l->ext)
		p2p_extent_release(l->ext);
	l->ext = NULL;
}

/* What the MMU notifier and the importer do, in short. */
static void live_zap(struct p2p_exporter *e)
{
	struct live *l = container_of(e, struct live, e);

	l->zaps++;
	live_release(l);
}

static const struct p2p_exporter_ops live_ops = { .zap = live_zap };

static int live_map(struct live *l)
{
	enum p2p_reason reason;
	int ret;

	l->ext = p2p_extent_alloc(&l->e, &l->importer->dev);
	if (IS_ERR_OR_NULL(l->ext))
		return -ENOMEM;
	l->ext->phys = l->r->start;
	l->ext->len = SZ_64K;
	ret = p2p_extent_map(l->ext, PAGE_KERNEL, &reason);
	if (ret)
		live_release(l);
	return ret;
}

static struct live *live_create(struct kunit *test)
{
	struct live *l = kunit_kzalloc(test, sizeof(*l), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, l);
	/* The worker that looks at live extents sees no stub of the test. */
	if (p2pdma_cpu_listed())
		kunit_skip(test, "needs a processor that is not listed");
	soft_build(live_devs, ARRAY_SIZE(live_devs));
	l->port = soft_pci(2);
	l->importer = soft_pci(4);
	l->owner = soft_pci(5);
	KUNIT_ASSERT_NOT_NULL(test, l->owner);
	l->importer->dma_mask = DMA_BIT_MASK(64);
	l->r = p2p_region_bar(l->owner, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(l->r));
	l->e.ops = &live_ops;
	KUNIT_ASSERT_EQ(test, 0, p2p_region_attach(l->r, &l->e));
	p2p_topology_settle();
	KUNIT_EXPECT_EQ(test, 0, live_map(l));
	KUNIT_EXPECT_EQ(test, l->r->start - BUS_OFFSET, l->ext->dma);
	return l;
}

static void live_end(struct live *l)
{
	p2p_region_detach(l->r, &l->e);
	p2p_region_put(l->r);
}

static void live_expect(struct kunit *test, struct live *l, int err,
			unsigned int zaps, int line)
{
	p2p_topology_settle();
	KUNIT_EXPECT_EQ_MSG(test, zaps, l->zaps, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, !err, !!l->ext, "line %d", line);
	if (err)
		KUNIT_EXPECT_EQ_MSG(test, err, live_map(l), "line %d", line);
}

#define LIVE_EXPECT(l, err, zaps) live_expect(test, l, err, zaps, __LINE__)

/* An ACS write, by the kernel or by a user, takes the extents it hits. */
static void topology_live_acs(struct kunit *test)
{
	struct live *l = live_create(test);

	/* No change, no zap */
	pci_user_write_config_word(l->port, CAP_ACS + PCI_ACS_CTRL, 0);
	pci_write_config_word(l->importer, PCI_COMMAND,
			      PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	LIVE_EXPECT(l, 0, 0);
	/* A change elsewhere */
	pci_write_config_word(soft_pci(3), CAP_ACS + PCI_ACS_CTRL, RR);
	LIVE_EXPECT(l, 0, 0);

	pci_user_write_config_word(l->port, CAP_ACS + PCI_ACS_CTRL, RR | CR);
	LIVE_EXPECT(l, -EREMOTEIO, 1);
	pci_user_write_config_byte(l->port, CAP_ACS + PCI_ACS_CTRL, 0);
	KUNIT_EXPECT_EQ(test, 0, live_map(l));
	pci_write_config_dword(l->port, CAP_ACS + PCI_ACS_CAP, RR << 16);
	LIVE_EXPECT(l, -EREMOTEIO, 2);
	pci_write_config_word(l->port, CAP_ACS + PCI_ACS_CTRL, EC);
	KUNIT_EXPECT_EQ(test, 0, live_map(l));
	/* Only the vector changes */
	pci_write_config_dword(l->port, CAP_ACS + PCI_ACS_EGRESS_CTL_V, ~0);
	LIVE_EXPECT(l, -EREMOTEIO, 3);
	pci_write_config_word(l->port, CAP_ACS + PCI_ACS_CTRL, 0);
	KUNIT_EXPECT_EQ(test, 0, live_map(l));
	live_end(l);
}

/* The same for what else a verdict depends on. */
static void topology_live_config(struct kunit *test)
{
	struct live *l = live_create(test);
	unsigned int generation;
	int zaps = 0;

	/* Bus mastering counts for devices in use. */
	atomic_set(&l->importer->enable_cnt, 1);
	pci_write_config_word(l->port, PCI_COMMAND, PCI_COMMAND_MEMORY);
	LIVE_EXPECT(l, -EREMOTEIO, ++zaps);
	pci_write_config_word(l->port, PCI_COMMAND,
			      PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	KUNIT_EXPECT_EQ(test, 0, live_map(l));
	atomic_set(&l->importer->enable_cnt, 0);

	/* A guest may write to Command all day. Its owner is asked for anew. */
	p2p_topology_settle();
	generation = p2p_topology_generation();
	pci_write_config_word(l->importer, PCI_COMMAND, PCI_COMMAND_MEMORY);
	pci_write_config_word(l->owner, PCI_COMMAND, PCI_COMMAND_MASTER);
	KUNIT_EXPECT_EQ(test, generation, p2p_topology_generation());
	LIVE_EXPECT(l, 0, zaps);
	live_release(l);
	KUNIT_EXPECT_EQ(test, -EREMOTEIO, live_map(l));
	pci_write_config_word(l->owner, PCI_COMMAND, PCI_COMMAND_MEMORY);
	KUNIT_EXPECT_EQ(test, 0, live_map(l));

	pci_write_config_word(l->port, CAP_EXP + PCI_EXP_LNKCTL,
			      PCI_EXP_LNKCTL_LD);
	LIVE_EXPECT(l, -EREMOTEIO, ++zaps);
	pci_write_config_word(l->port, CAP_EXP + PCI_EXP_LNKCTL, 0);
	KUNIT_EXPECT_EQ(test, 0, live_map(l));

	pcie_capability_write_word(l->importer, PCI_EXP_DEVCTL,
				   PCI_EXP_DEVCTL_PAYLOAD_256B);
	p2p_topology_settle();
	KUNIT_EXPECT_EQ(test, ++zaps, l->zaps);
	/* Its writes are too large, its reads are not. */
	KUNIT_EXPECT_EQ(test, 0, live_map(l));
	KUNIT_EXPECT_EQ(test, P2P_EXT_RDONLY, l->ext->flags);
	pcie_capability_write_word(l->importer, PCI_EXP_DEVCTL, 0);
	LIVE_EXPECT(l, 0, zaps);
	live_release(l);
	KUNIT_EXPECT_EQ(test, 0, live_map(l));
	KUNIT_EXPECT_EQ(test, 0, l->ext->flags);

	/* The kernel moves a BAR: resource and register */
	l->owner->resource[0].start += SZ_16M;
	l->owner->resource[0].end += SZ_16M;
	pci_write_config_dword(l->owner, PCI_BASE_ADDRESS_0, 0);
	LIVE_EXPECT(l, -EREMOTEIO, ++zaps);
	l->owner->resource[0].start -= SZ_16M;
	l->owner->resource[0].end -= SZ_16M;
	p2p_topology_changed();
	KUNIT_EXPECT_EQ(test, 0, live_map(l));
	live_end(l);
}

static void topology_live_policy(struct kunit *test)
{
	char *buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	char *saved = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct live *l = live_create(test);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	KUNIT_ASSERT_NOT_NULL(test, saved);
	p2p_policy_get(saved, PAGE_SIZE);
	snprintf(buf, PAGE_SIZE, "deny=%s/%s", pci_name(l->owner),
		 pci_name(l->importer));
	KUNIT_EXPECT_EQ(test, 0, p2p_policy_set(buf));
	KUNIT_EXPECT_EQ(test, 1, l->zaps);	/* on return, not later */
	KUNIT_EXPECT_NULL(test, l->ext);
	KUNIT_EXPECT_EQ(test, -EACCES, live_map(l));
	KUNIT_EXPECT_EQ(test, -EINVAL, p2p_policy_set("deny"));
	KUNIT_EXPECT_EQ(test, -EACCES, live_map(l));
	KUNIT_EXPECT_EQ(test, 0, p2p_policy_set("deny=0fff:00"));
	KUNIT_EXPECT_EQ(test, 0, live_map(l));
	KUNIT_EXPECT_EQ(test, 0, p2p_policy_set(saved));
	live_end(l);
}

/* A rebinding sets ACS anew: that counts if it is another one. */
static void topology_rebind(struct kunit *test)
{
	struct live *l = live_create(test);
	unsigned int generation = p2p_topology_generation();

	pci_enable_acs(l->importer);
	KUNIT_EXPECT_EQ(test, generation, p2p_topology_generation());
	LIVE_EXPECT(l, 0, 0);
	/* By a quirk, say, past the register */
	soft_put16(&soft->node[2], CAP_ACS + PCI_ACS_CTRL, RR, 0);
	pci_p2p_acs_changed(l->port);
	KUNIT_EXPECT_NE(test, generation, p2p_topology_generation());
	LIVE_EXPECT(l, -EREMOTEIO, 1);
	live_end(l);
}

/* Out, and another device in at the same place. */
static void topology_hotplug(struct kunit *test)
{
	struct live *l = live_create(test);
	unsigned int generation = p2p_topology_generation();
	struct pci_dev *pdev;
	struct p2p_verdict v;

	p2p_extent_release(l->ext);
	l->ext = NULL;
	pci_lock_rescan_remove();
	pci_stop_and_remove_bus_device(l->importer);
	pci_unlock_rescan_remove();
	KUNIT_EXPECT_NE(test, generation, p2p_topology_generation());

	soft->node[4].d.mps = 1;
	soft_fill(&soft->node[4], 4);
	soft_put16(&soft->node[4], CAP_EXP + PCI_EXP_DEVCTL,
		   PCI_EXP_DEVCTL_PAYLOAD_256B, 0);
	soft_scan();
	pdev = soft_pci(4);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	p2p_pair_verdict(l->owner, pdev, false, &v);
	KUNIT_EXPECT_FALSE(test, v.write);
	KUNIT_EXPECT_STREQ(test, "mps", p2p_topology_reason_name(v.reason));
	live_end(l);
}

/* A device that does not answer keeps what was known, no ones are taken. */
static void topology_no_answer(struct kunit *test)
{
	struct live *l = live_create(test);

	/* Egress control is on, for no port: ones would block all. */
	pci_write_config_word(l->port, CAP_ACS + PCI_ACS_CTRL, EC);
	LIVE_EXPECT(l, 0, 0);
	soft->node[2].gone = true;
	pci_write_config_word(l->port, CAP_ACS + PCI_ACS_CTRL, EC);
	pci_write_config_word(l->port, PCI_COMMAND, 0);
	soft->node[2].gone = false;
	LIVE_EXPECT(l, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, l->port->p2p_config.egress[0]);
	KUNIT_EXPECT_EQ(test, EC, l->port->p2p_config.acs_ctrl);
	live_end(l);
}

/* A device in reset must not be asked, nor does it lose its payload size. */
static void topology_reset(struct kunit *test)
{
	struct live *l = live_create(test);
	unsigned int reads = soft->reads;

	pci_write_config_word(l->importer, CAP_EXP + PCI_EXP_DEVCTL,
			      PCI_EXP_DEVCTL_BCR_FLR);
	pci_write_config_byte(l->importer, CAP_EXP + PCI_EXP_DEVCTL + 1,
			      PCI_EXP_DEVCTL_BCR_FLR >> 8);
	pci_user_write_config_dword(l->importer, CAP_EXP + PCI_EXP_DEVCTL,
				    PCI_EXP_DEVCTL_BCR_FLR);
	KUNIT_EXPECT_EQ(test, reads, soft->reads);
	pci_write_config_word(l->importer, CAP_EXP + PCI_EXP_DEVCTL, 0);
	KUNIT_EXPECT_LT(test, reads, soft->reads);
	LIVE_EXPECT(l, 0, 0);
	live_end(l);
}

/* The file of an importer: whole records, in pieces of any size. */
static void topology_records(struct kunit *test)
{
	struct live *l = live_create(test);
	char *all = kunit_kzalloc(test, SZ_64K, GFP_KERNEL);
	char *bit = kunit_kzalloc(test, SZ_64K, GFP_KERNEL);
	char *line, *pos, want[64];
	ssize_t len, n, off;

	KUNIT_ASSERT_NOT_NULL(test, all);
	KUNIT_ASSERT_NOT_NULL(test, bit);
	len = p2p_topology_show(&l->importer->dev, all, 0, SZ_64K - 1);
	KUNIT_ASSERT_GT(test, len, 0);
	KUNIT_EXPECT_EQ(test, 0, len % 384);
	snprintf(want, sizeof(want), "region=%s/0 size=0x100000 path=bus distance=4 ",
		 pci_name(l->owner));
	line = strstr(all, want);
	KUNIT_ASSERT_NOT_NULL(test, line);
	KUNIT_EXPECT_EQ(test, 0, (line - all) % 384);
	KUNIT_EXPECT_EQ(test, '\n', line[383]);
	pos = strstr(line, " generation=");
	KUNIT_ASSERT_NOT_NULL(test, pos);
	KUNIT_EXPECT_LT(test, pos - line, 383);

	for (off = 0; off < len; off += n) {
		n = p2p_topology_show(&l->importer->dev, bit + off, off, 100);
		KUNIT_ASSERT_GT(test, n, 0);
	}
	KUNIT_EXPECT_EQ(test, len, off);
	KUNIT_EXPECT_STREQ(test, all, bit);
	/* A read that could end inside of a record ends before it. */
	KUNIT_EXPECT_EQ(test, 384, p2p_topology_show(&l->importer->dev, bit, 0,
						     384 + 383));
	KUNIT_EXPECT_EQ(test, 284, p2p_topology_show(&l->importer->dev, bit,
						     100, 300));
	KUNIT_EXPECT_EQ(test, 0, p2p_topology_show(&l->importer->dev, bit, len,
						   100));
	KUNIT_EXPECT_EQ(test, 0, p2p_topology_show(&l->importer->dev, bit,
						   S64_MAX - 1000, 100));
	live_end(l);
}

static struct kunit_case p2p_topology_scan_cases[] = {
	KUNIT_CASE_PARAM(topology_scan, scan_gen_params),
	KUNIT_CASE(topology_live_acs),
	KUNIT_CASE(topology_live_config),
	KUNIT_CASE(topology_live_policy),
	KUNIT_CASE(topology_rebind),
	KUNIT_CASE(topology_hotplug),
	KUNIT_CASE(topology_no_answer),
	KUNIT_CASE(topology_reset),
	KUNIT_CASE(topology_records),
	{}
};

static struct kunit_suite p2p_topology_scan_suite = {
	.name = "p2p_topology_scan",
	.init = soft_init,
	.exit = soft_exit,
	.test_cases = p2p_topology_scan_cases,
};

kunit_test_suite(p2p_topology_scan_suite);
