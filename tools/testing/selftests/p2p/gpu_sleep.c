// SPDX-License-Identifier: GPL-2.0
/*
 * The exporter sleeps when nobody uses its memory, wakes up for whoever does,
 * and is reset under traffic: what is mapped is taken back first, and is there
 * again afterwards.
 *
 * VM: --topo default
 * TIMEOUT: 200
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"
#include "sysfs.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

FIXTURE(sleep)
{
	struct gpu_mr m;
	char gpu[PCI_NAME];
};

FIXTURE_SETUP(sleep)
{
	self->m.ram = GPU_PAGE;
	self->m.gpu = 4 * GPU_PAGE;
	ASSERT_EQ(0, pci_find_gpu(self->gpu));
	ASSERT_EQ(0, gpu_mr_open(&self->m));
	fill_random(self->m.buf, self->m.len);
}

FIXTURE_TEARDOWN(sleep)
{
	EXPECT_EQ(0, pci_write(self->gpu, "power/control", "on"));
	gpu_mr_close(&self->m);
}

static bool status_is(const char *gpu, const char *want)
{
	char path[128], is[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/power/runtime_status", gpu);
	f = fopen(path, "r");
	if (f && !fgets(is, sizeof(is), f))
		is[0] = '\0';
	if (f)
		fclose(f);
	is[strcspn(is, "\n")] = '\0';
	return !strcmp(is, want);
}

/* Within 10 s */
static bool gets(const char *gpu, const char *want)
{
	for (int i = 0; i < 1000; i++) {
		if (status_is(gpu, want))
			return true;
		usleep(10000);
	}
	return false;
}

TEST_F(sleep, awake_with_extents)
{
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, pci_write(self->gpu, "power/control", "auto"));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(1, gpu_extents(&m->o));
	/* Several times as long as it takes to fall asleep. */
	usleep(1000000);
	EXPECT_TRUE(status_is(self->gpu, "active"));
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_RAM));
	EXPECT_TRUE(gets(self->gpu, "suspended"));
	/* An object in RAM needs no device. */
	EXPECT_WORKS(m, 0, m->len);
	EXPECT_TRUE(status_is(self->gpu, "suspended"));
	/* No more references than there were */
	ASSERT_EQ(0, gpu_move(&m->o, P2P_GPU_VRAM));
	EXPECT_WORKS(m, 0, m->len);
	gpu_mr_dereg(m);
	EXPECT_EQ(0, gpu_wait_extents(&m->o, 0));
	EXPECT_TRUE(gets(self->gpu, "suspended"));
}

TEST_F(sleep, cpu_wakes)
{
	unsigned char first = self->m.o.ptr[0];

	ASSERT_EQ(0, pci_write(self->gpu, "power/control", "auto"));
	EXPECT_TRUE(gets(self->gpu, "suspended"));
	EXPECT_EQ(first, __atomic_load_n(self->m.o.ptr, __ATOMIC_RELAXED));
	EXPECT_TRUE(status_is(self->gpu, "active"));
	EXPECT_TRUE(gets(self->gpu, "suspended"));
}

TEST_F(sleep, peer_wakes)
{
	struct gpu_mr *m = &self->m;

	ASSERT_EQ(0, pci_write(self->gpu, "power/control", "auto"));
	EXPECT_TRUE(gets(self->gpu, "suspended"));
	ASSERT_EQ(0, p2p_trace_begin());
	EXPECT_EQ(0, gpu_mr_read(m, m->ram, m->gpu));
	EXPECT_EQ(0, memcmp(m->peer, m->o.ptr, m->gpu));
	EXPECT_LE(1, p2p_trace_count("p2p_wait", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	EXPECT_TRUE(status_is(self->gpu, "active"));
}

struct traffic {
	pthread_t thread;
	struct gpu_mr *m;
	atomic_bool stop;
	atomic_int done, bad;
};

static void *traffic_run(void *arg)
{
	struct traffic *t = arg;

	while (!t->stop) {
		if (gpu_mr_works(t->m, 0, t->m->len))
			t->bad++;
		t->done++;
	}
	return NULL;
}

TEST_F_TIMEOUT(sleep, reset_under_traffic, 100)
{
	struct traffic t = { .m = &self->m };
	int seen;

	ASSERT_EQ(0, pthread_create(&t.thread, NULL, traffic_run, &t));
	ASSERT_EQ(0, p2p_trace_begin());
	for (int i = 0; i < 5; i++) {
		/* The second one began after the last reset. */
		for (seen = t.done; t.done < seen + 2; )
			usleep(1000);
		EXPECT_EQ(0, pci_write(self->gpu, "reset", "1"));
	}
	t.stop = true;
	pthread_join(t.thread, NULL);
	EXPECT_LE(5, t.done);
	EXPECT_EQ(0, t.bad);
	/* It was taken back each time. */
	EXPECT_LE(5, p2p_trace_count("p2p_cut", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
}

TEST_HARNESS_MAIN
