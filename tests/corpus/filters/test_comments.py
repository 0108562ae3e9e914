import ast
import io
import sysconfig
import tokenize
from pathlib import Path

import pytest

from codeling.corpus.filters.comments import comment_fraction, comment_text


def published(text: str) -> str:
    """BigCode's ``get_text_python``, by ``ast`` and ``tokenize``."""
    found = [
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    docstrings = "\n".join(filter(None, found))
    return f"{docstrings}\n{''.join(comments).replace('#', '')}".strip()


def test_the_comment_ratio_equals_bigcodes_on_the_standard_library() -> None:
    """But for escapes in docstrings, which theirs reads and ours counts as they are written."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-h]*.py")):
        text = path.read_text(encoding="utf-8")
        if "async def" not in text:
            expected = len(published(text)) / max(len(text), 1)
            assert comment_fraction(text) == pytest.approx(expected, abs=0.002), path


def test_comments_and_docstrings_count_and_strings_do_not() -> None:
    text = (
        "#!/x\n# one\n'''Module.\n\n   More.\n'''\n\nclass A:\n    # two\n    r\"A.\"\n"
        "    async def f(self):\n        'F.'\n        'not this'\n        return '# nor this'\n"
    )
    assert comment_text(text) == "Module.\n\nMore.\nA.\nF.\n!/x one two"
    assert comment_text("def f():\n    b'no'\n") == ""
    assert comment_text("x = 1\n") == comment_text("") == ""
    assert comment_fraction("") == 0.0


def test_python2_and_broken_files_have_comments_too() -> None:
    assert comment_text("'doc'\nprint 'x'  # said\n") == "doc\n said"
    assert comment_text("def f(:\n  # here\n  return )\n") == "here"
