"""Fixtures of the loader's tests."""

import pytest

from codeling.dataset import loader as loader_module

from .reading import WINDOW


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "WINDOW_SEQUENCES", WINDOW)
