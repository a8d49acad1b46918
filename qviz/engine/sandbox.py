"""The sandbox of a worker: no network, no new processes, and a file system of which it reads little and writes less.

Two facilities of the Linux kernel take rights away from a process and from its later threads, and never give them back.
Landlock limits files, TCP and signals to processes outside; seccomp refuses system calls. Both need no privilege. Where
the kernel lacks one of them, the rights that it would take stay, and `sandbox_sentence` says which.

The kernel is called directly, because no package does this for a running process: `landlock` (last release 2025-05,
alpha) has rules for files alone, `pyseccomp` (2021) needs a library of the system, and `sandlock` (2026-10), which is
well kept, leaves network and seccomp to a supervisor that starts the process itself.

Numbers are from linux/landlock.h, linux/seccomp.h, linux/audit.h and the tables of system calls.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_SOCKET, MAKE_FIFO, MAKE_BLOCK, MAKE_LINK = 1 << 6, 1 << 9, 1 << 10, 1 << 11, 1 << 12
TRUNCATE, IOCTL_DEVICE = 1 << 14, 1 << 15
RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: TRUNCATE, 5: IOCTL_DEVICE}
"""Version of Landlock -> the rights to files that it adds. Version 4 added TCP, version 6 signals."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
LISTED = READ_FILE | READ_DIR
"""Read files and list folders. Without READ_DIR, a file can be read only by a process that knows its name."""
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEVICE
WRITABLE = ~(EXECUTE | MAKE_CHAR | MAKE_SOCKET | MAKE_FIFO | MAKE_BLOCK | MAKE_LINK | IOCTL_DEVICE)
"""All rights but to programs and to devices, pipes and symbolic links, which could mislead a process outside."""
SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/fonts", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm", "/dev/zero", "/dev/random", "/dev/urandom"),
)
"""What libraries read: other libraries, fonts, the time zone, and facts about processor and memory."""
GRAPHICS = ("/sys", "/proc/driver", "/proc/modules", "/etc/vulkan", "/etc/drirc", "/opt", "/snap/chromium")
GRAPHICS_DEVICES = ("/dev/dri", "/dev/kfd", *(f"/dev/nvidia{end}" for end in ("0", "1", "2", "3", "ctl", "-modeset")))
"""What the driver of a graphics card reads and uses besides."""
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SECCOMP = {"x86_64": 317, "aarch64": 277}
ALLOW, ERROR = 0x7FFF0000, 0x00050000
REFUSED = {
    "x86_64": {
        **{"socket": 41, "io_uring_setup": 425},
        **{"fork": 57, "vfork": 58, "execve": 59, "execveat": 322},
        **{"chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452},
        **{"chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260},
        **{"setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "setxattrat": 463},
    },
    "aarch64": {
        **{"socket": 198, "io_uring_setup": 425, "execve": 221, "execveat": 281},
        **{"fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchown": 55, "fchownat": 54},
        **{"setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "setxattrat": 463},
    },
}
"""Processor -> system calls that fail with EPERM. io_uring opens sockets without the call, and Landlock does not limit
who may change the mode, owner and attributes of files."""
CLONE, PRLIMIT = {"x86_64": 56, "aarch64": 220}, {"x86_64": 302, "aarch64": 261}
"""clone may only start a thread, and prlimit only name this process, as it could end the server by a limit of 0 s."""
CLONE3, CLONE_THREAD, X32 = 435, 0x10000, 0x40000000


def enter_sandbox(writable: Iterable[Path], readable: Iterable[Path] = (), graphics: bool = False) -> None:
    """Confine this process for the rest of its life. Its threads must start later, as earlier ones keep their rights.

    writable: folders in which it may do everything; the first one becomes its folder of temporary files. readable:
    files, and folders whose files it may read if it knows their names. It may also read and list the folders of Python,
    its packages and the libraries of the system. graphics: whether it uses the driver of a graphics card.
    """
    writable, libraries = [path.resolve() for path in writable], list(_libraries())
    os.environ["TMPDIR"] = os.environ["KERAS_HOME"] = tempfile.tempdir = str(writable[0])
    if not sys.platform.startswith("linux"):
        return
    _close_resource_trackers()
    system = [*libraries, *map(Path, SYSTEM + (GRAPHICS if graphics else ()))]
    devices = map(Path, ("/dev/null", "/proc/self/clear_refs", *(GRAPHICS_DEVICES if graphics else ())))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, which Landlock and seccomp need
    rules = [(path, LISTED) for path in system] + [(path, READ_FILE) for path in readable]
    _landlock(libc, rules + [(path, DEVICE) for path in devices] + [(path, WRITABLE) for path in writable])
    _seccomp(libc)


def sandbox_sentence() -> str:
    """What the kernel lets a worker do; `qviz doctor` prints it."""
    version, filtered = _landlock_version(), _has_seccomp()
    files = "its files are limited to libraries, its jobs' input and a folder of its own" if version else ""
    network = "it has no network" if filtered else "it has no TCP" if version >= 4 else ""
    processes = "it starts no processes" if filtered else ""
    signals = "it signals no other process" if version >= 6 else ""
    limits = [limit for limit in (files, network, processes, signals) if limit]
    if not limits:
        return "none: this system has neither Landlock nor seccomp, so a worker may do what this account may"
    return "; ".join(limits)


@lru_cache
def limits_files() -> bool:
    """Whether the sandbox limits the files that a worker reads."""
    return _landlock_version() > 0


def _landlock_version() -> int:
    """The version of Landlock's interface; 0 if the kernel has none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def _has_seccomp() -> bool:
    """Whether the kernel offers seccomp filters that answer with an error (an emulator of a processor may not)."""
    if not sys.platform.startswith("linux") or platform.machine() not in SECCOMP:
        return False
    return int(ctypes.CDLL(None).syscall(SECCOMP[platform.machine()], 2, 0, struct.pack("I", ERROR))) == 0


def _landlock(libc: ctypes.CDLL, rules: Iterable[tuple[Path, int]]) -> None:
    """Take all rights to files, TCP and signals, except those of `rules`: a path and the rights to what is below it."""
    version = _landlock_version()
    if not version:
        return
    handled = sum(rights for since, rights in RIGHTS.items() if since <= version)
    attributes = struct.pack("QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    ruleset = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    for path, rights in rules:
        with contextlib.suppress(OSError):  # what does not exist needs no rule
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights & handled & (-1 if path.is_dir() else OF_FILES)
            libc.syscall(ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, descriptor), 0)
            os.close(descriptor)
    if libc.syscall(RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "Landlock does not take the rules")
    os.close(ruleset)


def _seccomp(libc: ctypes.CDLL) -> None:
    """Refuse to open sockets and to start processes; threads may start."""
    if not _has_seccomp():
        return
    program = b"".join(_filter(platform.machine()))
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    if libc.prctl(22, 2, header, 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "seccomp does not take the filter")


def _filter(machine: str) -> Iterator[bytes]:
    """The instructions of a filter: code, jump if true, jump if false, value. See linux/filter.h."""
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, absent = ALLOW, ERROR | errno.EPERM, ERROR | errno.ENOSYS

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, value)

    yield instruction(load, 4)  # the architecture of the call
    yield instruction(equal, AUDIT[machine], 1)
    yield instruction(answer, refuse)  # 32-bit calls have other numbers
    yield instruction(load, 0)  # the number of the call
    yield instruction(at_least, X32, 0, 1)
    yield instruction(answer, refuse)
    for number in REFUSED[machine].values():
        yield instruction(equal, number, 0, 1)
        yield instruction(answer, refuse)
    yield instruction(equal, CLONE3, 0, 1)
    yield instruction(answer, absent)  # its flags are out of a filter's sight; glibc then calls clone
    for number, test, value in ((CLONE[machine], any_bit, CLONE_THREAD), (PRLIMIT[machine], equal, 0)):
        yield instruction(equal, number, 0, 4)
        yield instruction(load, 16)  # the first argument
        yield instruction(test, value, 0, 1)
        yield instruction(answer, allow)
        yield instruction(answer, refuse)
    yield instruction(answer, allow)


def _libraries() -> Iterator[Path]:
    """Folders of Python, its packages and the libraries that the environment names; none that has private files."""
    names = [tempfile.gettempdir(), *map(os.environ.get, ("QVIZ_DATA", "QVIZ_CACHE"))]
    private = [Path(name).resolve() for name in names if name]
    with contextlib.suppress(RuntimeError):  # an account without a home folder
        private.append(Path.home().resolve())
    prefixes = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    yield from [Path(__file__).parents[1], *(prefix / "lib" for prefix in prefixes)]
    lists = [os.environ.get(name, "") for name in ("LD_LIBRARY_PATH", "VK_DRIVER_FILES", "VK_ICD_FILENAMES")]
    named = [*sys.path, *os.pathsep.join(lists).split(os.pathsep), os.environ.get("QVIZ_LIMITS", "")]
    for path in {path.resolve() for path in (*prefixes, *map(Path, filter(None, named)))}:
        if not any(folder.is_relative_to(path) for folder in private):
            yield path


def _close_resource_trackers() -> None:
    """Close the pipes to the processes that delete files for loky and multiprocessing, which a worker could misuse."""
    for name in ("multiprocessing.resource_tracker", "loky.backend.resource_tracker"):
        if name in sys.modules:
            tracker = sys.modules[name]._resource_tracker
            if tracker._fd is not None:
                os.close(tracker._fd)
                tracker._fd = None
