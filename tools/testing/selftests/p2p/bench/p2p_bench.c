// SPDX-License-Identifier: GPL-2.0
/*
 * The benchmark's program: makes the mappings, asks the module for each row and
 * prints one line of JSON for it. Groups of rows are its arguments.
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
#include <sys/stat.h>
#include <unistd.h>

#include "bench_prog.h"
#include "p2p_bench.h"

#define KIB		1024UL
#define MIB		(1024UL * KIB)
#define GIB		(1024UL * MIB)
#define RAM_FILE	(256 * MIB)	/* mapped again and again */
/* Aligned as well as can be */
#define PEER_ADDR	((void *)0x100000000000)
#define RAM_ADDR	((void *)0x200000000000)
#define PIN_ADDR	((void *)0x300000000000)

static const unsigned long sizes[] = { 4 * KIB, 2 * MIB, GIB, 16 * GIB };
static const char * const count_names[BENCH_COUNTS] = {
	[BENCH_C_EXPORTER] = "exporter",
	[BENCH_C_FLUSH] = "flushes",
	[BENCH_C_DESC] = "descriptors",
	[BENCH_C_IOPTE] = "ioptes",
	[BENCH_C_CONFIG] = "config_reads",
	[BENCH_C_GP] = "grace_periods",
	[BENCH_C_WORK] = "works",
	[BENCH_C_PAGES] = "page_allocs",
};

static int bench_fd, huge_fd = -1, small_fd = -1;
static bool full;	/* also what takes minutes */
static bool profile;	/* where the instructions go */

void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *map_at(void *addr, unsigned long len, int fd)
{
	void *p = mmap(addr, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

/* Memory of @len bytes, of which there are 256 MiB, over and over */
static void *map_ram(unsigned long len, int fd)
{
	unsigned long off, n;

	for (off = 0; off < len; off += n) {
		n = len - off < RAM_FILE ? len - off : RAM_FILE;
		if (mmap(RAM_ADDR + off, n, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd,
			 0) == MAP_FAILED)
			die("mmap of RAM");
	}
	return RAM_ADDR;
}

/* For files that are made from now on: "force" or "deny" */
static void huge_files(const char *mode)
{
	static const char *path =
		"/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, mode, strlen(mode)) < 0)
		die(path);
	close(fd);
}

static int ram_file(bool huge)
{
	char *p;
	int fd;

	huge_files(huge ? "force" : "deny");
	fd = memfd_create("p2p_bench", 0);
	if (fd < 0 || ftruncate(fd, RAM_FILE))
		die("memfd");
	p = mmap(NULL, RAM_FILE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_POPULATE, fd, 0);
	if (p == MAP_FAILED)
		die("memfd");
	memset(p, 1, RAM_FILE);
	munmap(p, RAM_FILE);
	huge_files("deny");	/* khugepaged shall leave the other one alone */
	return fd;
}

static void print_run(const char *what, const struct p2p_bench_run *a,
		      const struct p2p_bench_run *b,
		      const struct p2p_bench_run *c, int err)
{
	int i;

	printf("{\"row\": \"%s\", \"size\": %llu, \"arg\": %llu", what, a->len,
	       a->arg);
	if (err) {
		printf(", \"error\": \"%s\"}\n", strerror(err));
		fflush(stdout);
		return;
	}
	printf(", \"insn\": [%lld, %lld, %lld]", a->insn[0], a->insn[1],
	       a->insn[2]);
	if (b)
		printf(", \"again\": [%lld, %lld, %lld]", b->insn[0],
		       b->insn[1], b->insn[2]);
	if (c) {
		printf(", \"held\": %lld, \"counts\": {", c->held);
		for (i = 0; i < BENCH_COUNTS; i++)
			printf("%s\"%s\": %lld", i ? ", " : "", count_names[i],
			       c->counts[i]);
		printf("}");
	}
	printf("}\n");
	fflush(stdout);
}

/* "f 12, g 3" as {"f": 1.2, "g": 0.3} */
static void print_profile(const char *what, struct p2p_bench_run *a)
{
	const char *sep = "";
	char *f;
	int n;

	printf("{\"row\": \"%s\", \"size\": %llu, \"arg\": \"profile\", ", what,
	       a->len);
	printf("\"profile\": {");
	for (f = strtok(a->text, ","); f; f = strtok(NULL, ",")) {
		char name[128];

		if (sscanf(f, "%127s %d", name, &n) == 2)
			printf("%s\"%s\": %d.%d", sep, name, n / 10, n % 10);
		sep = ", ";
	}
	printf("}}\n");
	fflush(stdout);
}

/* Twice, for the spread, and once to count */
static void run(const char *what, const char *row, void *addr,
		unsigned long len, unsigned long arg, unsigned int reps)
{
	struct p2p_bench_run a = {
		.addr = (unsigned long)addr,
		.len = len,
		.arg = arg,
		.reps = reps,
	}, b, c;

	snprintf(a.row, sizeof(a.row), "%s", row);
	b = a;
	c = a;
	c.what = BENCH_COUNT;
	if (ioctl(bench_fd, P2P_BENCH_IOC_RUN, &a)) {
		if (errno != ENOENT)
			print_run(what, &a, NULL, NULL, errno);
		return;
	}
	if (reps == 1) {
		/* Long: the first was to warm up. */
		if (ioctl(bench_fd, P2P_BENCH_IOC_RUN, &b))
			die(row);
		print_run(what, &b, NULL, NULL, 0);
		return;
	}
	if (ioctl(bench_fd, P2P_BENCH_IOC_RUN, &b) ||
	    ioctl(bench_fd, P2P_BENCH_IOC_RUN, &c))
		die(row);
	print_run(what, &a, &b, &c, 0);
	c = a;
	c.what = BENCH_PROFILE;
	if (profile && !ioctl(bench_fd, P2P_BENCH_IOC_RUN, &c))
		print_profile(what, &c);
}

/* Fewer where the work grows with the pages */
static unsigned int page_reps(unsigned long len)
{
	return len > GIB ? 1 : len == GIB ? 3 : len >= 2 * MIB ? 5 : 21;
}

static void group_peer(void)
{
	unsigned int i;
	void *p;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned long len = sizes[i];

		p = map_at(PEER_ADDR, len, bench_fd);
		run("extent", "extent", p, len, 0, 21);
		run("odp", "odp_whole", p, len, 0, page_reps(len));
		run("odp random", "odp_random", p, len, 0, page_reps(len));
		run("dma-buf", "dmabuf", p, len, 0, 21);
		munmap(p, len);
	}
}

static void group_ram(void)
{
	unsigned int i;
	void *p;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned long len = sizes[i];

		if (len > GIB && !full)
			break;
		p = map_ram(len, small_fd);
		run("hmm ram", "hmm", p, len, 0, page_reps(len));
		run("pin ram", "pin", p, len, 0, page_reps(len));
		munmap(p, len);
		p = map_ram(len, huge_fd);
		run("hmm ram huge", "hmm", p, len, 0, page_reps(len));
		munmap(p, len);
	}
}

static unsigned long free_bytes(void)
{
	unsigned long free_kb = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemFree: %lu", &free_kb) == 1)
			break;
	fclose(f);
	return free_kb * KIB;
}

/* Device memory with struct pages, as the kernel came */
static void group_pin(void)
{
	unsigned long all = 16 * GIB, before = free_bytes();
	struct p2p_bench_run none = { .len = all };
	unsigned int i;
	glob_t g;
	void *p;
	int fd;

	if (ioctl(bench_fd, P2P_BENCH_IOC_PAGES, &all)) {
		print_run("pin", &none, NULL, NULL, errno);
		return;
	}
	printf("{\"row\": \"struct pages\", \"size\": %lu, \"arg\": 0, \"held\": %lu}\n",
	       all, before - free_bytes());
	if (glob("/sys/bus/pci/devices/*/p2pmem/allocate", 0, NULL, &g))
		die("p2pmem");
	fd = open(g.gl_pathv[0], O_RDWR);
	if (fd < 0)
		die(g.gl_pathv[0]);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		p = map_at(PIN_ADDR, sizes[i], fd);
		run("pin", "pin", p, sizes[i], 0, page_reps(sizes[i]));
		munmap(p, sizes[i]);
	}
	close(fd);
}

static void group_fault(void)
{
	static const char * const rows[] = {
		"fault_first", "fault_live", "fault_again", "fault_moved",
	};
	unsigned long len = 2 * MIB;
	char name[32];
	unsigned int i;
	void *p;

	p = map_at(PEER_ADDR, len, bench_fd);
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		run(rows[i], rows[i], p, len, 0, 21);
	munmap(p, len);
	p = map_ram(len, small_fd);
	for (i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s ram", rows[i]);
		run(name, rows[i], p, len, 0, 21);
	}
	munmap(p, len);
}

static void group_revoke(void)
{
	static const unsigned int importers[] = { 1, 10, 100 };
	static const unsigned int extents[] = { 8, 64, 512 };
	unsigned int i;
	void *p;

	p = map_at(PEER_ADDR, 2 * MIB, bench_fd);
	for (i = 0; i < ARRAY_SIZE(importers); i++)
		run("revoke", "revoke", p, 2 * MIB, importers[i], 5);
	for (i = 0; i < ARRAY_SIZE(extents); i++)
		run("revoke extents", "revoke", p, 2 * MIB,
		    1 | (2 * MIB / extents[i]) << 32, 5);
	munmap(p, 2 * MIB);
	p = map_at(PEER_ADDR, GIB, bench_fd);
	for (i = 0; i < ARRAY_SIZE(importers); i++)
		run("revoke", "revoke", p, GIB, importers[i], 5);
	munmap(p, GIB);
}

static void group_verdict(void)
{
	static const unsigned int devices[] = { 10, 100, 1000 };
	static const unsigned int depths[] = { 1, 4, 8 };
	unsigned int i;

	run("verdict cached", "verdict_cached", NULL, 0, 0, 21);
	for (i = 0; i < ARRAY_SIZE(devices); i++)
		run("verdict turn", "verdict_turn", NULL, 0, devices[i], 3);
	for (i = 0; i < ARRAY_SIZE(depths); i++)
		run("verdict cold", "verdict_cold", NULL, 0, depths[i], 8);
}

static void group_tax(void)
{
	unsigned long len = 2 * MIB;
	void *p = map_ram(len, small_fd);

	run("tax hmm", "tax_hmm", p, len, 0, 21);
	run("tax gup fast", "tax_gup_fast", p, len, 0, 21);
	run("tax gup slow", "tax_gup_slow", p, len, 0, 21);
	munmap(p, len);
	p = map_ram(len, huge_fd);
	run("tax hmm huge", "tax_hmm", p, len, 0, 21);
	munmap(p, len);
	run("tax dma_map_page", "tax_dma_page", NULL, 4096, 0, 101);
	bench_syscalls();
}

/* The first notifier of an address space costs more: have one from the start. */
static void warm_up(void)
{
	struct p2p_bench_run r = {
		.row = "hmm",
		.addr = (unsigned long)map_ram(4 * KIB, small_fd),
		.len = 4 * KIB,
		.reps = 3,
	};

	if (ioctl(bench_fd, P2P_BENCH_IOC_RUN, &r))
		die("warm-up");
	munmap(RAM_ADDR, 4 * KIB);
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "peer", group_peer },
	{ "ram", group_ram },
	{ "fault", group_fault },
	{ "revoke", group_revoke },
	{ "verdict", group_verdict },
	{ "tax", group_tax },
	{ "pin", group_pin },	/* comes last: it changes the machine */
};

static bool asked_for(const char *name)
{
	const char *value = getenv(name);

	return value && *value;
}

int main(int argc, char **argv)
{
	unsigned int i;
	int a;

	full = asked_for("BENCH_FULL");
	profile = asked_for("BENCH_PROFILE");
	bench_fd = open("/dev/p2p_bench", O_RDWR);
	if (bench_fd < 0)
		die("/dev/p2p_bench");
	small_fd = ram_file(false);
	huge_fd = ram_file(true);
	warm_up();
	for (a = 1; a < argc; a++)
		for (i = 0; i < ARRAY_SIZE(groups); i++)
			if (!strcmp(argv[a], groups[i].name))
				groups[i].run();
	return 0;
}
