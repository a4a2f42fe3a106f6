"""The worker processes of a local run: one process imports what they need, and forks them.

It imports while the process of the step plans, so that workers are ready when there is work. They
end at once and leave their memory to the system, where Beam's own take 0.3 CPU-s to end.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr
from typing import Any, NoReturn

from quatrain.components.engine.beam_import import LOCAL, import_local_beam
from quatrain.trainer.importing import uncollected

Ready = tuple[subprocess.Popen[bytes], int]
"""The process, and the descriptor that it reads. It ends once that is closed, after its workers."""
_started: list[Ready] = []


def import_beam(runner: str, options: Mapping[str, Any], module: str) -> None:
    """Imports the part of Beam that a step on this machine needs, and starts its processes early.

    Does nothing for any other engine, which needs all of Beam.

    Args:
        runner: The engine.
        options: Beam's options for it.
        module: The module of the pipeline's steps, which workers unpickle.
    """
    if runner != LOCAL:
        return
    if options.get("direct_num_workers", 1) != 1 and "environment_type" not in options:
        start(module)
    import_local_beam()


def start(module: str) -> None:
    """Starts the process early, before this one imports Beam; the next call of `take` returns it.

    Args:
        module: The module of the pipeline's steps, which workers unpickle.
    """
    _started.append(_start(module))


def take(module: str) -> Ready:
    """Returns the process that was started, or a new one that imports `module`."""
    return _started.pop() if _started else _start(module)


def _start(module: str) -> Ready:
    """Starts the process, with a pipe as its standard input."""
    reading, writing = os.pipe()
    command = [sys.executable, "-P", "-m", "quatrain.components.engine.local_worker", module]
    process = subprocess.Popen(command, stdin=reading)
    os.close(reading)
    return process, writing


def main() -> NoReturn:
    """Forks a worker for each line of standard input, which holds its environment as JSON.

    Waits for all of them in the end. No other thread may run here, since a fork would lose it. The
    process ends at once, as its workers do.
    """
    # The runner gets SIGINT as well, and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load(sys.argv[1])
    for line in sys.stdin:
        if os.fork() == 0:
            _work(json.loads(line))
    while True:
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)


def load(module: str) -> None:
    """Imports Beam, then the module that the steps are unpickled from."""
    with uncollected():
        import_local_beam()
        importlib.import_module(module)


def _work(environment: Mapping[str, str]) -> NoReturn:
    """Works until the runner has no more work, then ends the process."""
    from apache_beam.runners.worker import sdk_worker_main

    from quatrain.components.engine.failures import StreamWithoutTracebacks

    os.environ.update(environment)
    # Beam would warn that there is no notebook session to unpickle.
    logging.getLogger(sdk_worker_main.__name__).setLevel(logging.ERROR)
    status = 1
    try:
        with redirect_stderr(StreamWithoutTracebacks(sys.stderr)):
            sdk_worker_main.main([])
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
