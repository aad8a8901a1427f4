// SPDX-License-Identifier: GPL-2.0
/*
 * What p2p_torture does to the machine: drivers unbound and bound again,
 * devices unplugged and found again, functions reset where they can be, the
 * policy and ACS changed. Two threads: one for drivers, one for the topology.
 */
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES	"/sys/bus/pci/devices/"
#define POLICY	"/sys/module/pci_p2p/parameters/policy"
#define STRICT	"/sys/module/pci_p2p/parameters/strict"

struct device {
	const char *driver;
	enum t_event ev;
	enum t_op unbind, unplug;
	char name[32];
};

static struct device gpu = {
	.driver = "p2p_gpu", .ev = EV_GPU, .unbind = OP_UNBIND_GPU,
	.unplug = OP_UNPLUG_GPU,
};

static struct device edu = {
	.driver = "p2p_edu", .ev = EV_EDU, .unbind = OP_UNBIND_EDU,
	.unplug = OP_UNPLUG_EDU,
};

static int dev_write(const struct device *d, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), DEVICES "%s/%s", d->name, file);
	return sysfs_write(path, text);
}

static bool dev_has(const struct device *d, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), DEVICES "%s/%s", d->name, file);
	return !access(path, F_OK);
}

static int bind(const struct device *d)
{
	return dev_has(d, "driver") ? 0 : edu_bind(d->driver, d->name);
}

static int find(struct device *d)
{
	char pattern[128];
	glob_t g;

	snprintf(pattern, sizeof(pattern), "/sys/bus/pci/drivers/%s/*:*:*",
		 d->driver);
	if (glob(pattern, 0, NULL, &g))
		return -ENODEV;
	snprintf(d->name, sizeof(d->name), "%s",
		 strrchr(g.gl_pathv[0], '/') + 1);
	globfree(&g);
	return 0;
}

/* Only while no driver has it: what a reset does to traffic is no question. */
static void reset(const struct device *d)
{
	int err;

	if (!dev_has(d, "reset"))
		return;
	err = dev_write(d, "reset", "1");
	t_note(OP_RESET, "%s: %d", d->name, err);
}

static bool has_driver(const struct device *d)
{
	return d == &edu || t->exporter == T_OBJECT;
}

static void lose(struct device *d, struct t_rng *rng)
{
	bool unplug = !has_driver(d) || t_one_in(rng, 3);
	char name[32];
	int err;

	atomic_fetch_add(&t->ev[d->ev].begin, 1);
	t_note(unplug ? d->unplug : d->unbind, "%s", d->name);
	err = unplug ? dev_write(d, "remove", "1") :
		       edu_unbind(d->driver, name, sizeof(name));
	atomic_fetch_add(&t->ev[d->ev].down, 1);
	if (err)
		t_fail("%s of %s: %d", unplug ? "removal" : "unbinding",
		       d->name, err);
	t_nap(rng, 200000);
	if (!unplug && t_one_in(rng, 3))
		reset(d);
	err = unplug ? sysfs_write("/sys/bus/pci/rescan", "1") : bind(d);
	if (!err && !has_driver(d))
		err = t_bar_enable();
	else if (!err && !dev_has(d, "driver"))
		err = -ENODEV;
	if (err)
		t_fail("%s after %s: %d", d->name,
		       unplug ? "a rescan" : "binding", err);
	atomic_fetch_add(&t->ev[d->ev].end, 1);
	t_note(unplug ? d->unplug : d->unbind, "%s is back", d->name);
}

static void *drivers(void *arg)
{
	struct t_rng rng;

	t_seed(&rng, 5000);
	for (;;) {
		t_begin(T_SLOT_EVENTS, -1);
		/* Long enough for the others to begin anew. */
		for (unsigned int n = 20 + t_below(&rng, 60); n && !t->stop; n--)
			usleep(50000);
		if (t->stop)
			break;
		t_begin(T_SLOT_EVENTS, OP_UNBIND_GPU);
		if (t->exporter != T_OBJECT)
			t_bar_withhold(&rng);
		if (t->edu && t_one_in(&rng, 3))
			lose(&edu, &rng);
		else if (t->exporter != T_VFIO)
			lose(&gpu, &rng);
	}
	t->progress[T_SLOT_EVENTS].pid = 0;
	return NULL;
}

/* Topology */

static int set_policy(const char *text)
{
	char line[160];

	/* An empty policy, too, is a write. */
	snprintf(line, sizeof(line), "%s\n", text);
	return sysfs_write(POLICY, line);
}

/*
 * Nothing is mapped that somebody forbids. A fault that was under way has a
 * mapping until it gives up; evicted objects are none of the policy's business.
 */
void t_nothing_is_live(const char *why)
{
	long n = 0;

	for (int i = 0; i < 150; i++) {
		n = edu_dma_live("bus") + edu_dma_live("bridge") +
		    edu_dma_live("iova");
		if (!n)
			return;
		usleep(10000);
	}
	t_fail("%ld mappings of VRAM are live in spite of \"%s\"", n, why);
}

static void flip_policy(struct t_rng *rng)
{
	char text[128];
	bool denied = false;
	int err;

	switch (t_below(rng, 6)) {
	case 0:
		snprintf(text, sizeof(text), "deny=*");
		denied = true;
		break;
	case 1:
		snprintf(text, sizeof(text), "deny=%s/%s", gpu.name, edu.name);
		denied = true;
		break;
	case 2:
		snprintf(text, sizeof(text), "allow=*,deny=0000:00");
		denied = true;
		break;
	case 3:
		snprintf(text, sizeof(text), "allow=*");
		break;
	case 4:
		err = set_policy("deny=**");
		t_note(OP_POLICY, "a mistake: %d", err);
		if (err != -EINVAL)
			t_fail("a mistake in the policy gives %d", err);
		return;
	default:
		snprintf(text, sizeof(text), "%s", t->base_policy);
		break;
	}
	atomic_fetch_add(&t->ev[EV_POLICY].begin, 1);
	t_note(OP_POLICY, "%s", text[0] ? text : "(empty)");
	err = set_policy(text);
	if (err)
		t_fail("\"%s\" is no rule: %d", text, err);
	t->denied = denied;
	atomic_fetch_add(&t->ev[EV_POLICY].down, 1);
	atomic_fetch_add(&t->ev[EV_POLICY].end, 1);
	if (denied && t->edu)
		t_nothing_is_live(text);
}

/* What is under way may fail or not, as with the policy. */
static void flip_strict(void)
{
	bool on = !t->strict;

	atomic_fetch_add(&t->ev[EV_STRICT].begin, 1);
	t_note(OP_STRICT, "%s", on ? "on" : "off");
	if (sysfs_write(STRICT, on ? "1" : "0"))
		t_fail("no strict mode");
	t->strict = on;
	atomic_fetch_add(&t->ev[EV_STRICT].down, 1);
	atomic_fetch_add(&t->ev[EV_STRICT].end, 1);
}

/* The place of the ACS control in a bridge's config space, 0 if it has none. */
static off_t acs_control(int fd)
{
	uint32_t head;
	off_t at = 0x100;

	while (at && pread(fd, &head, 4, at) == 4 && head && head != ~0U) {
		if ((head & 0xffff) == 0xd)
			return at + 6;
		at = head >> 20;
	}
	return 0;
}

/* Any port that has ACS. Devices in the way of none of ours change, too. */
static void acs(struct t_rng *rng)
{
	uint16_t control;
	char path[PATH_MAX];
	off_t at = 0;
	int fd = -1;
	glob_t g;

	if (glob(DEVICES "*/config", 0, NULL, &g))
		return;
	for (int tries = 0; !at && tries < 50; tries++) {
		snprintf(path, sizeof(path), "%s",
			 g.gl_pathv[t_below(rng, g.gl_pathc)]);
		fd = open(path, O_RDWR);
		at = fd < 0 ? 0 : acs_control(fd);
		if (fd >= 0 && !at)
			close(fd);
	}
	globfree(&g);
	if (!at)
		return;
	/* SV, RR, CR, UF: all that ports of QEMU have, but blocking. */
	control = t_below(rng, 2) ? 0x1d : t_below(rng, 0x20) & 0x1d;
	atomic_fetch_add(&t->ev[EV_ACS].begin, 1);
	t_note(OP_ACS, "%.30s %#x", path + strlen(DEVICES), control);
	if (pwrite(fd, &control, 2, at) != 2)
		t_fail("ACS of %s: %s", path, strerror(errno));
	atomic_fetch_add(&t->ev[EV_ACS].end, 1);
	close(fd);
}

static void *topology(void *arg)
{
	struct t_rng rng;

	t_seed(&rng, 5001);
	while (!t->stop) {
		t_begin(T_SLOT_EVENTS + 1, OP_POLICY);
		if (t->disks && t_one_in(&rng, t->strict ? 2 : 5))
			flip_strict();
		else if (t_one_in(&rng, 2))
			acs(&rng);
		else
			flip_policy(&rng);
		t_begin(T_SLOT_EVENTS + 1, -1);
		t_nap(&rng, t->denied ? 2000000 : 1000000);
	}
	t->progress[T_SLOT_EVENTS + 1].pid = 0;
	return NULL;
}

void t_event_process(void)
{
	pthread_t a, b;

	if ((has_driver(&gpu) ? find(&gpu) : pci_find_gpu(gpu.name)) ||
	    (t->edu && find(&edu)))
		t_fail("no device to torture");
	if (!t->stop && (pthread_create(&a, NULL, drivers, NULL) ||
			 pthread_create(&b, NULL, topology, NULL)))
		t_fail("cannot create a thread");
	if (!t->stop || !t->failed) {
		pthread_join(a, NULL);
		pthread_join(b, NULL);
	}
	_exit(0);
}

int t_events_restore(void)
{
	int err = set_policy("");

	if (!err && t->disks)
		err = sysfs_write(STRICT, "0");

	if (find(&gpu) || (t->edu && find(&edu))) {
		sysfs_write("/sys/bus/pci/rescan", "1");
		err = -ENODEV;
	}
	return err;
}
