#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Unmodified fio with its buffers in the memory of a device that it maps by
# resource2: O_DIRECT on an NVMe disk, and on files of ext4 and xfs, by psync,
# libaio and io_uring, in blocks of 4 KiB to 1 MiB. All data is verified, with
# buffers in the device and in RAM, and "dio_expect" says how it must have gone:
#
#	bus	from device to device, below one switch
#	host	from device to device, through the host bridge
#	bounce	through RAM, since the disk does not reach the device
#	refuse	not at all: strict mode
#
# The counters of the device say so, and, where it can tell, QEMU's trace of what
# the disk maps.
#
# Usage: dio_fio.py [SECONDS [SEED]]
# SECONDS: start anew with another seed until they are over. Without, once, and
# with one engine for each file system.
#
# VM: --no-gpu --no-rxe --topo switch --trace pci_nvme_map_addr --append dio_expect=bus
# VM: --no-gpu --no-rxe --topo nvme --trace pci_nvme_map_addr --append dio_expect=bounce
# VM: --no-gpu --no-rxe --topo nvme --trace pci_nvme_map_addr --append dio_expect=refuse --append pci_p2p.strict=1
# VM: --no-gpu --no-rxe --topo nvme --trace pci_nvme_map_addr --append dio_expect=host --cpu EPYC
# VM: --no-gpu --no-rxe --topo nvme --append dio_expect=host --cpu EPYC --iommu lazy
# TIMEOUT: 900

import errno
import glob
import hashlib
import json
import mmap
import os
import re
import subprocess
import sys
import time

DISK = "/dev/nvme0n1"
MNT = "/run/p2p_fio"
SIZE = 4 << 20			# of what is written and read
ENGINES = ("psync", "libaio", "io_uring")
BLOCKS = "4k/35:16k/15:64k/15:256k/10:512k/15:1M/10"
WAYS = ("bus", "host", "bounced", "cpu", "refused")
LIMIT = 300			# seconds, for one run of fio
number = failed = 0


def result(ok, name, why=""):
    global number, failed
    number += 1
    failed += not ok
    print("%sok %d %s" % ("" if ok else "not ", number, name))
    if why and not ok:
        print("# " + "\n# ".join(str(why).strip().split("\n")[:20]))
    sys.stdout.flush()


def conclude(gpu):
    gpu.write("p2p_mmap", "0")
    print("1..%d" % number)
    return 1 if failed else 0


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.STDOUT)


def expected():
    with open("/proc/cmdline") as f:
        found = re.search(r"\bdio_expect=(\w+)", f.read())
    if not found:
        sys.exit("Bail out! no dio_expect= on the kernel command line")
    return found.group(1)


class Gpu:
    """The device with the memory; peers may have it, with struct pages."""

    def __init__(self):
        for path in glob.glob("/sys/bus/pci/devices/*"):
            with open(path + "/vendor") as v, open(path + "/device") as d:
                if (v.read().strip(), d.read().strip()) == ("0x1af4", "0x1110"):
                    self.path = path
        self.write("enable", "1")
        self.write("p2p_mmap", "pages")
        with open(self.path + "/resource") as f:
            bar = f.readlines()[2].split()
        self.bar = range(int(bar[0], 16), int(bar[1], 16) + 1)
        self.trace = os.environ.get("P2P_SHARE", ".") + "/qemu.trace"
        self.mark()

    def write(self, name, text):
        with open(self.path + "/" + name, "w") as f:
            f.write(text)

    def counters(self):
        with open(self.path + "/p2p_io") as f:
            text = f.read()
        return {way: sum(map(int, re.findall(r"\b%s=(\d+)" % way, text)))
                for way in WAYS}

    def mark(self):
        self.was = self.counters()
        self.at = os.path.getsize(self.trace) if os.path.exists(self.trace) \
            else None

    def since(self):
        """Bytes since mark(): how they went, and what the disk mapped."""
        now = self.counters()
        went = {way: now[way] - self.was[way] for way in WAYS}
        if self.at is None:
            return went, None
        mapped = 0
        with open(self.trace) as f:
            f.seek(self.at)
            for addr, size in re.findall(
                    r"pci_nvme_map_addr addr 0x([0-9a-f]+) len (\d+)", f.read()):
                if int(addr, 16) in self.bar:
                    mapped += int(size)
        return went, mapped


def fio(file, engine, seed, sections):
    """Runs the sections one by one; what fio reports for each, by its name."""
    job = ["[global]", "filename=" + file, "size=%d" % SIZE, "thread",
           "direct=1", "ioengine=" + engine, "iodepth=4", "verify=crc32c",
           "verify_interval=4096", "verify_fatal=1", "verify_state_save=0",
           "randseed=%d" % seed]
    for name, options in sections:
        job += ["[%s]" % name, "stonewall", *options]
    done = subprocess.run(["fio", "--output-format=json", "-"],
                          input="\n".join(job) + "\n", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=LIMIT)
    notes, _, report = done.stdout.partition("{")
    text = done.stderr + notes
    try:
        jobs = json.loads("{" + report)["jobs"]
    except ValueError:
        return {}, text
    return {job["jobname"]: job for job in jobs}, text


def moved(job):
    return job["read"]["io_bytes"] + job["write"]["io_bytes"]


def digest(file):
    fd = os.open(file, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, SIZE) as buf:
        n = os.preadv(fd, [buf], 0)
        text = hashlib.sha1(buf).hexdigest()
    os.close(fd)
    return text if n == SIZE else "short"


RAM = ["bs=256k"]


def peer(gpu):
    return ["mem=mmapshared:%s/resource2" % gpu.path, "bssplit=" + BLOCKS]


def transfers(gpu, expect, file, engine, seed):
    """All of it arrives, in both directions, by the way that is expected."""
    name = "%s on %s" % (engine, file)
    mine = [("write", ["rw=randwrite"]), ("mixed", ["rw=randrw"]),
            ("read", ["rw=randread"])]
    mine = [(job, options + peer(gpu)) for job, options in mine]
    # What is there before can be taken for nothing that is written later.
    sections = [("blank", ["rw=write", "verify=0", *RAM]), mine[0],
                ("check", ["rw=read", *RAM]), mine[1],
                ("check_mixed", ["rw=read", *RAM]), mine[2]]
    gpu.mark()
    jobs, text = fio(file, engine, seed, sections)
    went, mapped = gpu.since()
    bad = [job for job, _ in sections if job not in jobs or
           jobs[job]["error"] or moved(jobs[job]) < SIZE]
    result(not bad, name + ": data", "%s\n%s" % (bad, text))

    total = sum(moved(jobs[job]) for job, _ in mine if job in jobs)
    way = {"bounce": "bounced"}.get(expect, expect)
    ok = not bad and went[way] >= total and sum(went.values()) == went[way]
    result(ok, name + ": " + expect, "%d bytes: %s" % (total, went))
    if mapped is not None:
        ok = not mapped if way == "bounced" else mapped >= total
        result(ok and not bad, name + ": what the disk maps",
               "%d bytes, mapped %d" % (total, mapped))


def refused(gpu, file, engine, seed):
    """Each way ends in a clean error, and nothing is changed."""
    name = "%s on %s" % (engine, file)
    ways = [(rw, ["rw=" + rw, "do_verify=0", *peer(gpu)])
            for rw in ("read", "randread", "write", "randwrite", "randrw")]
    jobs, text = fio(file, engine, seed, [("lay", ["rw=write", *RAM])])
    result("lay" in jobs and not jobs["lay"]["error"], name + ": RAM", text)
    was = digest(file)
    gpu.mark()
    jobs, text = fio(file, engine, seed + 1000, ways)
    went, mapped = gpu.since()
    bad = [job for job, _ in ways if job not in jobs or
           jobs[job]["error"] != errno.EREMOTEIO or moved(jobs[job])]
    result(not bad, name + ": EREMOTEIO", "%s\n%s" % (bad, text))
    ok = went["refused"] > 0 and sum(went.values()) == went["refused"]
    result(ok and not mapped, name + ": refused", "%s, mapped %s" %
           (went, mapped))
    result(digest(file) == was, name + ": nothing is written")


def targets():
    yield DISK
    os.makedirs(MNT, exist_ok=True)
    for fs, force in (("ext4", "-F"), ("xfs", "-f")):
        run("mkfs." + fs, force, DISK)
        run("mount", "-t", fs, DISK, MNT)
        yield MNT + "/" + fs
        run("umount", MNT)


def main():
    expect = expected()
    full = len(sys.argv) > 1
    until = time.time() + float(sys.argv[1] if full else 0)
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    gpu = Gpu()
    kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(kmsg, 0, os.SEEK_END)

    print("TAP version 13")
    while True:
        print("# %s, seed %d" % (expect, seed))
        for n, file in enumerate(targets()):
            for engine in ENGINES if full or n == 0 else ENGINES[n:n + 1]:
                if expect == "refuse":
                    refused(gpu, file, engine, seed)
                else:
                    transfers(gpu, expect, file, engine, seed)
        seed += 1
        if failed or time.time() >= until:
            break
    print("# " + ", ".join("%s %d MiB" % (way, n >> 20)
                           for way, n in gpu.counters().items()))

    lines = []
    try:
        while True:
            lines.append(os.read(kmsg, 8192).decode(errors="replace"))
    except BlockingIOError:
        pass
    bad = [line for line in lines if "error" in line]
    result(not bad, "nothing on the console", "".join(bad))
    return conclude(gpu)


if __name__ == "__main__":
    sys.exit(main())
