// SPDX-License-Identifier: GPL-2.0
/*
 * A DMA engine copies from and to GPU memory through user addresses.
 *
 * Two PCI devices that know nothing of each other: the GPU (sample driver
 * p2p_gpu) and the DMA engine (p2p_edu). The program maps a GPU object, as it
 * would for the CPU, and tells the engine the address. What should be in the
 * GPU's memory at the end is left in $P2P_SHARE/expect, for whoever can look at
 * it from outside.
 */

#include "edu.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define RAM	(2 * EDU_PAGE)		/* on either side of the object */
#define GPU	(4 * EDU_PAGE)

static struct edu_mem m = { .ram = RAM, .gpu = GPU };
static unsigned char want[RAM + GPU + RAM], got[RAM + GPU + RAM];

static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("\nFAILED: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(1);
}

static void check(int err, const char *what)
{
	if (err)
		die("%s: %s", what, strerror(-err));
}

static void fill(unsigned char *p, size_t len)
{
	while (len--)
		*p++ = random() >> 8;
}

static void check_data(const unsigned char *a, const unsigned char *b, size_t len)
{
	if (memcmp(a, b, len))
		die("wrong data");
	printf("data right\n");
}

/* Bytes that the host should find in the file behind the GPU's memory. */
static void host_expects(uint64_t vram, const unsigned char *data, size_t len,
			 const char *what)
{
	const char *share = getenv("P2P_SHARE");
	char path[512];
	FILE *f;

	if (!share)
		return;
	snprintf(path, sizeof(path), "%s/expect", share);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/expect/edu", share);
	f = fopen(path, "w");
	if (!f || fwrite(data, len, 1, f) != 1 || fclose(f))
		die("%s: %s", path, strerror(errno));
	snprintf(path, sizeof(path), "%s/expect/list", share);
	f = fopen(path, "a");
	if (!f)
		die("%s: %s", path, strerror(errno));
	fprintf(f, "edu %llu %zu %s\n", (unsigned long long)vram, len, what);
	fclose(f);
}

static void counters(void)
{
	struct p2p_edu_counters c;

	check(edu_counters(m.fd, &c), "P2P_EDU_IOC_COUNTERS");
	printf("  the engine moved %llu bytes by bus address, %llu through the host bridge,\n"
	       "  and %llu from and to RAM; %llu page faults, %llu invalidations\n",
	       c.bus, c.bridge, c.ram, c.faults, c.invalidations);
}

int main(void)
{
	struct p2p_gpu_info info;
	int err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	srandom(1);

	printf("1. A buffer of ordinary memory with a GPU object in the middle\n");
	check(edu_mem_open(&m), "/dev/p2p_gpu0, /dev/p2p_edu0");
	check(gpu_info(&m.o, &info), "P2P_GPU_IOC_INFO");
	printf("  %p  %2lu KiB anonymous memory\n", m.buf, RAM / 1024);
	printf("  %p  %2lu KiB GPU memory, mmap of /dev/p2p_gpu0 (VRAM at %#llx)\n",
	       m.buf + RAM, GPU / 1024, info.vram);
	printf("  %p  %2lu KiB anonymous memory\n", m.buf + RAM + GPU, RAM / 1024);
	printf("  The DMA engine is told these addresses; it sees the buffer at %#llx.\n",
	       (unsigned long long)m.dev);
	fill(want, m.len);
	memcpy(m.buf, want, m.len);

	printf("\n2. The engine reads and writes it by DMA\n");
	printf("  engine reads 4096 bytes of the GPU: ");
	err = edu_read(m.fd, m.dev + RAM + 1000, got, 4096);
	if (err == -EREMOTEIO)
		die("the PCI topology does not allow it (%s); see the trace event p2p_refuse",
		    strerror(EREMOTEIO));
	check(err, "P2P_EDU_IOC_READ");
	check_data(got, want + RAM + 1000, 4096);
	printf("  engine writes 6000 bytes across the border, 3000 of RAM and 3000 of the GPU: ");
	fill(want + RAM - 3000, 6000);
	check(edu_write(m.fd, m.dev + RAM - 3000, want + RAM - 3000, 6000),
	      "P2P_EDU_IOC_WRITE");
	check_data(m.buf, want, m.len);
	printf("  engine copies 3000 bytes from the GPU to RAM: ");
	memcpy(want + RAM + GPU + 100, want + RAM, 3000);
	check(edu_copy(m.fd, m.dev + RAM, m.dev + RAM + GPU + 100, 3000),
	      "P2P_EDU_IOC_COPY");
	check_data(m.buf, want, m.len);
	counters();

	printf("\n3. The GPU's driver evicts the object to RAM; the engine goes on\n");
	check(gpu_move(&m.o, P2P_GPU_RAM), "P2P_GPU_IOC_MOVE");
	printf("  engine writes 3000 bytes of the object, where it is now: ");
	fill(want + RAM + 5000, 3000);
	check(edu_write(m.fd, m.dev + RAM + 5000, want + RAM + 5000, 3000),
	      "P2P_EDU_IOC_WRITE");
	check_data(m.buf, want, m.len);

	printf("\n4. The object comes back to VRAM, to another place maybe\n");
	check(gpu_move(&m.o, P2P_GPU_VRAM), "P2P_GPU_IOC_MOVE");
	check(gpu_info(&m.o, &info), "P2P_GPU_IOC_INFO");
	printf("  engine writes 3000 bytes of it, in VRAM at %#llx: ", info.vram);
	fill(want + RAM + 9000, 3000);
	check(edu_write(m.fd, m.dev + RAM + 9000, want + RAM + 9000, 3000),
	      "P2P_EDU_IOC_WRITE");
	check_data(m.buf, want, m.len);
	counters();
	host_expects(info.vram, want + RAM, GPU, "GPU object written by the DMA engine");

	printf("\n5. The mapping goes, and the engine's access with it\n");
	munmap(m.buf + RAM, GPU);
	err = edu_write(m.fd, m.dev + RAM, want, 1);
	if (err != -EFAULT)
		die("an access after munmap: %s", err ? strerror(-err) : "works");
	printf("  engine writes after munmap: %s, as it should be\n",
	       strerror(EFAULT));
	edu_mem_close(&m);
	return 0;
}
