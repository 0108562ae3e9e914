"""Completing and tracing need no POSIX-only module."""

import subprocess
import sys
from pathlib import Path

from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.provenance.index import build
from codeling.tokenizer.tokenizer import Tokenizer

SCRIPT = """
import sys
from pathlib import Path

POSIX = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}


class Hide:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in POSIX:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


for name in POSIX:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hide)

import codeling
from codeling.provenance.index import Index

print(codeling.load(sys.argv[1]).complete("def f", max_new_tokens=2, max_repeats=0).finish_reason)
print(Index.load(Path(sys.argv[1])).trace("x = 1"), sorted(POSIX & sys.modules.keys()))
"""


def test_a_model_completes_and_an_index_traces_without_posix_modules(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = GPT2(GPT2Config(tokenizer.vocab_size, 16, n_layer=1, n_head=1, n_embd=8))
    model.initialize(0)
    weights.save(tmp_path, model, end_of_text_id=tokenizer.end_of_text)
    tokenizer.save_for_hugging_face(tmp_path, 16)
    build([], tmp_path)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    reason, traced = answer.stdout.splitlines()
    assert reason in ("length", "end_of_text")
    assert traced == "[] []"
