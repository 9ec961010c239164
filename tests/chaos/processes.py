"""Processes that end with the harness, however that ends."""

import ctypes
import os
import signal
import subprocess
import sys
import traceback

PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent, number=signal.SIGKILL):
    """In the child: a signal when the thread that made it ends. Processes are
    therefore made by the harness's main thread alone."""
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def spawn(command, **more):
    """As Popen, of a program that is killed when the harness ends."""
    parent = os.getpid()
    return subprocess.Popen(command,
                            preexec_fn=lambda: die_with_parent(parent), **more)


def fork(function, *args):
    """A process that runs a function and is killed when the harness ends: its
    pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid != 0:
        return pid
    status = 1
    try:
        die_with_parent(parent)
        # Ctrl-C is the harness's to answer.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        function(*args)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def private_mounts():
    """What is mounted from now on goes with this process. False: not root."""
    if os.geteuid() != 0 or _libc.unshare(CLONE_NEWNS) != 0:
        return False
    return _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0


def mount_memory(path, size):
    """A file system of that many bytes. False: it cannot be had here."""
    return _libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0,
                       b"size=%d,mode=755" % size) == 0


def unmount(path):
    _libc.umount2(path.encode(), MNT_DETACH)
