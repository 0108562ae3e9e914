"""The keyword slice: files that mention, or import, one of a list of words.

There are two rules. ``text``: the word occurs anywhere, including in comments and inside longer
words. The Hugging Face course selects its data-science files this way (chapter 7.6:
``any(word in content)``). ``imports``: an import statement anywhere in the file names the word as a
module. Strings, comments and relative imports (``from .pandas import x``) do not count. Dynamic
imports (``__import__``, ``importlib.import_module``, ``exec``) are not detected.

This module must not read files and does not know the other filters.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from tree_sitter import Node, Parser, Query, QueryCursor

from codeling.corpus.extract import LANGUAGE
from codeling.recipe import CorpusRecipe

_BLOCK_BYTES = 1 << 20
"""Bytes that are searched at a time."""
_IMPORTS = Query(LANGUAGE, "[(import_statement) (import_from_statement)] @import")


def words(recipe: CorpusRecipe) -> tuple[str, ...]:
    """Words of which a file must contain at least one, under either rule."""
    if recipe.keywords_in == "text":
        return recipe.keywords
    return tuple(dict.fromkeys(word.partition(".")[0] for word in recipe.keywords))


def reason(recipe: CorpusRecipe) -> str:
    """Drop reason of a file outside the slice."""
    return "no_keyword" if recipe.keywords_in == "text" else "not_imported"


def mentions(text: str, keywords: Sequence[str]) -> bool:
    """Whether any of the words occurs in ``text``, also inside a longer word."""
    return any(word in text for word in keywords)


def mask(texts: pa.Array, keywords: Sequence[str]) -> pa.BooleanArray | None:
    """Apply :func:`mentions` to each text of a column (N,). Null gives True.

    The bytes of the whole column are searched for all words in one pass, which is more than ten
    times as fast as creating a ``str`` per text. Returns None if the column is not text or not
    UTF-8; the caller then tests each text by itself.
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
    found = texts.is_null().to_numpy(zero_copy_only=False).copy()
    _, offset_bytes, data = texts.buffers()
    offsets = np.frombuffer(offset_bytes, np.int64 if is_large else np.int32)
    offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
    text_bytes = memoryview(data or b"").cast("B")
    words = [word.encode() for word in keywords]
    for start, end in _matches(text_bytes, int(offsets[0]), int(offsets[-1]), words):
        first, last = (int(row) - 1 for row in np.searchsorted(offsets, (start, end - 1), "right"))
        if first == last:
            found[first] = True
        else:  # the match spans texts, and may hide a match within one of them
            for row in range(first, last + 1):
                text = bytes(text_bytes[offsets[row] : offsets[row + 1]])
                found[row] |= any(word in text for word in words)
    return pa.array(found)


def _matches(
    data: memoryview, start: int, end: int, words: Sequence[bytes]
) -> Iterator[tuple[int, int]]:
    """Start and end of occurrences of ``words`` in a part of ``data``.

    Every occurrence is yielded or overlaps one that is. The search is by blocks, which limits the
    memory for the matches of a frequent word.
    """
    from ahocorasick_rs import BytesAhoCorasick, MatchKind

    search = BytesAhoCorasick(words, MatchKind.LeftmostFirst)  # the match kind that uses SIMD
    overlap = max(map(len, words)) - 1
    for block in range(start, end, _BLOCK_BYTES):
        part = data[block : min(block + _BLOCK_BYTES + overlap, end)]
        for _, match_start, match_end in search.find_matches_as_indexes(part):
            yield block + match_start, block + match_end


def imports(text: str, keywords: Sequence[str]) -> bool:
    """Whether ``text`` imports any of the modules or one of their submodules.

    The text is parsed only if it contains ``import`` and one of the words.
    """
    if "import" not in text or not any(word.partition(".")[0] in text for word in keywords):
        return False
    return any(
        module == word or module.startswith(f"{word}.")
        for module in imported_modules(text)
        for word in keywords
    )


def imported_modules(text: str) -> Iterator[str]:
    """Names of the modules that ``text`` imports; a name may repeat.

    ``from a import b`` gives ``a`` and ``a.b``, because ``b`` may be a module.
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
    """Return ``a.b`` for both ``a.b`` and ``a . b as c``."""
    name = node.child_by_field_name("name") if node.type == "aliased_import" else node
    text = name.text if name is not None else None
    return "".join((text or b"").decode("utf-8", "replace").split())
