"""Downloads from the Hugging Face Hub: ``hf://owner/name[@revision][/path]`` to a local folder.

``huggingface_hub`` keeps the files in its cache, so each revision is downloaded once. It is
imported on the first download.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from codeling.errors import InputError, UsageError, first_line_of

SCHEME = "hf://"
RepoType = Literal["model", "dataset"]

_ADDRESS = re.compile(r"hf://(?:datasets/)?([\w.-]+/[\w.-]+)(?:@([\w./-]+?))?(?:/([^@]+))?")


class HubAddress(NamedTuple):
    """The parts of an ``hf://`` address."""

    repository: str
    """``owner/name``."""
    revision: str | None
    path: str | None
    """A file or folder inside the repository."""


def parse(address: str) -> HubAddress:
    """Split ``address`` into its parts. :raises UsageError: it is not an ``hf://`` address."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UsageError(f"{address}: write it as hf://owner/name or hf://owner/name/file.jsonl")
    return HubAddress(*match.groups())


def download(address: str, patterns: Sequence[str], *, repo_type: RepoType) -> Path:
    """Download the files that match ``patterns`` and return their folder.

    Where the address names a path, that file or folder is downloaded and returned instead.

    :raises UsageError: ``address`` is not an ``hf://`` address.
    :raises InputError: the download failed.
    """
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    repository, revision, path = parse(address)
    wanted = [path, f"{path}/*"] if path else list(patterns)
    try:
        folder = huggingface_hub.snapshot_download(
            repository, repo_type=repo_type, revision=revision, allow_patterns=wanted
        )
    except HFValidationError as error:
        raise UsageError(f"{address}: {first_line_of(error)}") from error
    except Exception as error:  # the network, the Hub and the cache each have their own types
        raise InputError(f"{address}: cannot be downloaded ({first_line_of(error)})") from error
    return Path(folder) / path if path else Path(folder)
