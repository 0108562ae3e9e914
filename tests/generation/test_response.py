import json

from codeling.generation.request import Completion
from codeling.generation.response import CompletionResponse


def test_the_json_answer_is_one_line_with_every_field() -> None:
    completion = Completion("return 'é'\n", (7, 8), "block")
    line = CompletionResponse("runs/demo", "def f():\n    ", None, [completion]).to_json()
    assert "\n" not in line
    assert json.loads(line) == {
        "model": "runs/demo",
        "prompt": "def f():\n    ",
        "suffix": None,
        "completions": [
            {"text": "return 'é'\n", "ids": [7, 8], "finish_reason": "block", "sources": []}
        ],
    }
