"""A process that can read what Python and its libraries need and a few folders, and nothing else: it writes nowhere,
reaches no network, starts no program and looks into no other process.

Three means of Linux, each of which holds for whatever runs in the process, foreign code included, and cannot be taken
back. Where one is missing the others still hold (`lacking` says which):

    a network namespace   a network without a device, loopback included; most containers refuse it
    Landlock              files (Linux 5.13), TCP (6.7), signals to others and abstract sockets (6.12)
    seccomp               sockets, other processes, new programs, rare parts of the kernel; needs libseccomp
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType

import components

# What the C library and decoders read besides their own code.
SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)
# unshare(2), clone(2).
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
CAPABILITY_VERSION = 0x2008_0522  # capget(2): two words of bits
# System calls that no decoder makes. A name that the installed libseccomp does not know is left out.
REFUSED = (
    # sockets; io_uring opens them too
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg", "sendmmsg"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    # other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
    *("pidfd_open", "pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tkill"),
    # new programs and namespaces
    *("execve", "execveat", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_by_handle_at"),
    # what of the kernel has little use and many defects
    *("bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
)
OF_ITSELF = ("kill", "tgkill")  # with its own process id alone: abort(3) sends a signal
PROBE = f"from {__name__} import _try; print(*_try(), sep='\\n')"
WHO = "the process that opens uploads"
NO_LANDLOCK = f"this kernel has no Landlock: {WHO} is not kept from other files"
NO_FILTER = f"no libseccomp, or this kernel refuses its filter: {WHO} is not kept from other processes"
NO_NETWORK = f"this kernel or container refuses a network namespace: only a filter keeps {WHO} from the network"
OPEN_NETWORK = f"this kernel or container refuses a network namespace: {WHO} is not kept from the network"


def available() -> bool:
    """Whether the kernel can confine a process to files (Landlock)."""
    if sys.platform != "linux":
        return False
    from py_landlock import LandlockError, get_abi_version

    try:
        return int(get_abi_version()) > 0
    except LandlockError:
        return False


def lacking() -> tuple[str, ...]:
    """What this machine cannot keep a confined process from, as sentences; tried out in a process of its own."""
    tried = subprocess.run([sys.executable, "-c", PROBE], stdout=subprocess.PIPE, text=True, check=False)
    return tuple(line for line in tried.stdout.splitlines() if line)


def _try() -> list[str]:
    """Confines this process, and says what was lacking."""
    no_network = not leave_network()
    no_files, no_filter = not available(), seccomp() is None
    confine(())
    if not no_filter:
        no_filter = _calls_ptrace()
    lacks = [NO_LANDLOCK] * no_files + [NO_FILTER] * no_filter
    return lacks + [OPEN_NETWORK if no_filter else NO_NETWORK] * no_network


def prepare() -> None:
    """Loads what `confine` needs, for the forks of this process."""
    seccomp()
    available()


def leave_network() -> bool:
    """Gives this process, which must have one thread, a network of its own in which there is nothing; False where that
    is refused. It loses every capability, also over files of other users."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return False
    # In its new user namespace it has all of them, which would open more of the kernel to it.
    libc.capset((ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)())
    return True


def confine(folders: Iterable[Path]) -> None:
    """Confines this process, for good, to reading `folders` and what Python needs, and keeps it from the system calls
    of `REFUSED`, as far as this machine can (`lacking`)."""
    library = seccomp()  # which is looked for by a program, so before anything is refused
    if available():
        _confine_files(folders)
    if library is not None:
        _filter_calls(library)


def _confine_files(folders: Iterable[Path]) -> None:
    from py_landlock import AccessFs, Landlock

    python = (Path(sys.prefix), Path(sys.base_prefix), Path(components.__file__).parent)
    rules = Landlock(strict=False)
    for path in (*map(Path, SYSTEM), *python, *folders):
        if path.is_dir():
            rules.add_path_rule(path, access=AccessFs.READ_FILE | AccessFs.READ_DIR)
        elif path.exists():
            rules.add_path_rule(path, access=AccessFs.READ_FILE)
    rules.apply()


@cache
def seccomp() -> ModuleType | None:
    """The library pyseccomp; None where it has no libseccomp to call."""
    if sys.platform != "linux":
        return None
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        return None
    return pyseccomp


def _filter_calls(library: ModuleType) -> None:
    """Refuses system calls with EPERM, to all threads; nothing happens where the kernel has no such filters."""
    refusal = library.ERRNO(errno.EPERM)
    try:
        calls = library.SyscallFilter(library.ALLOW)
        calls.set_attr(library.Attr.CTL_TSYNC, 1)
        for name in REFUSED:
            number = library.resolve_syscall(library.Arch.NATIVE, name)
            if number >= 0:
                calls.add_rule(refusal, number)
        for name in OF_ITSELF:
            calls.add_rule(refusal, name, library.Arg(0, library.NE, os.getpid()))
        calls.add_rule(refusal, "clone", library.Arg(0, library.MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER))
        # Its flags lie in memory, where a filter cannot see them; the C library then calls clone instead.
        calls.add_rule(library.ERRNO(errno.ENOSYS), library.resolve_syscall(library.Arch.NATIVE, "clone3"))
        calls.load()
    except OSError:
        return


def _calls_ptrace() -> bool:
    """Whether ptrace(2) is there for this process, which then has its parent as the tracer."""
    return bool(ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0)
