// SPDX-License-Identifier: GPL-2.0
/*
 * Which way the data of p2p_torture's direct I/O went. The kernel counts for the
 * device that has the memory, and forgets when that is unplugged: so look often.
 */
#include "torture.h"

#include <stdio.h>
#include "dio_peer.h"

static const char * const ways[T_WAYS] = {
	"bus", "host", "bounced", "cpu", "refused",
};

static uint64_t last[T_WAYS];

/* By one process only. What was between the last look and an unplug is lost. */
void t_ways_look(void)
{
	char gpu[PCI_NAME];
	uint64_t n;

	if (!t->disks || pci_find_gpu(gpu))
		return;
	for (int i = 0; i < T_WAYS; i++) {
		n = dio_stat(gpu, ways[i]);
		if (n == (uint64_t)-1)
			continue;
		t->ways[i] += n < last[i] ? n : n - last[i];
		last[i] = n;
	}
}

void t_ways_begin(void)
{
	t_ways_look();
	for (int i = 0; i < T_WAYS; i++)
		t->ways[i] = 0;
}

void t_ways_print(void)
{
	if (!t->disks)
		return;
	t_ways_look();
	printf("# KiB of device memory by direct I/O:");
	for (int i = 0; i < T_WAYS; i++)
		printf(" %s %llu", ways[i],
		       (unsigned long long)t->ways[i] / 1024);
	printf("\n# KiB of RAM by direct I/O: beside it %llu, evicted %llu\n",
	       t->dio_ram / 1024, t->dio_evicted / 1024);
}
