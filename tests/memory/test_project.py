"""The memory of a project equals that of its files, and follows their changes."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from codeling.errors import UsageError
from codeling.memory import project
from codeling.memory.chain_kernels import TRUST_SHAPE
from codeling.memory.project import LIMIT, ORDERS, ProjectMemory
from codeling.memory.project_files import FoundFile, list_files
from codeling.memory.source import Ids
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

from .brute_force import proposal

TRUST = np.full(TRUST_SHAPE, 0.5, np.float32)
FILES = {
    "near.py": "def area(radius):\n    return 3.14 * radius ** 2\n",
    "deep/far.py": "def area(width, height):\n    return width * height\n",
    "other.py": "print('hello')\n" * 3,
}


@pytest.fixture(scope="module")
def tokenizer(python_files: list[str]) -> Tokenizer:
    return train(python_files[2:4], TokenizerRecipe(vocab_size=300, seed=0))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def read(root: Path, tokenizer: Tokenizer, **options: object) -> ProjectMemory:
    memory = ProjectMemory(root, tokenizer, TRUST, **options)  # type: ignore[arg-type]
    memory.wait()
    return memory


def look_again(memory: ProjectMemory) -> None:
    """What a request does, more than a second after the last one."""
    memory._next_look = 0.0
    memory.refresh()
    memory.wait()
    memory.refresh()


def history(tokenizer: Tokenizer, text: str) -> Ids:
    return np.array([tokenizer.end_of_text, *tokenizer.encode(text)])


def proposed(memory: ProjectMemory, tokenizer: Tokenizer, text: str) -> dict[int, float]:
    found = memory.propose(history(tokenizer, text))
    assert found.probabilities.sum() + found.rest == pytest.approx(1, abs=1e-6)
    return dict(zip(found.ids.tolist(), found.probabilities.tolist(), strict=True))


def concatenated(tokenizer: Tokenizer, *texts: str) -> list[int]:
    return [i for text in texts for i in (tokenizer.end_of_text, *tokenizer.encode(text))]


def test_proposals_equal_a_search_by_brute_force(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write(tmp_path, FILES)
    memory = read(tmp_path, tokenizer, open_path=Path("new.py"), open_text="")
    assert memory.num_files == 3
    # The farthest file is read first: its positions count as the oldest.
    ids = concatenated(tokenizer, *(FILES[name] for name in ("deep/far.py", "other.py", "near.py")))
    for text in ("def area(", "    return 3.14 *", "print(", "zebra", ""):
        tokens = history(tokenizer, text).tolist()
        expected, _ = proposal(tokens, ids, ORDERS, LIMIT, TRUST)
        assert proposed(memory, tokenizer, text) == pytest.approx(expected, abs=1e-6)


def test_scores_are_the_proposals_at_each_position(tmp_path: Path, tokenizer: Tokenizer) -> None:
    memory = read(write(tmp_path, FILES), tokenizer)
    ids = history(tokenizer, "def area(radius):\n    return radius\n")
    scores = memory.score(ids)
    for number in range(len(ids) - 1):
        found = memory.propose(ids[: number + 1])
        assert scores.order[number] == found.order
        of_next = found.probabilities[found.ids == ids[number + 1]].sum()
        assert scores.probability[number] == pytest.approx(of_next, abs=1e-6)


def test_a_saved_file_replaces_its_earlier_version(tmp_path: Path, tokenizer: Tokenizer) -> None:
    memory = read(write(tmp_path, FILES), tokenizer)
    changed = FILES | {"near.py": "def area(side):\n    return side * side\n"}
    for text in ("x = 1\n", FILES["near.py"], changed["near.py"]):
        write(tmp_path, {"near.py": text})
        look_again(memory)
    (tmp_path / "other.py").unlink()
    look_again(memory)
    assert memory.num_files == 2
    expected = concatenated(tokenizer, changed["deep/far.py"], changed["near.py"])
    assert memory.num_tokens == len(expected)
    for text in ("def area(", "    return s", "print('"):
        tokens = history(tokenizer, text).tolist()
        wanted, _ = proposal(tokens, expected, ORDERS, LIMIT, TRUST)
        assert proposed(memory, tokenizer, text) == pytest.approx(wanted, abs=1e-6)


def test_requests_look_at_the_folder_once_in_a_while(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = read(write(tmp_path, FILES), tokenizer, open_path=Path("open.py"))
    now = time.monotonic()
    looks = []
    original = list_files

    def list_and_note(root: Path) -> list[FoundFile]:
        looks.append(now)
        return original(root)

    monkeypatch.setattr(project, "list_files", list_and_note)
    write(tmp_path, {"open.py": "x = 1\n", "new.py": "y = 2\n"})
    for seconds in (0.0, 0.5, 1.5, 1.6, 2.0, 10.0, 10.1):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
        memory.refresh()
        memory.wait()
    assert len(looks) == 2
    assert Path("new.py") in memory._files.spans
    assert Path("open.py") not in memory._files.spans
    shutil.rmtree(tmp_path)
    look_again(memory)
    assert memory.num_tokens == 0


def test_many_changed_files_are_taken_in_parts(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = read(write(tmp_path, FILES), tokenizer)
    monkeypatch.setattr(project, "_MAX_TAKEN", 30)
    write(tmp_path, {f"more_{n}.py": f"value_{n} = {n}\n" * 3 for n in range(6)})
    memory._next_look = 0.0
    memory.refresh()
    memory.wait()
    seen = [memory.num_files]
    while seen[-1] < 9:
        memory.refresh()
        seen.append(memory.num_files)
    assert len(seen) > 3


def test_removed_tokens_are_dropped_in_the_end(tmp_path: Path, tokenizer: Tokenizer) -> None:
    memory = read(write(tmp_path, FILES), tokenizer)
    before = proposed(memory, tokenizer, "def area(")
    long = "".join(f"def area_{n}(x):\n    return x + {n}\n" for n in range(300))
    for number in range(10):
        write(tmp_path, {"long.py": long + f"# {number}\n"})
        look_again(memory)
    (tmp_path / "long.py").unlink()
    look_again(memory)
    assert len(memory._files.chains) < 12_000
    assert proposed(memory, tokenizer, "def area(") == pytest.approx(before, abs=1e-6)


def test_places_name_file_and_line(tmp_path: Path, tokenizer: Tokenizer) -> None:
    memory = read(write(tmp_path, FILES), tokenizer)
    asked = history(tokenizer, "    return 3.14 *")
    following = memory.propose(asked)
    token = int(following.ids[following.probabilities.argmax()])
    path, place, line = memory.places(asked, token)[0]
    assert (path, line) == ("near.py", 2)
    assert memory._files.chains.ids[place] == token


def test_memory_is_bounded_and_keeps_the_nearest(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write(tmp_path, FILES)
    room = len(concatenated(tokenizer, FILES["near.py"])) + 5
    memory = read(
        tmp_path, tokenizer, open_path=Path("new.py"), open_text="import near\n", max_tokens=room
    )
    assert memory.num_tokens <= room
    asked = history(tokenizer, FILES["near.py"][:-10])
    assert memory.propose(asked).order >= 20  # the imported file was kept
    for number in range(3):  # the file that is saved stays, the others make room
        write(tmp_path, {"saved.py": FILES["near.py"].replace("area", "size")[: -number or None]})
        look_again(memory)
        assert memory.num_tokens <= room
        assert set(memory._files.spans) == {Path("saved.py")}
    write(tmp_path, {"big.py": "x = 1\n" * 1000})
    look_again(memory)
    assert memory.num_tokens == 0


def test_a_folder_that_is_missing_is_one_clear_line(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="no folder that can be read"):
        ProjectMemory(tmp_path / "missing", tokenizer, TRUST)


def test_nothing_is_written(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write(tmp_path, FILES)
    before = sorted(os.walk(tmp_path))
    look_again(read(tmp_path, tokenizer))
    assert sorted(os.walk(tmp_path)) == before


def test_the_name_of_a_special_token_in_a_file_is_text(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    write(tmp_path, {"odd.py": "x = '<|endoftext|><fim_prefix>'\n" * 3})
    memory = read(tmp_path, tokenizer)
    write(tmp_path, {"saved.py": "y = '<|endoftext|>'\n"})
    look_again(memory)
    assert memory._files.chains.ids.tolist().count(tokenizer.end_of_text) == 2
    assert not set(memory._files.chains.ids.tolist()) & (
        tokenizer.special_ids - {tokenizer.end_of_text}
    )
