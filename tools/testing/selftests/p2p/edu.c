// SPDX-License-Identifier: GPL-2.0
/* See edu.h. */

#include "edu.h"
#include "sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEBUGFS	"/sys/kernel/debug/"

int edu_open(void)
{
	int fd, n, newest = -1;
	char path[32];
	glob_t g;

	if (glob("/dev/p2p_edu*", 0, NULL, &g))
		return -ENODEV;
	for (size_t i = 0; i < g.gl_pathc; i++)
		if (sscanf(g.gl_pathv[i], "/dev/p2p_edu%d", &n) == 1 &&
		    n > newest)
			newest = n;
	globfree(&g);
	if (newest < 0)
		return -ENODEV;
	snprintf(path, sizeof(path), "/dev/p2p_edu%d", newest);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int edu_reg(int fd, void *addr, size_t len, unsigned int flags, uint64_t *dev)
{
	struct p2p_edu_register arg = {
		.addr = (uintptr_t)addr, .len = len, .flags = flags,
	};

	if (ioctl(fd, P2P_EDU_IOC_REGISTER, &arg))
		return -errno;
	*dev = arg.offset;
	return 0;
}

int edu_unreg(int fd, uint64_t dev)
{
	__u64 offset = dev;

	return ioctl(fd, P2P_EDU_IOC_UNREGISTER, &offset) ? -errno : 0;
}

static int move(int fd, unsigned long cmd, uint64_t from, uint64_t to,
		size_t len)
{
	struct p2p_edu_move arg = { .from = from, .to = to, .len = len };

	return ioctl(fd, cmd, &arg) ? -errno : 0;
}

int edu_write(int fd, uint64_t dev, const void *data, size_t len)
{
	return move(fd, P2P_EDU_IOC_WRITE, (uintptr_t)data, dev, len);
}

int edu_read(int fd, uint64_t dev, void *data, size_t len)
{
	return move(fd, P2P_EDU_IOC_READ, dev, (uintptr_t)data, len);
}

int edu_copy(int fd, uint64_t from, uint64_t to, size_t len)
{
	return move(fd, P2P_EDU_IOC_COPY, from, to, len);
}

int edu_counters(int fd, struct p2p_edu_counters *c)
{
	return ioctl(fd, P2P_EDU_IOC_COUNTERS, c) ? -errno : 0;
}

/* The only file that matches the pattern. */
static int find_file(const char *pattern, char *path, size_t len)
{
	glob_t g;

	if (glob(pattern, 0, NULL, &g))
		return -ENOENT;
	snprintf(path, len, "%s", g.gl_pathv[0]);
	globfree(&g);
	return 0;
}

int edu_again(void)
{
	char path[64];
	int err = find_file(DEBUGFS "p2p_edu*/again", path, sizeof(path));

	return err ? err : sysfs_write(path, "1");
}

uint64_t edu_last_dma(void)
{
	unsigned long long dma = 0;
	char path[64];
	FILE *f;

	if (find_file(DEBUGFS "p2p_edu*/last_dma", path, sizeof(path)))
		return 0;
	f = fopen(path, "r");
	if (!f || fscanf(f, "%llx", &dma) != 1)
		dma = 0;
	if (f)
		fclose(f);
	return dma;
}

int edu_unbind(const char *driver, char *name, size_t len)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), PCI_DRIVERS "%s/*:*:*", driver);
	err = find_file(path, path, sizeof(path));
	if (err)
		return err;
	snprintf(name, len, "%s", strrchr(path, '/') + 1);
	snprintf(path, sizeof(path), PCI_DRIVERS "%s/unbind", driver);
	return sysfs_write(path, name);
}

int edu_bind(const char *driver, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), PCI_DRIVERS "%s/bind", driver);
	return sysfs_write(path, name);
}

int edu_rebind(unsigned int dma_bits)
{
	char name[32], bits[16];
	int err = edu_unbind("p2p_edu", name, sizeof(name));

	if (err)
		return err;
	snprintf(bits, sizeof(bits), "%u", dma_bits);
	err = sysfs_write("/sys/module/p2p_edu/parameters/dma_bits", bits);
	return err ? err : edu_bind("p2p_edu", name);
}

int edu_mem_open(struct edu_mem *m)
{
	int prot = m->prot ? m->prot : EDU_RW;
	int fd, err;

	m->len = m->gpu + 2 * m->ram;
	m->buf = MAP_FAILED;
	m->o.fd = -1;
	m->fd = edu_open();
	if (m->fd < 0)
		return m->fd;
	fd = gpu_open(O_RDWR);
	if (fd < 0)
		return fd;
	m->o.fd = fd;
	err = gpu_alloc(&m->o, fd, m->gpu, m->gpu_flags);
	if (err)
		return err;
	m->buf = mmap(NULL, m->len, EDU_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->buf == MAP_FAILED)
		return -errno;
	err = gpu_map(&m->o, m->buf + m->ram, prot);
	if (err || m->no_reg)
		return err;
	return edu_reg(m->fd, m->buf, m->len, m->flags, &m->dev);
}

void edu_mem_close(struct edu_mem *m)
{
	if (m->fd >= 0)
		close(m->fd);
	if (m->buf != MAP_FAILED)
		munmap(m->buf, m->len);
	if (m->o.fd >= 0)
		close(m->o.fd);
}

int edu_vram(uint64_t off, void *data, size_t len)
{
	const char *path = getenv("P2P_VRAM");
	ssize_t n;
	int fd;

	if (!path)
		return -ENOENT;
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	n = pread(fd, data, len, off);
	close(fd);
	return n == (ssize_t)len ? 0 : -EIO;
}

long edu_dma_live(const char *what)
{
	FILE *f = fopen(DEBUGFS "p2p_dma", "r");
	char line[128];
	long n, found = -ENOENT;
	size_t len = strlen(what);

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, what, len) && line[len] == ':' &&
		    sscanf(line + len + 1, "%ld", &n) == 1)
			found = n;
	fclose(f);
	return found;
}

const char *edu_expected(void)
{
	static char line[4096];
	FILE *f = fopen("/proc/cmdline", "r");
	char *p;

	if (!f)
		return "";
	p = fgets(line, sizeof(line), f);
	fclose(f);
	p = p ? strstr(line, "edu_expect=") : NULL;
	if (!p)
		return "";
	p += strlen("edu_expect=");
	p[strcspn(p, "\n ")] = '\0';
	return p;
}
