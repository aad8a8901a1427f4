// SPDX-License-Identifier: GPL-2.0
/*
 * Exporters of p2p_torture that are a BAR of the GPU, without p2p_gpu: resource2
 * in sysfs, and a mapping by vfio-pci. Each worker has a part of the BAR. Such
 * memory cannot move, but be reset, which nobody may notice but by waiting, and
 * withheld: its owner turns it off for a while.
 */
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "vfio.h"

#define BAR		2
#define DOOMED_PAGES	16
#define VFIO_PAGES	"/sys/module/vfio_pci_core/parameters/p2p_pages"

/* The processes have it from their parent: the group can be opened once only. */
static struct vfio_dev user;
static char gpu[PCI_NAME];

/* Beginning and end */

static const char *offered(void)
{
	return t->disks ? "pages" : "1";
}

int t_bar_enable(void)
{
	int err = pci_write(gpu, "enable", "1");

	return err ? err : pci_write(gpu, "p2p_mmap", offered());
}

static int init_lock(void)
{
	/* Or the workers would never let the owner have a turn. */
	const int kind = PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP;
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_rwlockattr_setkind_np(&attr, kind);
	return -pthread_rwlock_init(&t->offer_lock, &attr);
}

int t_bar_prepare(void)
{
	char path[96];
	int err = pci_find_gpu(gpu);

	if (!err)
		err = init_lock();
	if (err)
		return err;
	/* A function that shares its bus may have none. */
	snprintf(path, sizeof(path), PCI_DEVICES "%s/reset", gpu);
	t->reset_due = access(path, F_OK) ? UINT64_MAX : 0;
	if (t->exporter == T_RESOURCE)
		return t_bar_enable();
	err = t->disks ? sysfs_write(VFIO_PAGES, "1") : 0;
	if (!err)
		err = vfio_bind(&user, gpu);
	return err ? err : vfio_open(&user);
}

/* With no driver there is nobody left who offers memory to the engine. */
static bool regions_left(void)
{
	char path[96], name[PCI_NAME], c;
	int fd = -1, n = 0;

	if (!pci_find_edu(name)) {
		snprintf(path, sizeof(path), PCI_DEVICES "%s/p2p_topology",
			 name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd >= 0) {
		n = read(fd, &c, 1);
		close(fd);
	}
	return n;
}

/* Back without a driver; also when a run was cut short. */
int t_bar_restore(void)
{
	int err = 0;

	if (t->exporter == T_VFIO) {
		vfio_close(&user);
		if (regions_left())
			err = -EBUSY;
		vfio_unbind(&user);
		sysfs_write(VFIO_PAGES, "0");
		return err;
	}
	if (pci_find_gpu(gpu)) {
		sysfs_write("/sys/bus/pci/rescan", "1");
		return -ENODEV;
	}
	err = pci_write(gpu, "p2p_mmap", "0");
	pci_write(gpu, "enable", "0");
	return !err && regions_left() ? -EBUSY : err;
}

/* The memory of one worker or doomed process */

int t_open(struct gpu_mr *m, int slot)
{
	unsigned int page = slot * T_GPU_PAGES;
	char path[96];

	if (t->exporter == T_OBJECT)
		return gpu_mr_open(m);
	if (slot >= T_SLOT_DOOMED)
		page = T_WORKERS * T_GPU_PAGES +
		       (slot - T_SLOT_DOOMED) * DOOMED_PAGES;
	m->o.offset = page * T_PAGE;
	if (t->exporter == T_VFIO) {
		m->o.fd = fcntl(user.fd, F_DUPFD_CLOEXEC, 0);
		m->o.offset += vfio_offset(&user, BAR);
	} else {
		snprintf(path, sizeof(path), PCI_DEVICES "%s/resource%d", gpu,
			 BAR);
		m->o.fd = open(path, O_RDWR | O_CLOEXEC);
	}
	return m->o.fd < 0 ? -errno : gpu_mr_open_file(m);
}

bool t_hold_offer(void)
{
	return t->exporter == T_OBJECT ||
	       !pthread_rwlock_tryrdlock(&t->offer_lock);
}

void t_release_offer(void)
{
	if (t->exporter != T_OBJECT)
		pthread_rwlock_unlock(&t->offer_lock);
}

/* Resets */

/* Time that all resets took so far, which is time that everybody waits. */
uint64_t t_reset_ms(void)
{
	uint64_t since = t->reset_since;

	return t->reset_ms + (since ? t_now() - since : 0);
}

/*
 * Somebody resets the device, unless it just was: a fault does not wait for
 * longer than p2p_vma.wait_ms, and a reset takes a second.
 */
void t_bar_reset(struct t_worker *w)
{
	unsigned long long due = t->reset_due;
	unsigned int gone = t->ev[EV_GPU].end;
	uint64_t now = t_now();
	int err;

	if (now < due ||
	    !atomic_compare_exchange_strong(&t->reset_due, &due, UINT64_MAX))
		return;
	atomic_fetch_add(&t->ev[EV_RESET].begin, 1);
	t->reset_since = now;
	err = t->exporter == T_VFIO ? vfio_reset(&user) :
				      pci_write(gpu, "reset", "1");
	t->reset_since = 0;
	t->reset_ms += t_now() - now;
	atomic_fetch_add(&t->ev[EV_RESET].end, 1);
	t_note(OP_RESET_USED, "worker %d: %d, %llu ms", w->id, err,
	       (unsigned long long)(t_now() - now));
	t->reset_due = t_now() + 500 + t_below(&w->imp_rng, 2000);
	if (err && t->ev[EV_GPU].begin == gone)
		t_fail("reset of %s: %d", gpu, err);
}

/* Withholding */

static int change(bool low_power, bool off)
{
	if (t->exporter == T_RESOURCE)
		return pci_write(gpu, "p2p_mmap", off ? "0" : offered());
	return low_power ? vfio_low_power(&user, off) :
			   vfio_decode(&user, !off);
}

static void offer(bool low_power, bool off)
{
	int err;

	atomic_fetch_add(&t->ev[EV_OFFER].begin, 1);
	err = change(low_power, off);
	t->withheld = off;
	atomic_fetch_add(&t->ev[EV_OFFER].down, 1);
	atomic_fetch_add(&t->ev[EV_OFFER].end, 1);
	t_note(OP_WITHHOLD, "%s %s: %d",
	       t->exporter == T_RESOURCE ? "p2p_mmap" :
	       low_power ? "low power" : "decode",
	       off ? "takes it" : "gives it back", err);
	if (err)
		t_fail("the owner of %s cannot turn it %s: %d", gpu,
		       off ? "off" : "on", err);
}

void t_bar_withhold(struct t_rng *rng)
{
	bool low_power = t_one_in(rng, 2);

	pthread_rwlock_wrlock(&t->offer_lock);
	offer(low_power, true);
	if (t->edu)
		t_nothing_is_live("withheld");
	t_nap(rng, 1500000);
	offer(low_power, false);
	pthread_rwlock_unlock(&t->offer_lock);
}
