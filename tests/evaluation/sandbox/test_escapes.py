"""Programs that want out of the sandbox, or to harm the machine: none succeeds.

Each program below is an attempt; its ``attempt()`` raises what it meets, or returns what it got.
Afterwards the machine is looked at from outside: canaries, listeners, the next job.

Covered: files and secrets outside, memory of other processes, every kind of socket, processes,
signals, devices, namespaces and mounts, system calls that have been a way out of other sandboxes,
those of another architecture. Floods are in ``test_floods.py``, processes and files that outlive a
job in ``test_remains.py``.

Not covered: faults of the kernel itself in a call that is allowed (about 150 are); side channels
such as Spectre; what a hostile package among ``packages`` does while it is imported, before
privileges are dropped.
"""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeling.evaluation.sandbox import Sandbox

from .attempts import blocked, judged

pytestmark = pytest.mark.usefixtures("sandbox")  # skips where none can start

FILES = {
    "a canary": "open({canary!r}).read()",
    "a canary by the parent folder": "open('/tmp/../..' + {canary!r}).read()",
    "the folder of the canary": "os.listdir(os.path.dirname({canary!r}))",
    "passwd": "open('/etc/passwd').read()",
    "the host's name": "open('/etc/hostname').read()",
    "keys": "os.listdir(os.path.expanduser('~root/.ssh'))",
    "this repository": "open({here!r}).read()",
    "the environment of the first process": "open('/proc/1/environ').read()",
    "its own environment by proc": "open('/proc/self/environ').read()",
    "memory of the first process": "open('/proc/1/mem', 'rb').read(1)",
    "its own memory by proc": "open('/proc/self/mem', 'rb').read(1)",
    "the root of the first process": "os.listdir('/proc/1/root')",
    "the root of itself": "os.listdir('/proc/self/root')",
    "open files of the first process": "os.listdir('/proc/1/fd')",
    "the kernel's settings": "open('/proc/sys/kernel/core_pattern').read()",
    "sysfs": "os.listdir('/sys/class')",
    "cgroups": "os.listdir('/sys/fs/cgroup')",
    "the kernel's memory": "open('/dev/mem', 'rb').read(1)",
    "disks": "open('/dev/vda', 'rb').read(1)",
    "the terminal": "open('/dev/tty', 'w').write('x')",
    "shared memory": "open('/dev/shm/x', 'w').write('x')",
    "writing to the root": "open('/x', 'w').write('x')",
    "writing to the interpreter": "open(os.__file__, 'a').write('x')",
    "writing to our modules": "open('/ours/codeling/x.py', 'w').write('x')",
    "a folder of the root": "os.mkdir('/x')",
    "a device": "os.mknod('/tmp/device', 0o20666, os.makedev(1, 1))",
    "changing who owns a file": "os.chown('/tmp', 0, 0)",
    "another root": "os.chroot('/tmp')",
    "a socket folder of the system": "os.listdir('/run')",
}


@pytest.mark.parametrize("name", FILES)
def test_files_and_secrets_outside(name: str, sandbox: Sandbox, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    attempt = FILES[name].format(canary=str(canary), here=__file__)
    blocked(sandbox, f"import os\ndef attempt(): return {attempt}", "OSError")
    assert canary.read_text() == "secret"


def test_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_IN_THE_ENVIRONMENT", "secret")
    program = """
    import ctypes, os
    def attempt():
        variables = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
        found = []
        while variables and variables[len(found)]:
            found.append(variables[len(found)])
        return dict(os.environ), found, os.getcwd(), os.uname().nodename
    """
    with Sandbox(workers=1) as sandbox:
        verdict = judged(sandbox, program, "assert attempt() == ({}, [], '/tmp', 'sandbox')")
    assert verdict.passed, verdict


NETWORK = {
    "TCP": "socket.create_connection(('127.0.0.1', {port}), 2)",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
    "IPv6": "socket.create_connection(('::1', {port}), 2)",
    "DNS": "socket.getaddrinfo('example.org', 80)",
    "abstract socket": "socket.socket(socket.AF_UNIX).connect('\\0{abstract}')",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "vsock": "socket.socket(40, socket.SOCK_STREAM).connect((2, {port}))",
    "bind": "socket.socket().bind(('127.0.0.1', 0))",
    "a pair of another family": "socket.socketpair(socket.AF_INET)",
    "connecting one of a pair": "socket.socketpair()[0].connect('\\0{abstract}')",
}


@pytest.fixture(scope="module")
def listeners() -> Iterator[tuple[int, str, list[str]]]:
    """A TCP port, an abstract socket, and who has come."""
    came: list[str] = []
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(tcp.getsockname())
    abstract = f"codeling-test-{os.getpid()}"
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(f"\0{abstract}")
    unix.listen()

    def wait(name: str, receive: object) -> None:
        try:
            receive()  # type: ignore[operator]
            came.append(name)
        except OSError:
            pass

    for name, receive in (
        ("TCP", tcp.accept),
        ("UDP", lambda: udp.recv(1)),
        ("abstract", unix.accept),
    ):
        threading.Thread(target=wait, args=(name, receive), daemon=True).start()
    yield tcp.getsockname()[1], abstract, came
    for end in (tcp, unix):
        end.shutdown(socket.SHUT_RDWR)
    udp.close()
    tcp.close()
    unix.close()


@pytest.mark.parametrize("name", NETWORK)
def test_network(name: str, sandbox: Sandbox, listeners: tuple[int, str, list[str]]) -> None:
    port, abstract, came = listeners
    attempt = NETWORK[name].format(port=port, abstract=abstract)
    blocked(sandbox, f"import socket\ndef attempt(): return str({attempt})", "OSError")
    assert came == []


PROCESSES = {
    "fork": "os.fork()",
    "double fork": "os.fork() or os.fork()",
    "fork with a terminal": "os.forkpty()",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "exec": "os.execv(sys.executable, ['python'])",
    "subprocess": "subprocess.run([sys.executable, '-c', '0'])",
    "system": "1 / (os.system('true') == 0)",
    "multiprocessing": "multiprocessing.Process(target=print).start()",
    "kill the parent": "os.kill(os.getppid() or 2, 9)",
    "kill its neighbour": "os.kill(2, 9)",
    "stop its neighbour": "os.kill(3, 19)",
    "kill everyone": "os.kill(-1, 9) or [][1]",
    "another user": "os.setuid(0)",
    "another session's priority": "os.setpriority(os.PRIO_PROCESS, 0, -20)",
    "more files": "resource.setrlimit(resource.RLIMIT_NOFILE, (9_999, 9_999))",
    "more memory": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "more time": "resource.setrlimit(resource.RLIMIT_CPU, (60, 60))",
}


@pytest.mark.parametrize("name", PROCESSES)
def test_processes(name: str, sandbox: Sandbox) -> None:
    program = f"""
    import multiprocessing, os, resource, subprocess, sys
    def attempt(): return str({PROCESSES[name]})
    """
    blocked(sandbox, program, "OSError, ValueError, ArithmeticError, LookupError")


# Numbers on x86-64. Arguments are such that the call would do something if it were allowed.
CALLS = {
    "ptrace": "call(101, 16, 1, 0, 0)",
    "process_vm_readv": "call(310, 1, buffer, 1, buffer, 1, 0)",
    "process_vm_writev": "call(311, 1, buffer, 1, buffer, 1, 0)",
    "mount": "call(165, b'none', b'/tmp', b'tmpfs', 0, 0)",
    "umount": "call(166, b'/tmp', 2)",
    "pivot_root": "call(155, b'/tmp', b'/tmp')",
    "open_tree": "call(428, -100, b'/', 1)",
    "fsopen": "call(430, b'tmpfs', 0)",
    "mount_setattr": "call(442, -100, b'/', 0, buffer, 32)",
    "unshare of users": "call(272, 0x10000000)",
    "unshare of mounts": "call(272, 0x20000)",
    "setns": "call(308, 3, 0)",
    "clone with a new user namespace": "call(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "clone of a process": "call(56, 17, 0, 0, 0, 0)",
    "clone of a thread in a new namespace": "call(56, 0x10000 | 0x20000, 0, 0, 0, 0)",
    "clone3": "call(435, buffer, 88)",
    "fork": "call(57)",
    "vfork": "call(58)",
    "execveat": "call(322, -100, b'/bin/true', 0, 0, 0)",
    "bpf": "call(321, 0, buffer, 128)",
    "perf_event_open": "call(298, buffer, 0, -1, -1, 0)",
    "io_uring": "call(425, 8, buffer)",
    "userfaultfd": "call(323, 0)",
    "memfd_create": "call(319, b'x', 0)",
    "memfd_secret": "call(447, 0)",
    "shmget": "call(29, 0, 4096, 0o1600)",
    "mq_open": "call(240, b'x', 0o102, 0o600, 0)",
    "msgget": "call(68, 0, 0o1600)",
    "keyctl": "call(250, 0, -3, 0)",
    "add_key": "call(248, b'user', b'x', b'x', 1, -3)",
    "open_by_handle_at": "call(304, 3, buffer, 0)",
    "name_to_handle_at": "call(303, -100, b'/', buffer, buffer, 0)",
    "pidfd_open": "call(434, 1, 0)",
    "pidfd_getfd": "call(438, 3, 0, 0)",
    "init_module": "call(175, buffer, 1, b'')",
    "kexec_load": "call(246, 0, 0, buffer, 0)",
    "reboot": "call(169, 0xfee1dead, 672274793, 0, 0)",
    "sethostname": "call(170, b'x', 1)",
    "settimeofday": "call(164, buffer, 0)",
    "swapon": "call(167, b'/tmp/x', 0)",
    "quotactl": "call(179, 0, 0, 0, buffer)",
    "syslog": "call(103, 3, buffer, 64)",
    "personality": "call(135, 0x40000)",
    "seccomp": "call(317, 0, 0, 0)",
    "capset": "call(126, buffer, buffer)",
    "setuid": "call(105, 0)",
    "prctl to be dumped": "call(157, 4, 1, 0, 0, 0)",
    "prctl to forget its parent": "call(157, 1, 0, 0, 0, 0)",
    "limits of another process": "call(302, 1, 7, 0, buffer)",
    "vmsplice": "call(278, 3, buffer, 1, 0)",
    "landlock": "call(444, 0, 0, 1)",
    "fanotify": "call(300, 0, 0)",
    "acct": "call(163, b'/tmp/x')",
    "the 32-bit numbers of x32": "call(0x40000000 + 39)",
}


CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(4096)
def call(number, *arguments):
    ctypes.set_errno(0)
    plain = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if libc.syscall(ctypes.c_long(number), *plain) >= 0:
        return "it worked"
    if ctypes.get_errno() not in (1, 38):
        return f"not by the filter: {os.strerror(ctypes.get_errno())}"
    raise OSError(ctypes.get_errno(), "blocked")
"""


x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")


@x86_64
@pytest.mark.parametrize("name", CALLS)
def test_system_calls(name: str, sandbox: Sandbox) -> None:
    blocked(sandbox, f"{CALL}\ndef attempt(): return {CALLS[name]}\n", "OSError")


@x86_64
def test_the_calls_of_another_architecture(sandbox: Sandbox) -> None:
    program = """
    import ctypes, mmap
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret: i386's getpid
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    def attempt(): return ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    """
    verdict = judged(sandbox, program, "attempt()")
    assert (verdict.outcome, verdict.detail) == ("crashed", "ended by SIGSYS")


def test_no_file_but_its_own_is_open(sandbox: Sandbox) -> None:
    program = """
    import os, stat
    def attempt():
        found = {}
        for fd in range(4096):
            try:
                found[fd] = stat.S_IFMT(os.fstat(fd).st_mode)
            except OSError:
                pass
        return found
    """
    device, end = 0o020000, 0o140000
    expected = {0: device, 1: device, 2: device, 3: end}
    verdict = judged(sandbox, program, f"assert attempt() == {expected}")
    assert verdict.passed, verdict


def test_a_program_runs_as_nobody_without_privileges(sandbox: Sandbox) -> None:
    program = """
    import ctypes, os
    def attempt():
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        return os.getresuid(), os.getresgid(), os.getpid(), os.getppid()
    """
    nobody = (65_534,) * 3
    verdict = judged(sandbox, program, f"assert attempt() == ({nobody}, {nobody}, 1, 0)")
    assert verdict.passed, verdict
