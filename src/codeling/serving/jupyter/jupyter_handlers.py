"""The routes of Jupyter's server: the page sends a text, and the token stays here."""

import asyncio
import atexit
import json
import os
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from codeling.errors import CodelingError
from codeling.serving.http.access import TOKEN_VARIABLE
from codeling.serving.jupyter.model_server import ModelServer

URL_VARIABLE = "CODELING_URL"
MODEL_VARIABLE = "CODELING_MODEL"
_KEYS = ("prefix", "suffix")


class CompletionHandler(APIHandler):  # type: ignore[misc]
    """``POST /codeling/complete``: ``prefix`` and ``suffix`` to a suggestion with its tokens."""

    def initialize(self, server: ModelServer) -> None:
        """Called by tornado for each request."""
        self._server = server

    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Answer with what ``/playground/complete`` answers, or with a message (503)."""
        given = self.get_json_body() or {}
        body = {key: str(given.get(key, "")) for key in _KEYS} | {"session": "notebook"}
        try:
            answer = await asyncio.to_thread(self._server.post, "/playground/complete", body)
        except CodelingError as error:
            self.set_status(503)
            answer = {"message": str(error)}
        self.finish(json.dumps(answer))


def set_up(server_app: Any) -> None:
    """Add the route to a Jupyter server. The environment says which model or server to use."""
    names = (URL_VARIABLE, TOKEN_VARIABLE, MODEL_VARIABLE)
    server = ModelServer(*(os.environ.get(name, "") for name in names))
    atexit.register(server.close)
    base = server_app.web_app.settings["base_url"]
    route = url_path_join(base, "codeling", "complete")
    server_app.web_app.add_handlers(".*$", [(route, CompletionHandler, {"server": server})])
