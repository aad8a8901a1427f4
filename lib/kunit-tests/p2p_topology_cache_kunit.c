// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what is around the link verdict: the cache, the policy, and
 * the query for a region and an importer.
 */
#include <linux/p2p_vma.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "p2p_fabric.h"

struct cache_test {
	struct fabric *f;
	struct fabric_switch sw;
	struct pci_dev *owner, *importer;
	struct p2pdma_provider provider;
	struct p2p_region region;
	char *policy;			/* what was set before */
};

/* The fabric finds itself by test->priv; the rest is beside it. */
static struct cache_test *cache_test;
static struct p2p_importer_state cache_state;

static void cache_importer_state(struct device *importer, struct pci_dev *pdev,
				 struct p2p_importer_state *s)
{
	*s = cache_state;
	s->guest_refuse = p2p_policy_guest_refuse();
}

static int cache_init(struct kunit *test)
{
	struct cache_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->f = fabric_create(test, 1400);
	fabric_switch(t->f, fabric_host(t->f, 0, 0), 8, 3, &t->sw);
	t->importer = fabric_dev(t->f, t->sw.down[0]->subordinate, 0,
				 PCI_EXP_TYPE_ENDPOINT);
	t->owner = fabric_dev(t->f, t->sw.down[1]->subordinate, 0,
			      PCI_EXP_TYPE_ENDPOINT);
	t->provider.owner = &t->owner->dev;
	t->region = (struct p2p_region) {
		.start = t->owner->resource[0].start,
		.len = resource_size(&t->owner->resource[0]),
		.owner = &t->owner->dev,
		.provider = &t->provider,
	};
	t->policy = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->policy);
	p2p_policy_get(t->policy, PAGE_SIZE);
	cache_test = t;
	cache_state = (struct p2p_importer_state) {};
	kunit_activate_static_stub(test, p2p_importer_state,
				   cache_importer_state);
	p2p_topology_changed();	/* the structs may be where others were */
	return 0;
}

static void cache_exit(struct kunit *test)
{
	p2p_policy_set(cache_test->policy);
	p2p_topology_changed();
}

static enum p2p_path cache_ask(struct pci_dev *owner, struct pci_dev *importer)
{
	struct p2p_verdict v;

	p2p_pair_verdict(owner, importer, false, &v);
	return v.path;
}

/* Nobody walks twice for the same pair and generation. */
static void cache_hit(struct kunit *test)
{
	struct cache_test *t = cache_test;
	long walks = atomic_long_read(&p2p_walks);
	int i;

	for (i = 0; i < 100; i++)
		cache_ask(t->owner, t->importer);
	KUNIT_EXPECT_EQ(test, 1, atomic_long_read(&p2p_walks) - walks);
	for (i = 0; i < 100; i++)
		cache_ask(t->importer, t->owner);
	KUNIT_EXPECT_LE(test, atomic_long_read(&p2p_walks) - walks, 3);
}

/* What users ask does not push out what drivers need. */
static void cache_users(struct kunit *test)
{
	struct cache_test *t = cache_test;
	long walks = atomic_long_read(&p2p_walks);
	struct p2p_verdict v;
	int i;

	for (i = 0; i < 3; i++)
		__p2p_topology_query(&t->region, &t->importer->dev, false, &v);
	KUNIT_EXPECT_EQ(test, 3, atomic_long_read(&p2p_walks) - walks);
	for (i = 0; i < 3; i++)
		p2p_topology_query(&t->region, &t->importer->dev, &v);
	__p2p_topology_query(&t->region, &t->importer->dev, false, &v);
	KUNIT_EXPECT_EQ(test, 4, atomic_long_read(&p2p_walks) - walks);
}

/* The cache answers until the generation changes, and then no more. */
static void cache_generation(struct kunit *test)
{
	struct cache_test *t = cache_test;
	unsigned int before = p2p_topology_generation();

	KUNIT_EXPECT_EQ(test, P2P_PATH_BUS, cache_ask(t->owner, t->importer));
	t->sw.down[0]->p2p_config.acs_ctrl = PCI_ACS_RR;
	KUNIT_EXPECT_EQ(test, P2P_PATH_BUS, cache_ask(t->owner, t->importer));
	p2p_topology_changed();
	KUNIT_EXPECT_NE(test, before, p2p_topology_generation());
	KUNIT_EXPECT_EQ(test, P2P_PATH_NONE, cache_ask(t->owner, t->importer));
	t->sw.down[0]->p2p_config.acs_ctrl = 0;
	p2p_topology_changed();
	KUNIT_EXPECT_EQ(test, P2P_PATH_BUS, cache_ask(t->owner, t->importer));
}

/*
 * Two importers with the same bus, device and function number, one behind a
 * VMD: their domains differ above bit 15, which the key used to lose.
 */
static void cache_domains(struct kunit *test)
{
	struct cache_test *t = cache_test;
	struct pci_dev *near, *far, *clients[2];
	struct p2pdma_provider *p = &t->provider;
	struct pci_bus *bus;

	bus = fabric_host(t->f, 0x10000, 0);
	far = fabric_dev(t->f, bus, t->importer->devfn, PCI_EXP_TYPE_RC_END);
	bus->number = t->importer->bus->number;
	near = t->importer;
	KUNIT_ASSERT_EQ(test, pci_dev_id(near), pci_dev_id(far));

	clients[0] = near;
	clients[1] = far;
	RCU_INIT_POINTER(t->owner->p2pdma, (void *)t);
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_BUS_ADDR,
			pci_p2pdma_map_type(p, &clients[0]->dev));
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_NOT_SUPPORTED,
			pci_p2pdma_map_type(p, &clients[1]->dev));
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_BUS_ADDR,
			pci_p2pdma_map_type(p, &clients[0]->dev));
	RCU_INIT_POINTER(t->owner->p2pdma, NULL);
}

/* A thousand devices: right answers, memory that does not grow. */
static void cache_thousand(struct kunit *test)
{
	struct cache_test *t = cache_test;
	struct pci_dev **eps;
	int i, j, nr = 0, bad = 0;
	long walks;

	eps = kunit_kcalloc(test, 1000, sizeof(*eps), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, eps);
	for (i = 0; i < 32; i++) {
		struct pci_dev *rp = fabric_port(t->f, t->sw.root->bus, 16 + i,
						 PCI_EXP_TYPE_ROOT_PORT);
		struct pci_dev *up = fabric_port(t->f, rp->subordinate, 0,
						 PCI_EXP_TYPE_UPSTREAM);

		for (j = 0; j < 5 && nr < 1000; j++) {
			struct pci_dev *down =
				fabric_port(t->f, up->subordinate,
					    PCI_DEVFN(j, 0),
					    PCI_EXP_TYPE_DOWNSTREAM);
			int fn;

			for (fn = 0; fn < 8 && nr < 1000; fn++)
				eps[nr++] = fabric_dev(t->f, down->subordinate,
						       fn,
						       PCI_EXP_TYPE_ENDPOINT);
		}
	}
	KUNIT_ASSERT_EQ(test, 1000, nr);
	walks = atomic_long_read(&p2p_walks);
	for (i = 0; i < nr; i++) {
		for (j = i % 7; j < nr; j += 97) {
			bool near = i / 40 == j / 40;

			bad += cache_ask(eps[i], eps[j]) !=
			       (near ? P2P_PATH_BUS : P2P_PATH_NONE);
		}
	}
	KUNIT_EXPECT_EQ(test, 0, bad);
	kunit_info(test, "%d devices, %ld walks\n", nr,
		   atomic_long_read(&p2p_walks) - walks);
}

/* nvme asks in queue_rq: neither sleep nor be in the way of interrupts. */
static void cache_atomic(struct kunit *test)
{
	static DEFINE_SPINLOCK(lock);
	struct cache_test *t = cache_test;
	struct p2p_verdict v;
	unsigned long flags;
	int ret;

	spin_lock_irqsave(&lock, flags);
	ret = p2p_topology_query(&t->region, &t->importer->dev, &v);
	spin_unlock_irqrestore(&lock, flags);
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, P2P_PATH_BUS, v.path);
}

/* The old functions, as far as bare structs go. */
static void cache_old_map_type(struct kunit *test)
{
	struct cache_test *t = cache_test;
	struct device *plain = kunit_kzalloc(test, sizeof(*plain), GFP_KERNEL);
	struct p2pdma_provider nobody = { .owner = plain };

	KUNIT_ASSERT_NOT_NULL(test, plain);
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_NOT_SUPPORTED,
			pci_p2pdma_map_type(&nobody, &t->importer->dev));
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_NOT_SUPPORTED,
			pci_p2pdma_map_type(&t->provider, &t->importer->dev));
	RCU_INIT_POINTER(t->owner->p2pdma, (void *)t);
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_NOT_SUPPORTED,
			pci_p2pdma_map_type(&t->provider, plain));
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_BUS_ADDR,
			pci_p2pdma_map_type(&t->provider, &t->importer->dev));
	t->sw.down[0]->p2p_config.acs_ctrl = PCI_ACS_RR;
	t->f->known = true;
	p2p_topology_changed();
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_THRU_HOST_BRIDGE,
			pci_p2pdma_map_type(&t->provider, &t->importer->dev));
	/* One direction is not enough for those who do not say which. */
	t->sw.down[0]->p2p_config.acs_ctrl = 0;
	t->importer->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_512B;
	p2p_topology_changed();
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_NOT_SUPPORTED,
			pci_p2pdma_map_type(&t->provider, &t->importer->dev));
	RCU_INIT_POINTER(t->owner->p2pdma, NULL);
}

/* The query */

static void query_expect(struct kunit *test, struct device *importer, int err,
			 enum p2p_topo_reason reason, unsigned int flags)
{
	struct cache_test *t = cache_test;
	struct p2p_verdict v;

	KUNIT_EXPECT_EQ(test, err,
			p2p_topology_query(&t->region, importer, &v));
	KUNIT_EXPECT_STREQ(test, p2p_topology_reason_name(reason),
			   p2p_topology_reason_name(v.reason));
	KUNIT_EXPECT_EQ(test, flags, v.flags);
	KUNIT_EXPECT_EQ(test, !err, v.path != P2P_PATH_NONE);
	KUNIT_EXPECT_EQ(test, !err, v.read || v.write);
}

static void query_devices(struct kunit *test)
{
	struct cache_test *t = cache_test;
	u64 mask = DMA_BIT_MASK(64);
	struct device *child, *plain;

	child = kunit_kcalloc(test, 3, sizeof(*child), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, child);
	child[0].parent = &t->importer->dev;
	child[0].dma_mask = &mask;
	child[1].parent = &child[0];
	plain = &child[2];

	query_expect(test, &t->importer->dev, 0, P2P_TOPO_OK, 0);
	/* A child asks for its parent, and needs DMA operations of its own. */
	query_expect(test, &child[0], 0, P2P_TOPO_OK, 0);
	query_expect(test, &child[1], -EREMOTEIO, P2P_TOPO_DMA_OPS, 0);
	query_expect(test, plain, -EREMOTEIO, P2P_TOPO_IMPORTER_NOT_PCI, 0);
	t->region.provider = NULL;
	query_expect(test, &t->importer->dev, -EREMOTEIO,
		     P2P_TOPO_OWNER_NOT_PCI, 0);
	t->region.provider = &t->provider;
	t->region.owner = plain;
	query_expect(test, &t->importer->dev, -EREMOTEIO,
		     P2P_TOPO_OWNER_NOT_PCI, 0);
}

/* None of these needs a new generation. */
static void query_state(struct kunit *test)
{
	struct cache_test *t = cache_test;
	struct device *dev = &t->importer->dev;
	struct resource *bar = &t->owner->resource[0];
	long walks;

	query_expect(test, dev, 0, P2P_TOPO_OK, 0);
	walks = atomic_long_read(&p2p_walks);

	t->owner->error_state = pci_channel_io_frozen;
	query_expect(test, dev, -ENODEV, P2P_TOPO_GONE, 0);
	t->owner->error_state = pci_channel_io_normal;
	t->importer->error_state = pci_channel_io_perm_failure;
	query_expect(test, dev, -ENODEV, P2P_TOPO_GONE, 0);
	t->importer->error_state = pci_channel_io_normal;

	t->owner->current_state = PCI_D3hot;
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_POWER, 0);
	t->owner->current_state = PCI_D3cold;
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_POWER, 0);
	t->owner->current_state = PCI_UNKNOWN;
	query_expect(test, dev, 0, P2P_TOPO_OK, 0);
	t->owner->current_state = PCI_D0;
	t->importer->current_state = PCI_D3hot;	/* it wakes up for its DMA */
	query_expect(test, dev, 0, P2P_TOPO_OK, 0);

	t->owner->p2p_config.command = PCI_COMMAND_MASTER;
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_DECODE, 0);
	t->owner->p2p_config.command |= PCI_COMMAND_MEMORY;

	bar->start += SZ_1M;
	bar->end += SZ_1M;
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_BAR_MOVED, 0);
	bar->start -= SZ_1M;
	bar->end -= SZ_1M;
	t->region.bar = 1;
	t->owner->resource[1] = *bar;
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_WINDOW, 0);
	t->region.bar = 0;

	*dev->dma_mask = DMA_BIT_MASK(32);
	query_expect(test, dev, -ERANGE, P2P_TOPO_DMA_MASK, 0);
	*dev->dma_mask = t->region.start + t->region.len / 2 - 1;
	query_expect(test, dev, 0, P2P_TOPO_OK, P2P_VERDICT_MASK_PART);
	*dev->dma_mask = t->region.start + PAGE_SIZE - 2;
	query_expect(test, dev, -ERANGE, P2P_TOPO_DMA_MASK, 0);
	/* The mask holds for addresses on the bus. */
	*dev->dma_mask = DMA_BIT_MASK(32);
	t->provider.bus_offset = -(t->region.start - SZ_1G);
	query_expect(test, dev, 0, P2P_TOPO_OK, 0);
	t->provider.bus_offset = 0;
	*dev->dma_mask = DMA_BIT_MASK(64);
	KUNIT_EXPECT_LE(test, atomic_long_read(&p2p_walks) - walks, 1);
}

/* An IOVA can be made to fit, if the host bridge forwards. */
static void query_mask_by_iova(struct kunit *test)
{
	struct cache_test *t = cache_test;
	struct device *dev = &t->importer->dev;

	*dev->dma_mask = DMA_BIT_MASK(32);
	cache_state.translated = true;
	query_expect(test, dev, -ERANGE, P2P_TOPO_DMA_MASK, 0);
	t->f->known = true;
	p2p_topology_changed();
	query_expect(test, dev, 0, P2P_TOPO_DMA_MASK,
		     P2P_VERDICT_DEMOTED | P2P_VERDICT_IOVA);
	cache_state.translated = false;
	query_expect(test, dev, -ERANGE, P2P_TOPO_DMA_MASK, 0);
	/* Not to its own memory: that takes no way at all. */
	t->region.owner = dev;
	t->region.start = t->importer->resource[0].start;
	t->region.len = resource_size(&t->importer->resource[0]);
	cache_state.translated = true;
	query_expect(test, dev, -ERANGE, P2P_TOPO_DMA_MASK, 0);
	cache_state.confidential = true;
	*dev->dma_mask = DMA_BIT_MASK(64);
	query_expect(test, dev, 0, P2P_TOPO_OK, 0);
}

/* A mapping is for reads, or for both; what allows only writes is none. */
static void query_one_way(struct kunit *test)
{
	struct cache_test *t = cache_test;
	struct device *dev = &t->importer->dev;
	struct p2p_verdict v;

	t->importer->p2p_config.devctl = PCI_EXP_DEVCTL_PAYLOAD_512B;
	p2p_topology_changed();
	KUNIT_EXPECT_EQ(test, 0, p2p_topology_query(&t->region, dev, &v));
	KUNIT_EXPECT_TRUE(test, v.read);
	KUNIT_EXPECT_FALSE(test, v.write);
	KUNIT_EXPECT_EQ(test, P2P_TOPO_MPS, v.reason);
	t->importer->p2p_config.devctl = 0;

	t->sw.down[1]->p2p_config.acs_ctrl = PCI_ACS_CR;
	p2p_topology_changed();
	p2p_pair_verdict(t->owner, t->importer, false, &v);
	KUNIT_EXPECT_EQ(test, P2P_PATH_BUS, v.path);
	KUNIT_EXPECT_TRUE(test, v.write);
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_ACS_COMPLETION, 0);
}

/* Those who know no region wake the owner up before they use it. */
static void query_old_power(struct kunit *test)
{
	struct cache_test *t = cache_test;

	t->owner->current_state = PCI_D3cold;
	KUNIT_EXPECT_EQ(test, P2P_PATH_BUS, cache_ask(t->owner, t->importer));
	query_expect(test, &t->importer->dev, -EREMOTEIO, P2P_TOPO_POWER, 0);
	t->owner->current_state = PCI_D0;
}

/* The policy */

static void policy_syntax(struct kunit *test)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{ "", 0 }, { "\n", 0 }, { "  ", 0 },
		{ "allow=0000:00", 0 }, { "deny=0000:00\n", 0 },
		{ "allow=*", 0 }, { "deny=*", 0 },
		{ "allow=10000:00", 0 }, { "allow=FFFF:fF", 0 },
		{ "deny=0000:01:00.0/10000:02:1f.7", 0 },
		{ "guest=refuse", 0 }, { "guest=refuse,guest=accept", 0 },
		{ "allow=*,deny=0000:01:00.0/0000:02:00.0,guest=refuse", 0 },
		{ ",", -EINVAL }, { "allow", -EINVAL }, { "allow=", -EINVAL },
		{ "allow=0000", -EINVAL }, { "allow=0000:", -EINVAL },
		{ "allow=0000:0", -EINVAL }, { "allow=0000:000", -EINVAL },
		{ "allow=000:00", -EINVAL }, { "allow=0000:0g", -EINVAL },
		{ "allow=123456789:00", -EINVAL },
		{ "allow=ffffffff:00", -EINVAL },
		{ "allow=0000:00:00.0", -EINVAL },
		{ "allow=0000:00:00.0/", -EINVAL },
		{ "allow=0000:00:00.0/0000:01", -EINVAL },
		{ "allow=0000:00:20.0/0000:01:00.0", -EINVAL },
		{ "allow=0000:00:00.8/0000:01:00.0", -EINVAL },
		{ "allow=0000:00:00.0 0000:01:00.0", -EINVAL },
		{ "allow=0000:00,", -EINVAL }, { "allow=0000:00,,", -EINVAL },
		{ "allow=0000:00 deny=*", -EINVAL }, { "allow=*x", -EINVAL },
		{ "Allow=*", -EINVAL }, { "guest=", -EINVAL },
		{ "guest=refused", -EINVAL }, { "permit=*", -EINVAL },
	};
	char *buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	char *text = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	KUNIT_ASSERT_NOT_NULL(test, text);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		KUNIT_EXPECT_EQ(test, 0, p2p_policy_set("deny=abcd:ef"));
		KUNIT_EXPECT_EQ_MSG(test, rows[i].err,
				    p2p_policy_set(rows[i].text), "\"%s\"",
				    rows[i].text);
		/* What is wrong leaves what was there. */
		p2p_policy_get(buf, PAGE_SIZE);
		if (rows[i].err)
			KUNIT_EXPECT_STREQ(test, "deny=abcd:ef\n", buf);
	}
	/* 64 rules fit, 65 do not; nor does a very long text */
	for (i = 0; i < 64; i++)
		strcat(text, i ? ",deny=0000:00" : "deny=0000:00");
	KUNIT_EXPECT_EQ(test, 0, p2p_policy_set(text));
	strcat(text, ",guest=accept");
	KUNIT_EXPECT_EQ(test, 0, p2p_policy_set(text));
	strcat(text, ",deny=0000:00");
	KUNIT_EXPECT_EQ(test, -EINVAL, p2p_policy_set(text));
	memset(text, '*', 3000);
	KUNIT_EXPECT_EQ(test, -EINVAL, p2p_policy_set(text));
}

static void policy_pair(struct kunit *test, const char *fmt, char *buf)
{
	struct cache_test *t = cache_test;
	u16 o = pci_dev_id(t->owner), i = pci_dev_id(t->importer);

	snprintf(buf, 256, fmt, o >> 8, PCI_SLOT(o), PCI_FUNC(o), i >> 8,
		 PCI_SLOT(i), PCI_FUNC(i));
	KUNIT_ASSERT_EQ_MSG(test, 0, p2p_policy_set(buf), "%s", buf);
}

#define PAIR	"0000:%02x:%02x.%d/0000:%02x:%02x.%d"

static void policy_effect(struct kunit *test)
{
	struct cache_test *t = cache_test;
	struct device *dev = &t->importer->dev;
	char *buf = kunit_kzalloc(test, 256, GFP_KERNEL);
	unsigned int gen;

	KUNIT_ASSERT_NOT_NULL(test, buf);

	/* Deny: either order, the bridge, all; the change counts at once */
	query_expect(test, dev, 0, P2P_TOPO_OK, 0);
	gen = p2p_topology_generation();
	policy_pair(test, "deny=" PAIR, buf);
	KUNIT_EXPECT_NE(test, gen, p2p_topology_generation());
	query_expect(test, dev, -EACCES, P2P_TOPO_POLICY, P2P_VERDICT_DENIED);
	KUNIT_EXPECT_EQ(test, P2P_PATH_NONE, cache_ask(t->owner, t->importer));
	KUNIT_EXPECT_EQ(test, P2P_PATH_NONE, cache_ask(t->importer, t->owner));
	p2p_policy_set("deny=0000:00");
	query_expect(test, dev, -EACCES, P2P_TOPO_POLICY, P2P_VERDICT_DENIED);
	p2p_policy_set("deny=0000:01,deny=0001:00");
	query_expect(test, dev, 0, P2P_TOPO_OK, 0);
	p2p_policy_set("deny=*");
	query_expect(test, dev, -EACCES, P2P_TOPO_POLICY, P2P_VERDICT_DENIED);

	/* Allow: shows where it was needed, and only there */
	p2p_policy_set("allow=*");
	query_expect(test, dev, 0, P2P_TOPO_OK, 0);
	t->sw.down[0]->p2p_config.acs_ctrl = PCI_ACS_RR;
	p2p_topology_changed();
	query_expect(test, dev, 0, P2P_TOPO_ACS_REDIRECT, P2P_VERDICT_ALLOWED);
	t->f->known = true;
	p2p_topology_changed();
	query_expect(test, dev, 0, P2P_TOPO_ACS_REDIRECT, 0);
	t->f->known = false;
	p2p_policy_set("");
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_ACS_REDIRECT, 0);
	p2p_policy_set("allow=0000:00");
	query_expect(test, dev, 0, P2P_TOPO_ACS_REDIRECT, P2P_VERDICT_ALLOWED);
	p2p_policy_set("allow=0000:40");
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_ACS_REDIRECT, 0);
	policy_pair(test, "allow=" PAIR, buf);
	query_expect(test, dev, 0, P2P_TOPO_ACS_REDIRECT, P2P_VERDICT_ALLOWED);
	KUNIT_EXPECT_EQ(test, P2P_PATH_BUS, cache_ask(t->importer, t->owner));

	/* Deny wins, whatever the order */
	p2p_policy_set("deny=0000:00,allow=*");
	query_expect(test, dev, -EACCES, P2P_TOPO_POLICY, P2P_VERDICT_DENIED);
	p2p_policy_set("allow=*,deny=0000:00");
	query_expect(test, dev, -EACCES, P2P_TOPO_POLICY, P2P_VERDICT_DENIED);

	/* What hardware cannot do stays refused */
	p2p_policy_set("allow=*");
	t->sw.root->p2p_config.acs_ctrl = 0;	/* UF */
	p2p_topology_changed();
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_ACS_UPSTREAM, 0);
}

/* Between two host bridges, both must be allowed. */
static void policy_two_bridges(struct kunit *test)
{
	struct cache_test *t = cache_test;
	struct pci_dev *far;

	far = fabric_dev(t->f, fabric_host(t->f, 0, 0x40), 8,
			 PCI_EXP_TYPE_RC_END);
	p2p_policy_set("allow=0000:00");
	KUNIT_EXPECT_EQ(test, P2P_PATH_NONE, cache_ask(t->owner, far));
	p2p_policy_set("allow=0000:40");
	KUNIT_EXPECT_EQ(test, P2P_PATH_NONE, cache_ask(far, t->owner));
	p2p_policy_set("allow=0000:40,allow=0000:00");
	KUNIT_EXPECT_EQ(test, P2P_PATH_HOST, cache_ask(t->owner, far));
	KUNIT_EXPECT_EQ(test, P2P_PATH_HOST, cache_ask(far, t->owner));
	p2p_policy_set("allow=*,deny=0000:40");
	KUNIT_EXPECT_EQ(test, P2P_PATH_NONE, cache_ask(t->owner, far));
	KUNIT_EXPECT_EQ(test, P2P_PATH_NONE, cache_ask(far, t->owner));
}

static void policy_guest(struct kunit *test)
{
	struct cache_test *t = cache_test;
	struct device *dev = &t->importer->dev;

	p2p_policy_set("guest=refuse");
	query_expect(test, dev, 0, P2P_TOPO_OK, 0);
	cache_state.guest = true;
	query_expect(test, dev, -EACCES, P2P_TOPO_GUEST_POLICY,
		     P2P_VERDICT_GUEST);
	p2p_policy_set("guest=accept");
	query_expect(test, dev, 0, P2P_TOPO_OK, P2P_VERDICT_GUEST);
	cache_state.translated = true;
	query_expect(test, dev, -EREMOTEIO, P2P_TOPO_GUEST, P2P_VERDICT_GUEST);
	p2p_policy_set("allow=0000:00");
	query_expect(test, dev, 0, P2P_TOPO_GUEST,
		     P2P_VERDICT_GUEST | P2P_VERDICT_ALLOWED |
		     P2P_VERDICT_DEMOTED | P2P_VERDICT_IOVA);
}

static struct kunit_case p2p_topology_cache_cases[] = {
	KUNIT_CASE(cache_hit),
	KUNIT_CASE(cache_users),
	KUNIT_CASE(cache_generation),
	KUNIT_CASE(cache_domains),
	KUNIT_CASE(cache_thousand),
	KUNIT_CASE(cache_atomic),
	KUNIT_CASE(cache_old_map_type),
	KUNIT_CASE(query_devices),
	KUNIT_CASE(query_state),
	KUNIT_CASE(query_mask_by_iova),
	KUNIT_CASE(query_one_way),
	KUNIT_CASE(query_old_power),
	KUNIT_CASE(policy_syntax),
	KUNIT_CASE(policy_effect),
	KUNIT_CASE(policy_two_bridges),
	KUNIT_CASE(policy_guest),
	{}
};

static struct kunit_suite p2p_topology_cache_suite = {
	.name = "p2p_topology_cache",
	.init = cache_init,
	.exit = cache_exit,
	.test_cases = p2p_topology_cache_cases,
};

kunit_test_suite(p2p_topology_cache_suite);
