import subprocess
import sys

import pytest


@pytest.mark.parametrize("command, extra", [("serve", "starlette"), ("lsp", "pygls")])
def test_a_server_starts_no_threads_of_numpy(command: str, extra: str) -> None:
    pytest.importorskip(extra)
    program = (
        "import os, sys; from codeling import cli\n"
        f"sys.argv[1:] = ['{command}', 'nowhere']\n"
        "try:\n    cli._call()\n"
        "except BaseException as error:\n    print(error)\n"
        "print('numpy' in sys.modules, os.environ['OPENBLAS_NUM_THREADS'])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert out.endswith(b"True 1\n")
