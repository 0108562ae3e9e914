import errno
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from torch import Tensor

from codeling.dataset.loader import Position
from codeling.errors import StorageError
from codeling.manifest import sha256_file, write_json
from codeling.training.checkpoint import state
from codeling.training.checkpoint.state import Plan, TrainingState
from codeling.training.planning.pace import Pace
from codeling.training.schedule import Schedule

FILES = ("manifest.json", "model.safetensors", "optimizer.safetensors", "state.json")


def tensors(step: int, numbers: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {
        "h.0.weight": torch.randn(numbers, 3, generator=generator),
        "narrow": torch.randn(5, generator=generator).bfloat16(),
        "adamw/step": torch.tensor(float(step)),
        "odd": torch.tensor([float("nan"), float("inf"), -0.0, 1e-42]),
    }


def state_at(step: int, numbers: int = 7) -> TrainingState:
    return TrainingState(
        identity="abc",
        step=step,
        seconds=1.5 * step,
        position=Position(epoch=1, chunk=step, offset=3, last_id=99),
        plan=Plan(Schedule(120, 100, 40, 45.5), 64, 2, 1.25e11),
        pace=Pace(3, 0.1 + 0.2, 1.5, 0.25, 0.125),
        model=tensors(step, numbers),
        optimizer=tensors(step + 1, numbers),
    )


def same_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    views = (t.reshape(-1).view(torch.uint8) for t in (one, other))
    return torch.equal(*views)


def same(one: TrainingState, other: TrainingState) -> bool:
    for mine, theirs in ((one.model, other.model), (one.optimizer, other.optimizer)):
        if mine.keys() != theirs.keys():
            return False
        if not all(same_bits(mine[name], theirs[name]) for name in mine):
            return False
    return replace(one, model={}, optimizer={}) == replace(other, model={}, optimizer={})


def test_a_saved_state_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    path = state.save(tmp_path / "checkpoints", state_at(5), keep_last=2)
    assert path.name == "step-00000005"
    assert sorted(file.name for file in path.iterdir()) == list(FILES)
    assert state.find_damage(path) is None
    assert same(state.load(path), state_at(5))
    assert not same(state.load(path), state_at(6))


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (state.save(tmp_path / name, state_at(5), 1) for name in "ab")
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_state_without_an_optimizer_yet(tmp_path: Path) -> None:
    fresh = replace(state_at(0), optimizer={})
    path = state.save(tmp_path, fresh, 1)
    assert state.find_damage(path) is None
    assert same(state.load(path), fresh)


@pytest.mark.parametrize("keep_last", [1, 2, 3, 10])
def test_the_newest_are_kept(tmp_path: Path, keep_last: int) -> None:
    for step in (1, 2, 9, 10, 100):
        state.save(tmp_path, state_at(step), keep_last)
    kept = [1, 2, 9, 10, 100][-keep_last:]
    assert [path.name for path in state.checkpoints(tmp_path)] == [
        state.folder_name(step) for step in kept
    ]
    assert len(list(tmp_path.iterdir())) == len(kept)
    newest, complaints = state.newest_intact(tmp_path)
    assert newest == tmp_path / state.folder_name(100)
    assert complaints == []


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    state.save(tmp_path, state_at(5), 2)
    path = state.save(tmp_path, replace(state_at(5), seconds=99.0), 2)
    assert state.load(path).seconds == 99.0
    assert list(tmp_path.iterdir()) == [path]


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte flipped": flipped,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": Path.unlink,
    "a folder": made_a_folder,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_damage_is_detected_and_skipped(tmp_path: Path, name: str, damage: str) -> None:
    for step in (1, 2):
        state.save(tmp_path, state_at(step), 2)
    older, newer = state.checkpoints(tmp_path)
    DAMAGE[damage](newer / name)
    found = state.find_damage(newer)
    assert found is not None
    assert name in found
    newest, complaints = state.newest_intact(tmp_path)
    assert newest == older
    (line,) = complaints
    assert "step-00000002 is damaged" in line
    assert "\n" not in line
    assert same(state.load(older), state_at(1))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_and_a_cut_anywhere_is_noticed(tmp_path: Path, name: str) -> None:
    path = state.save(tmp_path, state_at(2), 2)
    whole = (path / name).read_bytes()
    generator = random.Random(name)
    places = range(len(whole)) if name == "manifest.json" else generator.sample(
        range(len(whole)), 40
    )  # fmt: skip
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << generator.randrange(8)
        (path / name).write_bytes(data)
        assert state.find_damage(path) is not None, place
        (path / name).write_bytes(whole[:place])
        assert state.find_damage(path) is not None, place
    (path / name).write_bytes(whole)
    assert state.find_damage(path) is None


def test_a_checkpoint_of_another_version_is_skipped_with_a_message(tmp_path: Path) -> None:
    path = state.save(tmp_path, state_at(2), 2)
    values = json.loads((path / "state.json").read_bytes())
    write_json(path / "state.json", values | {"format": 1})
    names = [name for name in FILES if name != "manifest.json"]
    write_json(path / "manifest.json", {name: sha256_file(path / name) for name in names})
    newest, (line,) = state.newest_intact(tmp_path)
    assert newest is None
    assert "format is 1" in line


def test_checkpoints_of_keep_every_stay(tmp_path: Path) -> None:
    for step in range(0, 35, 5):
        state.save(tmp_path, state_at(step), keep_last=2, keep_every=10)
    found = [path.name for path in state.checkpoints(tmp_path)]
    assert found == [state.folder_name(step) for step in (0, 10, 20, 25, 30)]
    # The run continues from 10: later checkpoints are obsolete.
    state.save(tmp_path, state_at(12), keep_last=1, keep_every=10)
    found = [path.name for path in state.checkpoints(tmp_path)]
    assert found == [state.folder_name(step) for step in (0, 10, 12)]


def test_the_number_of_skipped_steps_is_kept(tmp_path: Path) -> None:
    path = state.save(tmp_path, replace(state_at(3), num_skipped=2), 1)
    assert state.load(path).num_skipped == 2


@pytest.mark.parametrize("text", ["[]", "null", "{}", "7", '{"model.safetensors": 1}'])
def test_an_invalid_manifest_is_damage(tmp_path: Path, text: str) -> None:
    path = state.save(tmp_path, state_at(1), 1)
    (path / "manifest.json").write_text(text)
    assert state.find_damage(path) is not None


def test_no_checkpoint_is_found_if_all_are_damaged(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        flipped(state.save(tmp_path, state_at(step), 5) / "model.safetensors")
    newest, complaints = state.newest_intact(tmp_path)
    assert newest is None
    assert len(complaints) == 3
    assert state.newest_intact(tmp_path / "nowhere") == (None, [])


@pytest.mark.parametrize("keep_last", [1, 2])
def test_a_damaged_newer_checkpoint_does_not_replace_an_intact_one(
    tmp_path: Path, keep_last: int
) -> None:
    for step in (10, 20, 30):
        state.save(tmp_path, state_at(step), 3)
    for step in (20, 30):
        flipped(tmp_path / state.folder_name(step) / "model.safetensors")
    # The run continues from 10 and saves before it reaches the damaged ones.
    path = state.save(tmp_path, state_at(15), keep_last)
    assert state.newest_intact(tmp_path) == (path, [])
    names = [state.folder_name(step) for step in (10, 15)[-keep_last:]]
    assert [path.name for path in state.checkpoints(tmp_path)] == names


def test_remains_of_a_killed_save_are_ignored_and_removed(tmp_path: Path) -> None:
    whole = state.save(tmp_path, state_at(1), 2)
    for name in ("step-00000002.partial", "step-00000001.old.partial", "step-00000007.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    assert state.checkpoints(tmp_path) == [whole]
    assert state.newest_intact(tmp_path) == (whole, [])
    second = state.save(tmp_path, state_at(2), 2)
    assert sorted(tmp_path.iterdir()) == [whole, second]
    assert same(state.load(second), state_at(2))


def refused_by_the_system(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def refused_in_rust(*_: Any, **__: Any) -> None:
    raise safetensors.SafetensorError(
        'Error while serializing: I/O error: Os { code: 28, kind: StorageFull, message: "No space '
        'left on device" }'
    )


@pytest.mark.parametrize("refusal", [refused_by_the_system, refused_in_rust])
@pytest.mark.parametrize("place", ["safetensors.torch.save_file", "codeling.manifest.os.fsync"])
def test_a_full_disk_is_one_line_and_the_earlier_one_stays(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Callable[..., None],
    place: str,
) -> None:
    whole = state.save(tmp_path, state_at(1), 1)
    with monkeypatch.context() as patch:
        patch.setattr(place, refusal)
        with pytest.raises(StorageError, match="no space left on the disk") as caught:
            state.save(tmp_path, state_at(2), 1)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [whole]
    assert same(state.load(whole), state_at(1))
    state.save(tmp_path, state_at(2), 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    whole = state.save(small_disk, state_at(1), 1)
    for numbers in (12_000, 40_000):  # full at the optimizer, or at the model
        with pytest.raises(StorageError, match="no space left on the disk"):
            state.save(small_disk, state_at(2, numbers), 1)
        assert list(small_disk.iterdir()) == [whole]
    assert same(state.load(whole), state_at(1))


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(StorageError, match="a file exists where a folder is needed"):
        state.save(tmp_path / "checkpoints", state_at(1), 1)


def test_kills_while_saving_leave_only_complete_checkpoints(
    tmp_path: Path, kill_while_saving: Callable[..., int]
) -> None:
    assert kill_while_saving(tmp_path, kills=12, seed=0) > 0
