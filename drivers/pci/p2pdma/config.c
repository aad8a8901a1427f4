// SPDX-License-Identifier: GPL-2.0
/*
 * What the link verdict needs of config space, kept up to date when it is
 * written, since the verdict may neither read it (the device may be in D3cold,
 * the caller in atomic context) nor wake a device up for it.
 */
#include <linux/pci.h>

#include "../pci.h"
#include "topology.h"

#define P2P_ACS_QUIRKS	(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF)

/*
 * Held from the read to the store. Else, of two writers, the one that reads
 * first may store last, and what is kept is wrong until the next write.
 */
static DEFINE_RAW_SPINLOCK(p2p_config_lock);

static bool p2p_store16(u16 *to, u16 val)
{
	if (READ_ONCE(*to) == val)
		return false;
	WRITE_ONCE(*to, val);
	return true;
}

/* A device that does not answer keeps what it had. */
static bool p2p_read16(struct pci_dev *pdev, int pos, u16 mask, u16 *to)
{
	u16 val;

	if (pci_read_config_word(pdev, pos, &val) || PCI_POSSIBLE_ERROR(val))
		return false;
	return p2p_store16(to, val & mask);
}

static bool p2p_read_egress(struct pci_dev *pdev)
{
	struct pci_p2p_config *c = &pdev->p2p_config;
	bool changed = false;
	u32 val;
	int i;

	for (i = 0; i * 32 < c->egress_bits; i++) {
		if (pci_read_config_dword(pdev, pdev->acs_cap +
					  PCI_ACS_EGRESS_CTL_V + 4 * i, &val))
			break;
		if (READ_ONCE(c->egress[i]) != val) {
			WRITE_ONCE(c->egress[i], val);
			changed = true;
		}
	}
	return changed;
}

static bool p2p_read_acs(struct pci_dev *pdev)
{
	struct pci_p2p_config *c = &pdev->p2p_config;
	u16 quirk = 0, bit, ctrl;
	bool changed = false;

	if (pdev->acs_cap) {
		if (pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL,
					 &ctrl) || PCI_POSSIBLE_ERROR(ctrl))
			return false;	/* quirks and vector would be ones */
		changed |= p2p_store16(&c->acs_ctrl, ctrl);
		changed |= p2p_read_egress(pdev);
	}
	for (bit = PCI_ACS_RR; bit <= PCI_ACS_UF; bit <<= 1) {
		/* 0 is "cannot vouch for it", not "off". */
		if (bit & P2P_ACS_QUIRKS &&
		    pci_dev_specific_acs_enabled(pdev, bit) > 0)
			quirk |= bit;
	}
	changed |= p2p_store16(&c->acs_quirk, quirk);
	return changed;
}

/**
 * pci_p2p_config_init - start to keep the configuration of a new device
 * @pdev: the device; not used by anybody yet
 */
void pci_p2p_config_init(struct pci_dev *pdev)
{
	struct pci_p2p_config *c = &pdev->p2p_config;
	u32 val;

	p2p_read16(pdev, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
		   &c->command);
	if (pci_is_pcie(pdev)) {
		int cap = pci_pcie_cap(pdev);

		p2p_read16(pdev, cap + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_PAYLOAD,
			   &c->devctl);
		if (pcie_capability_read_word(pdev, PCI_EXP_LNKCTL, &c->lnkctl))
			c->lnkctl = 0;
		c->lnkctl &= PCI_EXP_LNKCTL_LD;
		if (pcie_capability_read_word(pdev, PCI_EXP_DEVCTL2,
					      &c->devctl2))
			c->devctl2 = 0;
		c->devctl2 &= PCI_EXP_DEVCTL2_ATOMIC_EGRESS_BLOCK;
		pcie_capability_read_dword(pdev, PCI_EXP_DEVCAP2, &c->devcap2);
		if (!pcie_capability_read_dword(pdev, PCI_EXP_LNKCAP, &val))
			c->port = val >> 24;
	}
	if (pdev->acs_cap && pdev->acs_capabilities & PCI_ACS_EC) {
		u8 bits;

		pci_read_config_byte(pdev, pdev->acs_cap + PCI_ACS_EGRESS_BITS,
				     &bits);
		c->egress_bits = bits ?: 256;
	}
	p2p_read_acs(pdev);
	c->valid = true;
}

/**
 * pci_p2p_acs_changed - ACS of a device was set up
 * @pdev: the device
 *
 * Also for devices with a quirk instead of the capability.
 */
void pci_p2p_acs_changed(struct pci_dev *pdev)
{
	unsigned long flags;
	bool changed;

	if (!pdev->p2p_config.valid)
		return;
	raw_spin_lock_irqsave(&p2p_config_lock, flags);
	changed = p2p_read_acs(pdev);
	raw_spin_unlock_irqrestore(&p2p_config_lock, flags);
	if (changed)
		p2p_topology_changed();
}

static bool p2p_meets(int where, int size, int reg, int len)
{
	return where < reg + len && reg < where + size;
}

/*
 * PCIe r6.0, sec 6.6.2: no config request for 100 ms after the write that begins
 * a function level reset. @off: of Device Control in what was written, bytes.
 */
static bool p2p_begins_flr(int off, u32 val)
{
	u64 devctl = off < 0 ? (u64)val << (-off * 8) : val >> (off * 8);

	return devctl & PCI_EXP_DEVCTL_BCR_FLR;
}

/* What of a write to Command matters: the owner's decoding is asked for anew. */
static bool p2p_command_written(struct pci_dev *pdev)
{
	return p2p_read16(pdev, PCI_COMMAND,
			  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
			  &pdev->p2p_config.command) && pci_is_bridge(pdev);
}

/* Returns whether verdicts may differ now. */
static bool p2p_config_look(struct pci_dev *pdev, int where, int size, u32 val)
{
	struct pci_p2p_config *c = &pdev->p2p_config;
	bool changed = false;

	lockdep_assert_held(&p2p_config_lock);
	if (where < PCI_STD_HEADER_SIZEOF) {
		if (p2p_meets(where, size, PCI_COMMAND, 2))
			changed |= p2p_command_written(pdev);
		/* BARs; bus numbers and windows of a bridge */
		if (p2p_meets(where, size, PCI_BASE_ADDRESS_0,
			      PCI_CARDBUS_CIS - PCI_BASE_ADDRESS_0) ||
		    (pci_is_bridge(pdev) &&
		     p2p_meets(where, size, PCI_CARDBUS_CIS, 8)))
			changed = true;
	} else if (pdev->pcie_cap &&
		   p2p_meets(where, size, pdev->pcie_cap,
			     PCI_CAP_EXP_ENDPOINT_SIZEOF_V2)) {
		int cap = pdev->pcie_cap;

		if (p2p_meets(where, size, cap + PCI_EXP_DEVCTL, 2) &&
		    !p2p_begins_flr(cap + PCI_EXP_DEVCTL - where, val))
			changed |= p2p_read16(pdev, cap + PCI_EXP_DEVCTL,
					      PCI_EXP_DEVCTL_PAYLOAD,
					      &c->devctl);
		if (p2p_meets(where, size, cap + PCI_EXP_LNKCTL, 2))
			changed |= p2p_read16(pdev, cap + PCI_EXP_LNKCTL,
					      PCI_EXP_LNKCTL_LD, &c->lnkctl);
		if (p2p_meets(where, size, cap + PCI_EXP_DEVCTL2, 2))
			changed |= p2p_read16(pdev, cap + PCI_EXP_DEVCTL2,
					      PCI_EXP_DEVCTL2_ATOMIC_EGRESS_BLOCK,
					      &c->devctl2);
	} else if (pdev->acs_cap &&
		   p2p_meets(where, size, pdev->acs_cap + PCI_ACS_CTRL,
			     PCI_ACS_EGRESS_CTL_V + 4 - PCI_ACS_CTRL +
			     c->egress_bits / 8)) {
		changed |= p2p_read_acs(pdev);
	}
	return changed;
}

/**
 * pci_p2p_config_written - config space was written, by whomever
 * @dev: the device
 * @where: first byte
 * @size: number of bytes
 * @val: what was written
 *
 * Looks again at what the verdict depends on. What a write did is read, not
 * taken from @val: bits may be read-only, and the device may be gone.
 *
 * Context: any in which config space may be accessed.
 */
void pci_p2p_config_written(const struct pci_dev *dev, int where, int size,
			    u32 val)
{
	struct pci_dev *pdev = (struct pci_dev *)dev;
	unsigned long flags;
	bool changed;

	if (!pdev->p2p_config.valid)
		return;
	raw_spin_lock_irqsave(&p2p_config_lock, flags);
	changed = p2p_config_look(pdev, where, size, val);
	raw_spin_unlock_irqrestore(&p2p_config_lock, flags);
	if (changed)
		p2p_topology_changed();
}
