import errno
import os
from pathlib import Path

import pytest

from codeling import errors
from codeling.errors import CodelingError, CorpusError, StorageError, UsageError, storage_errors

TREE = {
    "CodelingError": ("Exception", 1),
    "UsageError": ("CodelingError", 2),
    "RecipeError": ("UsageError", 2),
    "InputError": ("CodelingError", 1),
    "CorpusError": ("InputError", 1),
    "TokenizerError": ("InputError", 1),
    "ModelError": ("InputError", 1),
    "StorageError": ("CodelingError", 1),
    "BusyError": ("CodelingError", 1),
    "SandboxError": ("CodelingError", 1),
    "TrainingError": ("CodelingError", 1),
    "StoppedError": ("CodelingError", 130),
}


def test_the_error_tree_is_that_of_the_docstring() -> None:
    found = {
        name: (value.__bases__[0].__name__, value.exit_code)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, CodelingError)
    }
    assert found == TREE
    assert all(name in (errors.__doc__ or "") for name in TREE)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left on the disk; free some"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "no permission to write there"),
        (errno.EROFS, "read-only"),
        (errno.ENOTDIR, "a file exists where a folder is needed"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EIO, "input/output error"),
    ],
)
def test_a_system_error_is_one_line(number: int, words: str) -> None:
    with pytest.raises(StorageError, match=words) as caught, storage_errors(Path("there")):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith("there: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match=r"^elsewhere: "), storage_errors(Path("there")):
        raise OSError(number, os.strerror(number), "elsewhere")


def test_the_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    inner = file / "evaluation" / "x.partial"
    with pytest.raises(StorageError) as caught, storage_errors(inner):
        inner.parent.mkdir(parents=True)
    assert str(caught.value).startswith(f"{file}: a file exists where a folder is needed")


def test_a_full_disk_is_recognised_by_its_text() -> None:
    with pytest.raises(StorageError, match="no space left on the disk"), storage_errors(Path("x")):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    "error", [ValueError("mine"), CorpusError("ours"), UsageError("theirs"), KeyError("x")]
)
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, storage_errors(Path("x")):
        raise error
    assert caught.value is error


def test_real_system_errors_are_storage_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "inner", tmp_path / ("n" * 300)):
        with pytest.raises(StorageError), storage_errors(path):
            path.mkdir()
