#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Unmodified perftest with a buffer in device memory (--mmap), with and without
# --odp: it runs at all sizes, the data gets there, and it is not much slower
# than on RAM.
#
# Usage: perftest.py [FILE]
# FILE: maps the memory of the emulated GPU from its first byte. Without it that
# is resource2 of the device, which peers may have, and which has no driver.
#
# VM: --no-gpu
# TIMEOUT: 1800
# ALONE: it compares rates

import glob
import mmap
import os
import re
import subprocess
import sys
import time

OFFSET = 1 << 20		# of the buffer in the file
SIZES = (1, 4097, 1 << 20)
SPAN = 2 * 65536		# of a buffer: to send from, and to receive into
TOOLS = ("ib_write_bw", "ib_read_bw", "ib_send_bw", "ib_write_lat")
LIMIT = 60			# seconds, for one run
port = 18600
number = failed = 0


def result(ok, name, why=""):
    global number, failed
    number += 1
    failed += not ok
    print("%sok %d %s" % ("" if ok else "not ", number, name))
    if why and not ok:
        print("# " + str(why).strip().replace("\n", "\n# "))
    sys.stdout.flush()


def find_gpu():
    for path in glob.glob("/sys/bus/pci/devices/*"):
        with open(path + "/vendor") as v, open(path + "/device") as d:
            if (v.read().strip(), d.read().strip()) == ("0x1af4", "0x1110"):
                return path
    sys.exit("Bail out! no GPU")


def offer(gpu):
    for name in ("enable", "p2p_mmap"):
        with open(gpu + "/" + name, "w") as f:
            f.write("1")
    return gpu + "/resource2"


def listening(at):
    with open("/proc/net/tcp") as f4, open("/proc/net/tcp6") as f6:
        return re.search(":%04X [0-9A-F:]+ 0A" % at, f4.read() + f6.read())


class Run:
    """A server and a client of one tool; @where has its buffer in @file."""

    def __init__(self, tool, args, file=None, where=None):
        global port
        port += 1
        there = ["--mmap=" + file, "--mmap-offset=%d" % OFFSET] if file else []
        command = [tool, "-d", "rxe0", "-x", "1", "-F", "-p", str(port), *args]
        self.ends = []
        for end, host in (("server", []), ("client", ["127.0.0.1"])):
            self.ends.append(subprocess.Popen(
                command + (there if end == where else []) + host,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            until = time.time() + LIMIT
            while end == "server" and not listening(port) and \
                    self.ends[0].poll() is None and time.time() < until:
                time.sleep(0.05)

    def finish(self):
        """True if both succeeded; self.text is what they printed."""
        self.text = ""
        for end in reversed(self.ends):
            try:
                out, _ = end.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                end.kill()
                out = end.communicate()[0] + "timed out\n"
            self.text = out + self.text
        return all(end.returncode == 0 for end in self.ends)

    def rate(self):
        """Average MB/s, of the table's last line."""
        rows = re.findall(r"^\s*\d+\s+\d+\s+[\d.]+\s+([\d.]+)\s+[\d.]+\s*$",
                          self.text, re.M)
        return float(rows[-1]) if rows else 0.0


def iterations(size):
    return "20" if size == SIZES[-1] else "100"


def sizes(tool, file, where, odp):
    for size in SIZES:
        run = Run(tool, ["-s", str(size), "-n", iterations(size), *odp],
                  file, where)
        if not run.finish():
            return "size %d\n%s" % (size, run.text)
    return ""


def changed(view, value, seconds):
    """Wait until the buffer is not all @value."""
    until = time.time() + seconds
    while time.time() < until:
        if view[OFFSET:OFFSET + SPAN] != bytes([value]) * SPAN:
            return True
        time.sleep(0.02)
    return False


def arrives(tool, file, where, odp, vram):
    """What comes during the run replaces what we put there."""
    view = mmap.mmap(vram, 8 << 20)
    view[OFFSET:OFFSET + SPAN] = bytes(SPAN)
    run = Run(tool, ["-s", str(SPAN // 2), "-D", "6", *odp], file, where)
    begun = changed(view, 0, 20)	# perftest fills its buffer
    time.sleep(2)
    view[OFFSET:OFFSET + SPAN] = b"\xa5" * SPAN
    came = changed(view, 0xa5, 5)
    ok = run.finish()
    view.close()
    return "" if ok and begun and came else \
        "begun %s, came %s\n%s" % (begun, came, run.text)


def fast_enough(tool, file, where, odp):
    """At least 0.8 of the same on RAM with --odp; the machine has bad moments."""
    args = ["-s", "65536", "-n", "100"]
    ram = there = 0.0
    for _ in range(12):
        for mine in (True, False):
            run = Run(tool, args + (odp if mine else ["--odp"]),
                      file if mine else None, where)
            if not run.finish():
                return run.text
            if mine:
                there = max(there, run.rate())
            else:
                ram = max(ram, run.rate())
        if there >= 0.8 * ram > 0:
            break
    print("# %s, %s: %.2f MB/s, RAM %.2f MB/s" % (tool, where, there, ram))
    return "" if there >= 0.8 * ram > 0 else "too slow"


def main():
    gpu = find_gpu()
    file = sys.argv[1] if len(sys.argv) > 1 else offer(gpu)
    vram = os.open(gpu + "/resource2", os.O_RDWR)
    modes = (("plain", []), ("odp", ["--odp"]))
    ends = ("server", "client")
    sinks = (("ib_write_bw", "server"), ("ib_send_bw", "server"),
             ("ib_read_bw", "client"))
    rates = [(t, e) for t in TOOLS[:3] for e in ends]

    print("TAP version 13")
    print("1..%d" % (len(modes) * (len(TOOLS) * len(ends) + len(sinks) +
                                   len(rates))))
    for mode, odp in modes:
        for tool in TOOLS:
            for where in ends:
                why = sizes(tool, file, where, odp)
                result(not why, "%s %s at the %s" % (tool, mode, where), why)
        for tool, where in sinks:
            why = arrives(tool, file, where, odp, vram)
            result(not why, "%s %s: data at the %s" % (tool, mode, where), why)
        for tool, where in rates:
            why = fast_enough(tool, file, where, odp)
            result(not why, "%s %s: rate, at the %s" % (tool, mode, where), why)
    return 1 if failed else 0


sys.exit(main())
