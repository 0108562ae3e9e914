"""Cached weights are those of a fresh conversion, whatever happens to the files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from codeling.generation.runners import weight_cache
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import Weights
from codeling.model import weights as model_weights
from codeling.model.config import GPT2Config
from codeling.model.folder import read_config, read_tensors
from codeling.model.gpt2 import GPT2

CONFIG = GPT2Config(vocab_size=70, context_length=24, n_layer=2, n_head=2, n_embd=32)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODELING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weight_cache, "MIN_BYTES", 0)
    return tmp_path / "cache" / "weights"


def write(folder: Path, seed: int = 0) -> Path:
    network = GPT2(CONFIG)
    network.initialize(seed)
    model_weights.save(folder, network, end_of_text_id=0)
    return folder


def arrays(weights: Weights) -> list[np.ndarray]:
    matrices = [weights.embedding, *weights.layers]
    return [weights.positions, weights.norms, *(array for each in matrices for array in each)]


def load(folder: Path) -> list[np.ndarray]:
    return arrays(weight_cache.load_int8(folder, read_config(folder)))


def converted(folder: Path) -> list[np.ndarray]:
    config = read_config(folder)
    return arrays(convert(config, read_tensors(folder, config), int8=True))


def assert_equal(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    assert len(first) == len(second)
    for left, right in zip(first, second, strict=True):
        assert left.dtype == right.dtype
        assert np.array_equal(left, right)


def test_the_second_load_reads_the_file_of_the_first(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "model")
    assert_equal(load(folder), converted(folder))
    assert len(list(cache.iterdir())) == 1
    expected = converted(folder)
    monkeypatch.delattr(weight_cache, "convert")
    again = load(folder)
    assert_equal(again, expected)
    assert all(each.flags.aligned for each in again)


def test_other_weights_have_another_file(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "model")
    load(folder)
    write(folder, seed=1)
    assert_equal(load(folder), converted(folder))
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("place", [0, 4, 20, 200, -1])
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_file_is_written_again(
    tmp_path: Path, cache: Path, place: int, cut: bool
) -> None:
    folder = write(tmp_path / "model")
    expected = load(folder)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 0xFF
    path.write_bytes(whole[:place] if cut else damaged)
    assert_equal(load(folder), expected)
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_left_out(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "model")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CODELING_CACHE", str(tmp_path / "file"))
    assert_equal(load(folder), converted(folder))


def test_the_files_used_last_are_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_cache, "MAX_BYTES", 0)
    for seed in range(3):
        load(write(tmp_path / "model", seed))
        assert len(list(cache.iterdir())) == 1


def test_loads_at_the_same_time_agree(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "model")
    expected = converted(folder)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(load, [folder] * 8):
            assert_equal(found, expected)
    assert len(list(cache.iterdir())) == 1
