"""Column names of the table layouts: codeparrot's, CodeSearchNet's (both), and a recipe's own.

Sources: the published datasets; CodeSearchNet has its original names and those on the Hub.
"""

from collections.abc import Mapping, Sequence

from codeling.corpus.sources.shards import Shard
from codeling.recipe import CodeSearchNet, FileRows, RowSource

_FUNCTION_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "repository": ("repository_name", "repo"),
    "path": ("func_path_in_repository", "path"),
    "name": ("func_name",),
    "text": ("whole_func_string", "original_string"),
    "tokens": ("func_code_tokens", "code_tokens"),
    "docstring": ("func_documentation_string", "docstring"),
    "docstring_tokens": ("func_documentation_string_tokens", "docstring_tokens"),
    "url": ("func_code_url", "url"),
    "language": ("language",),
    "split": ("split_name", "partition", "split"),
    "license": ("license",),
}
_FUNCTION_REQUIRED = {
    "repository", "path", "name", "text", "tokens", "docstring", "docstring_tokens"
}  # fmt: skip
_FILE_COLUMNS: Mapping[str, str] = {
    "text": "content",
    "repository": "repo_name",
    "path": "path",
    "copies": "copies",
    "license": "license",
    "url": "url",
    "split": "split",
}
_FILE_REQUIRED = {
    "rows": {"text"},
    "codeparrot": {"text", "repository", "path"},
    "codeparrot-ds": {"text", "repository", "path"},
}


def columns(source: RowSource) -> Mapping[str, tuple[str, ...]]:
    """Map each field of a row to the column names it may have in ``source``."""
    if isinstance(source, CodeSearchNet):
        return _FUNCTION_COLUMNS
    renamed = source.columns if isinstance(source, FileRows) else {}
    return {name: (renamed.get(column, column),) for name, column in _FILE_COLUMNS.items()}


def match_columns(present: Sequence[str], source: RowSource) -> dict[str, str]:
    """Map each field to the column of ``present`` that holds it; absent fields are left out."""
    found = {}
    for name, candidates in columns(source).items():
        column = next((column for column in candidates if column in present), None)
        if column is not None:
            found[name] = column
    return found


def missing_column(present: Sequence[str], source: RowSource, shard: Shard) -> str | None:
    """Return what is missing: the first required column not among ``present``, in words.

    A published split is a column, or is in the name of the shard.
    """
    found, layout = match_columns(present, source), columns(source)
    if isinstance(source, CodeSearchNet):
        required = _FUNCTION_REQUIRED
    else:
        required = set(_FILE_REQUIRED[source.kind])
        if isinstance(source, FileRows):
            required |= {name for name, c in _FILE_COLUMNS.items() if c in source.columns}
    missing = (name for name in layout if name in required and name not in found)
    if name := next(missing, None):
        return f"no column {' or '.join(layout[name])}"
    if source.split == "published" and shard.split is None and "split" not in found:
        return f"no column {' or '.join(layout['split'])}, and no split in the file's name"
    return None
