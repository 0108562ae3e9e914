"""Lists the files of a data set on the Hugging Face Hub that match a pattern.

``huggingface_hub`` lists them, so that ``HF_ENDPOINT`` (a mirror), ``HF_TOKEN`` and
``HF_HUB_OFFLINE`` apply. Imported when a URL of the Hub is listed.
"""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress

from codeling import hub
from codeling.corpus.sources.patterns import compile_pattern

HUB = "hf://datasets/"
ANSWER_SECONDS = 10
"""Time for the Hub to answer the first request."""


def list_hub(pattern: str) -> Iterator[tuple[str, str, int]]:
    """Yield the address, location and size in bytes of each file that matches ``pattern``.

    The address is ``hf://``; so is the location, unless ``HF_ENDPOINT`` names a mirror: daft reads
    files of the Hub itself with the user's token, and those of a mirror as any URL.

    Without a network it fails at once. ``huggingface_hub`` retries the requests for pages of a tree
    for 24 seconds, so a request that it does not retry is sent first.

    :raises UsageError: ``pattern`` is not an address of the Hub.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoFile

    repository, revision, path = hub.parse(pattern)
    prefix = f"{HUB}{repository}{f'@{revision}' if revision else ''}/"
    matching = compile_pattern(path or "**")
    fixed = re.split(r"[*?]", path or "*", maxsplit=1)[0].rpartition("/")[0]
    api = huggingface_hub.HfApi()
    with suppress(HfHubHTTPError):  # the Hub answered; the listing reports errors
        api.dataset_info(repository, revision=revision, timeout=ANSWER_SECONDS)
    tree = api.list_repo_tree(
        repository, fixed or None, recursive=True, revision=revision, repo_type="dataset"
    )
    for entry in tree:
        if isinstance(entry, RepoFile) and matching.fullmatch(entry.path):
            address = f"{prefix}{entry.path}"
            location = address
            if os.environ.get("HF_ENDPOINT"):
                location = huggingface_hub.hf_hub_url(
                    repository, entry.path, repo_type="dataset", revision=revision
                )
            yield address, location, entry.size


def how_to_copy(addresses: Sequence[str]) -> str:
    """Say how to get a local copy of the files at ``addresses``, and how a recipe names it."""
    commands, folders = [], []
    for address in addresses:
        repository, revision, path = hub.parse(address)
        folder = repository.rpartition("/")[2]
        words = ["hf", "download", repository, "--repo-type", "dataset"]
        words += ["--revision", revision] if revision else []
        words += ["--include", path] if path else []
        commands.append(f"`{shlex.join([*words, '--local-dir', folder])}`")
        folders.append(f'"{folder}"')
    return (
        f"where there is a network, run {' and '.join(commands)}; then set paths = "
        f"[{', '.join(folders)}] in the source"
    )
