/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Can one device reach the memory of another, by which way, and if not, why?
 *
 * See Documentation/driver-api/pci/p2p-topology.rst.
 */
#ifndef _LINUX_P2P_TOPOLOGY_H
#define _LINUX_P2P_TOPOLOGY_H

#include <linux/errno.h>
#include <linux/types.h>

struct device;
struct p2p_region;
struct pci_dev;

/**
 * enum p2p_path - the way that a request of the importer takes
 * @P2P_PATH_NONE: there is none that may be used
 * @P2P_PATH_BUS: by PCI bus address; does not pass a host bridge
 * @P2P_PATH_HOST: by physical address or IOVA, through the host bridge
 */
enum p2p_path {
	P2P_PATH_NONE,
	P2P_PATH_BUS,
	P2P_PATH_HOST,
};

/**
 * enum p2p_topo_reason - why a path is not there, is limited or is not direct
 *
 * The errno and the advice that go with each are in
 * Documentation/driver-api/pci/p2p-topology.rst.
 *
 * @P2P_TOPO_OK: nothing to say
 * @P2P_TOPO_OWNER_NOT_PCI: the memory does not belong to a PCI device
 * @P2P_TOPO_IMPORTER_NOT_PCI: the importer is neither a PCI device nor below one
 * @P2P_TOPO_PORT: one of the two is a bridge or a switch port
 * @P2P_TOPO_GONE: one of the two was removed, or is in error recovery
 * @P2P_TOPO_POWER: the owner is in a low-power state
 * @P2P_TOPO_DECODE: the owner's memory decoding is off
 * @P2P_TOPO_BAR_MOVED: the BAR is not where the region is
 * @P2P_TOPO_BRIDGE_OFF: a bridge forwards no memory or no bus mastering
 * @P2P_TOPO_WINDOW: the BAR is outside of a bridge's window
 * @P2P_TOPO_LINK: a link is disabled
 * @P2P_TOPO_HOST_BRIDGE: no common bridge, host bridge not known to forward
 * @P2P_TOPO_ACS_REDIRECT: ACS sends requests up, host bridge as above
 * @P2P_TOPO_ACS_BLOCKED: ACS egress control blocks the request
 * @P2P_TOPO_ACS_COMPLETION: ACS sends completions up, host bridge as above
 * @P2P_TOPO_ACS_UPSTREAM: a redirected request cannot come back (ACS UF off)
 * @P2P_TOPO_ACS_TRANSLATED: ACS translation blocking meets an ATS importer
 * @P2P_TOPO_FUNCTIONS: the functions of the device cannot reach each other
 * @P2P_TOPO_MPS: a TLP may be larger than its receiver takes
 * @P2P_TOPO_VMD: one of the two is behind a VMD controller
 * @P2P_TOPO_UNTRUSTED: the importer is not trusted and must use the IOMMU
 * @P2P_TOPO_ATS: the importer asks the IOMMU about addresses
 * @P2P_TOPO_GUEST: behind the IOMMU of a guest, bus addresses prove nothing
 * @P2P_TOPO_GUEST_POLICY: in a guest, and the policy says guest=refuse
 * @P2P_TOPO_CONFIDENTIAL: a confidential guest
 * @P2P_TOPO_POLICY: denied by the administrator
 * @P2P_TOPO_DMA_OPS: the importer's DMA operations cannot map peers
 * @P2P_TOPO_DMA_MASK: the importer cannot address the memory
 * @P2P_TOPO_BOUNCE: the importer must use bounce buffers
 */
enum p2p_topo_reason {
	P2P_TOPO_OK,
	P2P_TOPO_OWNER_NOT_PCI,
	P2P_TOPO_IMPORTER_NOT_PCI,
	P2P_TOPO_PORT,
	P2P_TOPO_GONE,
	P2P_TOPO_POWER,
	P2P_TOPO_DECODE,
	P2P_TOPO_BAR_MOVED,
	P2P_TOPO_BRIDGE_OFF,
	P2P_TOPO_WINDOW,
	P2P_TOPO_LINK,
	P2P_TOPO_HOST_BRIDGE,
	P2P_TOPO_ACS_REDIRECT,
	P2P_TOPO_ACS_BLOCKED,
	P2P_TOPO_ACS_COMPLETION,
	P2P_TOPO_ACS_UPSTREAM,
	P2P_TOPO_ACS_TRANSLATED,
	P2P_TOPO_FUNCTIONS,
	P2P_TOPO_MPS,
	P2P_TOPO_VMD,
	P2P_TOPO_UNTRUSTED,
	P2P_TOPO_ATS,
	P2P_TOPO_GUEST,
	P2P_TOPO_GUEST_POLICY,
	P2P_TOPO_CONFIDENTIAL,
	P2P_TOPO_POLICY,
	P2P_TOPO_DMA_OPS,
	P2P_TOPO_DMA_MASK,
	P2P_TOPO_BOUNCE,
	/* private: */
	P2P_TOPO_NR_REASONS,
};

/* Flags of a verdict */
#define P2P_VERDICT_GUEST	BIT(0)	/* guest: the topology proves nothing */
#define P2P_VERDICT_ALLOWED	BIT(1)	/* only because the policy allows it */
#define P2P_VERDICT_DENIED	BIT(2)	/* the policy denies it */
#define P2P_VERDICT_DEMOTED	BIT(3)	/* direct, but goes by IOVA; see reason */
#define P2P_VERDICT_ASSUMED	BIT(4)	/* device without ACS, taken as direct */
#define P2P_VERDICT_IOVA	BIT(5)	/* possible only by IOVA */
#define P2P_VERDICT_MASK_PART	BIT(6)	/* importer reaches a part of the region */

/**
 * struct p2p_fn - names a PCI function, or nothing if @valid is false
 * @domain: PCI domain
 * @rid: bus, device and function numbers
 * @valid: names a function
 */
struct p2p_fn {
	u32 domain;
	u16 rid;
	bool valid;
};

/**
 * struct p2p_host - names a host bridge
 * @domain: PCI domain
 * @bus: number of its root bus
 * @vendor: vendor id of the device by which it is known, 0 if there is none
 * @device: device id of that device
 */
struct p2p_host {
	u32 domain;
	u8 bus;
	u16 vendor;
	u16 device;
};

#define P2P_VERDICT_CULPRITS	4

/**
 * struct p2p_verdict - what an importer may do with a region, and why
 * @path: the way that requests take
 * @read: the importer may read
 * @write: the importer may write
 * @atomic: PCIe AtomicOps reach the owner, and it takes them
 * @reason: why there is no path or no read or write, or why it is not direct
 * @flags: P2P_VERDICT_*
 * @distance: hops between the two, -1 if one of them is not PCI
 * @common: the lowest bridge above both, if any
 * @turn: the function at which requests leave the importer's branch
 * @nr_culprits: entries of @culprit
 * @culprit: the functions whose settings are behind @reason
 * @host: the host bridges of owner and importer
 * @generation: of the topology for which this holds
 */
struct p2p_verdict {
	enum p2p_path path;
	bool read;
	bool write;
	bool atomic;
	enum p2p_topo_reason reason;
	unsigned int flags;
	int distance;
	struct p2p_fn common;
	struct p2p_fn turn;
	unsigned int nr_culprits;
	struct p2p_fn culprit[P2P_VERDICT_CULPRITS];
	struct p2p_host host[2];
	unsigned int generation;
};

#ifdef CONFIG_PCI_P2PDMA
int p2p_topology_query(struct p2p_region *r, struct device *importer,
		       struct p2p_verdict *v);
unsigned int p2p_topology_generation(void);
const char *p2p_topology_reason_name(enum p2p_topo_reason reason);
const char *p2p_topology_advice(enum p2p_topo_reason reason);
int p2p_topology_errno(enum p2p_topo_reason reason);
#endif

#endif /* _LINUX_P2P_TOPOLOGY_H */
