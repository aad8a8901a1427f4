// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the link verdict on random fabrics, against an oracle; against
 * the rules of symmetry; and against the algorithm that was there before.
 */
#include "p2p_world.h"

#define FABRICS		12000
#define PAIRS		6

static void verdict(struct node *owner, struct node *importer,
		    const struct p2p_importer_state *s, struct p2p_verdict *v)
{
	struct p2p_link link;

	p2p_link_compute(owner->pdev, importer->pdev, &link);
	p2p_link_decide(&link, s, v);
}

static void topology_oracle(struct kunit *test)
{
	unsigned int pairs = 0, count[3] = {}, why[P2P_TOPO_NR_REASONS] = {};
	struct world *w = world_create(test);
	struct p2p_verdict v, want;
	int seed, i;

	for (seed = 0; seed < FABRICS; seed++) {
		world_make(w, seed);
		for (i = 0; i < PAIRS; i++) {
			struct node *a = world_pick(w), *b = world_pick(w);
			u32 bits = world_rnd(w, 8);
			struct p2p_importer_state s = {
				.translated = bits & 1,
				.ats = bits & 2,
				.guest = bits & 4,
			};

			if (a == b)
				continue;
			verdict(a, b, &s, &v);
			world_oracle(w, a, b, &s, &want);
			pairs++;
			count[v.path]++;
			why[v.reason]++;
			if (v.path == want.path && v.read == want.read &&
			    v.write == want.write && v.reason == want.reason)
				continue;
			KUNIT_FAIL(test, "seed %d: %s of %02x:%02x for %02x:%02x bits %x\n",
				   seed, w->f->known ? "known" : "unknown",
				   a->pdev->bus->number, a->pdev->devfn,
				   b->pdev->bus->number, b->pdev->devfn, bits);
			kunit_err(test, "path %d want %d, read %d want %d, write %d want %d, reason %s want %s\n",
				  v.path, want.path, v.read, want.read,
				  v.write, want.write,
				  p2p_topology_reason_name(v.reason),
				  p2p_topology_reason_name(want.reason));
			return;
		}
		if (!(seed % 256))
			cond_resched();
	}
	kunit_info(test, "%d fabrics, %u pairs: %u none, %u bus, %u host\n",
		   seed, pairs, count[0], count[1], count[2]);
	for (i = 1; i < P2P_TOPO_NR_REASONS; i++)
		if (why[i])
			kunit_info(test, "%s: %u\n",
				   p2p_topology_reason_name(i), why[i]);
	KUNIT_EXPECT_GT(test, count[0], 1000);
	KUNIT_EXPECT_GT(test, count[1], 1000);
	KUNIT_EXPECT_GT(test, count[2], 1000);
}

static bool same_host(const struct p2p_host *a, const struct p2p_host *b)
{
	return a->domain == b->domain && a->bus == b->bus &&
	       a->vendor == b->vendor && a->device == b->device;
}

/* S1: who asks whom does not change where they are. */
static void topology_symmetric_place(struct kunit *test)
{
	const struct p2p_importer_state s = {};
	struct world *w = world_create(test);
	struct p2p_verdict ab, ba;
	int seed, i;

	for (seed = 0; seed < FABRICS / 4; seed++) {
		world_make(w, seed);
		for (i = 0; i < PAIRS; i++) {
			struct node *a = world_pick(w), *b = world_pick(w);

			verdict(a, b, &s, &ab);
			verdict(b, a, &s, &ba);
			KUNIT_ASSERT_EQ(test, ab.distance, ba.distance);
			KUNIT_ASSERT_EQ(test, ab.common.valid, ba.common.valid);
			KUNIT_ASSERT_EQ(test, ab.common.rid, ba.common.rid);
			KUNIT_ASSERT_TRUE(test, same_host(&ab.host[0],
							  &ba.host[1]));
			KUNIT_ASSERT_TRUE(test, same_host(&ab.host[1],
							  &ba.host[0]));
		}
		cond_resched();
	}
}

/* S2: without ACS, ATS and payload differences, both ways are alike. */
static void topology_symmetric_plain(struct kunit *test)
{
	struct world *w = world_create(test);
	struct p2p_verdict ab, ba;
	int seed, i;

	w->uniform = true;
	w->plain = true;
	for (seed = 0; seed < FABRICS / 4; seed++) {
		world_make(w, seed);
		for (i = 0; i < PAIRS; i++) {
			struct node *a = world_pick(w), *b = world_pick(w);
			struct p2p_importer_state s = {
				.translated = world_rnd(w, 2),
				.guest = world_rnd(w, 2),
			};

			verdict(a, b, &s, &ab);
			verdict(b, a, &s, &ba);
			KUNIT_ASSERT_EQ(test, ab.path, ba.path);
			KUNIT_ASSERT_EQ(test, ab.reason, ba.reason);
			KUNIT_ASSERT_EQ(test, ab.read, ba.read);
			KUNIT_ASSERT_EQ(test, ab.write, ba.write);
		}
		cond_resched();
	}
}

static void swap_controls(struct node *a, struct node *b)
{
	struct pci_p2p_config c = a->pdev->p2p_config;

	a->pdev->p2p_config = b->pdev->p2p_config;
	b->pdev->p2p_config = c;
	swap(a->pdev->acs_cap, b->pdev->acs_cap);
	swap(a->pdev->acs_capabilities, b->pdev->acs_capabilities);
}

/* S3: other way round, with the turn ports' controls swapped: the same. */
static void topology_symmetric_mirror(struct kunit *test)
{
	struct world *w = world_create(test);
	struct p2p_verdict ab, ba;
	unsigned int turns = 0;
	int seed, i;

	w->uniform = true;
	for (seed = 0; seed < FABRICS / 4; seed++) {
		world_make(w, seed);
		for (i = 0; i < PAIRS; i++) {
			struct node *a = world_pick(w), *b = world_pick(w);
			struct p2p_importer_state s = {
				.translated = world_rnd(w, 2),
				.guest = world_rnd(w, 2),
			};
			struct route r = world_follow(w, b, a, false);

			if (a == b || !r.turn || r.turn->kind == CONV ||
			    r.to->kind == CONV || r.turn->kind != r.to->kind)
				continue;
			verdict(a, b, &s, &ab);
			swap_controls(r.turn, r.to);
			verdict(b, a, &s, &ba);
			swap_controls(r.turn, r.to);
			turns++;
			KUNIT_ASSERT_EQ(test, ab.path, ba.path);
			KUNIT_ASSERT_EQ(test, ab.reason, ba.reason);
			KUNIT_ASSERT_EQ(test, ab.read, ba.read);
			KUNIT_ASSERT_EQ(test, ab.write, ba.write);
		}
		cond_resched();
	}
	KUNIT_EXPECT_GT(test, turns, 1000);
}

/*
 * Where the verdict is stricter than it was, it says why; where it is more
 * liberal, the path is direct by the rules.
 */
static void topology_before(struct kunit *test)
{
	unsigned int same = 0, strict[P2P_TOPO_NR_REASONS] = {}, liberal = 0;
	const struct p2p_importer_state s = {};
	struct world *w = world_create(test);
	struct p2p_verdict v;
	int seed, i;

	for (seed = 0; seed < FABRICS; seed++) {
		world_make(w, seed);
		for (i = 0; i < PAIRS; i++) {
			struct node *a = world_pick(w), *b = world_pick(w);
			enum p2p_path was, is;

			if (a == b)
				continue;
			was = world_before(w, a, b);
			verdict(a, b, &s, &v);
			is = v.read && v.write ? v.path : P2P_PATH_NONE;
			if (was == is) {
				same++;
			} else if (is == P2P_PATH_NONE ||
				   (was == P2P_PATH_BUS)) {
				strict[v.reason]++;
			} else {
				liberal++;
				KUNIT_ASSERT_EQ(test, is, P2P_PATH_BUS);
			}
		}
		cond_resched();
	}
	kunit_info(test, "%u as before, %u more direct than before\n", same,
		   liberal);
	for (i = 0; i < P2P_TOPO_NR_REASONS; i++) {
		if (!strict[i])
			continue;
		kunit_info(test, "stricter, %s: %u\n",
			   p2p_topology_reason_name(i), strict[i]);
		switch (i) {
		case P2P_TOPO_ACS_BLOCKED:
		case P2P_TOPO_ACS_COMPLETION:
		case P2P_TOPO_ACS_UPSTREAM:
		case P2P_TOPO_ACS_REDIRECT:	/* of functions' own ports */
		case P2P_TOPO_FUNCTIONS:
		case P2P_TOPO_MPS:
		case P2P_TOPO_UNTRUSTED:
			break;
		default:
			KUNIT_FAIL(test, "stricter than before because of %s\n",
				   p2p_topology_reason_name(i));
		}
	}
	KUNIT_EXPECT_GT(test, same, 10000);
}

static struct kunit_case p2p_topology_random_cases[] = {
	KUNIT_CASE_SLOW(topology_oracle),
	KUNIT_CASE_SLOW(topology_symmetric_place),
	KUNIT_CASE_SLOW(topology_symmetric_plain),
	KUNIT_CASE_SLOW(topology_symmetric_mirror),
	KUNIT_CASE_SLOW(topology_before),
	{}
};

static struct kunit_suite p2p_topology_random_suite = {
	.name = "p2p_topology_random",
	.test_cases = p2p_topology_random_cases,
};

kunit_test_suite(p2p_topology_random_suite);
