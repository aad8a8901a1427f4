// SPDX-License-Identifier: GPL-2.0
/*
 * Names, errnos and advice that go with a reason. The names are ABI:
 * Documentation/ABI/testing/sysfs-bus-pci-p2p.
 */
#include <linux/export.h>
#include <linux/kernel.h>

#include "topology.h"

#define ACS_COST							\
	" This gives up isolation: devices below then reach each other "	\
	"without the IOMMU, and share one IOMMU group."
#define NO_REDIRECT	"pci=disable_acs_redir=<named port> makes the path direct."
#define CONFIG_ACS	"change it with pci=config_acs=."
#define POLICY_ALLOW	"set pci_p2p.policy=allow=<domain>:<bus>."

static const struct {
	const char *name;
	int err;
	const char *advice;
} p2p_reasons[P2P_TOPO_NR_REASONS] = {
	[P2P_TOPO_OK] = { "none", 0, "" },
	[P2P_TOPO_OWNER_NOT_PCI] = {
		"owner-not-pci", -EREMOTEIO,
		"Only memory of PCI devices can be used." },
	[P2P_TOPO_IMPORTER_NOT_PCI] = {
		"importer-not-pci", -EREMOTEIO,
		"Only PCI devices and their children can use device memory." },
	[P2P_TOPO_PORT] = {
		"port", -EREMOTEIO,
		"Memory of bridges and switch ports, and DMA by them, is not supported." },
	[P2P_TOPO_GONE] = {
		"gone", -ENODEV,
		"The device was removed or is in error recovery." },
	[P2P_TOPO_POWER] = {
		"power", -EREMOTEIO,
		"The owner's driver must resume it first." },
	[P2P_TOPO_DECODE] = {
		"decode", -EREMOTEIO,
		"Bind a driver, or enable the device." },
	[P2P_TOPO_BAR_MOVED] = {
		"bar-moved", -EREMOTEIO,
		"Map the memory again." },
	[P2P_TOPO_BRIDGE_OFF] = {
		"bridge-off", -EREMOTEIO,
		"The named bridge has memory decoding or bus mastering off." },
	[P2P_TOPO_WINDOW] = {
		"window", -EREMOTEIO,
		"Let the kernel assign the windows: pci=realloc." },
	[P2P_TOPO_LINK] = {
		"link-off", -EREMOTEIO,
		"The link below the named port is disabled." },
	[P2P_TOPO_HOST_BRIDGE] = {
		"host-bridge", -EREMOTEIO,
		"Put both below one switch; or, if it is known to forward, " POLICY_ALLOW },
	[P2P_TOPO_ACS_REDIRECT] = {
		"acs-redirect", -EREMOTEIO,
		NO_REDIRECT ACS_COST },
	[P2P_TOPO_ACS_BLOCKED] = {
		"acs-blocked", -EREMOTEIO,
		"Use an IOMMU and a host bridge that forwards, or " CONFIG_ACS ACS_COST },
	[P2P_TOPO_ACS_COMPLETION] = {
		"acs-completion", -EREMOTEIO,
		"Reads do not work: " NO_REDIRECT ACS_COST },
	[P2P_TOPO_ACS_UPSTREAM] = {
		"acs-upstream", -EREMOTEIO,
		"ACS upstream forwarding is off: use an IOMMU, or " CONFIG_ACS },
	[P2P_TOPO_ACS_TRANSLATED] = {
		"acs-translated", -EREMOTEIO,
		"The named port blocks translated requests: boot with pci=noats." },
	[P2P_TOPO_FUNCTIONS] = {
		"functions", -EREMOTEIO,
		"The functions of this device cannot reach each other inside of it." },
	[P2P_TOPO_MPS] = {
		"mps", -EREMOTEIO,
		"Give all devices the same payload size: pci=pcie_bus_peer2peer." },
	[P2P_TOPO_VMD] = {
		"vmd", -EREMOTEIO,
		"Move the device out of the VMD domain, or " POLICY_ALLOW },
	[P2P_TOPO_UNTRUSTED] = {
		"untrusted", -EREMOTEIO,
		"An untrusted device needs an IOMMU and a host bridge that forwards." },
	[P2P_TOPO_ATS] = {
		"ats", -EREMOTEIO,
		"Boot with pci=noats, or use a host bridge that forwards." },
	[P2P_TOPO_GUEST] = {
		"guest-iommu", -EREMOTEIO,
		"Use iommu=pt in the guest, or " POLICY_ALLOW },
	[P2P_TOPO_GUEST_POLICY] = {
		"guest-policy", -EACCES,
		"The administrator set pci_p2p.policy=guest=refuse." },
	[P2P_TOPO_CONFIDENTIAL] = {
		"confidential", -EREMOTEIO,
		"Not possible in a confidential guest." },
	[P2P_TOPO_POLICY] = {
		"policy", -EACCES,
		"The administrator denied it by pci_p2p.policy=." },
	[P2P_TOPO_DMA_OPS] = {
		"dma-ops", -EREMOTEIO,
		"The importer's DMA operations cannot map device memory." },
	[P2P_TOPO_DMA_MASK] = {
		"dma-mask", -ERANGE,
		"The importer cannot address it: use an IOMMU, or a BAR below 4 GiB." },
	[P2P_TOPO_BOUNCE] = {
		"bounce", -EREMOTEIO,
		"Bounce buffers are forced: boot without swiotlb=force." },
};

/**
 * p2p_topology_reason_name - stable name of a reason
 * @reason: the reason
 *
 * Context: any.
 * Return: the name, as in sysfs.
 */
const char *p2p_topology_reason_name(enum p2p_topo_reason reason)
{
	return reason < P2P_TOPO_NR_REASONS ? p2p_reasons[reason].name : "?";
}
EXPORT_SYMBOL_GPL(p2p_topology_reason_name);

/**
 * p2p_topology_advice - what would change a verdict, and at which cost
 * @reason: why it is as it is
 *
 * Context: any.
 * Return: a sentence or two for people, or "".
 */
const char *p2p_topology_advice(enum p2p_topo_reason reason)
{
	return reason < P2P_TOPO_NR_REASONS ? p2p_reasons[reason].advice : "";
}
EXPORT_SYMBOL_GPL(p2p_topology_advice);

/**
 * p2p_topology_errno - errno of a refusal
 * @reason: why
 *
 * Context: any.
 * Return: a negative errno, 0 for P2P_TOPO_OK.
 */
int p2p_topology_errno(enum p2p_topo_reason reason)
{
	return reason < P2P_TOPO_NR_REASONS ? p2p_reasons[reason].err : -EINVAL;
}
EXPORT_SYMBOL_GPL(p2p_topology_errno);
