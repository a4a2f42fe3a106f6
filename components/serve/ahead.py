"""Work on a few elements at once, with the results in the order of the elements."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
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
        try:
            yield from map_in(pool, function, elements, n_threads)
        finally:
            pool.shutdown(cancel_futures=True)


def map_in(
    pool: Executor, function: Callable[[T], R], elements: Iterable[T], n_ahead: int
) -> Iterator[R]:
    """Does what `map_ahead` does, in a pool that others may use too.

    At most `n_ahead` elements more than results are taken. An error in taking an element is raised
    after the results of those before it, so any number ahead gives the same error.
    """
    waiting: deque[Future[R]] = deque()
    iterator = iter(elements)
    broken: Exception | None = None
    try:
        while True:
            try:
                element = next(iterator)
            except StopIteration:
                break
            except Exception as error:
                broken = error
                break
            waiting.append(pool.submit(function, element))
            del element
            if len(waiting) > n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if broken is not None:
            raise broken
    finally:
        for future in waiting:
            future.cancel()
