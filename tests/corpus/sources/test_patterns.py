import pytest

from codeling.corpus.sources.patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("python/*.parquet", ["python/a.parquet"], ["python/b/a.parquet", "a.parquet"]),
        ("**/*.gz", ["a.gz", "x/y/a.gz"], ["a.json"]),
        ("**", ["a", "x/y"], []),
        ("file-?.json", ["file-1.json"], ["file-12.json", "file-/.json"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_stars_match_names_and_folders(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    expression = compile_pattern(pattern)
    assert [name for name in matching + others if expression.fullmatch(name)] == matching
