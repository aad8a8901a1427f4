#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# O_DIRECT on NFS, from this machine to itself, with a buffer in device memory: the
# client sends and receives by the CPU and asks for no peer memory. So the answer is
# EFAULT, as on stock Linux, and nothing is transferred. All else works: buffers in
# RAM, the page cache, and direct I/O on the server's own file system.
#
# This program is all that there is of rpcbind, mountd, exportfs and mount.nfs. NFS 3,
# which needs less of that and of the kernel.
#
# VM: --no-gpu --no-rxe --topo switch --trace pci_nvme_map_addr

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
import threading

from dio_fio import DISK, WAYS, Gpu, conclude, result, run

EXPORT = "/run/p2p_export"
MNT = "/run/p2p_nfs"
LEN = 65536
FOREVER = 0x7fffffff
EXPORT_FLAGS = 0x2402	# NFSEXP_FSID, _NOSUBTREECHECK, _INSECURE_PORT
MOUNT_FLAGS = 0x2c0	# NFS_MOUNT_TCP, _VER3, _NONLM
libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, fs, data=b""):
    os.makedirs(target, exist_ok=True)
    if libc.mount(source.encode(), target.encode(), fs.encode(), 0, data):
        raise OSError(ctypes.get_errno(), "mount " + fs)


def write(path, text):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, (text + "\n").encode())
    os.close(fd)


def rpcbind():
    """The kernel insists on registering: says yes to all calls."""
    listen = socket.socket(socket.AF_UNIX)
    listen.bind("\0/run/rpcbind.sock")
    listen.listen()

    def answer(conn):
        with conn, conn.makefile("rwb") as f:
            while head := f.read(4):
                call = f.read(struct.unpack(">I", head)[0] & 0x7fffffff)
                # a reply, accepted, no verifier, success; the result: true
                f.write(struct.pack(">I4s6I", 0x8000001c, call[:4], 1, 0, 0, 0,
                                    0, 1))
                f.flush()

    def serve():
        while True:
            threading.Thread(target=answer, args=(listen.accept()[0],),
                             daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def serve():
    """EXPORT for this machine; its file handle."""
    rpcbind()
    mount("nfsd", "/proc/fs/nfsd", "nfsd")
    write("/proc/fs/nfsd/portlist", "tcp 2049")
    write("/proc/fs/nfsd/threads", "2")
    cache = "/proc/net/rpc/%s/channel"
    write(cache % "auth.unix.ip", "nfsd 127.0.0.1 %d all" % FOREVER)
    write(cache % "nfsd.export",
          "all %s %d %d 0 0 0" % (EXPORT, FOREVER, EXPORT_FLAGS))
    write(cache % "nfsd.fh", r"all 1 \x00000000 %d %s" % (FOREVER, EXPORT))
    fd = os.open("/proc/fs/nfsd/filehandle", os.O_RDWR)
    os.write(fd, ("all %s 64\n" % EXPORT).encode())
    text = os.read(fd, 4096).decode().strip()
    os.close(fd)
    return bytes.fromhex(text.removeprefix("\\x"))


def mount_nfs(handle):
    """struct nfs_mount_data, version 6"""
    addr = struct.pack("=H2s4s8x", socket.AF_INET, struct.pack(">H", 2049),
                       socket.inet_aton("127.0.0.1"))
    data = struct.pack("=ii32xiiiiiiiii16s256siIH64s2xi257s3x", 6, -1, MOUNT_FLAGS,
                       0, 0, 0, 0, 0, 0, 0, 0, addr, b"localhost", 255, 0,
                       len(handle), handle, 0, b"")
    mount("localhost:" + EXPORT, MNT, "nfs", data.ljust(4096, b"\0"))


def transfer(call, fd, buf, pos=0):
    """Bytes done, or -errno."""
    try:
        return call(fd, buf if isinstance(buf, list) else [buf], pos)
    except OSError as e:
        return -e.errno


def check(name, got, want):
    result(got == want, name, "%s, not %s" % (got, want))


def direct(gpu, fd, peer, ram):
    ram[:] = os.urandom(LEN)
    data = bytes(ram)
    check("RAM: write", transfer(os.pwritev, fd, ram), LEN)
    ram[:] = bytes(LEN)
    check("RAM: read", (transfer(os.preadv, fd, ram), bytes(ram) == data),
          (LEN, True))

    mark = b"\xa5" * LEN
    peer[:] = mark
    gpu.mark()
    for n in (4096, LEN):
        check("peer: read %d" % n, transfer(os.preadv, fd, peer[:n]),
              -errno.EFAULT)
        check("peer: write %d" % n, transfer(os.pwritev, fd, peer[:n]),
              -errno.EFAULT)
    # As far as it goes, if at all
    half = LEN // 2
    for name, call in (("read", os.preadv), ("write", os.pwritev)):
        n = transfer(call, fd, [ram[:half], peer[half:]])
        result(n in (half, -errno.EFAULT), "RAM and peer: " + name, n)
    check("peer: not touched", bytes(peer) == mark, True)
    ram[:] = bytes(LEN)
    check("file: not touched",
          (transfer(os.preadv, fd, ram), bytes(ram) == data), (LEN, True))
    check("peer: no DMA", gpu.since(), (dict.fromkeys(WAYS, 0), 0))


def buffered(fd, peer, ram):
    """By the page cache: the CPU copies to and from the mapping, as ever."""
    peer[:] = os.urandom(LEN)
    data = bytes(peer)
    check("page cache: write", transfer(os.pwritev, fd, peer, LEN), LEN)
    os.fsync(fd)
    check("page cache: written",
          (transfer(os.preadv, fd, ram, LEN), bytes(ram) == data), (LEN, True))
    peer[:] = bytes(LEN)
    check("page cache: read",
          (transfer(os.preadv, fd, peer, LEN), bytes(peer) == data), (LEN, True))


def main():
    gpu = Gpu()
    file = os.open(gpu.path + "/resource2", os.O_RDWR)
    peer = memoryview(mmap.mmap(file, LEN))
    ram = memoryview(mmap.mmap(-1, LEN))
    print("TAP version 13")
    run("mkfs.ext4", "-q", "-F", DISK)
    mount(DISK, EXPORT, "ext4")
    mount_nfs(serve())
    fd = os.open(MNT + "/file", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    direct(gpu, fd, peer, ram)
    os.close(fd)
    fd = os.open(MNT + "/file", os.O_RDWR)
    buffered(fd, peer, ram)
    os.close(fd)

    run("umount", MNT)
    data = bytes(peer)
    peer[:] = bytes(LEN)
    fd = os.open(EXPORT + "/file", os.O_RDWR | os.O_DIRECT)
    check("server: peer", (transfer(os.preadv, fd, peer, LEN),
                           bytes(peer) == data), (LEN, True))
    os.close(fd)
    write("/proc/fs/nfsd/threads", "0")
    return conclude(gpu)


sys.exit(main())
