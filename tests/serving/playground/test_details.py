from typing import Any

import pytest

PLACES = [
    ("def f(x):\n    retur", "\n\nf(1)\n"),
    ("class A:\n    def g(self):\n        ", ""),
    ("print(", ")\n"),
    ("é🐍 = 'ü", ""),
    ("na", "me"),
]


def ask(client: Any, prefix: str, suffix: str, **more: Any) -> Any:
    body = {"prefix": prefix, "suffix": suffix, "max_tokens": 16, **more}
    return client.post("/playground/complete", json=body).json()["choices"]


@pytest.mark.parametrize("prefix, suffix", PLACES)
def test_the_text_is_that_of_the_other_dialects(playground: Any, prefix: str, suffix: str) -> None:
    body = {"input_prefix": prefix, "input_suffix": suffix, "n_predict": 16}
    expected = playground.post("/infill", json=body).json()["content"]
    assert ask(playground, prefix, suffix)[0]["text"] == expected
    settings = {"temperature": 1.5, "seed": 3, "n": 3}
    several = ask(playground, prefix, suffix, **settings)
    body |= {"n_cmpl": 3, "temperature": 1.5, "seed": 3}
    others = playground.post("/infill", json=body).json()
    assert [each["text"] for each in several] == [each["content"] for each in others]


def test_the_texts_of_the_tokens_add_up_to_the_suggestion(playground: Any) -> None:
    num_tokens = 0
    for prefix, suffix in PLACES:
        for choice in ask(playground, prefix, suffix, n=8, temperature=1.0):
            tokens = choice["tokens"]
            if choice["proposer"] != "model":
                assert tokens == []
                continue
            assert "".join(token["text"] for token in tokens) == choice["text"]
            num_tokens += len(tokens)
            for token in tokens:
                assert 0 <= token["probability"] <= 1
                assert sum(token["shares"].values()) == pytest.approx(1, abs=1e-3)
                assert len(token["top"]) == 5
                assert [p for _, p in token["top"]] == sorted((p for _, p in token["top"]))[::-1]
    assert num_tokens > 20


def test_a_word_of_the_file_is_named_as_such(client: Any) -> None:
    text = "particular_name = 1\n" * 3
    found = [ask(client, f"{text}{'partic'[:n]}", "")[0] for n in range(2, 7)]
    words = [each for each in found if each["proposer"] == "words"]
    assert words
    assert all("particular_name".endswith(each["text"]) and not each["tokens"] for each in words)


def test_mistakes_are_one_line(playground: Any) -> None:
    answer = playground.post("/playground/complete", json={"prefix": 1})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("prefix: ")
