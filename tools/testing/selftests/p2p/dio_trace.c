// SPDX-License-Identifier: GPL-2.0
/* See dio_trace.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dio_trace.h"

#define PAGE	4096

/* Opened anew for each look, since 9p learns the size when it opens a file. */
static FILE *trace_open(void)
{
	const char *share = getenv("P2P_SHARE");
	char path[4096];

	snprintf(path, sizeof(path), "%s/qemu.trace", share ?: ".");
	return fopen(path, "r");
}

long trace_end(void)
{
	FILE *f = trace_open();
	long end;

	if (!f)
		return -errno;
	end = fseek(f, 0, SEEK_END) ? -errno : ftell(f);
	fclose(f);
	return end;
}

/* What the disk mapped by IOVA, and has not used yet: pieces of pages */
struct mapped {
	size_t nr, room;
	struct piece {
		uint64_t addr;
		size_t len;
	} *piece;
};

static int mapped_add(struct mapped *m, uint64_t addr, size_t len)
{
	while (len) {
		size_t n = PAGE - addr % PAGE;

		if (m->nr == m->room) {
			size_t room = 2 * m->room + 64;
			void *more = realloc(m->piece, room * sizeof(*m->piece));

			if (!more)
				return -ENOMEM;
			m->piece = more;
			m->room = room;
		}
		n = n < len ? n : len;
		m->piece[m->nr++] = (struct piece) { addr, n };
		addr += n;
		len -= n;
	}
	return 0;
}

/* The IOMMU took @iova, of a page with @mask, to @phys. */
static void mapped_used(struct mapped *m, uint64_t iova, uint64_t phys,
			uint64_t mask, trace_fn *fn, void *arg)
{
	size_t left = 0;

	for (size_t i = 0; i < m->nr; i++) {
		struct piece p = m->piece[i];

		if ((p.addr & ~mask) == (iova & ~mask))
			fn(arg, (phys & ~mask) + (p.addr & mask), p.len);
		else
			m->piece[left++] = p;
	}
	m->nr = left;
}

bool trace_iommu(void)
{
	return !access("/sys/class/iommu/dmar0", F_OK);
}

int trace_each(long start, trace_fn *fn, void *arg)
{
	unsigned long long addr, len, phys, mask;
	struct mapped mapped = { };
	bool iommu = trace_iommu();
	FILE *f = trace_open();
	char line[256];
	int err = 0;

	if (!f)
		return -errno;
	if (fseek(f, start, SEEK_SET))
		err = -EIO;
	while (!err && fgets(line, sizeof(line), f)) {
		const char *s = strstr(line, "pci_nvme_map_addr ");

		if (s && sscanf(s, "pci_nvme_map_addr addr %llx len %llu", &addr,
				&len) == 2) {
			if (iommu)
				err = mapped_add(&mapped, addr, len);
			else
				fn(arg, addr, len);
			continue;
		}
		s = strstr(line, "vtd_dmar_translate ");
		if (s && sscanf(s, "vtd_dmar_translate dev %*s iova %llx -> gpa %llx mask %llx",
				&addr, &phys, &mask) == 3)
			mapped_used(&mapped, addr, phys, mask, fn, arg);
	}
	/* What was not translated went nowhere. */
	if (!err && mapped.nr)
		err = -ENXIO;
	free(mapped.piece);
	fclose(f);
	return err;
}

struct range {
	uint64_t start, end;
	long bytes;
};

static void range_count(void *arg, uint64_t addr, size_t len)
{
	struct range *r = arg;
	uint64_t end = addr + len;

	addr = addr > r->start ? addr : r->start;
	end = end < r->end ? end : r->end;
	if (addr < end)
		r->bytes += end - addr;
}

long trace_bytes(long start, uint64_t addr, size_t len)
{
	struct range r = { .start = addr, .end = addr + len };
	int err = trace_each(start, range_count, &r);

	return err ? err : r.bytes;
}
