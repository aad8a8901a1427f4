/* SPDX-License-Identifier: GPL-2.0 */
/* PCI devices by their files in sysfs. */
#ifndef P2P_SYSFS_H
#define P2P_SYSFS_H

#include <stddef.h>
#include <stdint.h>

#define PCI_DRIVERS	"/sys/bus/pci/drivers/"
#define PCI_DEVICES	"/sys/bus/pci/devices/"
#define PCI_NAME	32
#define SYSFS_WORD	64

/* Write @text to a file: 0 or -errno. */
int sysfs_write(const char *path, const char *text);
/* The first word of a file, in @word, which has SYSFS_WORD bytes: 0 or -errno. */
int sysfs_word(const char *dir, const char *file, char *word);
/* The name of the first GPU or DMA engine, of PCI_NAME bytes: 0 or -errno. */
int pci_find_gpu(char *name);
int pci_find_edu(char *name);
/* Write @text to a file of a device: 0 or -errno. */
int pci_write(const char *name, const char *file, const char *text);

/* The physical address of a BAR, or 0 */
uint64_t pci_bar(const char *name, int bar);

/* Load a module of samples/p2p with parameters, and unload it: 0 or -errno. */
int module_load(const char *name, const char *args);
int module_unload(const char *name);

#endif
