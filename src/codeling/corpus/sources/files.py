"""Lists the Python files of the machine, with their repositories, licences and links.

Two sources: what is installed with the running interpreter (standard library and distributions),
and folders with the git checkouts below them. Reads names, sizes and metadata, never the files.
This module must not know daft or Parquet.

Formats: the installed project's ``RECORD`` and metadata (PyPA core metadata 2.4), package URLs
(purl specification), git's ``config``, ``HEAD`` and ``packed-refs``.
"""

import csv
import hashlib
import os
import platform
import re
import site
import stat
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from codeling.corpus.filters.subsample import is_sampled
from codeling.corpus.sources.licenses import (
    distribution_license,
    folder_license,
    metadata_field,
)
from codeling.corpus.sources.patterns import compile_pattern
from codeling.corpus.sources.storage import printable
from codeling.errors import UsageError
from codeling.recipe import CorpusRecipe, Folder, Installed

_EXCLUDED_FROM_STDLIB = {"site-packages", "dist-packages", "__pycache__"}
_EXCLUDED_FROM_FOLDER = {".git", "__pycache__", "site-packages", "node_modules"}


@dataclass(frozen=True)
class Repository:
    """One project at one version."""

    name: str
    """``torch==2.13.0``, ``cpython==3.11.7`` or ``owner/name``."""
    project: str
    """Name without the version; a split keeps a project together."""
    version: str
    """Version, or git commit, or empty."""
    license: str
    """SPDX expression where one is known, else the project's own short words, or ``unknown``."""
    link: str
    """Prefix of a public link to a file, or empty."""
    rank: int = 1
    """The lowest rank of equal files is kept; 0 for the standard library."""

    def url(self, path: str) -> str:
        """Return the link to a file, or empty; ``#L1-L9`` may follow unless it has a ``#``."""
        return self.link + quote(path) if self.link else ""


@dataclass(frozen=True)
class SourceFile:
    """One listed file."""

    repository: Repository
    path: str
    """POSIX, relative to the repository's root, as :func:`printable` returns it."""
    location: str
    """Path on this machine."""
    num_bytes: int
    mtime_ns: int
    drop_reason: str | None = None
    """Set where it is dropped unread: ``excluded``, ``too_large``, ``unreadable``,
    ``symlinked_folder``, ``not_drawn``."""
    split: str | None = None
    """``train``, ``validation`` or ``test`` where its source is in one split."""


def list_files(recipe: CorpusRecipe) -> list[SourceFile]:
    """List every Python file of the recipe's sources by rank, repository and path.

    A folder that is listed twice counts once. The second of two folders with the same repository
    name gets ``~2`` after its name; both stay one project for the split.

    :raises UsageError: a folder of the recipe does not exist.
    """
    excluded = [compile_pattern(pattern) for pattern in recipe.exclude]
    found: dict[tuple[int, str, str], SourceFile] = {}
    roots: dict[str, str] = {}
    for source in recipe.sources:
        if not isinstance(source, Installed | Folder):
            continue
        trees = _folder(source) if isinstance(source, Folder) else _installed()
        split = None if source.split == "repository" else source.split
        for repository, root, paths in trees:
            named = _with_unique_name(repository, os.path.realpath(root), roots)
            for path in paths:
                key = (named.rank, named.name, path)
                if key not in found:
                    file = replace(_stat(named, root, path, recipe, excluded), split=split)
                    if not is_sampled(recipe.seed, f"{named.name}/{file.path}", source.weight):
                        file = replace(file, drop_reason=file.drop_reason or "not_drawn")
                    found[key] = file
    return [found[key] for key in sorted(found)]


def fingerprint(files: Sequence[SourceFile]) -> str:
    """Return SHA-256 over a listing: names, links, sizes, modification times."""
    digest = hashlib.sha256()
    for file in files:
        repository = file.repository
        fields = (repository.name, repository.license, repository.link, file.path)
        line = "\0".join((*fields, str(file.num_bytes), str(file.mtime_ns)))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


_Tree = tuple[Repository, str, Sequence[str]]
"""A repository, its root on this machine, the paths of its Python files below the root."""


def _with_unique_name(repository: Repository, root: str, roots: dict[str, str]) -> Repository:
    name, number = repository.name, 1
    while roots.setdefault(name, root) != root:
        number += 1
        name = f"{repository.name}~{number}"
    return replace(repository, name=name)


def _stat(
    repository: Repository,
    root: str,
    path: str,
    recipe: CorpusRecipe,
    excluded: Sequence[re.Pattern[str]],
) -> SourceFile:
    location = os.path.join(root, path)  # noqa: PTH118 - faster by far over many thousands
    reason, num_bytes, mtime_ns = None, 0, 0
    try:
        status = os.stat(location)  # noqa: PTH116
    except OSError:
        reason = "unreadable"
    else:
        num_bytes, mtime_ns = status.st_size, status.st_mtime_ns
        if stat.S_ISDIR(status.st_mode):
            reason, num_bytes = "symlinked_folder", 0
        elif not stat.S_ISREG(status.st_mode):
            reason = "unreadable"
        elif num_bytes > 2 * recipe.max_bytes:
            reason = "too_large"
    if any(pattern.fullmatch(path) for pattern in excluded):
        reason = "excluded"
    return SourceFile(repository, printable(path), location, num_bytes, mtime_ns, reason)


def _installed() -> Iterator[_Tree]:
    """The standard library, then each distribution of the environment once."""
    yield _standard_library()
    seen = set()
    for distribution in metadata.distributions(path=_site_folders()):
        try:
            name = metadata_field(distribution.metadata, "Name")
        except UnicodeDecodeError:  # broken metadata, which pip cannot read either
            continue
        normalised = re.sub(r"[-_.]+", "-", name).lower()
        if not normalised or normalised in seen:
            continue
        seen.add(normalised)
        paths = _recorded_python(distribution)
        if paths:
            version = metadata_field(distribution.metadata, "Version")
            repository = Repository(
                name=f"{normalised}=={version}",
                project=normalised,
                version=version,
                license=distribution_license(distribution),
                link=f"pkg:pypi/{normalised}@{quote(version, safe='')}#",
            )
            yield repository, str(distribution.locate_file("")), paths


def _standard_library() -> _Tree:
    root = sysconfig.get_path("stdlib")
    name, version = sys.implementation.name, platform.python_version().rstrip("+")
    link = f"https://github.com/python/cpython/blob/v{version}/Lib/" if name == "cpython" else ""
    paths: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in _EXCLUDED_FROM_STDLIB]
        inner = "" if folder == root else os.path.relpath(folder, root) + "/"
        # _sysconfigdata_*: written by the build of this interpreter, about this machine.
        paths += [
            inner + file
            for file in files
            if file.endswith(".py") and not file.startswith("_sysconfigdata")
        ]
    return Repository(f"{name}=={version}", name, version, "PSF-2.0", link, rank=0), root, paths


def _site_folders() -> list[str]:
    """The environment's site directories, in the order of import."""
    known = [*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    if site.ENABLE_USER_SITE:
        known.append(site.getusersitepackages())
    allowed = {os.path.realpath(folder) for folder in known}
    folders = {os.path.realpath(folder): None for folder in sys.path if folder}
    return [folder for folder in folders if folder in allowed]


def _recorded_python(distribution: metadata.Distribution) -> list[str]:
    """The ``.py`` files that a distribution recorded within its site directory."""
    record = distribution.read_text("RECORD")
    if record is not None:
        names = [row[0] for row in csv.reader(record.splitlines()) if row]
    else:
        names = [file.as_posix() for file in distribution.files or []]
    paths = (PurePosixPath(name) for name in names if name.endswith(".py"))
    return [path.as_posix() for path in paths if not path.is_absolute() and ".." not in path.parts]


def _folder(source: Folder) -> Iterator[_Tree]:
    """A folder as one repository, and every git checkout below it as another."""
    if not source.path.is_dir():
        raise UsageError(f"corpus source {source.path}: no such folder")
    top = source.path.resolve()
    paths: dict[str, list[str]] = {}
    root_of: dict[str, str] = {}
    for folder, folders, files in os.walk(top):
        here = Path(folder)
        is_root = folder == str(top) or ".git" in folders or ".git" in files
        root = folder if is_root else root_of[str(here.parent)]
        root_of[folder] = root
        links = [f for f in folders if (here / f).is_symlink()]
        folders[:] = sorted(f for f in folders if f not in links and _is_own_code(here / f))
        inner = "" if is_root else here.relative_to(root).as_posix() + "/"
        python = [f for f in files if f.endswith(".py")]
        paths.setdefault(root, []).extend(inner + name for name in [*python, *links])
    for root, names in paths.items():
        if names:
            yield _repository_of(Path(root)), root, names


def _is_own_code(folder: Path) -> bool:
    """Whether a folder holds a project's own code rather than an environment or git's data."""
    return folder.name not in _EXCLUDED_FROM_FOLDER and not (folder / "pyvenv.cfg").exists()


def _repository_of(root: Path) -> Repository:
    remote, commit = _git_origin(root)
    parts = urlsplit(remote)
    name = parts.path.strip("/") or printable(root.name)
    link = ""
    if parts.hostname and commit:
        middle = "-/blob" if "gitlab" in parts.hostname else "blob"
        link = f"https://{parts.hostname}{parts.path}/{middle}/{commit}/"
    return Repository(name or "folder", name, commit, folder_license(root), link)


def _git_origin(root: Path) -> tuple[str, str]:
    """The checkout's remote as ``https://host/owner/name`` and its commit; empty if unknown.

    User names and passwords are left out.
    """
    git = root / ".git"
    if git.is_file():
        pointer = _read_start(git).removeprefix("gitdir:").strip()
        git = root / pointer
    common = git / _read_start(git / "commondir").strip() if (git / "commondir").is_file() else git
    match = re.search(
        r'^\[remote "origin"\][^\[]*?^\s*url\s*=\s*(\S+)',
        _read_start(common / "config"),
        re.MULTILINE,
    )
    address = match[1] if match else ""
    scp = re.fullmatch(r"(?:[^@/]+@)?([\w.-]+):(?!//)(.+)", address)
    parts = urlsplit(f"ssh://{scp[1]}/{scp[2]}" if scp else address)
    path = parts.path.strip("/").removesuffix(".git")
    remote = f"https://{parts.hostname}/{path}" if parts.hostname and path else ""
    return remote, _git_commit(git, common)


def _git_commit(git: Path, common: Path) -> str:
    head = _read_start(git / "HEAD").strip()
    if head.startswith("ref:"):
        name = head.removeprefix("ref:").strip()
        packed = re.search(
            rf"^([0-9a-f]{{40,64}}) {re.escape(name)}$",
            _read_start(common / "packed-refs"),
            re.MULTILINE,
        )
        head = _read_start(common / name).strip() or (packed[1] if packed else "")
    return head if re.fullmatch(r"[0-9a-f]{40,64}", head) else ""


def _read_start(path: Path) -> str:
    """The start of a small file, empty where it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except (OSError, ValueError):
        return ""
