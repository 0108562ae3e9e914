from pathlib import Path

import pytest

from codeling.corpus.sources.listing import fingerprint
from codeling.errors import CorpusError
from codeling.recipe import CorpusRecipe


def test_what_cannot_be_listed_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no rows")
    for url, error, words in (
        ("nowhere://bucket/a.parquet", CorpusError, r"nowhere://\S+: cannot be listed \(.+\)"),
        (f"s3s://{tmp_path}/*", CorpusError, r"cannot be listed \(.+\)"),
    ):
        recipe = CorpusRecipe.model_validate({"sources": [{"kind": "codeparrot", "paths": url}]})
        with pytest.raises(error, match=words) as caught:
            fingerprint(recipe)
        assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_every_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n")
    (tmp_path / "out.txt").write_text("a/b\n")
    seen = set()
    for kind in ("codeparrot", "codesearchnet", "rows"):
        recipe = CorpusRecipe.model_validate(
            {"sources": [{"kind": kind, "paths": str(path)}], "opt_out": tmp_path / "out.txt"}
        )
        before = fingerprint(recipe)
        assert fingerprint(recipe) == before
        path.write_text(path.read_text() + "{}\n")
        after = fingerprint(recipe)
        (tmp_path / "out.txt").write_text((tmp_path / "out.txt").read_text() + "c/d\n")
        seen |= {before, after, fingerprint(recipe)}
    assert len(seen) == 7
