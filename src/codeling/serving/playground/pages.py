"""The pages of the playground over HTTP: its bundle, and the pages that the run has.

``make web`` builds the bundle from ``web/playground/``. Only fixed names are served. No page may
load anything from elsewhere or run an inline script; the pages of a run have no script at all.
CodeMirror's style element has a nonce, new for each answer.
"""

import secrets
from pathlib import Path

from markupsafe import escape
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from codeling.serving.http.access import PAGES_PATH, pages_cookie
from codeling.serving.playground.lookups import Lookups

STATIC = Path(__file__).with_name("static")
INDEX = "index.html"
BUNDLE = {"app.js": "text/javascript", "app.css": "text/css"}
"""Files of the bundle beside the page, with their media types."""

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_APP_POLICY = f"{_NOTHING}; script-src 'self'; connect-src 'self'; img-src 'self' data:; style-src"
_NONCE_PLACE = "STYLE-NONCE"
_RUN_POLICY = f"{_NOTHING}; style-src 'unsafe-inline'; img-src data:"
"""The report and the evaluation pages are self-contained: their style is in the page."""
_UNBUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>codeling</title>
<h1>The server runs, but its page is not built</h1>
<p>Editors can use it. This copy of codeling is a checkout without the bundle of the playground.
With Node.js 20 or newer, build it in the checkout, then reload this page:</p>
<pre>make web</pre>
<p>A wheel contains the bundle.</p>
</html>
"""


def page_routes(lookups: Lookups, token: str | None) -> list[Route]:
    """The routes of all pages; ``token`` is the server's."""

    async def index(request: Request) -> Response:
        try:
            page = (STATIC / INDEX).read_text(encoding="utf-8")
        except FileNotFoundError:
            return _html(_UNBUILT, 200)
        nonce = secrets.token_urlsafe(16)
        policy = f"{_APP_POLICY} 'self' 'nonce-{nonce}'"
        return _html(page.replace(_NONCE_PLACE, nonce), 200, policy)

    async def asset(request: Request) -> Response:
        path = STATIC / request.url.path.rpartition("/")[2]
        if not path.is_file():
            return _html(_UNBUILT, 404)
        return FileResponse(path, 200, _headers(_NOTHING), BUNDLE[path.name])

    async def opened(request: Request) -> Response:
        """Let the browser that has the token read the pages of the run."""
        response = Response(status_code=204)
        if token is not None:
            name, _, value = pages_cookie(token, request.headers.get("host", "")).partition("=")
            response.set_cookie(name, value, path=PAGES_PATH, httponly=True, samesite="strict")
        return response

    async def run_page(request: Request) -> Response:
        path = lookups.page(str(request.path_params["path"]).split("/"))
        if path is None:
            text = escape("The run has no such page. codeling run writes its report.")
            return _html(f"<!doctype html><title>codeling</title><p>{text}</p>", 404)
        return FileResponse(path, 200, _headers(_RUN_POLICY), "text/html")

    return [
        Route("/", index),
        *(Route(f"/playground/{name}", asset) for name in BUNDLE),
        Route("/playground/open", opened, methods=["POST"]),
        Route(f"{PAGES_PATH}/{{path:path}}", run_page),
    ]


def _html(text: str, status: int, policy: str = _NOTHING) -> Response:
    return Response(text, status, _headers(policy), "text/html")


def _headers(policy: str) -> dict[str, str]:
    return {**_HEADERS, "Content-Security-Policy": policy}
