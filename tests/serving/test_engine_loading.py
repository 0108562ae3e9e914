from pathlib import Path

from codeling.memory.mixture import MemoryMixture
from codeling.serving.engine_loading import load_engine, prepared


def test_an_engine_has_its_memory_and_is_ready(small_model: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    engine = prepared(lambda: load_engine(str(small_model), "cpu", project=project))
    assert isinstance(engine.memory, MemoryMixture)
    assert engine.memory.names == ("document", "project")
    assert load_engine(str(small_model), "cpu", memory="off").memory is None
