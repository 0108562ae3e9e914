"""Model folders as Hugging Face transformers reads them: weights, tokenizer and model card.

:func:`write_model_folder` writes every model folder of a run, :func:`write_hub_folder` the folder
for the Hub, and :func:`push` uploads it.
"""

from pathlib import Path

import numpy as np

from codeling.errors import InputError, StorageError, UsageError, first_line_of, storage_errors
from codeling.export.export_source import ExportSource, check, new_folder
from codeling.export.model_card import hub_card
from codeling.manifest import write_bytes
from codeling.model import weights
from codeling.model.folder import CONFIG, WEIGHTS, read_config, read_tensors
from codeling.model.gpt2 import GPT2
from codeling.run_folder import find_run_folder
from codeling.tokenizer.tokenizer import Tokenizer


def write_model_folder(
    folder: Path,
    network: GPT2,
    tokenizer: Tokenizer,
    card: str,
    fim_spm_rate: float | None = None,
) -> list[Path]:
    """Write a model folder and return its files. ``card`` becomes its README.md.

    Weights that are there are removed first, and new ones written last: no folder ever has the
    weights of one model and the tokenizer of another.

    :raises StorageError: a file cannot be written.
    """
    with storage_errors(folder):
        (folder / WEIGHTS).unlink(missing_ok=True)
    tokenizer.save_for_hugging_face(folder, network.config.context_length)
    write_bytes(folder / "README.md", card.encode())
    weights.save(
        folder,
        network,
        end_of_text_id=tokenizer.end_of_text,
        pad_id=tokenizer.padding,
        suppressed_ids=sorted(tokenizer.special_ids - {tokenizer.end_of_text}),
        tokenizer_digest=tokenizer.digest,
        fim_spm_rate=fim_spm_rate if tokenizer.can_infill else None,
    )
    return [path for path in folder.iterdir() if path.is_file()]


def write_hub_folder(source: ExportSource, path: Path) -> list[Path]:
    """Write the folder ``path``, ready for the Hub, and return its files.

    The card of a run has its data, its scores with intervals and its limits; a foreign folder keeps
    its own.

    :raises UsageError: ``path`` exists.
    :raises InputError: a file of the run that the card needs is damaged.
    :raises ModelError: what was written differs when read back.
    :raises StorageError: the folder cannot be written.
    """
    run = find_run_folder(source.folder)
    card = hub_card(source.folder, run.path if run else None)
    with new_folder(path) as partial:
        write_model_folder(partial, source.network, source.tokenizer, card, source.fim_spm_rate)
        _read_back(partial, source, path)
    return sorted(each for each in path.iterdir() if each.is_file())


def exported_files(source: ExportSource, path: Path) -> list[Path] | None:
    """The files of a folder that :func:`write_hub_folder` wrote from ``source``; None of another.

    The model card may have been edited since.
    """
    if not (path / CONFIG).is_file():
        return None
    try:
        _read_back(path, source, path)
    except InputError:
        return None
    return sorted(each for each in path.iterdir() if each.is_file())


def _read_back(folder: Path, source: ExportSource, name: Path) -> None:
    """:raises InputError: ``folder`` does not hold the model ``source``; ``name`` is its name."""
    check(read_config(folder) == source.config, f"{name}: the configuration")
    check(Tokenizer.load(folder).digest == source.tokenizer.digest, f"{name}: the tokenizer")
    tensors = read_tensors(folder, source.config)
    for key, tensor in source.tensors.items():
        check(np.array_equal(tensors[key], tensor), f"{name}: {key}")


def check_repository(repository: str) -> None:
    """:raises UsageError: ``repository`` is not the name of a repository on the Hub."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    if "/" not in repository:
        raise UsageError(f"--push {repository}: write it as OWNER/NAME")
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UsageError(f"--push {repository}: {first_line_of(error)}") from error


def push(folder: Path, repository: str, *, private: bool = True) -> str:
    """Upload ``folder`` to ``repository`` (``owner/name``) on the Hub; returns its address.

    A new repository is private unless told otherwise. The token is that of ``hf auth login`` or
    of ``HF_TOKEN``.

    :raises UsageError: ``repository`` is no name of a repository, or there is no token for it.
    :raises StorageError: the upload failed; ``folder`` stays as it is.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    check_repository(repository)
    api = HfApi(library_name="codeling")
    try:
        url = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=url.repo_id, folder_path=folder, commit_message="Upload the model with codeling"
        )
    except LocalTokenNotFoundError as error:
        raise UsageError(f"--push {repository}: {first_line_of(error)}") from error
    except HfHubHTTPError as error:
        denied = error.response is not None and error.response.status_code in (401, 403)
        kind = UsageError if denied else StorageError
        hint = "; log in with `hf auth login`" if denied else ""
        raise kind(f"--push {repository}: {first_line_of(error)}{hint}") from error
    except Exception as error:  # the network has its own types
        raise StorageError(f"--push {repository}: {first_line_of(error)}") from error
    return str(url)
