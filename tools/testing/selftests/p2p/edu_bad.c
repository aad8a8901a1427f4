// SPDX-License-Identifier: GPL-2.0
/*
 * Bad input to the reference importer: a documented errno, nothing mapped, no
 * kernel report; and what was good before still works afterwards.
 *
 * VM: --topo switch
 * TIMEOUT: 200
 */

#include "kselftest_harness.h"
#include "edu.h"
#include "gpu_mr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

FIXTURE(bad)
{
	struct edu_mem m;
	unsigned char data[2 * EDU_PAGE];
};

FIXTURE_SETUP(bad)
{
	self->m.ram = EDU_PAGE;
	self->m.gpu = 2 * EDU_PAGE;
	ASSERT_EQ(0, edu_mem_open(&self->m));
}

FIXTURE_TEARDOWN(bad)
{
	struct edu_mem *m = &self->m;
	uint64_t dev;

	if (m->buf != MAP_FAILED) {
		EXPECT_EQ(0, edu_reg(m->fd, m->buf, EDU_PAGE, 0, &dev));
		EXPECT_EQ(0, edu_write(m->fd, dev + 9, "well", 4));
		EXPECT_EQ(0, memcmp(m->buf + 9, "well", 4));
	}
	edu_mem_close(m);
	EXPECT_EQ(0, edu_dma_live("mappings"));
}

TEST_F(bad, reg)
{
	struct edu_mem *m = &self->m;
	struct p2p_edu_register arg;
	uint64_t dev;

	EXPECT_EQ(-EINVAL, edu_reg(m->fd, m->buf + 1, EDU_PAGE, 0, &dev));
	EXPECT_EQ(-EINVAL, edu_reg(m->fd, m->buf, EDU_PAGE - 1, 0, &dev));
	EXPECT_EQ(-EINVAL, edu_reg(m->fd, m->buf, 0, 0, &dev));
	EXPECT_EQ(-EINVAL, edu_reg(m->fd, m->buf, EDU_PAGE, 2, &dev));
	EXPECT_EQ(-EFAULT, edu_reg(m->fd, m->buf, -EDU_PAGE, 0, &dev));
	EXPECT_EQ(-EFAULT, edu_reg(m->fd, (void *)-EDU_PAGE, EDU_PAGE, 0, &dev));
	EXPECT_EQ(-EFAULT, edu_reg(m->fd, (void *)-EDU_PAGE, 2 * EDU_PAGE, 0,
				   &dev));
	EXPECT_EQ(-EFAULT, edu_reg(m->fd, (void *)(1UL << 63), EDU_PAGE, 0,
				   &dev));
	/* All of user space: its page list is 256 GiB. */
	EXPECT_EQ(-ENOMEM, edu_reg(m->fd, NULL, 1UL << 46, 0, &dev));

	arg = (struct p2p_edu_register) {
		.addr = (uintptr_t)m->buf, .len = EDU_PAGE, .pad = 1,
	};
	EXPECT_EQ(-1, ioctl(m->fd, P2P_EDU_IOC_REGISTER, &arg));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(m->fd, P2P_EDU_IOC_REGISTER, NULL));
	EXPECT_EQ(EFAULT, errno);
}

/* Wrong commands and wrong sizes of their arguments. */
TEST_F(bad, commands)
{
	struct {
		struct p2p_edu_move x;
		char more[64];
	} arg = { };
	const unsigned long cmds[] = {
		0, ~0U,
		_IOWR('P', 0x90, char), _IOW('P', 0x92, char),
		_IOW('P', 0x93, arg), _IOR('P', 0x93, struct p2p_edu_move),
		_IO('P', 0x95), _IOW('P', 0x96, struct p2p_edu_move),
	};

	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		EXPECT_EQ(-1, ioctl(self->m.fd, cmds[i], &arg));
		EXPECT_EQ(ENOTTY, errno);
	}
}

TEST_F_TIMEOUT(bad, places, 60)
{
	struct edu_mem *m = &self->m;
	unsigned char *data = self->data;
	uint64_t dev = m->dev, end = dev + m->len;

	EXPECT_EQ(-EINVAL, edu_write(m->fd, dev, data, 0));
	EXPECT_EQ(-EINVAL, edu_write(m->fd, end - 5, data, 6));
	EXPECT_EQ(-EINVAL, edu_read(m->fd, end - 5, data, 6));
	EXPECT_EQ(-EINVAL, edu_write(m->fd, dev, data, -1UL));
	EXPECT_EQ(-EINVAL, edu_write(m->fd, dev + 5, data, -5UL));
	EXPECT_EQ(-ENOENT, edu_write(m->fd, end, data, 1));
	EXPECT_EQ(-ENOENT, edu_read(m->fd, -1UL, data, 1));
	EXPECT_EQ(-ENOENT, edu_read(m->fd, (uintptr_t)m->buf, data, 1));
	EXPECT_EQ(-ENOENT, edu_copy(m->fd, dev, end, 1));
	EXPECT_EQ(-ENOENT, edu_copy(m->fd, end, dev, 1));
	EXPECT_EQ(-EINVAL, edu_copy(m->fd, dev, end - 1, 2));
	EXPECT_EQ(-EINVAL, edu_copy(m->fd, end - 1, dev, 2));
	EXPECT_EQ(-EFAULT, edu_write(m->fd, dev, NULL, 1));
	EXPECT_EQ(-EFAULT, edu_read(m->fd, dev, (void *)-8UL, 1));

	EXPECT_EQ(-EINVAL, edu_unreg(m->fd, dev + EDU_PAGE));
	EXPECT_EQ(-EINVAL, edu_unreg(m->fd, dev + 1));
	EXPECT_EQ(-ENOENT, edu_unreg(m->fd, end));
	EXPECT_EQ(0, edu_unreg(m->fd, dev));
	EXPECT_EQ(-ENOENT, edu_unreg(m->fd, dev));
	EXPECT_EQ(-ENOENT, edu_write(m->fd, dev, data, 1));
}

/* A range is its file's. */
TEST_F(bad, other_file)
{
	int fd = edu_open();

	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOENT, edu_write(fd, self->m.dev, self->data, 1));
	EXPECT_EQ(-ENOENT, edu_unreg(fd, self->m.dev));
	close(fd);
}

/* And the memory is that of the process which registered it. */
TEST_F_TIMEOUT(bad, other_mm, 60)
{
	struct edu_mem *m = &self->m;
	int status;
	pid_t pid;

	memset(m->buf, 'p', m->ram);
	pid = fork();
	if (!pid) {
		uint64_t dev;

		memset(m->buf, 'c', m->ram);
		if (edu_write(m->fd, m->dev, self->data, 9) != -EPERM ||
		    edu_read(m->fd, m->dev, self->data, 9) != -EPERM ||
		    edu_copy(m->fd, m->dev, m->dev + 9, 9) != -EPERM ||
		    edu_unreg(m->fd, m->dev) != -EPERM)
			_exit(1);
		/* The child's own, through the same file. */
		if (edu_reg(m->fd, m->buf, EDU_PAGE, 0, &dev) ||
		    edu_read(m->fd, dev, self->data, 9) ||
		    memcmp(self->data, "ccccccccc", 9) ||
		    edu_copy(m->fd, m->dev, dev, 9) != -EPERM)
			_exit(2);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, edu_read(m->fd, m->dev, self->data, 9));
	EXPECT_EQ(0, memcmp(self->data, "ppppppppp", 9));
}

TEST_F_TIMEOUT(bad, holes, 60)
{
	struct edu_mem *m = &self->m;
	unsigned char *data = self->data;
	uint64_t dev;

	ASSERT_EQ(0, munmap(m->buf, m->ram));
	EXPECT_EQ(-EFAULT, edu_write(m->fd, m->dev, data, 1));
	EXPECT_EQ(-EFAULT, edu_read(m->fd, m->dev, data, 1));
	/* What lies before the hole is done, what lies behind is not. */
	ASSERT_EQ(0, munmap(m->buf + m->ram + EDU_PAGE, EDU_PAGE));
	memset(data, 0x42, 20);
	EXPECT_EQ(-EFAULT, edu_write(m->fd, m->dev + m->ram + EDU_PAGE - 10,
				     data, 20));
	EXPECT_EQ(0, memcmp(m->buf + m->ram + EDU_PAGE - 10, data, 10));

	/* A range over nothing at all, which gets memory later. */
	ASSERT_EQ(0, edu_reg(m->fd, m->buf, m->ram, 0, &dev));
	EXPECT_EQ(-EFAULT, edu_write(m->fd, dev, data, 1));
	ASSERT_EQ(m->buf, mmap(m->buf, m->ram, EDU_RW, MAP_PRIVATE |
			       MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_EQ(0, edu_write(m->fd, dev, data, 20));
	EXPECT_EQ(0, memcmp(m->buf, data, 20));
}

/* Each with its own reason. */
TEST_F_TIMEOUT(bad, permissions, 60)
{
	struct edu_mem *m = &self->m;
	unsigned char *gpu = m->buf + m->ram;
	uint64_t dev, at = m->dev + m->ram;

	ASSERT_EQ(0, p2p_trace_begin());
	ASSERT_EQ(0, edu_reg(m->fd, m->buf, m->len, P2P_EDU_RDONLY, &dev));
	EXPECT_EQ(-EPERM, edu_write(m->fd, dev, self->data, 1));
	EXPECT_EQ(-EPERM, edu_write(m->fd, dev + m->ram, self->data, 1));
	EXPECT_EQ(0, edu_read(m->fd, dev + m->ram, self->data, 1));
	EXPECT_EQ(1, p2p_trace_count("p2p_map", "mmio ro"));
	ASSERT_EQ(0, edu_unreg(m->fd, dev));

	ASSERT_EQ(0, mprotect(gpu, m->gpu, PROT_READ));
	EXPECT_EQ(-EPERM, edu_write(m->fd, at, self->data, 1));
	EXPECT_EQ(1, p2p_trace_count("p2p_refuse", "reason=vma-write"));
	EXPECT_EQ(0, edu_read(m->fd, at, self->data, 1));
	ASSERT_EQ(0, mprotect(gpu, m->gpu, PROT_NONE));
	EXPECT_EQ(-EFAULT, edu_read(m->fd, at, self->data, 1));
	EXPECT_EQ(1, p2p_trace_count("p2p_refuse", "reason=vma-read"));
	ASSERT_EQ(0, mprotect(gpu, m->gpu, EDU_RW));
	EXPECT_EQ(0, edu_write(m->fd, at, self->data, 1));

	/* RAM that is read-only gives what the CPU would get: no access. */
	ASSERT_EQ(0, mprotect(m->buf, m->ram, PROT_READ));
	EXPECT_EQ(-EPERM, edu_write(m->fd, m->dev, self->data, 1));
	EXPECT_EQ(0, edu_read(m->fd, m->dev, self->data, 1));
	ASSERT_EQ(0, mprotect(m->buf, m->ram, EDU_RW));
}

TEST(exporter_says)
{
	struct edu_mem ro = { .gpu = EDU_PAGE, .gpu_flags = P2P_GPU_PEERS_READ };
	struct edu_mem no = { .gpu = EDU_PAGE, .gpu_flags = P2P_GPU_PEERS_NONE };
	char c;

	ASSERT_EQ(0, p2p_trace_begin());
	ASSERT_EQ(0, edu_mem_open(&ro));
	EXPECT_EQ(0, edu_read(ro.fd, ro.dev, &c, 1));
	EXPECT_EQ(-EPERM, edu_write(ro.fd, ro.dev, &c, 1));
	EXPECT_EQ(1, p2p_trace_count("p2p_refuse", "reason=grant-write"));
	edu_mem_close(&ro);
	ASSERT_EQ(0, edu_mem_open(&no));
	EXPECT_EQ(-EACCES, edu_read(no.fd, no.dev, &c, 1));
	EXPECT_EQ(1, p2p_trace_count("p2p_refuse", "reason=exporter"));
	edu_mem_close(&no);
	EXPECT_EQ(0, edu_dma_live("mappings"));
}

TEST_HARNESS_MAIN
