"""A failed child is reported by its last words, never by a traceback."""

from pathlib import Path

import pytest

from quatrain.components.errors import PackageError
from quatrain.components.package.child import run_python

RAISES = "def f():\n    raise ValueError('two\\nlines')\nf()"


def test_a_child_that_raises_reports_its_error_without_the_frames(tmp_path: Path) -> None:
    with pytest.raises(PackageError) as caught:
        run_python("-c", RAISES, cwd=tmp_path)
    assert str(caught.value) == "exit code 1:\nValueError: two\nlines"


def test_a_child_imports_nothing_from_its_working_folder(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise ImportError('queue.py was imported')")
    assert run_python("-c", "import queue; print(queue.Empty.__name__)", cwd=tmp_path) == "Empty\n"


def test_a_child_that_exits_reports_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(PackageError) as caught:
        run_python("-c", "print(*range(9), sep='\\n'); exit(3)", cwd=tmp_path)
    assert str(caught.value) == "exit code 3:\n4\n5\n6\n7\n8"


def test_an_error_in_a_user_s_code_names_its_last_line_there(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "model.py").write_text("import json\n\n\ndef train():\n    return json.loads('{')\n")
    code = f"import sys; sys.path.insert(0, {str(own)!r}); import model; model.train()"
    for path, shown in ((own / "model.py", "mine.py"), (own, "mine/model.py")):
        with pytest.raises(PackageError) as raised:
            run_python("-c", code, cwd=tmp_path, own={path: shown.partition("/")[0]})
        lines = str(raised.value).splitlines()
        assert lines[1] == f"{shown}:5, in train: return json.loads('{{')"
        assert lines[2].startswith("json.decoder.JSONDecodeError: ")
