import gzip
import json
import sysconfig
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus.sources.listing import MAX_COMPRESSION, fingerprint, max_text_bytes
from codeling.errors import CorpusError
from codeling.recipe import CorpusRecipe


def test_a_source_that_cannot_be_listed_gives_a_one_line_error(tmp_path: Path) -> None:
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


def test_the_text_is_at_most_the_files_and_the_unpacked_shards(tmp_path: Path) -> None:
    for name, size in (("a.py", 100), ("b.jsonl", 1000), ("c.json.gz", 30), ("d.parquet", 7)):
        (tmp_path / name).write_bytes(bytes(size))
    folder = {"kind": "folder", "path": tmp_path}
    rows = {"kind": "codeparrot", "paths": str(tmp_path)}
    recipe = CorpusRecipe.model_validate({"sources": [folder, rows]})
    assert max_text_bytes(recipe) == 100 + 1000 + MAX_COMPRESSION * (30 + 7)


def test_real_python_is_within_the_bound_whatever_it_is_packed_in(tmp_path: Path) -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    texts = [path.read_text(encoding="utf-8") for path in sorted(library.glob("*.py"))]
    table = pa.table({"content": texts})
    for compression in ("none", "snappy", "zstd", "gzip"):
        pq.write_table(table, tmp_path / f"{compression}.parquet", compression=compression)
    lines = "".join(json.dumps({"content": text}) + "\n" for text in texts)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(lines.encode()))
    for path in tmp_path.iterdir():
        source = {"kind": "codeparrot", "paths": str(path)}
        recipe = CorpusRecipe.model_validate({"sources": [source]})
        assert sum(map(len, texts)) <= max_text_bytes(recipe), path.name
