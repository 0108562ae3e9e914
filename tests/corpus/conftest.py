"""Builds of the corpus's tests share one process."""

import pytest


@pytest.fixture(autouse=True)
def _share_the_corpus_process(corpus_process: None) -> None:
    pass
