import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import codeling
from codeling.errors import UsageError


def test_the_package_exports_its_public_names() -> None:
    assert codeling.__all__ == ["__version__", "load"]
    assert codeling.__version__ == metadata.version("codeling")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = codeling.nothing


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'daft', 'numpy', 'tokenizers', 'transformers', 'pydantic', 'rich'}"
    program = f"import sys, codeling; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_loading_a_path_that_is_not_a_model_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a model"):
        codeling.load(tmp_path)
