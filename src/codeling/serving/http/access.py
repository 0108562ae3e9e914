"""Access to the server: the token, the Host header and the Origin header.

A page of a foreign site may send requests to this machine through the browser of the person who
works on it, and with a name of its own that resolves to 127.0.0.1 (DNS rebinding) it may read the
answers. So on loopback the Host header must name this machine, and a request with a foreign Origin
is refused. There are no CORS headers. Beyond loopback a token is required, which no page knows.
"""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping

from codeling.errors import UsageError
from codeling.serving.protocol.query import RequestError

PUBLIC_PATHS = frozenset({"/health", "/", "/playground/app.js", "/playground/app.css"})
"""Paths that need no token: they reveal only that the server runs."""
PAGES_PATH = "/run"
"""Pages of the run, which a browser opens with a cookie instead of the token."""
TOKEN_VARIABLE = "CODELING_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable with a token to use instead of a new one, so that editors keep theirs."""
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def new_token() -> str:
    """A token with 192 random bits."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, token: str | None) -> None:
    """:raises UsageError: other machines could reach the server without a token."""
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--no-token is for this machine only, and {host} may be reached from others; leave "
            "out --no-token or --host"
        )
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable()):
        raise UsageError(f"{TOKEN_VARIABLE} must have 16 or more printable ASCII characters")


def pages_cookie(token: str, host: str) -> str:
    """The cookie, ``name=value``, that opens the pages of the run and nothing else.

    Its value is derived from the token. Browsers send cookies to all ports of a host, so the name
    contains the port.
    """
    key = hmac.new(token.encode(), b"pages of the run", hashlib.sha256).hexdigest()
    return f"codeling-pages-{host.rpartition(':')[2]}={key}"


class AccessRules:
    """Checks the headers of requests to a server at ``host``."""

    def __init__(self, host: str, token: str | None, public: frozenset[str] = PUBLIC_PATHS) -> None:
        """``public`` are the paths that need no token.

        :raises UsageError: see :func:`check_exposure`.
        """
        check_exposure(host, token)
        self._token = token
        self._public = public
        self._names = {*_LOCAL_NAMES, host.lower()} if is_loopback(host) else None

    def check(self, path: str, headers: Mapping[str, str]) -> None:
        """``headers`` have lower-case names.

        :raises RequestError: the token is missing or wrong (401), or the request comes from a
            foreign page (403).
        """
        host = headers.get("host", "")
        if self._names is not None and _name_of(host) not in self._names:
            raise RequestError(
                403, "the Host header must name this machine, such as localhost or 127.0.0.1"
            )
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise RequestError(403, "pages of other sites may not use this server")
        if self._token is None or path in self._public:
            return
        if path.startswith(f"{PAGES_PATH}/"):
            expected = pages_cookie(self._token, host).encode()
            cookies = headers.get("cookie", "").encode().split(b";")
            if any(hmac.compare_digest(cookie.strip(), expected) for cookie in cookies):
                return
            raise RequestError(
                401,
                "this page needs a cookie: open the URL of the playground that the server printed "
                f"(http://{host}/#token=TOKEN), and then this page in the same browser",
            )
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not is_right:
            raise RequestError(
                401, "send the token that the server printed: Authorization: Bearer TOKEN"
            )


def _name_of(host: str) -> str:
    """A Host header without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
