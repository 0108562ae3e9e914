"""Extras: packages that only some commands need."""

from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec

from packaging.requirements import Requirement

from codeling.errors import UsageError


def require(extra: str, *modules: str) -> None:
    """:raises UsageError: one of ``modules`` is missing; names the extra that has it."""
    missing = next((name for name in modules if find_spec(name) is None), None)
    if missing is not None:
        raise UsageError(f"{missing} is not installed; pip install 'codeling[{extra}]'")


_DEVELOPMENT = frozenset({"bench", "dev"})
"""Extras for work on codeling itself."""


def missing_extras() -> dict[str, list[str]]:
    """Extras that are not installed, each with the packages that are missing."""
    found = distribution("codeling")
    requirements = [Requirement(each) for each in found.requires or ()]
    missing = {}
    for extra in sorted({*(found.metadata.get_all("Provides-Extra") or ())} - _DEVELOPMENT):
        packages = {each.name for each in requirements if _belongs(each, extra)}
        absent = sorted(name for name in packages if not _is_installed(name))
        if absent:
            missing[extra] = absent
    return missing


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether ``extra`` adds ``requirement`` on this machine."""
    marker = requirement.marker
    if marker is None or requirement.name == "codeling":
        return False
    return marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
