"""The bubblewrap command line, and the files of this machine that are visible in the sandbox.

Visible, all read-only: the running interpreter with its standard library, the system's shared
libraries, the requested packages with their requirements, and the modules of ``inside``. There is
no ``/proc``, no ``/sys``, no home, no network device and no environment.

This module starts nothing. It must not know jobs or verdicts.
"""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from codeling.errors import SandboxError
from codeling.evaluation.sandbox import drop_root, inside

USER = 65_534
"""User id inside the sandbox, and outside too if root starts it. Root's files stay readable in a
user namespace, and the kernel exempts root from the limit on processes."""

INSTALL = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap)"
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_PACKAGES = "/packages"
_OURS = "/ours"
_NAMESPACES = ("user", "pid", "net", "ipc", "uts")
_DEVICES = ("null", "zero", "full", "random", "urandom")
# One thread: a program that multiplies small matrices must not start a thread for each core.
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",  # else each thread reserves 64 MiB of the address space
}


def bubblewrap() -> str:
    """The path of ``bwrap``.

    :raises SandboxError: this machine cannot run a sandbox; says what to install.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxError("the sandbox needs Linux; run the evaluation in a Linux machine")
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError(f"generated code is run only in bubblewrap: {INSTALL}")
    return found


def explain(message: str) -> str:
    """Bubblewrap's ``message``, with what to change on this system, in one line."""
    for path, off, advice in (
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ):
        try:
            value = Path(path).read_text().strip()
        except OSError:
            continue
        if value == off:
            return f"{message}; this system forbids user namespaces: {advice}"
    return (
        f"{message}; allow user namespaces (in a container: by its seccomp profile and its mask "
        "of /proc)"
    )


def command(packages: Sequence[str], control: int, info: int) -> list[str]:
    """The command line that starts the sandbox.

    ``control`` and ``info`` are inherited file descriptors: the socket of the first process
    inside, and the pipe to which bubblewrap writes that process's id.

    :raises SandboxError: bubblewrap or a package is missing.
    """
    arguments = [bubblewrap(), *(f"--unshare-{name}" for name in _NAMESPACES)]
    arguments += ["--unshare-cgroup-try", "--uid", str(USER), "--gid", str(USER)]
    arguments += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--as-pid-1"]
    arguments += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--clearenv"]
    arguments += ["--info-fd", str(info), "--dir", "/tmp"]  # noqa: S108
    for name, value in _ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    for name in _DEVICES:
        arguments += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    as_root = os.geteuid() == 0
    sources: list[str] = []
    for source, target in (*_system(), *_package_files(packages), *_own_modules()):
        if source.is_symlink() and source == target:
            arguments += ["--symlink", str(source.readlink()), str(target)]
            continue
        shown = drop_root.PLACE / str(len(sources)) if as_root else source
        sources.append(str(source))
        arguments += ["--ro-bind", str(shown), str(target)]
    arguments += ["--remount-ro", "/", "--chdir", "/", "--", str(_interpreter())]
    arguments += ["-s", "-S", "-B", "-c", _start(control)]
    if not as_root:
        return arguments
    task = json.dumps({"sources": sources, "command": arguments, "user": USER})
    return [sys.executable, "-m", drop_root.__name__, task]


def _start(control: int) -> str:
    return (
        "import sys\n"
        f"sys.path = [p for p in sys.path if p] + ['{_PACKAGES}', '{_OURS}']\n"
        f"from {inside.__name__}.zygote import main\n"
        f"main({control})\n"
    )


def _interpreter() -> Path:
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def _system() -> Iterator[tuple[Path, Path]]:
    """The interpreter and the system's libraries, at the same paths inside."""
    prefix = Path(sys.base_prefix).resolve()
    wanted = [Path(f"/{top}{lib}") for top in ("", "usr/") for lib in ("lib", "lib64")]
    wanted += [Path("/usr/local/lib"), Path("/usr/share/zoneinfo"), Path("/etc/ld.so.cache")]
    wanted += [_interpreter()]
    wanted.append(Path(sysconfig.get_path("stdlib")).resolve())
    # Its compiled modules may be in lib64 while the rest is in lib.
    wanted.append(Path(sys.base_exec_prefix, sys.platlibdir, f"python{_VERSION}").resolve())
    if prefix not in (Path("/usr"), Path("/usr/local")):
        wanted += [prefix / "lib", prefix / "lib64"]
    if _interpreter().is_relative_to("/nix/store"):
        wanted.append(Path("/nix/store"))
    bound: list[Path] = []
    for path in wanted:
        if path.exists() and not any(path.is_relative_to(other) for other in bound):
            if not path.is_symlink():
                bound.append(path)
            yield path, path


def _own_modules() -> Iterator[tuple[Path, Path]]:
    """``inside`` under its own name, without the rest of this package."""
    folder = Path(inside.__file__).parent
    yield folder, Path(_OURS, *inside.__name__.split("."))


def _package_files(packages: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """The files of the packages and their requirements, each top-level name once."""
    for name in sorted(_with_requirements(packages)):
        distribution = importlib.metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        for top in sorted(tops - {"__pycache__"}):
            source = Path(str(distribution.locate_file(top)))
            if source.exists():
                yield source.resolve(), Path(_PACKAGES, top)


def _with_requirements(packages: Sequence[str]) -> set[str]:
    """The distributions of ``packages`` and of their requirements on this machine."""
    found: set[str] = set()
    wanted = list(packages)
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        try:
            requirements = importlib.metadata.distribution(name).requires or []
        except importlib.metadata.PackageNotFoundError:
            if name in packages:
                raise SandboxError(f"these problems need {name}: pip install {name}") from None
            continue  # for another system or another Python
        found.add(name)
        wanted += [
            match[0]
            for text in requirements
            if "extra ==" not in text and (match := re.match(r"[\w.-]+", text))
        ]
    return found
