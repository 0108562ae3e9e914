"""Token files of text that every machine has: the standard library of this interpreter."""

import sysconfig
from pathlib import Path

from codeling.dataset.tokens import TokenFile, write_tokens
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train


def write_library(folder: Path) -> tuple[Tokenizer, TokenFile]:
    """A tokenizer with 8,192 entries, and the ids of the files in order of their paths."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = [
        file.read_text(encoding="utf-8", errors="replace")
        for file in sorted(root.rglob("*.py"))
        if not {"site-packages", "test", "tests"} & set(file.parts)
    ]
    tokenizer = train(texts, TokenizerRecipe(vocab_size=8192))
    return tokenizer, write_tokens(texts, tokenizer, folder / "train.bin")
