"""Every Python file of the running interpreter: standard library and installed packages."""

import sysconfig
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest
import transformers

from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.encoders import fastokens_encoder, find_difference
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

pytestmark = [pytest.mark.proof, pytest.mark.timeout(7200)]

NUM_FILES = 10_000


def paths() -> list[Path]:
    """Every Python file once, installed packages first."""
    names = sysconfig.get_paths()
    folders = dict.fromkeys(Path(names[key]) for key in ("purelib", "platlib", "stdlib"))
    found = (path for folder in folders for path in sorted(folder.rglob("*.py")))
    return [path for path in dict.fromkeys(found) if path.is_file()]


def batches(texts: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(texts, 200)):
        yield batch


def decoded(files: Sequence[Path]) -> Iterator[str]:
    for path in files:
        yield path.read_bytes().decode("utf-8", errors="replace")


@pytest.fixture(scope="module")
def learned() -> Tokenizer:
    texts = decoded(paths()[::10])
    return train(texts, TokenizerRecipe(vocab_size=4096, max_training_bytes=10_000_000))


def test_three_libraries_give_the_same_ids_for_ten_thousand_files(
    learned: Tokenizer, tmp_path: Path
) -> None:
    learned.save_for_hugging_face(tmp_path, 256)
    hugging_face = transformers.AutoTokenizer.from_pretrained(tmp_path)
    encoder = fastokens_encoder(learned)
    assert encoder is not None
    files = paths()[:NUM_FILES]
    assert len(files) > 1_000, "too few files are installed to say anything"
    for batch in batches(decoded(files)):
        encoded = encoder.encode(batch)
        assert find_difference(encoded, batch, range(len(batch)), learned) is None
        theirs = hugging_face(batch, split_special_tokens=True, verbose=False)["input_ids"]
        assert [encoded.text_ids(number).tolist() for number in range(len(batch))] == theirs
    print(f"{len(files):,} files")  # noqa: T201


def test_every_file_survives_a_round_trip_as_bytes(learned: Tokenizer) -> None:
    for path in paths():
        data = path.read_bytes()
        assert learned.decode_bytes(learned.encode_bytes(data)) == data, path
