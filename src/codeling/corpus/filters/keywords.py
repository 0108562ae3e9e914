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
    """:func:`mentions` of every text of a column at once; a null is true, for others to judge.

    daft searches the column's bytes as they are, some 20 times as fast as making a ``str`` of each
    and asking it. None where the texts have to be looked at one by one: no column of text, or not
    UTF-8 after all.
    """
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        return None
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return None
    import daft

    column = daft.Series.from_arrow(texts.cast(pa.large_string()))
    found = None
    for word in keywords:
        hits = column.str.contains(daft.Series.from_pylist([word]))
        found = hits if found is None else found | hits
    if found is None:
        return pa.array([True] * len(texts), pa.bool_())
    return found.to_arrow().fill_null(True)


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
