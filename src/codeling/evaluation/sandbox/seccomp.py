"""The system calls that a program in the sandbox may make, as a filter for the kernel.

An allow list in classic BPF. Any other call fails with ``ENOSYS``, as on a kernel without it, so
that the C library falls back. A call of a foreign architecture kills the process. Not allowed, for
instance: starting a process or a program, sockets other than a pair, shared memory, tracing or
reading another process, mounts, namespaces, keys, BPF, io_uring, loading modules.

The assembler has 5 of seccomp's 16 instructions. Its library, libseccomp, would have to be
installed from the system. Source: ``Documentation/userspace-api/seccomp_filter``
of Linux, numbers from its ``unistd_64.h`` (x86-64) and ``asm-generic/unistd.h`` (AArch64).
"""

import platform
import struct
from typing import NamedTuple

LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS: accumulator = data[k]
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K: skip jt instructions when equal, else jf
RETURN = 0x06  # BPF_RET | BPF_K

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000
EPERM, ENOSYS = 1, 38

# Offsets in struct seccomp_data. Both architectures are little endian: the low word comes first.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}

# name, number on x86-64, number on AArch64 (-: that architecture does not have it)
_ALLOWED = """
read 0 63; write 1 64; close 3 57; fstat 5 80; lseek 8 62; poll 7 -; mmap 9 222; mprotect 10
226; munmap 11 215; brk 12 214; rt_sigaction 13 134; rt_sigprocmask 14 135; rt_sigreturn 15 139;
pread64 17 67; pwrite64 18 68; readv 19 65; writev 20 66; access 21 -; pipe 22 -; select 23 -;
sched_yield 24 124; mremap 25 216; msync 26 227; mincore 27 232; madvise 28 233; dup 32 23; dup2
33 -; pause 34 -; nanosleep 35 101; getitimer 36 102; alarm 37 -; setitimer 38 103; getpid 39
172; sendto 44 206; recvfrom 45 207; sendmsg 46 211; recvmsg 47 212; shutdown 48 210;
getsockname 51 204; getpeername 52 205; setsockopt 54 208; getsockopt 55 209; exit 60 93; wait4
61 260; kill 62 129; uname 63 160; fcntl 72 25; flock 73 32; fsync 74 82; fdatasync 75 83;
truncate 76 45; ftruncate 77 46; getdents64 217 61; getcwd 79 17; chdir 80 49; fchdir 81 50;
rename 82 -; mkdir 83 -; rmdir 84 -; creat 85 -; link 86 -; unlink 87 -; symlink 88 -; readlink
89 -; chmod 90 -; fchmod 91 52; umask 95 166; gettimeofday 96 169; getrlimit 97 163; getrusage
98 165; sysinfo 99 179; times 100 153; getuid 102 174; getgid 104 176; geteuid 107 175; getegid
108 177; getppid 110 173; getpgrp 111 -; getpgid 121 155; getsid 124 156; getgroups 115 158;
getresuid 118 148; getresgid 120 150; rt_sigpending 127 136; rt_sigtimedwait 128 137;
rt_sigsuspend 130 133; sigaltstack 131 132; statfs 137 43; fstatfs 138 44; sched_getparam 143
121; sched_getscheduler 145 120; sched_get_priority_max 146 125; sched_get_priority_min 147 126;
arch_prctl 158 -; gettid 186 178; futex 202 98; sched_getaffinity 204 123; getcpu 309 168;
set_tid_address 218 96; restart_syscall 219 128; fadvise64 221 223; timer_create 222 107;
timer_settime 223 110; timer_gettime 224 108; timer_getoverrun 225 109; timer_delete 226 111;
clock_gettime 228 113; clock_getres 229 114; clock_nanosleep 230 115; exit_group 231 94;
epoll_create 213 -; epoll_wait 232 -; epoll_ctl 233 21; tgkill 234 131; tkill 200 130; utime 132
-; utimes 235 -; openat 257 56; open 2 -; mkdirat 258 34; newfstatat 262 79; stat 4 -; lstat 6
-; unlinkat 263 35; renameat 264 38; linkat 265 37; symlinkat 266 36; readlinkat 267 78;
fchmodat 268 53; faccessat 269 48; faccessat2 439 439; pselect6 270 72; ppoll 271 73;
set_robust_list 273 99; get_robust_list 274 100; utimensat 280 88; epoll_pwait 281 22;
epoll_pwait2 441 441; eventfd 284 -; eventfd2 290 19; timerfd_create 283 85; timerfd_settime 286
86; timerfd_gettime 287 87; fallocate 285 47; epoll_create1 291 20; dup3 292 24; pipe2 293 59;
preadv 295 69; pwritev 296 70; renameat2 316 276; getrandom 318 278; statx 332 291; rseq 334
293; membarrier 324 283; copy_file_range 326 285; close_range 436 436; openat2 437 437; sendfile
40 71; waitid 247 95; get_mempolicy 239 236
"""


class Rule(NamedTuple):
    """A call that is allowed if one of its arguments, masked, has one of the listed values."""

    name: str
    numbers: tuple[int, int]
    argument: int
    mask: int
    values: tuple[int, ...]


_CLONE_THREAD = 0x10000
_CLONE_NAMESPACES = 0x7E020080  # every CLONE_NEW*
RULES = (
    Rule("clone", (56, 220), 0, _CLONE_THREAD | _CLONE_NAMESPACES, (_CLONE_THREAD,)),
    Rule("prctl", (157, 167), 0, 0xFFFFFFFF, (15, 16)),  # PR_SET_NAME, PR_GET_NAME
    Rule("socketpair", (53, 199), 0, 0xFFFFFFFF, (1,)),  # AF_UNIX: asyncio needs it
    Rule("prlimit64", (302, 261), 0, 0xFFFFFFFF, (0,)),  # its own limits, and only down
    # TCGETS, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: Python calls them on its own files
    Rule("ioctl", (16, 29), 1, 0xFFFFFFFF, (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)),
)


def allowed(machine: str) -> dict[str, int]:
    """Name → number of the calls that are allowed whatever their arguments."""
    calls = (entry.split() for entry in _ALLOWED.replace("\n", " ").split(";"))
    column = _COLUMN[machine]
    return {name: int(row[column]) for name, *row in calls if row[column] != "-"}


def program(machine: str | None = None) -> bytes:
    """The filter, an array of ``struct sock_filter``.

    :raises KeyError: the machine is neither ``x86_64`` nor ``aarch64``.
    """
    machine = machine or platform.machine()
    code = [
        _instruction(LOAD_WORD, ARCHITECTURE),
        _instruction(JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0),
        _instruction(RETURN, KILL_PROCESS),
        _instruction(LOAD_WORD, NUMBER),
    ]
    for number in sorted(allowed(machine).values()):
        code += [_instruction(JUMP_EQUAL, number, 0, 1), _instruction(RETURN, ALLOW)]
    for rule in RULES:
        body = [
            _instruction(LOAD_WORD, ARGUMENTS + 8 * rule.argument),
            _instruction(AND, rule.mask),
        ]
        for value in rule.values:
            body += [_instruction(JUMP_EQUAL, value, 0, 1), _instruction(RETURN, ALLOW)]
        body.append(_instruction(RETURN, ERRNO | EPERM))
        number = rule.numbers[_COLUMN[machine]]
        code += [_instruction(JUMP_EQUAL, number, 0, len(body)), *body]
    code.append(_instruction(RETURN, ERRNO | ENOSYS))
    return b"".join(code)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
