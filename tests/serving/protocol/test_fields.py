import pytest

from codeling.serving.protocol import fields
from codeling.serving.protocol.openai import OpenAICompletion
from codeling.serving.protocol.query import Prompt, RequestError


@pytest.mark.parametrize(
    "body, message",
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": "\\ud800"}', "the body has a lone surrogate"),
        (b'{"a": "\\ud800"', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "recursion limit"),
        (b"[1]", "must be a JSON object, not an array"),
        (b"null", "must be a JSON object, not null"),
        (b"3", "must be a JSON object, not a int"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        fields.parse_json(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "key, value",
    [
        ("temperature", 1e308),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", -0.1),
        ("temperature", "1"),
        ("temperature", True),
        ("n", 10**9),
        ("n", 0),
        ("n", 1.5),
        ("max_tokens", -1),
        ("max_tokens", 10**30),
        ("top_p", 1.1),
        ("seed", 10**40),
        ("stop", ["x"] * 1000),
        ("stop", ["x" * 5000]),
        ("stop", [1]),
        ("logprobs", 10**6),
        ("prompt", None),
        ("prompt", [[]] * 1000),
        ("prompt", [-1]),
        ("prompt", {"a": 1}),
        ("prompt", ["a", 1]),
        ("suffix", 1),
        ("stream", "yes"),
        ("user", "u" * 1000),
    ],
)
def test_a_value_out_of_range_or_of_a_wrong_type_is_named(key: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"^{key}") as caught:
        fields.read(OpenAICompletion, {"prompt": "x", key: value})
    assert caught.value.status == 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body, message",
    [
        ({"prompt": 5}, "prompt: Input should be a valid string or a valid list"),
        ({"prompt": [-1]}, "prompt.0: Input should be greater than or equal to 0"),
        ({"prompt": ["a", 1]}, "prompt.1: Input should be a valid string or a valid list"),
        ({"prompt": [["a"]]}, "prompt.0.0: Input should be a valid integer"),
        ({"prompt": "x", "logprobs": 99}, "logprobs: Input should be less than or equal to 20"),
        ({"prompt": "x", "stop": [1]}, "stop.0: Input should be a valid string"),
        (
            {"prompt": "x", "stream_options": {"include_usage": 1}},
            "stream_options.include_usage: I",
        ),
        ({}, "prompt: Field required"),
    ],
)
def test_an_error_names_the_place_in_the_body_and_every_type_that_fits(
    body: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError) as caught:
        fields.read(OpenAICompletion, body)
    assert str(caught.value).startswith(message)


def test_unknown_keys_are_ignored() -> None:
    assert fields.read(OpenAICompletion, {"prompt": "x", "samplers": [["deep"]]}).prompt == "x"


@pytest.mark.parametrize(
    "text, prompt",
    [
        ("<fim_prefix>a<fim_suffix>b<fim_middle>", Prompt("a", "b")),
        ("<|endoftext|><fim_prefix>a\n<fim_suffix>\nb<fim_middle>", Prompt("a\n", "\nb")),
        ("<fim_prefix><fim_suffix><fim_middle>", Prompt("", "")),
        ("<fim_prefix>a<fim_suffix>b<fim_middle>c", None),
        ("print('<fim_prefix>')", None),
        ("", None),
    ],
)
def test_infilling_tokens_mark_prefix_and_suffix(text: str, prompt: Prompt | None) -> None:
    assert fields.split_markers(text) == (prompt or Prompt(text))


def test_values_that_mean_not_set() -> None:
    assert [fields.some(value) for value in (None, -1, 0, 40)] == [None, None, None, 40]
    assert [fields.seed_of(value) for value in (None, -1, 0)] == [None, None, 0]
    assert [fields.milliseconds(value) for value in (None, -1, 0, 250)] == [None, None, None, 0.25]
    assert fields.stop_strings(None) == ()
    assert fields.stop_strings("a") == ("a",)
    assert fields.stop_strings(["a", "", "b", "a"]) == ("a", "b")
    nucleus = fields.nucleus(0.0)
    assert nucleus is not None
    assert 0 < nucleus < 1e-6
