// SPDX-License-Identifier: GPL-2.0
/*
 * Other ways to look at a process: ptrace, /proc/PID/mem, process_vm_readv() and
 * core dumps. Of a mapping that peers may use they show what they show of any
 * mapping of device memory that has no ->access(): nothing. With p2p_vma=off, as
 * on stock Linux, all of this is the same.
 *
 * VM:
 * VM: --append p2p_vma=off
 */

#include "kselftest_harness.h"
#include "gpu_mr.h"
#include "sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE		"/var/tmp/gpu_ptrace.core"

FIXTURE(other)
{
	struct gpu_mr m;
	pid_t child;
};

/* 0: not touched by the CPU; 1: in its page tables; 2: evicted and in there */
FIXTURE_VARIANT(other)
{
	int touched;
};

FIXTURE_VARIANT_ADD(other, untouched) { .touched = 0 };
FIXTURE_VARIANT_ADD(other, touched) { .touched = 1 };
FIXTURE_VARIANT_ADD(other, evicted) { .touched = 2 };

/* The child has the mappings, and stops. The MR is ours: fork leaves it here. */
FIXTURE_SETUP(other)
{
	struct gpu_mr *m = &self->m;
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int status;

	m->ram = 2 * GPU_PAGE;
	m->gpu = 4 * GPU_PAGE;
	ASSERT_EQ(0, gpu_mr_open(m));
	ASSERT_EQ(0, p2p_trace_begin());
	memset(m->buf, 0x11, m->ram);
	memset(m->buf + m->ram + m->gpu, 0x33, m->ram);

	self->child = fork();
	ASSERT_LE(0, self->child);
	if (!self->child) {
		setrlimit(RLIMIT_CORE, &unlimited);
		if (variant->touched == 2)
			gpu_move(&m->o, P2P_GPU_RAM);
		if (variant->touched)
			memset(m->o.ptr, 0x22, m->gpu);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	ASSERT_EQ(self->child, waitpid(self->child, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
}

FIXTURE_TEARDOWN(other)
{
	kill(self->child, SIGKILL);
	waitpid(self->child, NULL, 0);
	gpu_mr_close(&self->m);
}

/* Nobody asked the exporter. */
#define EXPECT_UNASKED() do {					\
	EXPECT_EQ(0, p2p_trace_count("p2p_map", NULL));		\
	EXPECT_EQ(0, p2p_trace_count("p2p_refuse", NULL));	\
} while (0)

TEST_F(other, ptrace)
{
	struct gpu_mr *m = &self->m;

	errno = 0;
	EXPECT_EQ(0x1111111111111111,
		  ptrace(PTRACE_PEEKDATA, self->child, m->buf, NULL));
	EXPECT_EQ(-1, ptrace(PTRACE_PEEKDATA, self->child, m->o.ptr, NULL));
	EXPECT_EQ(EIO, errno);
	errno = 0;
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, self->child, m->o.ptr, 7UL));
	EXPECT_EQ(EIO, errno);
	/* half in RAM, half not: RAM is changed neither */
	errno = 0;
	EXPECT_EQ(-1, ptrace(PTRACE_PEEKDATA, self->child, m->o.ptr - 4, NULL));
	EXPECT_EQ(EIO, errno);
	EXPECT_UNASKED();
}

TEST_F(other, proc_mem)
{
	struct gpu_mr *m = &self->m;
	unsigned char data[3 * GPU_PAGE];
	char path[32];
	off_t gpu = (uintptr_t)m->o.ptr;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", self->child);
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(8, pread(fd, data, 8, (uintptr_t)m->buf));
	EXPECT_EQ(-1, pread(fd, data, 8, gpu));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(fd, data, 8, gpu));
	EXPECT_EQ(EIO, errno);
	/* what comes before it is read */
	EXPECT_EQ(m->ram, pread(fd, data, sizeof(data), (uintptr_t)m->buf));
	EXPECT_EQ(0x11, data[m->ram - 1]);
	close(fd);
	EXPECT_UNASKED();
}

TEST_F(other, process_vm)
{
	struct gpu_mr *m = &self->m;
	unsigned char data[3 * GPU_PAGE];
	struct iovec local = { data, 64 }, remote = { m->o.ptr, 64 };

	EXPECT_EQ(-1, process_vm_readv(self->child, &local, 1, &remote, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, process_vm_writev(self->child, &local, 1, &remote, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	local.iov_len = sizeof(data);
	remote = (struct iovec) { m->buf, sizeof(data) };
	EXPECT_EQ(m->ram,
		  process_vm_readv(self->child, &local, 1, &remote, 1, 0));
	EXPECT_EQ(0x11, data[m->ram - 1]);
	EXPECT_UNASKED();
}

/* A program header of ELF64, and where its header says that they are. */
struct segment {
	uint32_t type, flags;
	uint64_t offset, addr, phys, filesz, memsz, align;
};

#define ELF_PHOFF	32
#define ELF_PHNUM	56

/* The segment of a core file that has @addr. */
static int core_segment(int fd, uintptr_t addr, struct segment *s)
{
	uint64_t off;
	uint16_t nr;

	if (pread(fd, &off, sizeof(off), ELF_PHOFF) != sizeof(off) ||
	    pread(fd, &nr, sizeof(nr), ELF_PHNUM) != sizeof(nr))
		return -EIO;
	for (; nr--; off += sizeof(*s)) {
		if (pread(fd, s, sizeof(*s), off) != sizeof(*s))
			return -EIO;
		if (s->type == 1 && addr - s->addr < s->memsz)
			return 0;
	}
	return -ENOENT;
}

TEST_F_TIMEOUT(other, core_dump, 60)
{
	struct gpu_mr *m = &self->m;
	char path[64], pattern[128] = "core";
	unsigned char data[64];
	struct segment seg;
	int fd, status;

	fd = open(CORE_PATTERN, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_LT(0, read(fd, pattern, sizeof(pattern) - 1));
	close(fd);
	ASSERT_EQ(0, sysfs_write(CORE_PATTERN, CORE));
	/* all that can be dumped, device memory too */
	snprintf(path, sizeof(path), "/proc/%d/coredump_filter", self->child);
	ASSERT_EQ(0, sysfs_write(path, "0x1ff"));
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, self->child, NULL, SIGABRT));
	ASSERT_EQ(self->child, waitpid(self->child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WCOREDUMP(status));
	EXPECT_EQ(0, sysfs_write(CORE_PATTERN, pattern));

	fd = open(CORE, O_RDONLY);
	ASSERT_LE(0, fd);
	unlink(CORE);
	ASSERT_EQ(0, core_segment(fd, (uintptr_t)m->buf, &seg));
	EXPECT_EQ(m->ram, seg.filesz);
	EXPECT_EQ(sizeof(data), pread(fd, data, sizeof(data), seg.offset));
	EXPECT_EQ(0x11, data[63]);
	/* listed, without contents */
	ASSERT_EQ(0, core_segment(fd, (uintptr_t)m->o.ptr, &seg));
	EXPECT_EQ(m->gpu, seg.memsz);
	EXPECT_EQ(0, seg.filesz);
	close(fd);
	EXPECT_UNASKED();
}

TEST_HARNESS_MAIN
