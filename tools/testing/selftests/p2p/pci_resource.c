// SPDX-License-Identifier: GPL-2.0
/*
 * resourceN and resourceN_wc in sysfs as exporters: data by RDMA, by DMA and by the
 * CPU, and everything that takes the memory away, with a driver bound to the
 * device or without.
 *
 * VM: --topo switch
 * SKIP-OK: stays_awake
 * TIMEOUT: 400
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "gpu_mr.h"
#include "sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES	8
#define OFF	(3 * GPU_PAGE)		/* of the mapping in the BAR */
#define POLICY	"/sys/module/pci_p2p/parameters/policy"

static sigjmp_buf jump;

static void on_sigbus(int sig)
{
	siglongjmp(jump, 1);
}

/* What the CPU reads there, or -1 for SIGBUS. */
static int peek(const unsigned char *p)
{
	struct sigaction sa = { .sa_handler = on_sigbus }, old;
	int val = -1;

	sigaction(SIGBUS, &sa, &old);
	if (!sigsetjmp(jump, 1))
		val = __atomic_load_n(p, __ATOMIC_RELAXED);
	sigaction(SIGBUS, &old, NULL);
	return val;
}

static int bar_open(const char *gpu, const char *file, int flags)
{
	char path[96];

	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", gpu, file);
	return open(path, flags | O_CLOEXEC);
}

/* What a file of the device says, -1 if there is none. */
static long pci_get(const char *gpu, const char *file)
{
	char text[32] = "";
	int fd = bar_open(gpu, file, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n < 0 ? -1 : strtol(text, NULL, 0);
}

/* A buffer of RAM, PAGES pages of the BAR and RAM, in m, and its MR. */
static int res_open(struct gpu_mr *m, int fd, int prot)
{
	m->o.fd = -1;
	m->ram = 2 * GPU_PAGE;
	m->gpu = PAGES * GPU_PAGE;
	m->len = 2 * m->ram + m->gpu;
	m->access = GPU_MR_ODP;
	m->buf = mmap(NULL, m->len, GPU_MR_RW, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	if (m->buf == MAP_FAILED)
		return -errno;
	m->iova = (uintptr_t)m->buf;
	m->o.ptr = mmap(m->buf + m->ram, m->gpu, prot, MAP_SHARED | MAP_FIXED,
			fd, OFF);
	if (m->o.ptr == MAP_FAILED || p2p_rdma_open(&m->r, NULL))
		return -ENODEV;
	m->peer = malloc(m->len);
	m->peer_mr = p2p_rdma_reg(&m->r, m->peer, m->len, (uintptr_t)m->peer,
				  P2P_RDMA_ALL);
	return m->peer_mr ? gpu_mr_reg(m) : -errno;
}

FIXTURE(resource)
{
	struct gpu_mr m;
	char gpu[PCI_NAME];
	unsigned char *bar;	/* all of it, stock, since before it was offered */
	size_t bar_len;
	int fd;
};

FIXTURE_VARIANT(resource)
{
	const char *file;
	bool driver;
};

FIXTURE_VARIANT_ADD(resource, alone)
{
	.file = "resource2",
};

FIXTURE_VARIANT_ADD(resource, beside_driver)
{
	.file = "resource2",
	.driver = true,
};

FIXTURE_VARIANT_ADD(resource, wc)
{
	.file = "resource2_wc",
};

FIXTURE_SETUP(resource)
{
	struct gpu_mr *m = &self->m;
	int fd;

	srandom(5);
	ASSERT_EQ(0, pci_find_gpu(self->gpu));
	if (!variant->driver) {
		ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind",
					 self->gpu));
		ASSERT_EQ(0, pci_write(self->gpu, "enable", "1"));
	}
	ASSERT_EQ(0, pci_get(self->gpu, "p2p_mmap"));
	fd = bar_open(self->gpu, "resource2", O_RDWR);
	ASSERT_LE(0, fd);
	self->bar_len = 64 * GPU_PAGE;
	self->bar = mmap(NULL, self->bar_len, GPU_MR_RW, MAP_SHARED, fd, 0);
	close(fd);
	ASSERT_NE(MAP_FAILED, self->bar);

	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1"));
	ASSERT_EQ(1, pci_get(self->gpu, "p2p_mmap"));
	self->fd = bar_open(self->gpu, variant->file, O_RDWR);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, res_open(m, self->fd, GPU_MR_RW));
	ASSERT_EQ(0, p2p_trace_begin());
}

FIXTURE_TEARDOWN(resource)
{
	gpu_mr_close(&self->m);
	if (self->fd >= 0)
		close(self->fd);
	munmap(self->bar, self->bar_len);
	sysfs_write("/sys/bus/pci/rescan", "1");
	sysfs_write(POLICY, "\n");
	pci_write(self->gpu, "p2p_mmap", "0");
	if (!variant->driver) {
		sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", self->gpu);
		pci_write(self->gpu, "enable", "0");
		EXPECT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", self->gpu));
	}
}

/* What the host has in the device's memory is what the CPU sees at @off. */
static bool host_agrees(struct gpu_mr *m, size_t off, size_t len)
{
	unsigned char *host = malloc(len);
	bool same = !edu_vram(OFF + off, host, len) &&
		    !memcmp(host, m->o.ptr + off, len);

	free(host);
	return same;
}

static bool refused(const char *why, int n)
{
	return p2p_trace_seen("p2p_refuse", why, n);
}

/* The stock answer: the mapping is not one that peers may ask for. */
static void expect_stock(struct __test_metadata *_metadata, struct gpu_mr *m)
{
	struct ibv_mr *mr;

	ASSERT_EQ(0, p2p_trace_begin());
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram + m->gpu - 1, 1));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	mr = p2p_rdma_reg(&m->r, m->o.ptr, m->gpu, 0, P2P_RDMA_ALL);
	EXPECT_EQ(NULL, mr);
	EXPECT_EQ(EFAULT, errno);
	EXPECT_RAM_WORKS(m);
}

TEST_F_TIMEOUT(resource, transfers, 120)
{
	struct gpu_mr *m = &self->m;

	for (int i = 0; i < 50; i++) {
		size_t n = 1 + random() % (m->len / 2);
		size_t at = random() % (m->len - n + 1);

		EXPECT_WORKS(m, at, n);
	}
	EXPECT_TRUE(host_agrees(m, 0, m->gpu));
	EXPECT_EQ(0, memcmp(self->bar + OFF, m->o.ptr, m->gpu));
	/* As the local buffer, too; and all of that is one extent. */
	fill_random(m->peer, m->len);
	EXPECT_EQ(0, gpu_mr_get(m, m->ram - 7, 5000));
	EXPECT_EQ(0, memcmp(m->peer, m->buf + m->ram - 7, 5000));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "len=0x8000 mmio rw"));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
}

/* Peers lose it at once, the CPU does not notice. */
TEST_F_TIMEOUT(resource, switch_off, 120)
{
	struct gpu_mr *m = &self->m;

	EXPECT_WORKS(m, 0, m->len);
	EXPECT_EQ(1, p2p_trace_count("p2p_map", NULL));
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "0"));
	EXPECT_EQ(1, p2p_trace_count("p2p_unmap", NULL));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_TRUE(refused("reason=exporter err=-14", 1));
	EXPECT_RAM_WORKS(m);
	memset(m->o.ptr, 0x5a, m->gpu);
	EXPECT_EQ(0x5a, peek(self->bar + OFF + m->gpu - 1));
	EXPECT_TRUE(host_agrees(m, 0, m->gpu));

	/* Mapped now it is as any other, also by a file that is in use. */
	ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, m->gpu, GPU_MR_RW,
				 MAP_SHARED | MAP_FIXED, self->fd, OFF));
	expect_stock(_metadata, m);
	EXPECT_EQ(0x5a, peek(m->o.ptr));
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1"));
	expect_stock(_metadata, m);
	ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, m->gpu, GPU_MR_RW,
				 MAP_SHARED | MAP_FIXED, self->fd, OFF));
	EXPECT_WORKS(m, 0, m->len);
}

TEST_F_TIMEOUT(resource, switch_on_again, 120)
{
	struct gpu_mr *m = &self->m;

	for (int i = 0; i < 5; i++) {
		EXPECT_WORKS(m, 0, m->len);
		ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "0"));
		ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1"));
	}
	EXPECT_EQ(5, p2p_trace_count("p2p_map", NULL));
	EXPECT_EQ(5, p2p_trace_count("p2p_unmap", NULL));
}

/* A stock mapping of the same bytes outlives all that zaps the others. */
TEST_F(resource, stock_stays)
{
	struct gpu_mr *m = &self->m;

	m->o.ptr[9] = 0x77;
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "0"));
	EXPECT_EQ(0x77, peek(self->bar + OFF + 9));
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1"));
	EXPECT_EQ(0x77, peek(self->bar + OFF + 9));
	EXPECT_EQ(0x77, peek(m->o.ptr + 9));
}

TEST_F_TIMEOUT(resource, permissions, 120)
{
	struct gpu_mr *m = &self->m;
	int ro = bar_open(self->gpu, variant->file, O_RDONLY);

	ASSERT_LE(0, ro);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, m->gpu, GPU_MR_RW, MAP_SHARED, ro, 0));
	memset(m->o.ptr, 0x42, m->gpu);
	ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, m->gpu, PROT_READ,
				 MAP_SHARED | MAP_FIXED, ro, OFF));
	close(ro);
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram + 5, 10));
	EXPECT_TRUE(refused("reason=vma-write", 1));
	EXPECT_EQ(0, gpu_mr_read(m, m->ram, m->gpu));
	EXPECT_EQ(0x42, m->peer[0]);
	EXPECT_EQ(0, memcmp(m->peer, m->o.ptr, m->gpu));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "mmio ro"));

	ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, m->gpu, GPU_MR_RW,
				 MAP_SHARED | MAP_FIXED, self->fd, OFF));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, PROT_READ));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_EQ(0, gpu_mr_read(m, m->ram, m->gpu));
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, PROT_NONE));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 1));
	EXPECT_TRUE(refused("reason=vma-read", 1));
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, GPU_MR_RW));
	EXPECT_WORKS(m, 0, m->len);

	/* A private mapping is a stock one. */
	ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, m->gpu, GPU_MR_RW,
				 MAP_PRIVATE | MAP_FIXED, self->fd, OFF));
	expect_stock(_metadata, m);
}

/* Not populated yet, or not any more: ptrace() and the like see the same. */
TEST_F(resource, mem_file)
{
	struct gpu_mr *m = &self->m;
	struct iovec to, from;
	char a[8], b[8] = "other";
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	memcpy(self->bar + OFF + 100, "a test!", 8);
	EXPECT_EQ(8, pread(fd, a, 8, (uintptr_t)m->o.ptr + 100));
	EXPECT_STREQ("a test!", a);
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "0"));
	EXPECT_EQ(8, pwrite(fd, b, 8, (uintptr_t)m->o.ptr + 100));
	EXPECT_EQ(0, memcmp(self->bar + OFF + 100, b, 8));
	ASSERT_EQ(0, mprotect(m->o.ptr, m->gpu, PROT_READ));
	EXPECT_EQ(-1, pwrite(fd, b, 8, (uintptr_t)m->o.ptr + 100));
	EXPECT_EQ(8, pread(fd, a, 8, (uintptr_t)m->o.ptr + 100));
	close(fd);

	/* This one never could. */
	to = (struct iovec) { a, 8 };
	from = (struct iovec) { self->bar, 8 };
	EXPECT_EQ(-1, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	from.iov_base = m->o.ptr;
	EXPECT_EQ(-1, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
	EXPECT_EQ(EFAULT, errno);
}

static int set_command(const char *gpu, const char *bits)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "setpci -s %s COMMAND=%s", gpu, bits);
	return system(cmd) ? -EIO : 0;
}

/* Turned off by a root user: seen when somebody asks, and not for ever. */
TEST_F_TIMEOUT(resource, decode_off, 120)
{
	struct gpu_mr *m = &self->m;

	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "0"));
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1"));
	ASSERT_EQ(0, set_command(self->gpu, "0:2"));
	EXPECT_EQ(-1, peek(m->o.ptr));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 1));
	EXPECT_TRUE(refused("reason=exporter err=-5", 1));
	EXPECT_RAM_WORKS(m);
	ASSERT_EQ(0, set_command(self->gpu, "2:2"));
	EXPECT_NE(-1, peek(m->o.ptr));
	EXPECT_WORKS(m, 0, m->len);
}

/* The driver takes nothing with it, but everybody asks again. */
TEST_F_TIMEOUT(resource, unbind, 120)
{
	struct gpu_mr *m = &self->m;

	EXPECT_WORKS(m, 0, m->len);
	if (!variant->driver)
		ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", self->gpu));
	EXPECT_WORKS(m, 0, m->len);
	ASSERT_EQ(0, p2p_trace_begin());
	ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/unbind", self->gpu));
	EXPECT_EQ(1, p2p_trace_count("p2p_cut", "extents=1"));
	EXPECT_WORKS(m, 0, m->len);
	EXPECT_TRUE(host_agrees(m, 0, m->gpu));
	ASSERT_EQ(0, sysfs_write(PCI_DRIVERS "p2p_gpu/bind", self->gpu));
	EXPECT_WORKS(m, 0, m->len);
}

TEST_F_TIMEOUT(resource, remove, 200)
{
	struct gpu_mr *m = &self->m;
	struct gpu_traffic t;

	ASSERT_EQ(0, gpu_traffic_start(&t, m));
	EXPECT_TRUE(gpu_traffic_more(&t.good, 1));
	ASSERT_EQ(0, pci_write(self->gpu, "remove", "1"));
	/* Nothing is left when it returns. */
	EXPECT_EQ(p2p_trace_count("p2p_map", NULL),
		  p2p_trace_count("p2p_unmap", NULL));
	EXPECT_TRUE(gpu_traffic_more(&t.refused, 3));
	gpu_traffic_stop(&t);
	EXPECT_EQ(0, t.wrong);
	EXPECT_LT(0, t.refused);
	EXPECT_EQ(-1, peek(m->o.ptr));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, m->gpu, GPU_MR_RW, MAP_SHARED,
				   self->fd, OFF));
	EXPECT_RAM_WORKS(m);

	/* The next device there is another one: not offered, nor mapped. */
	ASSERT_EQ(0, sysfs_write("/sys/bus/pci/rescan", "1"));
	EXPECT_EQ(0, pci_get(self->gpu, "p2p_mmap"));
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1"));
	EXPECT_EQ(-1, peek(m->o.ptr));
	EXPECT_REFUSED(m, gpu_mr_write(m, m->ram, 1));
	EXPECT_TRUE(refused("reason=exporter err=-19", 1));
	close(self->fd);
	self->fd = bar_open(self->gpu, variant->file, O_RDWR);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, m->gpu, GPU_MR_RW,
				 MAP_SHARED | MAP_FIXED, self->fd, OFF));
	EXPECT_WORKS(m, 0, m->len);
	EXPECT_TRUE(host_agrees(m, 0, m->gpu));
}

/* Switched on and off, reset and mapped anew, all at once. */
TEST_F_TIMEOUT(resource, all_at_once, 200)
{
	struct gpu_mr *m = &self->m;
	struct gpu_traffic t;

	ASSERT_EQ(0, gpu_traffic_start(&t, m));
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "0"));
		EXPECT_NE(-1, peek(m->o.ptr));
		ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, m->gpu, GPU_MR_RW,
					 MAP_SHARED | MAP_FIXED, self->fd, OFF));
		ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1"));
		ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, m->gpu, GPU_MR_RW,
					 MAP_SHARED | MAP_FIXED, self->fd, OFF));
		if (i % 5 == 0)
			ASSERT_EQ(0, pci_write(self->gpu, "reset", "1"));
		EXPECT_NE(-1, peek(m->o.ptr));
	}
	gpu_traffic_stop(&t);
	EXPECT_EQ(0, t.wrong);
	EXPECT_WORKS(m, 0, m->len);
}

/* By the DMA engine: data, a policy that denies it, and back. */
TEST_F_TIMEOUT(resource, dma, 120)
{
	unsigned char want[3000], got[3000];
	struct gpu_mr *m = &self->m;
	uint64_t dev;
	int edu = edu_open();

	ASSERT_LE(0, edu);
	ASSERT_EQ(0, edu_reg(edu, m->buf, m->len, 0, &dev));
	fill_random(want, sizeof(want));
	ASSERT_EQ(0, edu_write(edu, dev + m->ram + 40, want, sizeof(want)));
	EXPECT_EQ(0, memcmp(m->o.ptr + 40, want, sizeof(want)));
	EXPECT_TRUE(host_agrees(m, 0, m->gpu));
	ASSERT_EQ(0, edu_read(edu, dev + m->ram + 40, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(got, want, sizeof(want)));
	EXPECT_EQ(1, edu_dma_live("mappings"));

	ASSERT_EQ(0, sysfs_write(POLICY, "deny=*\n"));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(-EACCES, edu_write(edu, dev + m->ram, want, 8));
	EXPECT_TRUE(refused("reason=topology err=-13", 1));
	EXPECT_EQ(want[0], peek(m->o.ptr + 40));
	ASSERT_EQ(0, sysfs_write(POLICY, "\n"));
	EXPECT_EQ(0, edu_write(edu, dev + m->ram, want, 8));
	EXPECT_EQ(want[0], peek(m->o.ptr));

	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "0"));
	EXPECT_EQ(0, edu_dma_live("mappings"));
	EXPECT_EQ(-EFAULT, edu_write(edu, dev + m->ram, want, 8));
	close(edu);
}

/* It does not fall asleep while peers may come. */
TEST_F(resource, stays_awake)
{
	char path[96], is[32] = "";
	FILE *f;

	if (!variant->driver)
		SKIP(return, "without a driver the device never sleeps");
	ASSERT_EQ(0, pci_write(self->gpu, "power/control", "auto"));
	usleep(1000000);
	snprintf(path, sizeof(path), PCI_DEVICES "%s/power/runtime_status",
		 self->gpu);
	f = fopen(path, "r");
	ASSERT_NE(NULL, f);
	EXPECT_EQ(1, fscanf(f, "%31s", is));
	EXPECT_STREQ("active", is);
	fclose(f);
	EXPECT_WORKS(&self->m, 0, self->m.len);
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "0"));
	for (int i = 0; i < 1000 && strcmp(is, "suspended"); i++) {
		usleep(10000);
		f = fopen(path, "r");
		ASSERT_NE(NULL, f);
		EXPECT_EQ(1, fscanf(f, "%31s", is));
		fclose(f);
	}
	EXPECT_STREQ("suspended", is);
	/* It wakes up to be offered. */
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1"));
	EXPECT_WORKS(&self->m, 0, self->m.len);
	EXPECT_EQ(0, pci_write(self->gpu, "power/control", "on"));
}

/* The memory type is that of the driver or the file, also after a zap. */
TEST_F(resource, memory_type)
{
	char line[128], want[48], addr[32] = "";
	struct gpu_mr *m = &self->m;
	FILE *f;
	int n = 0;

	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "0"));
	EXPECT_NE(-1, peek(m->o.ptr));
	/* Without the stock mapping, whose type is that of the first. */
	munmap(self->bar, self->bar_len);
	munmap(m->o.ptr, m->gpu);
	ASSERT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1"));
	ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, m->gpu, GPU_MR_RW,
				 MAP_SHARED | MAP_FIXED, self->fd, OFF));
	EXPECT_WORKS(m, 0, m->len);

	snprintf(want, sizeof(want), "%s",
		 variant->driver || strstr(variant->file, "_wc") ?
			"write-combining" : "uncached-minus");
	snprintf(line, sizeof(line), PCI_DEVICES "%s/resource", self->gpu);
	f = fopen(line, "r");
	ASSERT_NE(NULL, f);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(1, fscanf(f, "%31s %*s %*s", addr));
	fclose(f);
	snprintf(addr, sizeof(addr), "0x%016llx",
		 strtoull(addr, NULL, 16) + OFF);
	f = fopen("/sys/kernel/debug/x86/pat_memtype_list", "r");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, addr)) {
			EXPECT_NE(NULL, strstr(line, want));
			n++;
		}
	fclose(f);
	EXPECT_LT(0, n);
	self->bar = mmap(NULL, self->bar_len, PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* What the attribute takes, and from whom. */
TEST_F(resource, attribute)
{
	char path[96];
	int status;
	pid_t pid;

	EXPECT_EQ(-EINVAL, pci_write(self->gpu, "p2p_mmap", "perhaps"));
	EXPECT_EQ(-EINVAL, pci_write(self->gpu, "p2p_mmap", "2"));
	EXPECT_EQ(1, pci_get(self->gpu, "p2p_mmap"));
	EXPECT_EQ(0, pci_write(self->gpu, "p2p_mmap", "1\n"));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setuid(65534))
			_exit(99);
		if (pci_get(self->gpu, "p2p_mmap") != 1)
			_exit(98);
		_exit(-pci_write(self->gpu, "p2p_mmap", "0"));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(EACCES, WEXITSTATUS(status));
	EXPECT_EQ(1, pci_get(self->gpu, "p2p_mmap"));

	/* A device with nothing to offer, and a bridge */
	EXPECT_EQ(-ENXIO, pci_write("0000:00:00.0", "p2p_mmap", "1"));
	EXPECT_EQ(0, pci_get("0000:00:00.0", "p2p_mmap"));
	snprintf(path, sizeof(path), PCI_DEVICES "%s/../p2p_mmap", self->gpu);
	EXPECT_NE(0, access(path, F_OK));
}

/* A BAR that is smaller than a page is as ever; the others are not affected. */
TEST_F(resource, small_bar)
{
	struct gpu_mr *m = &self->m;
	int fd = bar_open(self->gpu, "resource0", O_RDWR);

	ASSERT_LE(0, fd);
	ASSERT_EQ(m->o.ptr, mmap(m->o.ptr, GPU_PAGE, GPU_MR_RW,
				 MAP_SHARED | MAP_FIXED, fd, 0));
	close(fd);
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	EXPECT_REFUSED(m, gpu_mr_read(m, m->ram, 1));
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));
	EXPECT_WORKS(m, m->ram + GPU_PAGE, m->gpu - GPU_PAGE);
}

TEST_HARNESS_MAIN
