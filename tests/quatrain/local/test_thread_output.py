"""What one thread prints goes to its log; what others print does not."""

import io
import sys
import threading

from quatrain.local.thread_output import thread_output_to


def test_only_the_thread_of_the_context_prints_to_the_log(capsys):
    log = io.StringIO()
    with thread_output_to(log):
        print("own")
        print("own error", file=sys.stderr)
        other = threading.Thread(target=print, args=["other"])
        other.start()
        other.join()
    print("after")
    assert log.getvalue() == "own\nown error\n"
    assert capsys.readouterr() == ("other\nafter\n", "")


def test_who_kept_the_stream_prints_on_after_the_context(capsys):
    log = io.StringIO()
    with thread_output_to(log):
        kept = sys.stdout
    log.close()
    print("later", file=kept)
    assert capsys.readouterr().out == "later\n"
