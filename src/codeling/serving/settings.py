"""Settings and limits of a server."""

from dataclasses import dataclass

from codeling.generation.suggestions.suggester import THRESHOLDS

DEFAULT_PORT = 8012
"""llama.vim's default, so that it needs no setting."""
MODEL_NAME = "codeling"
"""Name in every answer. It contains no "gpt": Continue would choose a chat template by that."""


@dataclass(frozen=True)
class ServerLimits:
    """Limits of one request and of all together."""

    max_body_bytes: int = 4 << 20
    max_new_tokens: int = 1024
    """A query for more gets this many."""
    max_in_flight: int = 128
    """Number of completions running or waiting. More are refused with status 429."""
    max_running: int = 32
    """Number of completions in the batch of an engine; smaller where keys and values are large."""
    max_recent: int = 128
    """Number of ended completions with keys and values kept for the next keystroke, so that this
    many people can type at once without a new prefill of their files. Fewer if keys and values are
    large."""
    request_seconds: float = 30.0
    """Time after which a completion ends with the text that it has."""
    body_seconds: float = 10.0
    """Time in which a body must arrive."""
    max_connections: int = 1000
    drain_seconds: float = 8.0
    """Time that requests in progress get after SIGTERM."""


@dataclass(frozen=True)
class ServerSettings:
    """The server's address, access and log."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: any free port."""
    token: str | None = None
    """The clients' ``Authorization: Bearer``. None: no token is needed."""
    threshold: float = THRESHOLDS["normal"]
    """Probability that the beginning of a suggestion must reach to be shown."""
    log_requests: bool = False
    log_texts: bool = False
    """Also log the texts of prompts and completions."""
    limits: ServerLimits = ServerLimits()
