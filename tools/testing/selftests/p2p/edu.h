/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The DMA engine of p2p_edu, the reference importer (samples/p2p), and a buffer
 * for it: RAM, a GPU object and RAM at adjacent addresses.
 *
 *	struct edu_mem m = { .ram = 2 * EDU_PAGE, .gpu = 4 * EDU_PAGE };
 *
 *	edu_mem_open(&m);
 *	edu_write(m.fd, m.dev + off, data, len);
 *
 * Functions return 0 or -errno unless they say otherwise. A transfer takes the
 * device 0.1 s for each 2 KiB, twice: keep buffers small.
 */
#ifndef EDU_H
#define EDU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include "gpu.h"
#include "../../../../samples/p2p/p2p_edu.h"

#define EDU_PAGE	4096UL
#define EDU_RW		(PROT_READ | PROT_WRITE)

/* The newest /dev/p2p_eduN: a file descriptor or -errno. */
int edu_open(void);
int edu_reg(int fd, void *addr, size_t len, unsigned int flags, uint64_t *dev);
int edu_unreg(int fd, uint64_t dev);
/* The engine writes registered memory, reads it, copies inside of it. */
int edu_write(int fd, uint64_t dev, const void *data, size_t len);
int edu_read(int fd, uint64_t dev, void *data, size_t len);
int edu_copy(int fd, uint64_t from, uint64_t to, size_t len);
int edu_counters(int fd, struct p2p_edu_counters *c);

/*
 * Debugging aids of the driver: start the last access again and do not wait for
 * the end, which comes after 0.1 s; the DMA address of the last access.
 */
int edu_again(void);
uint64_t edu_last_dma(void);

/*
 * Bind the device again (close the file before), with so many address bits, to
 * the driver p2p_gpu or p2p_edu. Programs in the guest run one at a time.
 */
int edu_rebind(unsigned int dma_bits);
int edu_unbind(const char *driver, char *name, size_t len);
int edu_bind(const char *driver, const char *name);

struct edu_mem {
	/* set before edu_mem_open() */
	size_t ram;		/* bytes of RAM on either side, may be 0 */
	size_t gpu;		/* bytes of the object */
	unsigned int gpu_flags;	/* P2P_GPU_PEERS_* */
	unsigned int flags;	/* P2P_EDU_RDONLY */
	int prot;		/* of the object's mapping, 0: read and write */
	bool no_reg;		/* leave it to the test */

	int fd;
	uint64_t dev;		/* where the engine sees buf */
	struct gpu_obj o;
	unsigned char *buf;
	size_t len;
};

int edu_mem_open(struct edu_mem *m);
/* Also after edu_mem_open() failed. */
void edu_mem_close(struct edu_mem *m);

/* Bytes at @off of the GPU's memory as the host has them in its file. */
int edu_vram(uint64_t off, void *data, size_t len);

/* Live DMA mappings of peer memory in the kernel, by a name in its list. */
long edu_dma_live(const char *what);

/* What the command line of the guest says after "edu_expect=", or "". */
const char *edu_expected(void);

#endif
