import pytest

from codeling.errors import UsageError
from codeling.serving.http.access import AccessRules, is_loopback, new_token
from codeling.serving.protocol.query import RequestError

TOKEN = "t" * 24


def status(rules: AccessRules, path: str = "/infill", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        rules.check(path, {"host": "127.0.0.1:8012", **named})
    except RequestError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    "host, is_local",
    [("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False)],
)  # fmt: skip
def test_only_this_machine_reaches_loopback(host: str, is_local: bool) -> None:
    assert is_loopback(host) == is_local


def test_another_address_needs_a_token() -> None:
    with pytest.raises(UsageError, match="--no-token is for this machine only"):
        AccessRules("0.0.0.0", None)
    AccessRules("0.0.0.0", TOKEN)
    AccessRules("127.0.0.1", None)


def test_a_weak_token_is_refused() -> None:
    for token in ("", "short", "ü" * 24, "a b\nc" * 9):
        with pytest.raises(UsageError, match="CODELING_TOKEN"):
            AccessRules("127.0.0.1", token)


def test_tokens_are_long_and_differ() -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert min(map(len, tokens)) >= 32


def test_the_token_is_checked_everywhere_but_at_the_health_route() -> None:
    rules = AccessRules("127.0.0.1", TOKEN)
    assert status(rules, authorization=f"Bearer {TOKEN}") == 200
    assert status(rules, authorization=f"bearer {TOKEN} ") == 200
    assert status(rules, "/health") == 200
    for wrong in ("", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ü"):
        assert status(rules, authorization=wrong) == 401
    assert status(rules) == 401
    assert status(rules, "/metrics") == 401
    assert status(rules, "/health/../infill") == 401


def test_without_a_token_any_authorization_is_accepted() -> None:
    rules = AccessRules("127.0.0.1", None)
    assert status(rules) == 200
    assert status(rules, authorization="Bearer ") == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8012", "127.0.0.1.evil.example", ""]
)
def test_a_foreign_name_for_this_machine_is_refused(host: str) -> None:
    """DNS rebinding: a page's own name resolves to 127.0.0.1."""
    assert status(AccessRules("127.0.0.1", None), host=host) == 403
    assert status(AccessRules("127.0.0.1", TOKEN), "/health", host=host) == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8012", "127.0.0.1", "[::1]:8012"])
def test_names_of_this_machine_are_accepted(host: str) -> None:
    assert status(AccessRules("127.0.0.1", None), host=host) == 200


def test_beyond_loopback_the_token_decides() -> None:
    rules = AccessRules("0.0.0.0", TOKEN)
    assert status(rules, host="box.lan:8012", authorization=f"Bearer {TOKEN}") == 200
    assert status(rules, host="box.lan:8012") == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", ""])
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    assert status(AccessRules("127.0.0.1", None), origin=origin) == 403


def test_a_page_of_this_server_is_accepted() -> None:
    assert status(AccessRules("127.0.0.1", None), origin="http://127.0.0.1:8012") == 200
