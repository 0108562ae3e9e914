"""The server as a process: its socket, its batch size, and its life under uvicorn."""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from codeling.cores import usable_cores
from codeling.errors import UsageError
from codeling.generation.engine import Engine
from codeling.generation.runners.fast import FastRunner
from codeling.run_folder import RunFolder
from codeling.serving.http.access import AccessRules
from codeling.serving.http.middleware import ServerMiddleware
from codeling.serving.http.monitoring import Monitoring
from codeling.serving.http.request_log import RequestLog
from codeling.serving.http.routes import routed
from codeling.serving.playground.api import api_routes
from codeling.serving.playground.lookups import Lookups
from codeling.serving.playground.pages import page_routes
from codeling.serving.protocol.query import ServedModel
from codeling.serving.remote_worker import RemoteRunner
from codeling.serving.service import Service
from codeling.serving.settings import MODEL_NAME, ServerSettings
from codeling.tokenizer.encoders import speed_up_typing

_MAX_ENGINES = 4
"""Threads that complete on a CPU, if there are as many cores. More would wait for Python's lock."""
_CACHE_BYTES = 1 << 30
"""Memory for the keys and values of running and recent completions."""


def application(
    engine: Engine,
    settings: ServerSettings,
    started: Callable[[], None] = lambda: None,
    run: RunFolder | None = None,
) -> ASGIApp:
    """The ASGI application that serves ``engine``, the model of ``run``.

    ``started`` is called at the end of its startup.

    :raises UsageError: other machines could reach it without a token.
    """
    rules = AccessRules(settings.host, settings.token)
    service = Service(engine, settings.limits, settings.threshold)
    model = ServedModel(
        MODEL_NAME,
        engine.runner.context_length,
        engine.runner.vocab_size,
        engine.tokenizer.can_infill,
        int(time.time()),
        version("codeling"),
        num_slots=settings.limits.max_running,
    )
    monitoring = Monitoring(service)
    log = RequestLog(with_texts=settings.log_texts) if settings.log_requests else None
    lookups = Lookups(engine, run, settings.threshold)
    playground = [*api_routes(service, model, lookups), *page_routes(lookups, settings.token)]
    app = routed(service, model, monitoring, started, playground)
    return ServerMiddleware(app, rules, monitoring, log)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. :raises UsageError: the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches off Nagle's algorithm only where the protocol is named; with it, a client
    # that keeps its connection waits 40 ms for each answer.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(1024)
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot listen on {host} port {port} ({reason}); choose another --port or --host"
        ) from error
    return bound


def serve(
    load: Callable[[], Engine],
    settings: ServerSettings,
    started: Callable[[int], None],
    run: RunFolder | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then answer what is in progress and return.

    ``load`` gives the engine, the model of ``run``; ``started`` is called with the port when
    requests can be sent.

    :raises UsageError: the address cannot be used, or is open to others without a token.
    """
    AccessRules(settings.host, settings.token)
    with closing(listen(settings.host, settings.port)) as bound:
        engine = load()
        speed_up_typing(engine.tokenizer)
        _warm_up(engine)
        limits = settings.limits
        num_engines = _MAX_ENGINES if isinstance(engine.runner, FastRunner) else 1
        num_engines = min(num_engines, usable_cores())
        num_slots = _CACHE_BYTES // engine.runner.slot_bytes
        running = max(2, min(limits.max_running, num_slots // (2 * num_engines)))
        recent = max(2, min(limits.max_recent, num_slots - running * num_engines))
        limits = replace(limits, num_engines=num_engines, max_running=running, max_recent=recent)
        settings = replace(settings, limits=limits)
        serve_on(
            bound,
            application(engine, settings, lambda: started(bound.getsockname()[1]), run),
            lifespan="on",
            limit_concurrency=limits.max_connections,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=int(limits.drain_seconds),
        )


def serve_on(bound: socket.socket, app: ASGIApp, **options: Any) -> None:
    """Run ``app`` on a listening socket until SIGINT or SIGTERM; ``options`` are uvicorn's."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        **options,
    )
    uvicorn.Server(config).run([bound])


def _warm_up(engine: Engine) -> None:
    """Compile or load what the first request would wait for: a long prompt, then a few tokens."""
    if not isinstance(engine.runner, RemoteRunner):
        engine.complete("import os\n" * 16, max_new_tokens=2)
