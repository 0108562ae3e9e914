"""The extension of Jupyter's server, which JupyterLab's page asks for suggestions.

Jupyter finds it by ``server_config.json``, and the page's part in ``labextension/``; a wheel
installs both where Jupyter looks.
"""

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "codeling.serving.jupyter"}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    from codeling.serving.jupyter.jupyter_handlers import set_up

    set_up(server_app)
