/* SPDX-License-Identifier: GPL-2.0 */
/* The p2pmem of a PCI device as the buffer of direct I/O: topology "dio". */
#ifndef P2P_DIO_PEER_H
#define P2P_DIO_PEER_H

#include <stddef.h>
#include <stdint.h>

#include "sysfs.h"

/* A pattern that differs for each byte and @seed; where it differs, or -1. */
void dio_fill(void *buf, size_t len, unsigned int seed);
long dio_differs(const void *buf, size_t len, unsigned int seed);

/* The device that has P2PDMA memory to mmap: 0 or -errno. */
int dio_find_p2pmem(char *name);
void *dio_map_p2pmem(const char *name, size_t len);
/* A counter of its p2p_io file, of all BARs. */
uint64_t dio_stat(const char *name, const char *stat);
/* The NVMe disk with a serial number: 0 or -errno. */
int dio_find_disk(const char *serial, char *path, size_t size);

#endif
