// SPDX-License-Identifier: GPL-2.0
/* Buffers of RAM and of devices' p2pmem, and what the disk's DMA touched. */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dio_buf.h"
#include "dio_trace.h"
#include "sysfs.h"

#define PAGE	4096UL
#define HUGE	(2UL << 20)
#define WORD	sizeof(uint32_t)
#define MAP_LEN	(64UL << 20)

int providers_find(struct providers *p)
{
	int err = -ENOENT;
	glob_t g;

	if (glob(PCI_DEVICES "*/p2pmem/allocate", 0, NULL, &g))
		return -ENOENT;
	if (g.gl_pathc >= PROVIDERS) {
		for (int i = 0; i < PROVIDERS; i++)
			snprintf(p->allocate[i], sizeof(p->allocate[i]), "%s",
				 g.gl_pathv[i]);
		err = 0;
	}
	globfree(&g);
	return err;
}

static size_t page_up(size_t n)
{
	return (n + PAGE - 1) / PAGE * PAGE;
}

static char *huge_up(char *p)
{
	return (char *)(((uintptr_t)p + HUGE - 1) / HUGE * HUGE);
}

/* How much of the map a piece of @kind takes that has @len bytes at @off. */
static size_t piece_room(char kind, size_t off, size_t len)
{
	return kind == 'T' ? HUGE : page_up(off + len);
}

/* Map whole pages for a piece of @kind at @addr. */
static int piece_map(const struct providers *p, char kind, char *addr,
		     size_t len)
{
	int flags = MAP_FIXED, fd = -1;
	void *at;

	switch (kind) {
	case 'H':
		return 0;
	case 'R':
	case 'T':
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
		break;
	case 'A':
	case 'B':
		flags |= MAP_SHARED;
		fd = open(p->allocate[kind - 'A'], O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		break;
	default:
		return -EINVAL;
	}
	at = mmap(addr, len, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (fd >= 0)
		close(fd);
	if (at == MAP_FAILED || (kind == 'T' && madvise(at, len, MADV_HUGEPAGE)))
		return -errno;
	return 0;
}

/* Parse "KIND LENGTH[@OFFSET]": how many characters, 0 at the end. */
static int piece_parse(const char *s, char *kind, size_t *len, size_t *off)
{
	int n = 0, more = 0;

	if (sscanf(s, " %c%zu%n", kind, len, &n) != 2)
		return 0;
	*off = page_up(*len) - *len;
	if (sscanf(s + n, "@%zu%n", off, &more) == 1)
		n += more;
	return n;
}

int mixed_map(struct mixed *m, const struct providers *p, const char *layout)
{
	size_t len, off, room;
	char kind, *at;
	int n, err;

	*m = (struct mixed) {};
	m->mapped = mmap(NULL, MAP_LEN + HUGE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->mapped == MAP_FAILED)
		return -errno;
	m->map = huge_up(m->mapped);
	for (at = m->map; (n = piece_parse(layout, &kind, &len, &off)); layout += n) {
		at = kind == 'T' ? huge_up(at) : at;
		room = piece_room(kind, off, len);
		err = piece_map(p, kind, at, room);
		if (err) {
			mixed_unmap(m);
			return err;
		}
		m->kind[m->nr] = kind;
		m->piece[m->nr++] = (struct iovec) { at + off, len };
		m->len += len;
		at += room;
	}
	m->virt = (struct iovec) { m->piece[0].iov_base, m->len };
	for (n = 1; n < m->nr; n++)
		if (m->piece[n].iov_base !=
		    m->piece[n - 1].iov_base + m->piece[n - 1].iov_len)
			m->virt.iov_len = 0;
	return 0;
}

void mixed_unmap(struct mixed *m)
{
	munmap(m->mapped, MAP_LEN + HUGE);
}

/* In words, since every access to a device's memory is slow. */
static uint32_t pattern(size_t at, unsigned int seed)
{
	return at * 2654435761u + seed * 40503u;
}

void pattern_fill(void *buf, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i += WORD)
		*(uint32_t *)(buf + i) = pattern(i, seed);
}

void mixed_fill(struct mixed *m, unsigned int seed)
{
	size_t at = 0;

	for (int i = 0; i < m->nr; i++) {
		char *b = m->piece[i].iov_base;

		for (size_t k = 0; m->kind[i] != 'H' && k < m->piece[i].iov_len;
		     k += WORD) {
			uint32_t word = pattern(at + k, seed);

			memcpy(b + k, &word, WORD);
		}
		at += m->piece[i].iov_len;
	}
}

size_t mixed_same(const struct mixed *m, unsigned int seed)
{
	size_t at = 0;

	for (int i = 0; i < m->nr && m->kind[i] != 'H'; i++) {
		const char *b = m->piece[i].iov_base;

		for (size_t k = 0; k < m->piece[i].iov_len; k += WORD, at += WORD) {
			uint32_t word;

			memcpy(&word, b + k, WORD);
			if (word != pattern(at, seed))
				return at;
		}
	}
	return at;
}

/* The physical address of every page of the buffer's map. */
static uint64_t *phys_pages(const struct mixed *m, size_t pages)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t *phys = calloc(pages, sizeof(*phys));
	size_t bytes = pages * sizeof(*phys);

	if (fd < 0 || !phys ||
	    pread(fd, phys, bytes, (uintptr_t)m->map / PAGE * 8) != (ssize_t)bytes) {
		free(phys);
		phys = NULL;
	}
	for (size_t i = 0; phys && i < pages; i++)	/* bit 63: present */
		phys[i] = phys[i] >> 63 ? (phys[i] & ((1ULL << 55) - 1)) * PAGE : 0;
	if (fd >= 0)
		close(fd);
	return phys;
}

struct count {
	const struct mixed *m;
	struct dma *d;
	uint64_t *phys;
	unsigned char *seen;	/* a byte for each of the buffer */
};

/* Count [@addr, @addr + @len), and mark its bytes as seen. */
static void dma_count(void *arg, uint64_t addr, size_t len)
{
	struct count *c = arg;

	while (len) {
		const struct mixed *m = c->m;
		size_t part = PAGE - addr % PAGE;
		int i;

		part = part < len ? part : len;
		for (i = 0; i < m->nr; i++) {
			size_t first = (char *)m->piece[i].iov_base - m->map;
			size_t pg = first / PAGE, at;

			while (pg * PAGE < first + m->piece[i].iov_len &&
			       (!c->phys[pg] ||
				c->phys[pg] != addr / PAGE * PAGE))
				pg++;
			at = pg * PAGE + addr % PAGE;
			if (at < first || at + part > first + m->piece[i].iov_len)
				continue;
			c->d->in[i] += part;
			for (size_t k = 0; k < part; k++)
				c->d->twice |= c->seen[at + k]++;
			break;
		}
		if (i == m->nr)
			c->d->elsewhere += part;
		addr += part;
		len -= part;
	}
}

int trace_dma(long start, const struct mixed *m, struct dma *d)
{
	const struct iovec *last = &m->piece[m->nr - 1];
	size_t bytes = page_up((char *)last->iov_base + last->iov_len - m->map);
	struct count c = {
		.m = m,
		.d = d,
		.phys = phys_pages(m, bytes / PAGE),
		.seen = calloc(1, bytes),
	};
	int err = -EIO;

	*d = (struct dma) {};
	if (c.phys && c.seen)
		err = trace_each(start, dma_count, &c);
	free(c.seen);
	free(c.phys);
	return err;
}

long pins(void)
{
	FILE *f = fopen("/proc/vmstat", "r");
	long val, balance = 0;
	char name[64];

	sysfs_write("/proc/sys/vm/stat_refresh", "1");
	while (f && fscanf(f, "%63s %ld", name, &val) == 2)
		if (!strcmp(name, "nr_foll_pin_acquired"))
			balance += val;
		else if (!strcmp(name, "nr_foll_pin_released"))
			balance -= val;
	if (f)
		fclose(f);
	return balance;
}

int cached_pages(int fd, off_t pos, size_t len)
{
	off_t start = pos / PAGE * PAGE;
	size_t pages = page_up(pos + len - start) / PAGE;
	unsigned char *vec = calloc(1, pages);
	void *p = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, start);
	int n = 0;

	if (!vec || p == MAP_FAILED || mincore(p, pages * PAGE, vec))
		n = -errno;
	for (size_t i = 0; n >= 0 && i < pages; i++)
		n += vec[i] & 1;
	if (p != MAP_FAILED)
		munmap(p, pages * PAGE);
	free(vec);
	return n;
}
