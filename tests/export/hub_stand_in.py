"""A stand-in for the Hub's API, as huggingface_hub uses it to create a repository and upload files.

Source: the requests of huggingface_hub 2.4 (``HfApi.create_repo``, ``upload_folder`` with LFS).
Files above a kilobyte go through LFS, others come within the commit.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_stand_in"
_LFS_FROM_BYTES = 1024


class Hub:
    """What was uploaded."""

    def __init__(self) -> None:
        self.repositories: dict[str, bool] = {}
        """Name → whether it is private."""
        self.files: dict[str, bytes] = {}
        """Path in the repository → content."""
        self.stored: dict[str, bytes] = {}
        """LFS objects by SHA-256."""
        self.address = ""
        self.fail_with: int | None = None


@contextmanager
def hub_stand_in() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def do_POST(self) -> None:
            path, body = urlsplit(self.path).path, self._body()
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._reply(401, {"error": "Invalid username or password."})
            if hub.fail_with:
                return self._reply(hub.fail_with, {"error": "no\nmore"})
            if path == "/api/repos/create":
                return self._create(json.loads(body))
            if path == "/api/validate-yaml":  # the metadata of a model card
                return self._reply(200, {"errors": [], "warnings": []})
            if "/preupload/" in path:
                files = [
                    {"path": each["path"], "uploadMode": self._mode(each), "shouldIgnore": False}
                    for each in json.loads(body)["files"]
                ]
                return self._reply(200, {"files": files})
            if path.endswith("/info/lfs/objects/batch"):
                return self._lfs(json.loads(body))
            if "/commit/" in path:
                return self._commit(body)
            return self._reply(404, {"error": path})

        def do_PUT(self) -> None:
            data = self._body()
            digest = hashlib.sha256(data).hexdigest()
            assert self.path == f"/lfs/{digest}"
            hub.stored[digest] = data
            self._reply(200, {})

        def do_GET(self) -> None:
            self._reply(200, {"id": "owner/name", "sha": "0" * 40, "private": True, "tags": []})

        def _mode(self, file: dict[str, Any]) -> str:
            return "lfs" if file["size"] > _LFS_FROM_BYTES else "regular"

        def _create(self, values: dict[str, Any]) -> None:
            name = f"{values.get('organization') or 'owner'}/{values['name']}"
            is_private = values.get("private") or values.get("visibility") == "private"
            status = 409 if name in hub.repositories else 200
            hub.repositories.setdefault(name, bool(is_private))
            self._reply(status, {"url": f"{hub.address}/{name}", "name": name})

        def _lfs(self, values: dict[str, Any]) -> None:
            objects = [
                {
                    **each,
                    "actions": {"upload": {"href": f"{hub.address}/lfs/{each['oid']}"}},
                }
                for each in values["objects"]
            ]
            self._reply(200, {"transfer": "basic", "objects": objects})

        def _commit(self, body: bytes) -> None:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    hub.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.files[value["path"]] = hub.stored[value["oid"]]
            url = f"{hub.address}/owner/name/commit/{'0' * 40}"
            self._reply(200, {"success": True, "commitOid": "0" * 40, "commitUrl": url})

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                data = b""
                while size := int(self.rfile.readline(), 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return data
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _reply(self, status: int, values: dict[str, Any]) -> None:
            data = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
