"""The worker processes of a local run: one process imports what they need, and forks them off.

It is started before anything else of the run, so that they are ready when there is work. They end
at once, what is in memory being left to the system, where Beam's own take 0.3 CPU-s.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import NoReturn

from components.beam import import_local_beam
from trainer.importing import uncollected


def main() -> None:
    """Forks off a worker for each line of standard input, its environment as JSON; waits for all.

    No thread of Python runs here, which a fork would lose.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner is told too, and ends its workers
    load()
    for line in sys.stdin:
        if os.fork() == 0:
            _work(json.loads(line))
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def load() -> None:
    """Imports what a worker runs, and what the steps are unpickled from."""
    with uncollected():
        import_local_beam()
        import components.preprocess.pipeline  # noqa: F401


def _work(environment: Mapping[str, str]) -> NoReturn:
    """Works until the runner has no more work, then ends the process."""
    from apache_beam.runners.worker import sdk_worker_main

    os.environ.update(environment)
    # It warns that there is no session of a notebook to be unpickled.
    logging.getLogger(sdk_worker_main.__name__).setLevel(logging.ERROR)
    status = 1
    try:
        sdk_worker_main.main([])
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
