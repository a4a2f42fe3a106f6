"""Work on a few elements at once, with the results in the order of the elements."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MOST_THREADS = 4
"""The threads, unless a number is given: one answers a batch on one core, so each core has one."""

T = TypeVar("T")
R = TypeVar("R")


def default_threads() -> int:
    """Returns one thread for each core that this process may use, up to `MOST_THREADS`."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MOST_THREADS)
    return min(os.cpu_count() or 1, MOST_THREADS)


def map_ahead(function: Callable[[T], R], elements: Iterable[T], n_threads: int) -> Iterator[R]:
    """Yields a function's results in order, while it works on the next elements.

    At most one element more than there are threads is taken before its result is wanted, so the
    memory is bounded. An error is raised where its result would be yielded.
    """
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for element in elements:
                waiting.append(pool.submit(function, element))
                del element
                if len(waiting) > n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
