from pathlib import Path

from codeling.evaluation.data.datafiles import Text
from codeling.evaluation.next_line import exact_matches, line_places
from codeling.generation.engine import Engine
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer

CODE = '''"""A module.

x = 1, in a string
"""
import os

# a comment
def f(value):
    return (
        value
    )


class Empty:SPACES
    pass
'''.replace("SPACES", "  ")


def file(text: str, path: str = "a.py") -> Text:
    return Text("project", path, text, 1)


def test_places_are_lines_of_code() -> None:
    found = {place.start_line: place.text for place in line_places([file(CODE)], 100, 0)}
    assert found == {
        5: "import os", 8: "def f(value):", 9: "    return (", 10: "        value",
        14: "class Empty:", 15: "    pass",
    }  # fmt: skip
    for place in line_places([file(CODE)], 100, 0):
        assert CODE.startswith(place.prompt)
        assert place.prompt.count("\n") == place.start_line - 1


def test_the_choice_depends_on_the_seed_alone() -> None:
    files = [file(CODE, f"{n}.py") for n in range(9)]
    some = line_places(files, 10, 0)
    assert len(some) == 10
    assert some == line_places(files[::-1], 10, 0) != line_places(files, 10, 1)
    assert line_places([file("def (:\n")], 10, 0) == []


def test_a_line_matches_if_the_engine_writes_it(tokenizer: Tokenizer, tmp_path: Path) -> None:
    network = GPT2(GPT2Config(tokenizer.vocab_size, 64, 1, 2, 16))
    network.initialize(0)
    engine = Engine.from_model(network.eval(), tokenizer)
    places = line_places([file(CODE)], 100, 0)
    written = [
        engine.complete(place.prompt, max_new_tokens=64, stop=("\n",)).text for place in places
    ]
    assert exact_matches(engine, places) == [False] * 6
    right = [
        type(place)(place.repository, place.path, place.start_line, place.prompt, text.rstrip())
        for place, text in zip(places, written, strict=True)
    ]
    assert exact_matches(engine, right) == [True] * 6
