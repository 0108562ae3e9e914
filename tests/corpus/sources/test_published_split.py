import pytest

from codeling.corpus.sources.published_split import split_in_name


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("python/train-00000-of-00001.parquet", "train"),
        ("python/validation-00000-of-00001.parquet", "validation"),
        ("python/test-00000-of-00001.parquet", "test"),
        ("final/jsonl/valid/python_valid_0.jsonl.gz", "validation"),
        ("codeparrot-ds-valid/anything.json.gz", "validation"),
        ("train/part-test.jsonl", "test"),  # the nearest name decides
        ("test/train_and_test.jsonl", "test"),  # a name with two splits says nothing
        ("train2.jsonl", "train"),
        ("Dev.jsonl", "validation"),
        ("latest/trains.jsonl", None),
        ("file-000000000001.json.gz", None),
    ],
)
def test_the_nearest_name_with_one_split_decides(name: str, split: str | None) -> None:
    assert split_in_name(name) == split
