import os
from pathlib import Path

from codeling.corpus.sources.shards import list_local_shards


def test_shards_are_ordered_by_name_and_listed_once(tmp_path: Path) -> None:
    for name in ("b/2.jsonl", "b/1.json.gz", "a.parquet", "c/x.arrow", "c/notes.txt", "c/d.csv"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    names = ["a.parquet", "b/1.json.gz", "b/2.jsonl", "c/x.arrow"]
    folder = str(tmp_path / "data")
    assert [s.name for s in list_local_shards(0, [folder])] == names
    assert [s.name for s in list_local_shards(0, [folder, f"{folder}/b/*.jsonl", folder])] == names
    assert [s.name for s in list_local_shards(0, [f"file://{folder}/b/*.jsonl"])] == ["2.jsonl"]
    formats = [s.format for s in list_local_shards(0, [folder])]
    assert formats == ["parquet", "json.gz", "json", "arrow"]


def test_a_name_that_is_not_utf8_becomes_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff.jsonl")).write_bytes(b"{}\n")
    (shard,) = list_local_shards(0, [str(tmp_path)])
    assert shard.name == "a\\xff.jsonl"
    assert Path(shard.location).read_bytes() == b"{}\n"
