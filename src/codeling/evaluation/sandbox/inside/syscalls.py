"""System calls that Python's ``os`` lacks before 3.12: namespaces, mounts, privileges.

This module must not know what they are used for.
"""

import ctypes
import os
import platform
import resource
import struct

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4_096, 16_384, 1 << 18
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_CAP_AMBIENT = 4, 38, 22, 47
_PR_CAP_AMBIENT_CLEAR_ALL, _SECCOMP_MODE_FILTER = 4, 2
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move this process into new namespaces.

    :raises OSError: the kernel does not allow it.
    """
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def enter_own_pid_namespace(pidfd: int) -> None:
    """Create further children in the PID namespace of the process of ``pidfd``."""
    _check(_libc.setns(ctypes.c_int(pidfd), ctypes.c_int(CLONE_NEWPID)), "setns")


def mount_tmpfs(path: str, num_bytes: int, num_files: int) -> None:
    """Mount an empty file system of limited size at ``path``."""
    options = f"size={num_bytes},nr_inodes={num_files},mode=0700".encode()
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
    _check(_libc.mount(b"tmpfs", path.encode(), b"tmpfs", flags, options), f"mount {path}")


def keep_mounts_private() -> None:
    """Hide further mounts from other mount namespaces."""
    flags = ctypes.c_ulong(_MS_REC | _MS_PRIVATE)
    _check(_libc.mount(None, b"/", None, flags, None), "mount /")


def bind(source: str, target: str) -> None:
    """Bind-mount ``source`` at ``target``."""
    flags = ctypes.c_ulong(_MS_BIND | _MS_REC)
    _check(_libc.mount(source.encode(), target.encode(), None, flags, None), f"bind {source}")


def hide_from_tracing() -> None:
    """Forbid other processes to read this one's memory; children inherit this."""
    _check(_prctl(_PR_SET_DUMPABLE, 0), "prctl")


def drop_privileges(seccomp_filter: bytes) -> None:
    """Drop every capability for good, and apply ``seccomp_filter`` to all further calls.

    :raises OSError: the kernel refuses; the process must then end.
    """
    _check(_prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL), "prctl")
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    nothing = bytes(24)
    capset = ctypes.c_long(_CAPSET[platform.machine()])
    _check(_libc.syscall(capset, header, nothing), "capset")
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl")
    code = ctypes.create_string_buffer(seccomp_filter, len(seccomp_filter))
    program = struct.pack("@HxxxxxxP", len(seccomp_filter) // 8, ctypes.addressof(code))
    buffer = ctypes.create_string_buffer(program, len(program))
    _check(_prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(buffer)), "seccomp")


def _prctl(option: int, value: int, address: int = 0) -> int:
    zero = ctypes.c_ulong(0)
    arguments = (ctypes.c_ulong(value), ctypes.c_ulong(address), zero, zero)
    return int(_libc.prctl(ctypes.c_int(option), *arguments))


def limit_resources(
    cpu_seconds: int, address_space: int, file_bytes: int, processes: int | None
) -> None:
    """Limit this process's resources; a program cannot raise the limits again."""
    limits = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_AS: address_space,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 128,
    }
    if processes is not None:
        limits[resource.RLIMIT_NPROC] = processes
    for which, value in limits.items():
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(which, (value, value))
