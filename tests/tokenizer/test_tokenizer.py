import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from codeling.errors import StorageError, TokenizerError
from codeling.tokenizer.pretokenizer import PYTHON_EXPRESSION, pre_tokenizer_of
from codeling.tokenizer.tokenizer import END_OF_TEXT, SPECIAL_TOKENS, Tokenizer

ODD = " \t\n\r\f\v\x00\x85\u00a0\u2028aB1_=<|>(\u00e9e\u0301\u4e2d\U0001f600\u200d\ufffd"
TEXT = st.one_of(st.text(), st.text(alphabet=ODD))
with_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@with_fixture
@given(text=TEXT)
@example(text="")
@example(text="\r\n\t\x00 \U0001f469\u200d\U0001f4bb e\u0301<|endoftext|>")
def test_decoding_inverts_encoding(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.encode_batch([text, text]) == [ids, ids]


def test_real_files_survive_a_round_trip(tokenizer: Tokenizer, python_files: list[str]) -> None:
    together = tokenizer.encode_batch(python_files)
    for text, ids in zip(python_files, together, strict=True):
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == text


@with_fixture
@given(before=TEXT, token=st.sampled_from(SPECIAL_TOKENS), after=TEXT)
def test_the_text_of_a_special_token_is_text(
    tokenizer: Tokenizer, before: str, token: str, after: str
) -> None:
    ids = tokenizer.encode(before + token + after)
    assert not tokenizer.special_ids & set(ids)
    assert tokenizer.decode(ids) == before + token + after
    (batched,) = tokenizer.encode_batch([before + token + after])
    assert batched == ids


def test_special_tokens_in_text_stay_text_after_saving_and_loading(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path)
    text = "x".join(SPECIAL_TOKENS)
    assert loaded.encode(text) == tokenizer.encode(text)
    assert not loaded.special_ids & set(loaded.encode(text))
    assert loaded.special_ids == {loaded.special_id(token) for token in SPECIAL_TOKENS}
    assert len(loaded.special_ids) == 5
    assert loaded.to_json() == tokenizer.to_json()


def test_special_tokens_decode_to_nothing(tokenizer: Tokenizer) -> None:
    t = tokenizer
    ids = [t.fim_prefix, *t.encode("a"), t.fim_suffix, t.fim_middle, t.padding, t.end_of_text]
    assert t.decode(ids) == "a"


@with_fixture
@given(data=st.binary(max_size=20))
def test_any_bytes_decode_and_invalid_ones_are_replaced(tokenizer: Tokenizer, data: bytes) -> None:
    of_byte = {entry: i for i, entry in enumerate(tokenizer.token_bytes) if len(entry) == 1}
    ids = [of_byte[bytes([byte])] for byte in data]
    assert tokenizer.decode_bytes(ids) == data
    assert tokenizer.decode(ids) == data.decode(errors="replace")


BYTES = st.one_of(st.binary(), TEXT.map(str.encode), st.lists(st.sampled_from(
    [b"x = 1\n", b"\xff", b"\xc3", b"\xa9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf",
     b"\x80 \xe4", "é中\U0001f600".encode(), b"\r\n\t\x00",
     *(token.encode() for token in SPECIAL_TOKENS)]
)).map(b"".join))  # fmt: skip


@with_fixture
@given(data=BYTES)
@example(data=b"")
@example(data=bytes(range(256)))
@example(data="é".encode()[:1] + b"    x" + "中".encode()[1:] + b"\xef\xbb\xbf")
def test_every_byte_string_survives_a_round_trip(tokenizer: Tokenizer, data: bytes) -> None:
    ids = tokenizer.encode_bytes(data)
    assert tokenizer.decode_bytes(ids) == data
    assert not tokenizer.special_ids & set(ids)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        assert tokenizer.decode(ids) == data.decode(errors="replace")
    else:
        assert ids == tokenizer.encode(text)


def test_a_byte_without_an_entry_is_named() -> None:
    entries = [END_OF_TEXT, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    entries.remove("\u0142")  # represents 0xa0
    core = tokenizers.Tokenizer(models.BPE({entry: i for i, entry in enumerate(entries)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.add_special_tokens([END_OF_TEXT])
    with pytest.raises(TokenizerError, match="no entry for the byte 0xa0"):
        Tokenizer(core).encode_bytes(b"x\xa0")


ODDITIES = {
    "tabs and blanks": "if x:\n\ty\n        z\n \t w\n\t  \tv\n",
    "CRLF": "import os\r\n\r\n\r\ndef f():\r\n    pass\r\n",
    "lone CR": "a = 1\rb = 2\r\rif a:\r    b\r",
    "form feeds": "\f\nclass A:\n\f\n    \f x = 1\n\x0b\n",
    "NUL": "x = '\x00'\n\x00\x00    \x00\n",
    "BOM": "\ufeff# coding: utf-8\n\ufeff",
    "no end": "    return",
    "blanks alone": "   \n\t\n \n",
    "emoji": "👩\u200d💻 = '🇩🇪🏳\ufe0f\u200d🌈'  # \U0001f9d1\U0001f3fd\n",
    "combining": "cafe\u0301 = 'e\u0301\u0302' + n\u0303\n",
    "scripts": "переменная = '变量'\nµ, ªº, ﬁ, ℌ = 1, ٢, 𝟛, ①\n",
    "separators": "a\u2028b\u2029c\x85d\u00a0e\u3000f\x1cg\u200bh\u2060i\n",
    "long line": "x = '" + "ab\\x00é, " * 20_000 + "'\n",
    "long word": "x" * 200_000,
    "long blanks": " " * 300_000 + "x",
    "escapes": "'\\N{' \\\n  f'{x!r:>{w}}' rb'\\xff' ''' \\\\ \"\"\"",
    "soft keywords": "match x:\n    case _: type X = int; print(y := 0xFF_00 or 1_0.e-5j)\n",
}


@pytest.mark.parametrize("name", ODDITIES)
def test_oddities_survive_a_round_trip(tokenizer: Tokenizer, name: str) -> None:
    text = ODDITIES[name]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.encode_bytes(text.encode()) == ids
    for encoding in ("utf-16", "cp1252", "shift_jis"):
        data = text[:5_000].encode(encoding, errors="ignore")
        assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


@with_fixture
@given(texts=st.lists(TEXT, max_size=5))
def test_ids_of_a_document_do_not_depend_on_the_batch(
    tokenizer: Tokenizer, texts: list[str]
) -> None:
    alone = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts) == alone
    assert tokenizer.encode_batch(texts[::-1]) == alone[::-1]
    together = [i for ids in alone for i in ids]
    assert tokenizer.decode(together) == "".join(texts)


@with_fixture
@given(text=TEXT)
def test_decode_equals_that_of_tokenizers(tokenizer: Tokenizer, text: str) -> None:
    core = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    ids = tokenizer.encode(text)
    assert core.decode(ids) == tokenizer.decode(ids)


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    tokenizer.save_for_hugging_face(path, context_length=128)
    return path


def test_tokenizers_and_transformers_give_our_ids_from_the_folder(
    tokenizer: Tokenizer, folder: Path, python_files: list[str]
) -> None:
    core = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    hugging_face = transformers.AutoTokenizer.from_pretrained(folder)
    for text in ["", " ", "é\r\n\t\x00\U0001f600", " \u00a0x", *python_files[:8]]:
        ids = tokenizer.encode(text)
        assert core.encode(text).ids == ids
        assert hugging_face(text, verbose=False)["input_ids"] == ids
        assert hugging_face.decode(ids) == text
    assert hugging_face.eos_token_id == hugging_face.bos_token_id == tokenizer.end_of_text
    assert hugging_face.pad_token_id == tokenizer.padding != tokenizer.end_of_text
    assert hugging_face.model_max_length == 128
    assert len(hugging_face) == tokenizer.vocab_size
    for token in SPECIAL_TOKENS:
        assert hugging_face.convert_tokens_to_ids(token) == tokenizer.special_id(token)
    # In transformers the text of a special token is the token, unlike in our package.
    assert hugging_face(END_OF_TEXT)["input_ids"] == [tokenizer.end_of_text]


def test_the_digest_covers_everything_that_decides_the_ids(tokenizer: Tokenizer) -> None:
    values = json.loads(tokenizer.to_json())
    digest = tokenizer.digest
    reformatted = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(values)))
    assert reformatted.digest == digest
    assert tokenizer.has_digest(digest)
    assert tokenizer.has_digest(None)
    first_version = tokenizer._vocabulary_digest
    assert re.fullmatch("[0-9a-f]{64}", first_version)

    def changed(change: Callable[[dict[str, Any]], object]) -> Tokenizer:
        copy = json.loads(json.dumps(values))
        change(copy)
        return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(copy)))

    rules = pre_tokenizer_of(PYTHON_EXPRESSION)
    others = [
        changed(lambda v: v["model"]["merges"].reverse()),
        changed(lambda v: v["model"]["merges"].pop(0)),
        changed(lambda v: v.update(normalizer={"type": "Lowercase"})),
        changed(lambda v: v.update(pre_tokenizer=json.loads(rules.__getstate__()))),
        changed(lambda v: v["model"].update(ignore_merges=True)),
    ]
    for other in others:
        assert not other.has_digest(digest)
        assert other.has_digest(first_version), "a folder of the first version is accepted"


def test_saving_twice_gives_the_same_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tokenizer.save_for_hugging_face(tmp_path / name, context_length=64)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["tokenizer.json", "tokenizer_config.json"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def without_end_of_text(values: dict[str, Any]) -> None:
    values["added_tokens"] = [t for t in values["added_tokens"] if t["content"] != END_OF_TEXT]
    values["model"]["vocab"].pop(END_OF_TEXT)


@pytest.mark.parametrize(
    "damage, message",
    [
        (Path.unlink, "cannot be read (No such file"),
        (lambda p: p.write_bytes(b""), "not a tokenizer.json ("),
        (lambda p: p.write_bytes(b"{}"), "not a tokenizer.json ("),
        (lambda p: p.write_bytes(b"\xff\x00\xfe"), "not a tokenizer.json ("),
        (lambda p: p.write_bytes(p.read_bytes()[:-2000]), "not a tokenizer.json ("),
        (lambda p: (p.unlink(), (p / "tokenizer.json").mkdir(parents=True)), "(Is a directory"),
        (lambda p: changed(p, without_end_of_text), "has no <|endoftext|> token"),
    ],
)
def test_a_broken_file_is_one_line(
    tokenizer: Tokenizer, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    Tokenizer.load(path)
    damage(path)
    for given_path in (path, tmp_path):
        with pytest.raises(TokenizerError) as caught:
            Tokenizer.load(given_path)
        assert message in str(caught.value)
        assert "tokenizer.json" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"nowhere.*cannot be read"):
        Tokenizer.load(tmp_path / "nowhere")


def test_a_tokenizer_that_is_not_byte_level_is_refused(tmp_path: Path) -> None:
    core = tokenizers.Tokenizer(models.WordLevel({"中": 0, "x": 1, "?": 2}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.add_special_tokens([END_OF_TEXT])
    core.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError) as caught:
        Tokenizer.load(tmp_path)
    assert "not a byte-level tokenizer" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_infilling_tokens_refuses_only_infilling(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    def change(values: dict[str, Any]) -> None:
        del values["added_tokens"][1:]
        for token in SPECIAL_TOKENS[1:]:
            values["model"]["vocab"][token.replace("_", "")] = values["model"]["vocab"].pop(token)

    tokenizer.save(tmp_path / "tokenizer.json")
    changed(tmp_path / "tokenizer.json", change)
    plain = Tokenizer.load(tmp_path)
    assert plain.encode("import os") == tokenizer.encode("import os")
    assert plain.special_ids == {tokenizer.end_of_text}
    for name in ("fim_prefix", "fim_middle", "fim_suffix"):
        with pytest.raises(TokenizerError, match=f"no <{name}> token: it cannot fill"):
            getattr(plain, name)


def test_added_tokens_that_are_not_special_match_their_text(tokenizer: Tokenizer) -> None:
    core = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    core.add_tokens(["    \n\t é"])
    grown, text = Tokenizer(core), "x = 1    \n\t ézz"
    assert grown.encode(text) == [*grown.encode("x = 1"), 512, *grown.encode("zz")]
    assert grown.decode(grown.encode(text)) == text
    assert 512 not in grown.special_ids


def test_truncation_and_padding_of_other_programs_are_ignored(tokenizer: Tokenizer) -> None:
    core = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    core.enable_truncation(3)
    core.enable_padding(length=8)
    text = "import os, sys\n"
    assert Tokenizer(core).encode(text) == tokenizer.encode(text)
    assert Tokenizer(core).encode_batch([text]) == [tokenizer.encode(text)]


def test_a_folder_that_cannot_be_written_is_a_storage_error(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file exists where a folder is needed"):
        tokenizer.save_for_hugging_face(tmp_path / "file", 64)
