"""Waitress as it serves here: lanes, bounds on connections, and an end in order."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from quatrain.components.errors import PortError
from quatrain.components.serve.online.counters import Counters
from quatrain.components.serve.online.service import MAX_BODY_BYTES, RECEIVED, Service
from quatrain.components.termination import SIGNALS
from quatrain.components.wording import first_line

THREADS = 4
MAX_CONNECTIONS = 300
"""Beyond it, the oldest connections that have sent no whole request are closed."""
SILENCE_S = 20
"""A connection that is silent for so long is closed."""
STOP_S = 15.0
"""How long a stopped server goes on with requests; a container is killed after 30 s."""
ARRIVAL_S = 2.0
"""How long a stopped server waits for more of a request that still arrives."""
NOBODY = 65534


class _Lanes:
    """Waitress's dispatcher of requests, with a thread for all that is not a prediction.

    So a probe of the health route never waits for predictions.
    """

    def __init__(self, predict_route: str) -> None:
        from waitress.task import ThreadedTaskDispatcher

        self.predict_route = predict_route
        self.predictions, self.others = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        self.predictions.set_thread_count(THREADS)
        self.others.set_thread_count(1)

    def add_task(self, channel: Any) -> None:
        """Queues the first request of a connection.

        Waitress has 501 for a Transfer-Encoding that it does not know, which is a client's fault.
        """
        from waitress.utilities import BadRequest

        requests = channel.requests
        for request in requests:
            if request.error and request.error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                request.error = BadRequest(request.error.body)
        path = getattr(requests[0], "path", "") if requests else ""
        (self.predictions if path == self.predict_route else self.others).add_task(channel)

    def shutdown(self) -> None:
        """Drops what is still queued."""
        for lane in (self.predictions, self.others):
            lane.shutdown(timeout=0)


def _channel(counters: Counters) -> Any:
    """Returns Waitress's connection, with a 400 for each line that its parser cannot convert.

    Of a length of 5 000 digits, or of `http://[`, it gives no answer at all. A request also knows
    when its last byte came, and what Waitress answers by itself is counted.
    """
    from waitress.channel import HTTPChannel
    from waitress.parser import HTTPRequestParser, ParsingError
    from waitress.task import ErrorTask, WSGITask

    class Parser(HTTPRequestParser):
        complete_at = 0.0

        def received(self, data: bytes) -> int:
            consumed = super().received(data)
            if self.completed:
                self.complete_at = time.monotonic()
            return consumed

        def parse_header(self, header_plus: bytes) -> None:
            try:
                super().parse_header(header_plus)
            except ValueError as error:
                raise ParsingError(f"the request cannot be read: {first_line(error)}") from error

    class Answer(WSGITask):
        def get_environment(self) -> dict[str, Any]:
            return {**super().get_environment(), RECEIVED: self.request.complete_at}  # type: ignore[attr-defined]

    class Refusal(ErrorTask):
        def execute(self) -> None:
            super().execute()
            error: Any = self.request.error  # type: ignore[attr-defined]
            counters.answered("other", error.code, 0.0)

    class Channel(HTTPChannel):
        parser_class = Parser
        task_class = Answer
        error_task_class = Refusal

    return Channel


@contextmanager
def _stop_signals(wake: Callable[[], Any]) -> Iterator[list[int]]:
    """Yields a list that gets the number of a signal to end, in place of what it does otherwise."""
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        received.append(number)
        wake()

    former = {number: signal.signal(number, note) for number in (*SIGNALS, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _listen(service: Service, host: str, port: int, way_out: str) -> Any:
    """Returns Waitress's server, which listens at a port.

    Raises:
        PortError: Another program has the port, or this one may not listen at it.
    """
    from waitress.server import create_server

    # Else each request that waits for another is a line of stderr, which a cloud takes for an error
    # and which blocks a server whose stderr is a pipe that nobody reads.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    lanes: Any = _Lanes(service.predict_route)
    try:
        server: Any = create_server(
            service,
            host=host,
            port=port,
            _dispatcher=lanes,
            asyncore_use_poll=True,
            channel_timeout=SILENCE_S,
            cleanup_interval=SILENCE_S // 4,
            connection_limit=2 * MAX_CONNECTIONS,
            max_request_body_size=2
            * MAX_BODY_BYTES,  # a body little above the bound gets a sentence
            inbuf_overflow=2 * MAX_BODY_BYTES,  # in memory, not in a file
        )
    except OSError as error:
        raise PortError(
            f"port {port} cannot be listened at: {error.strerror}; {way_out}"
        ) from error
    server.channel_class = _channel(service.counters)
    return server


class _Loading:
    """The first version, which a thread loads while requests are answered by 503.

    Attributes:
        is_over: Whether it has ended, well or not.
        error: What ended it.
    """

    def __init__(self, load: Callable[[], None], wake: Callable[[], Any]) -> None:
        self.is_over = False
        self.error: Exception | None = None
        self._load, self._wake = load, wake
        threading.Thread(target=self._run, name="loading", daemon=True).start()

    def _run(self) -> None:
        try:
            self._load()
        except Exception as error:  # raised again by the thread that serves
            self.error = error
        self.is_over = True
        self._wake()


def serve_until_stopped(
    service: Service,
    port: int,
    load: Callable[[], None],
    ready: Callable[[int], None],
    *,
    host: str = "0.0.0.0",  # noqa: S104 - a container's port
    way_out: str = "set AIP_HTTP_PORT to another port",
) -> None:
    """Serves until a signal to end, then takes no connection and answers what it has begun.

    It listens before there is a version; until then, requests are answered by 503.

    Args:
        service: The application.
        port: The port to listen at; 0 for any that is free.
        load: Puts the first version into the slot; it is called in a thread of its own.
        ready: Is called with the port, once there is a version.
        host: The address to listen at.
        way_out: What to do where the port cannot be had.

    Raises:
        PortError: The port cannot be had.
        Exception: What `load` or `ready` has raised.
    """
    from waitress import wasyncore

    server = _listen(service, host, port, way_out)

    def loop(timeout_s: float) -> None:
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=server._map, count=1)
        _close_oldest(server)

    with _stop_signals(server.pull_trigger) as stopped:
        loading: _Loading | None = _Loading(load, server.pull_trigger)
        while not stopped:
            loop(1.0)
            if loading and loading.is_over:
                if loading.error:
                    raise loading.error
                ready(server.effective_port)
                loading = None
        end = time.monotonic() + STOP_S
        for _ in range(10):  # connections that the kernel has accepted, and their first bytes
            loop(0.02)
        server.accepting = False
        server.del_channel()
        server.socket.close()
        while time.monotonic() < end and any(map(_is_busy, server.active_channels.values())):
            loop(0.05)
    print(f"stopped by {signal.Signals(stopped[0]).name}", flush=True)


def _is_busy(channel: Any) -> bool:
    """Whether a connection has a request, one that still arrives, or an answer to send."""
    arrives = channel.request and time.time() - channel.last_activity < ARRIVAL_S
    return bool(channel.requests or arrives or channel.total_outbufs_len)


def _close_oldest(server: Any) -> None:
    """Closes the oldest connections without a complete request where there are too many.

    Connections that send nothing, or a byte now and then, cannot keep others away.
    """
    if len(server.active_channels) <= MAX_CONNECTIONS:
        return
    idle = [c for c in server.active_channels.values() if not (c.requests or c.total_outbufs_len)]
    for channel in sorted(idle, key=lambda c: c.creation_time)[: len(idle) // 2]:
        channel.handle_close()


def drop_root() -> None:
    """Becomes `nobody`: once the model is loaded and the port is open, nothing needs root."""
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    except OSError as error:
        print(f"warning: the server goes on as root: {error}", file=sys.stderr, flush=True)
