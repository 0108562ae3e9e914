"""The server's counters, in the format of Prometheus: ``GET /metrics``."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from codeling.serving.protocol.query import Answer
from codeling.serving.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
EVENTS = ("view", "select", "dismiss")


class Monitoring:
    """The counters of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "codeling_requests", "Requests.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "codeling_request_seconds",
            "Time from the body of a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts.")
        self._reused_tokens = self._counter(
            "reused_prompt_tokens", "Tokens of prompts that were in the cache already."
        )
        self._new_tokens = self._counter("generated_tokens", "Tokens generated.")
        self._events = Counter(
            "codeling_suggestions",
            "Suggestions shown, accepted and dismissed, as editors report them.",
            ("event",),
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "codeling_completions_in_flight", "Running and waiting.", registry=self._registry
        )
        self._waiting = Gauge(
            "codeling_completions_waiting", "Not in the batch yet.", registry=self._registry
        )

    def _counter(self, name: str, description: str) -> Counter:
        return Counter(f"codeling_{name}", description, registry=self._registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answer(self, answer: Answer) -> None:
        """Count the tokens of an answer."""
        for choice in answer.choices:
            self._prompt_tokens.inc(choice.num_prompt)
            self._reused_tokens.inc(choice.num_reused)
            self._new_tokens.inc(choice.num_new)

    def event(self, name: str) -> None:
        """Count what became of a suggestion: one of :data:`EVENTS`."""
        self._events.labels(name).inc()

    def page(self) -> bytes:
        """The body of ``GET /metrics``."""
        self._in_flight.set(self._service.num_in_flight)
        self._waiting.set(self._service.num_waiting)
        return generate_latest(self._registry)
