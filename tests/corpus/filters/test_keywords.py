import ast
import sysconfig
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus.filters import keywords, rules
from codeling.recipe import CorpusRecipe

WORDS = ("pandas", "sklearn", "matplotlib", "seaborn")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pandas\n", True),
        ("import pandas as pd\n", True),
        ("import os, pandas.io.json\n", True),
        ("from sklearn.linear_model import Ridge\n", True),
        ("from sklearn import (\n    svm,\n)\n", True),
        ("from matplotlib import *\n", True),
        ("import \\\n  seaborn\n", True),
        ("x = 1; import pandas\n", True),
        ("try:\n    import pandas\nexcept ImportError:\n    pandas = None\n", True),
        ("def f():\n    from pandas import Series\n    return Series()\n", True),
        ("def f(:\n    return )\nimport pandas\n", True),
        ("print 'old'\nimport pandas\n", True),
        ("# import pandas\n", False),
        ("x = 'import pandas'\n", False),
        ('"""Say.\n\nimport pandas\n>>> import sklearn\n"""\nimport os\n', False),
        ("import geopandas\nimport pandas_datareader\n", False),
        ("from ..pandas import Series\nfrom . import sklearn\n", False),
        ("from mine import pandas\n", False),
        ("import os\npandas = os\n", False),
        ("import importlib\nimportlib.import_module('pandas')\n", False),
        ("__import__('pandas')\nexec('import sklearn')\n", False),
        ("", False),
    ],
)
def test_imports_are_distinguished_from_mentions(text: str, found: bool) -> None:
    assert keywords.imports(text, WORDS) is found


def test_a_module_within_a_package_is_a_keyword_too() -> None:
    for text in ("import a.b.c\n", "from a.b import c\n", "from a import b\n", "import a.b as x\n"):
        assert keywords.imports(text, ["a.b"])
    for text in ("import a\n", "from a import bc\n", "import a.bc\n", "import b\n"):
        assert not keywords.imports(text, ["a.b"])


def test_imported_modules_equal_those_found_by_ast_in_the_standard_library() -> None:
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-h]*.py")):
        text = path.read_text(encoding="utf-8")
        expected = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                expected |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                module = node.module or ""
                if module != "__future__":
                    expected.add(module)
                    expected |= {f"{module}.{a.name}" for a in node.names if a.name != "*"}
        assert set(keywords.imported_modules(text)) == expected, path


@given(st.lists(st.sampled_from([*WORDS, "panda", "s", " ", "\n", "import ", "#", "."])))
def test_an_import_is_always_a_mention_too(pieces: list[str]) -> None:
    text = "".join(pieces)
    recipe = CorpusRecipe(keywords=WORDS, keywords_in="imports")
    if keywords.imports(text, WORDS):
        assert keywords.mentions(text, keywords.words(recipe))
    expected = None if any(word in text for word in WORDS) else "no_keyword"
    assert rules.no_keyword(text, CorpusRecipe(keywords=WORDS)) == expected


TEXTS = st.lists(st.none() | st.text(st.sampled_from("panda sé\n\x00"), max_size=12), max_size=8)


@given(
    TEXTS,
    st.lists(st.sampled_from(["a", "pan", "é", "s\n", "panda"]), max_size=3),
    st.integers(1, 9),
)
def test_a_column_gives_the_result_of_each_text(
    texts: list[str | None], words: list[str], block_bytes: int
) -> None:
    expected = [text is None or not words or keywords.mentions(text, words) for text in texts]
    for kind in (pa.string(), pa.large_string()):
        column = pa.array([None, *texts, None], kind).slice(1, len(texts))
        with patch.object(keywords, "_BLOCK_BYTES", block_bytes):
            mask = keywords.mask(column, words)
        assert mask is not None
        assert mask.to_pylist() == expected


def test_a_column_that_is_no_text_is_left_to_others() -> None:
    for column in (
        pa.array([b"pandas"]),
        pa.array([1]),
        pa.array([b"pandas \xff"]).view(pa.string()),
        pa.array(["pandas"]).dictionary_encode(),
    ):
        assert keywords.mask(column, WORDS) is None
