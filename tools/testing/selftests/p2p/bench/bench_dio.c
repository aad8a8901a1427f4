// SPDX-License-Identifier: GPL-2.0
/*
 * O_DIRECT reads of an NVMe disk that stores nothing, into RAM, into device
 * memory, and into device memory that the disk cannot reach. Processor time of the
 * process: what passes while it waits says nothing.
 *
 * Usage: bench_dio MODULE; the benchmark's module gives device memory on the
 * kernel as it came, resourceN on ours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "p2p_bench.h"

#define DISK	"/dev/nvme0n1"
#define POLICY	"/sys/module/pci_p2p/parameters/policy"
#define LEN	(16UL << 20)
#define TIMES	11

static char gpu[256], *nvme;	/* directory; PCI address */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ret = -1;

	if (fd >= 0) {
		ret = write(fd, text, strlen(text)) < 0 ? -1 : 0;
		close(fd);
	}
	return ret;
}

static char *get(const char *path)
{
	static char text[64];
	FILE *f = fopen(path, "r");

	text[0] = 0;
	if (f) {
		if (!fgets(text, sizeof(text), f))
			text[0] = 0;
		fclose(f);
	}
	text[strcspn(text, "\n")] = 0;
	return text;
}

static void find_devices(void)
{
	char path[300];
	unsigned int i;
	glob_t g;

	if (glob("/sys/bus/pci/devices/*", 0, NULL, &g))
		die("devices");
	for (i = 0; i < g.gl_pathc; i++) {
		snprintf(path, sizeof(path), "%s/device", g.gl_pathv[i]);
		if (!strcmp(get(path), "0x1110"))
			snprintf(gpu, sizeof(gpu), "%s", g.gl_pathv[i]);
	}
	globfree(&g);
	nvme = strdup(get("/sys/class/nvme/nvme0/address"));
	if (!gpu[0] || !nvme[0])
		die("no GPU or no disk");
}

static int open_stock(const char *module)
{
	__u64 len = 1UL << 30;
	char path[300];
	int fd, mod = open(module, O_RDONLY);

	if (mod < 0 || syscall(SYS_finit_module, mod, "", 0))
		die(module);
	fd = open("/dev/p2p_bench", O_RDWR);
	if (fd < 0 || ioctl(fd, P2P_BENCH_IOC_PAGES, &len))
		die("struct pages");
	snprintf(path, sizeof(path), "%s/p2pmem/allocate", gpu);
	return open(path, O_RDWR);
}

static void *peer(const char *module)
{
	char path[300];
	void *p;
	int fd;

	snprintf(path, sizeof(path), "%s/p2p_mmap", gpu);
	if (access(path, F_OK)) {
		fd = open_stock(module);
	} else {
		char enable[300];

		snprintf(enable, sizeof(enable), "%s/enable", gpu);
		if (put(enable, "1") || put(path, "pages"))
			die(path);
		snprintf(path, sizeof(path), "%s/resource2", gpu);
		fd = open(path, O_RDWR);
	}
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || p == MAP_FAILED)
		die("device memory");
	return p;
}

static long cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int cmp(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

static void print_error(const char *what, size_t size, int err)
{
	printf("{\"row\": \"%s\", \"size\": %zu, \"arg\": 0, ", what, size);
	printf("\"error\": \"%s\"}\n", strerror(err));
}

static void print_times(const char *what, size_t size, const long *t)
{
	printf("{\"row\": \"%s\", \"size\": %zu, \"arg\": 0, ", what, size);
	printf("\"insn\": [%ld, 0, 0], \"low\": %ld, \"high\": %ld}\n",
	       t[TIMES / 2], t[0], t[TIMES - 1]);
	fflush(stdout);
}

static void measure(const char *what, int fd, char *buf, size_t size, int n)
{
	long t[TIMES], begin;
	int i, k;

	for (k = 0; k < TIMES; k++) {
		begin = cpu_ns();
		for (i = 0; i < n; i++) {
			ssize_t got = pread(fd, buf + i * size % LEN, size,
					    i * size);

			if (got == (ssize_t)size)
				continue;
			print_error(what, size, got < 0 ? errno : EIO);
			return;
		}
		t[k] = (cpu_ns() - begin) / n;
	}
	qsort(t, TIMES, sizeof(*t), cmp);
	print_times(what, size, t);
}

/* How the kernel says that it did it: bytes so far, by way */
static void print_way(const char *what)
{
	char path[300], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/p2p_io", gpu);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		printf("# after %s: %s", what, line);
	if (f)
		fclose(f);
}

static void both_sizes(const char *what, int fd, char *buf)
{
	measure(what, fd, buf, 4096, 100);
	measure(what, fd, buf, 1 << 20, 16);
	print_way(what);
}

int main(int argc, char **argv)
{
	char deny[300], *p;
	int fd = open(DISK, O_RDONLY | O_DIRECT);

	if (argc != 2 || fd < 0)
		die(DISK);
	find_devices();
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		die("RAM");
	both_sizes("dio ram", fd, p);
	p = peer(argv[1]);
	memset(p, 0, LEN);
	both_sizes("dio peer", fd, p);
	snprintf(deny, sizeof(deny), "deny=%s/%s", strrchr(gpu, '/') + 1, nvme);
	if (!put(POLICY, deny)) {
		memset(p, 0, LEN);
		both_sizes("dio bounce", fd, p);
	}
	return 0;
}
