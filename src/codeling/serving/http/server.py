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
from codeling.serving.engine_loading import prepared
from codeling.serving.http.access import AccessRules
from codeling.serving.http.middleware import ServerMiddleware
from codeling.serving.http.monitoring import Monitoring
from codeling.serving.http.request_log import RequestLog
from codeling.serving.http.routes import routed
from codeling.serving.playground.api import api_routes
from codeling.serving.playground.lookups import Lookups
from codeling.serving.playground.pages import page_routes
from codeling.serving.protocol.query import ServedModel
from codeling.serving.scaled_service import ScaledService
from codeling.serving.service import Service
from codeling.serving.settings import MODEL_NAME, ServerSettings

_MAX_PROCESSES = 4
"""Processes that complete on a CPU, if there are as many cores. The main process keeps about eight
busy."""
_CACHE_BYTES = 1 << 30
"""Memory for the keys and values of running and recent completions, of all processes."""


def application(
    engine: Engine,
    settings: ServerSettings,
    started: Callable[[], None] = lambda: None,
    run: RunFolder | None = None,
    service: Service | None = None,
) -> ASGIApp:
    """The ASGI application that serves ``engine``, the model of ``run``.

    ``started`` is called at the end of its startup. ``service`` answers the queries; without it,
    one in this process.

    :raises UsageError: other machines could reach it without a token.
    """
    rules = AccessRules(settings.host, settings.token)
    service = service or Service(engine, settings.limits, settings.threshold)
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

    ``load`` gives the engine, the model of ``run``; if it can be pickled, several processes answer
    once several queries are in progress. ``started`` is called with the port when requests can be
    sent.

    :raises UsageError: the address cannot be used, or is open to others without a token.
    """
    AccessRules(settings.host, settings.token)
    with closing(listen(settings.host, settings.port)) as bound:
        engine = prepared(load)
        limits = settings.limits
        num_processes = min(_MAX_PROCESSES, usable_cores())
        if num_processes == 1 or not isinstance(engine.runner, FastRunner):
            num_processes = 0
        num_slots = _CACHE_BYTES // (engine.runner.slot_bytes * (num_processes + 1))
        running = max(2, min(limits.max_running, num_slots // 2))
        recent = max(2, min(limits.max_recent, num_slots - running))
        limits = replace(limits, max_running=running, max_recent=recent)
        settings = replace(settings, limits=limits)
        service = ScaledService(engine, limits, settings.threshold, load, num_processes)
        try:
            serve_on(
                bound,
                application(
                    engine, settings, lambda: started(bound.getsockname()[1]), run, service
                ),
                lifespan="on",
                limit_concurrency=limits.max_connections,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(limits.drain_seconds),
            )
        finally:  # also where uvicorn leaves out the end of the application's lifespan
            service.stop_processes()


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
