"""The keyword slice: files that mention, or import, one of a list of words.

Two rules. In the text: the word occurs anywhere, in a comment or as a part of another word too,
as the Hugging Face course picks its data-science files (chapter 7.6: ``any(word in content)``).
Among the imports: the word is a module that an import statement of the file names, wherever the
statement stands. What is written in strings and comments does not count, nor does a relative
import (``from .pandas import x``), nor what is only loaded when it runs (``__import__``,
``importlib.import_module``, ``exec``), which no reading of a text can settle.

This module must not read files and knows no other rule.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from tree_sitter import Node, Parser, Query, QueryCursor

from codeling.corpus.extract import LANGUAGE
from codeling.recipe import CorpusRecipe

_IMPORTS = Query(LANGUAGE, "[(import_statement) (import_from_statement)] @import")


def words(recipe: CorpusRecipe) -> tuple[str, ...]:
    """The words of which a file of the slice has to hold one, whichever rule is asked for."""
    if recipe.keywords_in == "text":
        return recipe.keywords
    return tuple(dict.fromkeys(word.partition(".")[0] for word in recipe.keywords))


def reason(recipe: CorpusRecipe) -> str:
    """The drop reason of a file that is not of the slice."""
    return "no_keyword" if recipe.keywords_in == "text" else "not_imported"


def mentions(text: str, keywords: Sequence[str]) -> bool:
    """Whether any of the words occurs in ``text``, as a part of a longer one too."""
    return any(word in text for word in keywords)


def mask(texts: pa.Array, keywords: Sequence[str]) -> pa.BooleanArray | None:
    """Return :func:`mentions` of each text of a column; True for null, which others must judge.

    StringZilla searches the column's bytes at once, more than ten times as fast as making a
    ``str`` of each text. None where the texts have to be judged one by one: the column is not
    text, or not UTF-8.
    """
    is_large = pa.types.is_large_string(texts.type)
    if not (is_large or pa.types.is_string(texts.type)):
        return None
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return None
    if not keywords or not len(texts):
        return pa.array([True] * len(texts), pa.bool_())
    from stringzilla import Str

    found = texts.is_null().to_numpy(zero_copy_only=False).copy()
    _, offset_bytes, data = texts.buffers()
    offsets = np.frombuffer(offset_bytes, np.int64 if is_large else np.int32)
    offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
    haystack = Str(memoryview(data or b""))
    for word in keywords:
        size = len(word.encode())
        start = haystack.find(word, int(offsets[0]))
        while 0 <= start <= offsets[-1] - size:
            row = int(np.searchsorted(offsets, start, "right")) - 1
            if start + size <= offsets[row + 1]:
                found[row] = True
                start = haystack.find(word, int(offsets[row + 1]))
            else:  # across two texts
                start = haystack.find(word, start + 1)
    return pa.array(found)


def imports(text: str, keywords: Sequence[str]) -> bool:
    """Whether ``text`` imports any of the modules, or a module within one of them.

    The parser is asked only where one of the words and ``import`` both occur.
    """
    if "import" not in text or not any(word.partition(".")[0] in text for word in keywords):
        return False
    return any(
        module == word or module.startswith(f"{word}.")
        for module in imported_modules(text)
        for word in keywords
    )


def imported_modules(text: str) -> Iterator[str]:
    """The names of the modules that ``text`` imports, with repetition.

    ``from a import b`` gives ``a`` and ``a.b``, as ``b`` may be a module.
    """
    root = Parser(LANGUAGE).parse(text.encode()).root_node
    for statement in QueryCursor(_IMPORTS).captures(root).get("import", []):
        names = [_dotted(name) for name in statement.children_by_field_name("name")]
        if statement.type == "import_statement":
            yield from names
            continue
        module = statement.child_by_field_name("module_name")
        if module is not None and module.type == "dotted_name":
            prefix = _dotted(module)
            yield prefix
            yield from (f"{prefix}.{name}" for name in names)


def _dotted(node: Node) -> str:
    """``a.b`` of ``a.b`` or ``a . b as c``."""
    name = node.child_by_field_name("name") if node.type == "aliased_import" else node
    text = name.text if name is not None else None
    return "".join((text or b"").decode("utf-8", "replace").split())
