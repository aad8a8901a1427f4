// SPDX-License-Identifier: GPL-2.0
/*
 * How block I/O reaches the memory of a BAR: counters, and whether the CPU may
 * copy where DMA cannot. Documentation/ABI/testing/sysfs-bus-pci-p2p.
 */
#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/moduleparam.h>
#include <linux/pci-p2pdma.h>
#include <linux/percpu.h>
#include <linux/rwsem.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "topology.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "pci_p2p."

/* What P2PDMA_CPU_DEFAULT means. */
static bool p2p_strict;
module_param_named(strict, p2p_strict, bool, 0644);
MODULE_PARM_DESC(strict, "Refuse block I/O to peer memory that DMA cannot do, instead of copying");

struct p2pdma_stats {
	u64 bytes[P2PDMA_NR_STATS];
};

static const char * const p2p_stat_names[P2PDMA_NR_STATS] = {
	[P2PDMA_BUS] = "bus",
	[P2PDMA_HOST] = "host",
	[P2PDMA_BOUNCED] = "bounced",
	[P2PDMA_CPU] = "cpu",
	[P2PDMA_REFUSED] = "refused",
};

static const char * const p2p_cpu_names[] = {
	[P2PDMA_CPU_DEFAULT] = "default",
	[P2PDMA_CPU_ALLOW] = "allow",
	[P2PDMA_CPU_REFUSE] = "refuse",
};

/* Counters for all providers of one device, freed with that of the first. */
int p2pdma_stats_alloc(struct p2pdma_provider *mem, int nr)
{
	struct p2pdma_stats __percpu *stats;
	int i;

	stats = __alloc_percpu(nr * sizeof(*stats), __alignof__(*stats));
	if (!stats)
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		mem[i].stats = stats + i;
	for (i = 0; i < nr; i++)
		init_rwsem(&mem[i].copy_lock);
	return 0;
}

void p2pdma_stats_free(struct p2pdma_provider *mem)
{
	free_percpu(mem[0].stats);
}

/**
 * pci_p2pdma_count - count I/O to the memory of a provider
 * @mem: the provider
 * @stat: how the data went
 * @bytes: how much; less than 0 if it did not go that way after all
 *
 * Context: any.
 */
void pci_p2pdma_count(struct p2pdma_provider *mem, enum p2pdma_stat stat,
		      ssize_t bytes)
{
	if (mem->stats)
		this_cpu_add(mem->stats->bytes[stat], bytes);
}
EXPORT_SYMBOL_GPL(pci_p2pdma_count);

/**
 * pci_p2pdma_cpu_allowed - may the CPU copy where DMA cannot be used?
 * @mem: the provider of the memory
 *
 * Context: any.
 * Return: what the device's p2p_cpu file or the provider's driver says for that BAR, else
 * what the parameter pci_p2p.strict says.
 */
bool pci_p2pdma_cpu_allowed(const struct p2pdma_provider *mem)
{
	enum p2pdma_cpu_policy policy = READ_ONCE(mem->cpu_policy);

	if (policy == P2PDMA_CPU_DEFAULT)
		return !READ_ONCE(p2p_strict);
	return policy == P2PDMA_CPU_ALLOW;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_cpu_allowed);

/**
 * pci_p2pdma_copy_begin - the CPU is about to copy to or from a BAR
 * @mem: the provider of the memory, of which the caller has pinned some
 *
 * Copy little, and wait for nothing, until pci_p2pdma_copy_end(): whoever turns
 * the BAR off waits for that.
 *
 * Context: may sleep.
 * Return: false if the BAR does not answer, or is to be turned off: do not copy.
 */
bool pci_p2pdma_copy_begin(struct p2pdma_provider *mem)
{
	down_read(&mem->copy_lock);
	if (!mem->copy_blocked)
		return true;
	up_read(&mem->copy_lock);
	return false;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_copy_begin);

/**
 * pci_p2pdma_copy_end - the copy is over
 * @mem: the provider, pci_p2pdma_copy_begin() said true
 */
void pci_p2pdma_copy_end(struct p2pdma_provider *mem)
{
	up_read(&mem->copy_lock);
}
EXPORT_SYMBOL_GPL(pci_p2pdma_copy_end);

/**
 * pci_p2pdma_copy_block - the BAR will not answer: no copies by the CPU
 * @mem: the provider
 *
 * Before a timed wait for pins: DMA that does not end can be left to itself, a
 * copy by the CPU to what is not there may end in a machine check.
 *
 * Context: may sleep; waits for copies on their way.
 */
void pci_p2pdma_copy_block(struct p2pdma_provider *mem)
{
	guard(rwsem_write)(&mem->copy_lock);
	mem->copy_blocked++;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_copy_block);

/**
 * pci_p2pdma_copy_unblock - undo one pci_p2pdma_copy_block()
 * @mem: the provider
 *
 * Context: may sleep.
 */
void pci_p2pdma_copy_unblock(struct p2pdma_provider *mem)
{
	guard(rwsem_write)(&mem->copy_lock);
	if (!WARN_ON_ONCE(!mem->copy_blocked))
		mem->copy_blocked--;
}
EXPORT_SYMBOL_GPL(pci_p2pdma_copy_unblock);

static u64 p2p_stat_sum(const struct p2pdma_provider *mem,
			enum p2pdma_stat stat)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(mem->stats, cpu)->bytes[stat]);
	return sum;
}

static ssize_t p2p_io_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct p2pdma_provider *mem = pci_p2pdma_providers(to_pci_dev(dev));
	int bar, stat, len = 0;

	for (bar = 0; mem && bar < PCI_STD_NUM_BARS; bar++) {
		if (!mem[bar].owner)
			continue;
		len += sysfs_emit_at(buf, len, "bar=%d", bar);
		for (stat = 0; stat < P2PDMA_NR_STATS; stat++)
			len += sysfs_emit_at(buf, len, " %s=%llu",
					     p2p_stat_names[stat],
					     p2p_stat_sum(&mem[bar], stat));
		len += sysfs_emit_at(buf, len, "\n");
	}
	return len;
}
DEVICE_ATTR_RO(p2p_io);

static ssize_t p2p_cpu_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	struct p2pdma_provider *mem = pci_p2pdma_providers(to_pci_dev(dev));
	int bar, len = 0;

	if (!mem)
		return -ENODEV;
	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++)
		if (mem[bar].owner)
			len += sysfs_emit_at(buf, len, "bar=%d %s\n", bar,
				p2p_cpu_names[READ_ONCE(mem[bar].cpu_policy)]);
	return len;
}

/* "bar=2 refuse" is for that BAR, "refuse" for all. */
static ssize_t p2p_cpu_store(struct device *dev, struct device_attribute *attr,
			     const char *buf, size_t count)
{
	struct p2pdma_provider *mem = pci_p2pdma_providers(to_pci_dev(dev));
	int bar, only = -1, skip = 0, policy;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!mem)
		return -ENODEV;
	/* One digit: a longer number would be taken modulo 2^32. */
	if (sscanf(buf, "bar=%1d %n", &only, &skip) == 1 &&
	    (only < 0 || only >= PCI_STD_NUM_BARS || !mem[only].owner))
		return -EINVAL;
	policy = sysfs_match_string(p2p_cpu_names, buf + skip);
	if (policy < 0)
		return policy;
	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++)
		if (only < 0 || bar == only)
			WRITE_ONCE(mem[bar].cpu_policy, policy);
	return count;
}
DEVICE_ATTR_RW(p2p_cpu);
