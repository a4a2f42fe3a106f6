"""SIGTERM in processes of their own, as process 1 of a namespace where the system allows it."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from quatrain.components.termination import termination_as_interrupt, termination_delayed

BEGIN = """
import time
from quatrain.components import termination as t

def wait():
    for _ in range(600):  # a signal just before a long sleep would be seen at its end
        time.sleep(0.1)
"""
PROCESS_1 = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]


@pytest.fixture(autouse=True)
def hangup_is_heard():
    """Undoes a nohup of whoever runs the tests, which children inherit."""
    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, handler)


def can_unshare():
    return subprocess.run([*PROCESS_1, "true"], capture_output=True, check=False).returncode == 0


def run_and_stop(code, number=signal.SIGTERM, prefix=()):
    """Returns the exit code of a program that got a signal when it had printed a line."""
    program = BEGIN + textwrap.dedent(code)
    child = subprocess.Popen(
        [*prefix, sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    pid = child.pid
    if prefix:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            pid = int(children.read().split()[0])
    os.kill(pid, number)
    began = time.monotonic()
    text, _ = child.communicate(timeout=20)
    return child.returncode, text, time.monotonic() - began


WAITS = """
with t.exit_on_termination():
    try:
        print("ready", flush=True)
        wait()
    finally:
        print("closed")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_closes_what_it_has_open_and_exits_with_128_and_the_signal(number):
    code, text, seconds = run_and_stop(WAITS, number)
    assert (code, text) == (128 + number, f"closed\nstopped by {number.name}\n")
    assert seconds < 10


@pytest.mark.skipif(not can_unshare(), reason="the system gives no namespace of processes")
def test_process_1_of_a_container_ends_too():
    code, text, _ = run_and_stop(WAITS, prefix=PROCESS_1)
    assert (code, text) == (143, "closed\nstopped by SIGTERM\n")


def test_an_inner_block_and_words_that_a_library_adds_change_nothing():
    code, text, _ = run_and_stop("""
    with t.exit_on_termination():
        try:
            with t.termination_as_interrupt():
                print("ready", flush=True)
                wait()
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"{error} [while running 'Engineer']") from error
    """)
    assert (code, text) == (143, "stopped by SIGTERM\n")


def test_a_process_that_does_not_end_by_itself_is_ended_after_the_grace():
    code, _, seconds = run_and_stop("""
    t.GRACE_S = 0.5
    with t.exit_on_termination():
        while True:
            try:
                print("ready", flush=True)
                wait()
            except KeyboardInterrupt:
                pass
    """)
    assert code == 143 and 0.4 < seconds < 10


def test_threads_that_go_on_do_not_delay_the_end():
    code, _, seconds = run_and_stop("""
    import concurrent.futures
    with t.exit_on_termination():
        pool = concurrent.futures.ThreadPoolExecutor()
        pool.submit(time.sleep, 60)
        print("ready", flush=True)
        wait()
    """)
    assert code == 143 and seconds < 10


def test_nohup_is_respected():
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with termination_as_interrupt():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, handler)


def test_a_signal_within_a_delayed_block_comes_after_it():
    steps = []

    def work():
        with termination_delayed():
            signal.raise_signal(signal.SIGTERM)
            steps.append("done")
        steps.append("not reached")

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), termination_as_interrupt():
        work()
    assert steps == ["done"]


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
    with termination_as_interrupt(), termination_delayed():
        pass
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before
