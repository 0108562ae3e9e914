"""Programs that want out of the sandbox, or to harm the machine: none succeeds.

Each program below is an attempt; its ``attempt()`` raises what it meets, or returns what it got.
Afterwards the machine is looked at from outside: canaries, listeners, processes, the next job.

Covered: files and secrets outside, memory of other processes, every kind of socket, processes,
signals, memory, disk, output, devices, namespaces and mounts, system calls that have been a way
out of other sandboxes, those of another architecture, and what is left behind.

Not covered: faults of the kernel itself in a call that is allowed (about 150 are); side channels
such as Spectre, timing, or the load that a program puts on the machine while it runs; what a
hostile package among ``packages`` does while it is imported, before privileges are dropped; the
bound on memory of a sandbox as a whole where no cgroup may be made (each process has its own).
"""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeling.evaluation.sandbox import Job, Limits, Sandbox, Verdict

SECONDS = 1.0
"""Within this everything that a program has left must be gone."""


def judged(sandbox: Sandbox, program: str, check: str, name: str = "attempt") -> Verdict:
    [verdict] = sandbox.judge([Job(name, textwrap.dedent(program), textwrap.dedent(check))])
    return verdict


def blocked(sandbox: Sandbox, program: str, error: str) -> None:
    """``attempt()`` ends in ``error``, one of Python's exceptions."""
    check = f"""
    try:
        got = attempt()
    except ({error}):
        got = 'blocked'
    assert got == 'blocked', got
    """
    verdict = judged(sandbox, program, check)
    assert verdict.passed, verdict


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


def test_it_is_nobody_without_privileges(sandbox: Sandbox) -> None:
    program = """
    import ctypes, os
    def attempt():
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        return os.getresuid(), os.getresgid(), os.getpid(), os.getppid()
    """
    nobody = (65_534,) * 3
    verdict = judged(sandbox, program, f"assert attempt() == ({nobody}, {nobody}, 1, 0)")
    assert verdict.passed, verdict


MEMORY = {
    "10 GB at once": "x = bytes(10**10)",
    "10 GB in pieces": "x = []\nwhile True: x.append(bytes(10**7))",
    "a mapping": "import mmap\nx = mmap.mmap(-1, 10**10)",
    "a shared mapping": "import mmap\nx = mmap.mmap(-1, 10**10, mmap.MAP_SHARED)",
    "a file mapped": """
import mmap
with open('/tmp/x', 'wb') as f:
    f.truncate(10**10)
""",
    "text": "x = 'a' * 10**10",
    "small objects": "x = []\nwhile True: x.extend(range(1000, 100000))",
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory(name: str, sandbox: Sandbox) -> None:
    program = f"def attempt():\n{textwrap.indent(MEMORY[name], '    ')}\n"
    before = _free_memory()
    verdict = judged(sandbox, program, "attempt()")
    assert verdict.outcome in ("out_of_memory", "failed", "timeout"), verdict
    assert _free_memory() > before - (2 << 30)


def _free_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no MemAvailable")


def test_threads_are_counted() -> None:
    program = """
    import threading
    def attempt():
        started, event = 0, threading.Event()
        threading.stack_size(65_536)
        try:
            while started < 5_000:
                threading.Thread(target=event.wait, daemon=True).start()
                started += 1
        except RuntimeError:
            pass
        event.set()
        return started
    """
    for number in (8, 32):
        with Sandbox(workers=1, limits=Limits(processes=number, wall_seconds=20)) as sandbox:
            verdict = judged(sandbox, program, f"assert attempt() == {number - 1}, attempt()")
        assert verdict.passed, verdict


def test_a_disk_that_is_filled(sandbox: Sandbox) -> None:
    program = """
    import os
    def attempt():
        written = 0
        for number in range(10_000):
            try:
                with open(f"/tmp/{number}", "wb") as file:
                    for _ in range(100):
                        written += file.write(bytes(1 << 16))
                        file.flush()
            except OSError as error:
                reason = error.errno
                if reason == 28: break
        return written, reason
    """
    # One file ends at file_bytes (EFBIG), all together at tmp_bytes (ENOSPC).
    check = """
    written, reason = attempt()
    assert 7 << 20 < written <= 9 << 20, written
    assert reason == 28, reason
    """
    verdict = judged(sandbox, program, check)
    assert verdict.passed, verdict


def test_many_small_files(sandbox: Sandbox) -> None:
    program = """
    def attempt():
        for number in range(1_000_000):
            open(f"/tmp/{number}", "w").close()
    """
    blocked(sandbox, program, "OSError")


@pytest.mark.parametrize(
    "write", ["print('x' * 10**6)", "os.write(1, b'x' * 10**6)", "sys.stderr.write('x' * 10**6)"]
)
def test_a_gigabyte_of_output_goes_nowhere(write: str, sandbox: Sandbox) -> None:
    program = f"import os, sys\ndef attempt():\n    for _ in range(1_000): {write}\n    return 1"
    verdict = judged(sandbox, program, "assert attempt() == 1")
    assert verdict.outcome in ("passed", "timeout"), verdict


def test_a_gigabyte_as_an_answer_is_refused(sandbox: Sandbox) -> None:
    for answer in ("bytes(5 * 10**8)", "['x' * 10**6] * 500", "{'x': 'x' * 10**8}"):
        verdict = judged(sandbox, f"def attempt(): return {answer}", "attempt()")
        assert verdict.outcome in ("refused", "out_of_memory", "timeout"), verdict


def test_what_is_left_in_tmp_is_gone_for_the_next(sandbox: Sandbox, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    program = f"""
    import os
    os.symlink({str(canary)!r}, "/tmp/link")
    os.symlink("/", "/tmp/root")
    open("/tmp/left", "w").write("x")
    def attempt():
        try:
            open("/tmp/link", "w").write("changed")
        except OSError:
            return sorted(os.listdir("/tmp"))
    """
    before = set(Path("/tmp").iterdir())
    for _ in range(3):  # on either of the two sandboxes
        verdict = judged(sandbox, program, "assert attempt() == ['left', 'link', 'root']")
        assert verdict.passed, verdict
    new = {path.name for path in set(Path("/tmp").iterdir()) - before}
    assert not {"left", "link", "root"} & new
    assert canary.read_text() == "secret"


STUBBORN = """
import os, signal, threading, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
def forever():
    while True: time.sleep(0.01)
for _ in range(5):
    threading.Thread(target=forever).start()
def attempt(): return 1
"""


def _inside(sandbox: Sandbox) -> set[int]:
    """The processes in the sandboxes, besides the first of each."""
    numbers = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    parents = {pid: int(stat[1]) for pid in numbers if (stat := _stat(pid))}
    outer = {worker.pid for worker in sandbox.running}
    first = {pid for pid, parent in parents.items() if parent in outer}
    found: set[int] = set()
    level = first
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found |= level
    return found


def _gone(pids: set[int]) -> bool:
    """No such process, or a dead one whose new parent has not asked for its exit code yet."""
    states = (_stat(pid)[:1] for pid in pids)
    return all(state in ([], ["Z"], ["X"]) for state in states)


def _stat(pid: int) -> list[str]:
    """State, parent, … of a process; nothing when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@pytest.mark.parametrize(
    "check", ["assert attempt() == 1", "assert attempt() == 2", "while True: attempt()"]
)
def test_after_a_verdict_nothing_is_left(check: str) -> None:
    limits = Limits(cpu_seconds=1, wall_seconds=8)
    with Sandbox(workers=1, limits=limits) as sandbox:
        judged(sandbox, STUBBORN, check)
        deadline = time.monotonic() + SECONDS
        while _inside(sandbox) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _inside(sandbox) == set()
        assert judged(sandbox, "def f(): return 1", "assert f() == 1").passed


@pytest.mark.parametrize("program", [STUBBORN + "forever()", "import os\nos.kill(1, 19)\ninput()"])
def test_a_program_that_does_not_end_is_ended(program: str) -> None:
    with Sandbox(workers=1, limits=Limits(wall_seconds=1)) as sandbox:
        start = time.monotonic()
        verdict = judged(sandbox, program + "\nimport time\ntime.sleep(60)", "pass")
        assert verdict.outcome in ("timeout", "failed"), verdict
        assert time.monotonic() - start < 8
        assert _inside(sandbox) == set()


def test_leaving_ends_everything() -> None:
    with Sandbox(workers=2, limits=Limits(wall_seconds=60)) as sandbox:
        jobs = sandbox.judge(
            [Job(str(i), STUBBORN, "import time\ntime.sleep(60)") for i in range(2)]
        )
        threading.Thread(target=lambda: list(jobs), daemon=True).start()
        deadline = time.monotonic() + 20
        while len(pids := _inside(sandbox)) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pids |= {worker.pid for worker in sandbox.running}
    deadline = time.monotonic() + SECONDS
    while not _gone(pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _gone(pids)


def test_a_killed_parent_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from codeling.evaluation.sandbox import Job, Limits, Sandbox\n"
        f"program = {STUBBORN!r}\n"
        "with Sandbox(workers=1, limits=Limits(wall_seconds=60)) as sandbox:\n"
        "    print(*(worker.pid for worker in sandbox.running), flush=True)\n"
        "    list(sandbox.judge([Job('x', program, 'import time\\ntime.sleep(60)')]))\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        outer = {int(pid) for pid in parent.stdout.readline().split()}
    time.sleep(0.5)
    pids = outer | {
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if _descends(int(folder.name), outer)
    }
    assert len(pids) >= 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + SECONDS
    while not _gone(pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _gone(pids)


def _descends(pid: int, ancestors: set[int]) -> bool:
    while pid > 1 and pid not in ancestors:
        stat = _stat(pid)
        pid = int(stat[1]) if stat else 0
    return pid in ancestors
