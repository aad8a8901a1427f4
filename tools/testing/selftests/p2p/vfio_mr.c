// SPDX-License-Identifier: GPL-2.0
/*
 * A user-space driver: vfio-pci has the device, and an on-demand MR covers the
 * program's mapping of its BAR 2. Peers lose the BAR where the CPU does (reset,
 * decode off, low power, D3, munmap, removal), and get it back with the CPU.
 *
 * Without an IOMMU (vfio's no-iommu mode), and with one (type 1):
 *
 * VM: --topo nvme
 * VM: --topo nvme --iommu lazy
 * TIMEOUT: 400
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "vfio.h"

#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#define BAR	2
#define MIB	0x100000UL
#define OFF	"reason=exporter err=-6"	/* ENXIO */

FIXTURE(bar)
{
	struct vfio_dev v;
	struct gpu_mr m;
};

FIXTURE_SETUP(bar)
{
	char name[PCI_NAME];

	srandom(5);
	ASSERT_EQ(0, pci_find_gpu(name));
	ASSERT_EQ(0, vfio_bind(&self->v, name));
	ASSERT_EQ(0, vfio_open(&self->v));
	self->m.ram = 2 * GPU_PAGE;
	self->m.gpu = 16 * GPU_PAGE;
	ASSERT_EQ(0, vfio_mr_open(&self->m, &self->v, BAR, 0));
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(bar)
{
	gpu_mr_close(&self->m);
	vfio_close(&self->v);
	vfio_unbind(&self->v);
}

/* Is the data of the last gpu_mr_works() where the host has the BAR? */
static bool host_has(struct gpu_mr *m, size_t bar_off, size_t len)
{
	unsigned char *vram = malloc(len);
	bool same = vram && !edu_vram(bar_off, vram, len) &&
		    !memcmp(vram, m->peer, len);

	free(vram);
	return same;
}

/* Does the CPU get SIGBUS there? */
static bool cpu_is_out(unsigned char *p)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		_exit(__atomic_load_n(p, __ATOMIC_RELAXED) & 0);
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
}

/* Peers are refused since the user turned the BAR off, and so is the CPU. */
static void is_off(struct __test_metadata *_metadata, struct gpu_mr *m)
{
	int n = p2p_trace_count("p2p_refuse", OFF);

	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram + 5, 5000));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 1));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram - 1, 2));
	EXPECT_LE(n + 3, p2p_trace_count("p2p_refuse", OFF));
	EXPECT_RAM_WORKS(m);
	EXPECT_TRUE(cpu_is_out(m->buf + m->ram));
}

TEST_F_TIMEOUT(bar, write_read, 120)
{
	struct gpu_mr *m = &self->m;

	/* The CPU was never there. */
	EXPECT_WORKS(m, m->ram, m->gpu);
	EXPECT_TRUE(host_has(m, 0, m->gpu));
	EXPECT_WORKS(m, m->ram + 4093, 10001);
	EXPECT_TRUE(host_has(m, 4093, 10001));
	EXPECT_WORKS(m, 0, m->len);
	EXPECT_EQ(0, gpu_mr_send(m, m->ram - 9, 999));
	EXPECT_EQ(0, memcmp(m->buf + m->ram - 9, m->peer, 999));
	/* One extent for all of it */
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
}

/* The CPU was there first, and has a huge page. */
TEST_F_TIMEOUT(bar, huge, 120)
{
	struct gpu_mr n = { .ram = GPU_PAGE, .gpu = 2 * MIB };

	ASSERT_EQ(0, vfio_mr_open(&n, &self->v, BAR, 4 * MIB));
	vfio_mr_bar(&n)[MIB] = 1;
	EXPECT_WORKS(&n, n.ram + MIB - 77, 70001);
	EXPECT_TRUE(host_has(&n, 5 * MIB - 77, 70001));
	EXPECT_WORKS(&n, n.ram + 2 * MIB - 1001, 2002);
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
	/* The zap of a huge page reaches peers. */
	ASSERT_EQ(0, vfio_decode(&self->v, false));
	EXPECT_REFUSED(&n, gpu_mr_read(&n, n.ram, 1));
	ASSERT_EQ(0, vfio_decode(&self->v, true));
	EXPECT_WORKS(&n, n.ram + 5, 9);
	gpu_mr_close(&n);
}

/* A part of the BAR: its bytes and no others. */
TEST_F_TIMEOUT(bar, part, 120)
{
	struct gpu_mr n = { .ram = GPU_PAGE, .gpu = 3 * GPU_PAGE };
	size_t off = MIB + 5 * GPU_PAGE;
	unsigned char around[2], *all;

	all = vfio_map(&self->v, BAR, 0, 2 * MIB, GPU_MR_RW, NULL);
	ASSERT_NE(MAP_FAILED, all);
	memset(all + off - GPU_PAGE, 0xa5, 5 * GPU_PAGE);
	ASSERT_EQ(0, vfio_mr_open(&n, &self->v, BAR, off));
	EXPECT_WORKS(&n, n.ram, n.gpu);
	EXPECT_TRUE(host_has(&n, off, n.gpu));
	ASSERT_EQ(0, edu_vram(off - 1, around, 1));
	ASSERT_EQ(0, edu_vram(off + n.gpu, around + 1, 1));
	EXPECT_EQ(0xa5, around[0]);
	EXPECT_EQ(0xa5, around[1]);
	/* And less of it */
	ASSERT_EQ(0, munmap(vfio_mr_bar(&n) + GPU_PAGE, GPU_PAGE));
	EXPECT_REFUSED(&n, gpu_mr_write(&n, n.ram + GPU_PAGE, 1));
	EXPECT_WORKS(&n, n.ram + 1, GPU_PAGE - 1);
	EXPECT_TRUE(host_has(&n, off + 1, GPU_PAGE - 1));
	EXPECT_WORKS(&n, n.ram + 2 * GPU_PAGE, GPU_PAGE);
	EXPECT_TRUE(host_has(&n, off + 2 * GPU_PAGE, GPU_PAGE));
	gpu_mr_close(&n);
	munmap(all, 2 * MIB);
}

/* A reset takes a second or so: peers wait for its end. */
TEST_F_TIMEOUT(bar, reset, 150)
{
	struct gpu_mr *m = &self->m;
	struct gpu_traffic t;

	ASSERT_EQ(0, gpu_traffic_start(&t, m));
	for (int i = 0; i < 4; i++) {
		EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
		EXPECT_EQ(0, i % 2 ? vfio_reset(&self->v) :
				     vfio_hot_reset(&self->v));
	}
	EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
	gpu_traffic_stop(&t);
	EXPECT_EQ(0, t.refused);
	EXPECT_EQ(0, t.wrong);
	EXPECT_LE(4, p2p_trace_count("p2p_cut", NULL));
	EXPECT_LE(1, p2p_trace_count("p2p_wait", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	EXPECT_WORKS(m, 0, m->len);
}

/* The user turns decode off, and a reset does not turn it on. */
TEST_F_TIMEOUT(bar, decode_off, 120)
{
	struct gpu_mr *m = &self->m;

	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, vfio_decode(&self->v, false));
	is_off(_metadata, m);
	EXPECT_EQ(0, vfio_reset(&self->v));
	is_off(_metadata, m);
	ASSERT_EQ(0, vfio_decode(&self->v, true));
	EXPECT_WORKS(m, 0, m->len);
	EXPECT_EQ(2, p2p_trace_count("p2p_map", NULL));
}

TEST_F_TIMEOUT(bar, decode_off_under_traffic, 150)
{
	struct gpu_mr *m = &self->m;
	struct gpu_traffic t;

	ASSERT_EQ(0, gpu_traffic_start(&t, m));
	for (int i = 0; i < 5; i++) {
		EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
		ASSERT_EQ(0, vfio_decode(&self->v, false));
		EXPECT_TRUE(gpu_traffic_more(&t.refused, 2));
		ASSERT_EQ(0, vfio_decode(&self->v, true));
	}
	EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
	gpu_traffic_stop(&t);
	EXPECT_EQ(0, t.wrong);
	EXPECT_LE(10, p2p_trace_count("p2p_refuse", OFF));
	EXPECT_WORKS(m, 0, m->len);
}

/* The MR was registered while the BAR was off. */
TEST_F_TIMEOUT(bar, off_at_first, 120)
{
	struct gpu_mr n = { .ram = GPU_PAGE, .gpu = 4 * GPU_PAGE };

	ASSERT_EQ(0, vfio_decode(&self->v, false));
	ASSERT_EQ(0, vfio_mr_open(&n, &self->v, BAR, GPU_PAGE));
	is_off(_metadata, &n);
	ASSERT_EQ(0, vfio_decode(&self->v, true));
	EXPECT_WORKS(&n, 0, n.len);
	gpu_mr_close(&n);
}

TEST_F_TIMEOUT(bar, low_power, 120)
{
	struct gpu_mr *m = &self->m;

	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, vfio_low_power(&self->v, true));
	is_off(_metadata, m);
	/* The second time is an error, and changes nothing. */
	EXPECT_EQ(-EINVAL, vfio_low_power(&self->v, true));
	is_off(_metadata, m);
	ASSERT_EQ(0, vfio_low_power(&self->v, false));
	EXPECT_WORKS(m, 0, m->len);
}

/* The mapping outlives the file descriptors; its end is the end of everything. */
TEST_F_TIMEOUT(bar, outlives_fd, 120)
{
	struct gpu_mr *m = &self->m;
	struct gpu_traffic t;

	ASSERT_EQ(0, gpu_traffic_start(&t, m));
	EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
	vfio_close(&self->v);
	EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
	EXPECT_EQ(0, t.refused);
	/* Not a hole: the queues of a new queue pair may be put there. */
	ASSERT_NE(MAP_FAILED, mmap(vfio_mr_bar(m), m->gpu, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				   -1, 0));
	/* The device is closed by now: nothing of peers is left. */
	EXPECT_LE(1, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(p2p_trace_count("p2p_map", NULL),
		  p2p_trace_count("p2p_unmap", NULL));
	EXPECT_TRUE(gpu_traffic_more(&t.refused, 2));
	gpu_traffic_stop(&t);
	EXPECT_EQ(0, t.wrong);
	EXPECT_RAM_WORKS(m);

	/* Open and map again, at the same place: the same MR has it. */
	ASSERT_EQ(0, vfio_open(&self->v));
	ASSERT_NE(MAP_FAILED, vfio_map(&self->v, BAR, MIB, m->gpu, GPU_MR_RW,
				       vfio_mr_bar(m)));
	EXPECT_WORKS(m, m->ram, m->gpu);
	EXPECT_TRUE(host_has(m, MIB, m->gpu));
}

struct remover {
	pthread_t thread;
	const char *name;
	atomic_bool done;
	int err;
};

static void *remover_run(void *arg)
{
	struct remover *r = arg;

	r->err = pci_write(r->name, "remove", "1");
	r->done = true;
	return NULL;
}

/* The eventfd by which vfio asks its user to let the device go. */
static int want_request(struct vfio_dev *v)
{
	struct {
		struct vfio_irq_set set;
		int fd;
	} arg = {
		.set = {
			.argsz = sizeof(arg),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD |
				 VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_REQ_IRQ_INDEX,
			.count = 1,
		},
		.fd = eventfd(0, EFD_CLOEXEC),
	};

	if (ioctl(v->fd, VFIO_DEVICE_SET_IRQS, &arg))
		return -errno;
	return arg.fd;
}

/* The removal waits for the user, who may go on meanwhile, peers included. */
TEST_F_TIMEOUT(bar, removal, 150)
{
	struct remover r = { .name = self->v.name };
	struct gpu_mr *m = &self->m;
	struct pollfd p = { .fd = want_request(&self->v), .events = POLLIN };
	struct gpu_traffic t;

	ASSERT_LE(0, p.fd);
	ASSERT_EQ(0, gpu_traffic_start(&t, m));
	EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
	ASSERT_EQ(0, pthread_create(&r.thread, NULL, remover_run, &r));
	EXPECT_EQ(1, poll(&p, 1, 30000));
	EXPECT_TRUE(gpu_traffic_more(&t.good, 2));
	EXPECT_FALSE(r.done);
	ASSERT_EQ(0, munmap(vfio_mr_bar(m), m->gpu));
	vfio_close(&self->v);
	pthread_join(r.thread, NULL);
	EXPECT_EQ(0, r.err);
	EXPECT_TRUE(gpu_traffic_more(&t.refused, 2));
	gpu_traffic_stop(&t);
	EXPECT_EQ(0, t.wrong);
	EXPECT_EQ(p2p_trace_count("p2p_map", NULL),
		  p2p_trace_count("p2p_unmap", NULL));
	EXPECT_RAM_WORKS(m);
	close(p.fd);

	/* Who comes next starts afresh. */
	ASSERT_EQ(0, sysfs_write("/sys/bus/pci/rescan", "1"));
	ASSERT_EQ(0, vfio_bind(&self->v, r.name));
}

/* A disk has power states and FLR, for a user who writes to its capabilities. */
TEST_F_TIMEOUT(bar, d3_flr, 120)
{
	struct gpu_mr n = { .ram = GPU_PAGE, .gpu = GPU_PAGE };
	struct vfio_dev v;
	uint16_t pm, exp, ctl;
	glob_t g;
	int cut;

	ASSERT_EQ(0, glob(PCI_DRIVERS "nvme/*:*:*", 0, NULL, &g));
	ASSERT_EQ(0, vfio_bind(&v, strrchr(g.gl_pathv[0], '/') + 1));
	globfree(&g);
	ASSERT_EQ(0, vfio_open(&v));
	pm = vfio_capability(&v, PCI_CAP_ID_PM);
	exp = vfio_capability(&v, PCI_CAP_ID_EXP);
	ASSERT_NE(0, pm);
	ASSERT_NE(0, exp);
	pm += PCI_PM_CTRL;
	exp += PCI_EXP_DEVCTL;

	/* Registers: the peer reads what the CPU reads. */
	ASSERT_EQ(0, vfio_mr_open(&n, &v, 0, 0));
	ASSERT_EQ(0, gpu_mr_read(&n, n.ram, 16));
	EXPECT_EQ(0, memcmp(n.peer, vfio_mr_bar(&n), 16));
	ASSERT_EQ(0, vfio_config_write(&v, pm, 3));
	is_off(_metadata, &n);
	ASSERT_EQ(0, vfio_config_write(&v, pm, 0));
	memset(n.peer, 0, 16);
	EXPECT_EQ(0, gpu_mr_read(&n, n.ram, 16));
	EXPECT_EQ(0, memcmp(n.peer, vfio_mr_bar(&n), 16));

	cut = p2p_trace_count("p2p_cut", NULL);
	ASSERT_EQ(0, vfio_config_read(&v, exp, &ctl));
	ASSERT_EQ(0, vfio_config_write(&v, exp, ctl | PCI_EXP_DEVCTL_BCR_FLR));
	EXPECT_EQ(cut + 1, p2p_trace_count("p2p_cut", NULL));
	EXPECT_EQ(0, gpu_mr_read(&n, n.ram, 16));
	EXPECT_EQ(0, memcmp(n.peer, vfio_mr_bar(&n), 16));
	gpu_mr_close(&n);
	vfio_close(&v);
	vfio_unbind(&v);
}

TEST_HARNESS_MAIN
