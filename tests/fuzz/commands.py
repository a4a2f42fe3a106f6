"""The command line: any words end with 0, 1 or 2 and a sentence, never with a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from quatrain.cli.entry import main
from tests.components.conftest import delays, model_of
from tests.fuzz.documents import RUN
from tests.fuzz.door import Door

_VERBS = [
    *(
        ["init", "rows.csv", "--target", "arrival", "-o", "new.yaml"],
        ["init", "*.csv", "--target", "x"],
    ),
    *(["check", "spec.yaml"], ["check", "spec.yaml", "--set", "label=day", "--tier", "BASIC"]),
    *(
        ["check", "spec.yaml", "--at", "2013-07-01"],
        ["tiers"],
        ["tiers", "CUSTOM"],
        ["tiers", "BASIC_GPU"],
    ),
    *(["report", "run"], ["compile", "-o", "out/x.yaml"], ["run", "absent.yaml", "--root", "runs"]),
    *(
        ["predict", "run", "rows.csv", "-o", "p.csv"],
        ["doctor", "spec.yaml", "--cloud", "absent.yaml"],
    ),
    *(
        ["submit", "absent.yaml"],
        ["schedule", "list"],
        ["schedule", "apply", "absent.yaml", "--cron", "x"],
    ),
    *(
        ["upload", "--cloud", "absent.yaml"],
        ["--version"],
        ["--help"],
        ["schedule"],
        ["check", "--help"],
    ),
]
_WORDS = [
    *("", "-", "--", "-h", "--help", "--set", "--tier", "--at", "--cloud", "-o", "--target"),
    *(
        "x",
        "a.b=c",
        "=",
        "label=",
        "features=[",
        "rows.csv",
        "spec.yaml",
        "run",
        "/",
        ".",
        "..",
        "é",
        "*",
    ),
    *(
        "\ud800",
        "\x1b[31m",
        "a" * 5000,
        "gs://b/x",
        "file:///etc/passwd",
        "http://x/y",
        "bq://a.b.c",
    ),
    *(
        "--keep",
        "--rejected",
        "b.csv",
        "--workers",
        "-1",
        "--prices",
        "--image",
        "--root",
        "2013-07-01",
    ),
    *(
        "/dev/null",
        "/dev/zero",
        "~",
        "rows.csv/x",
        "new.yaml",
        "--cron",
        "* * * * *",
        "--runner-option",
    ),
]
_LEFT_OUT = re.compile(r"gs://|bq://|http://|https://")
"""Words that would ask hosts of the network."""


@st.composite
def _commands(draw: Any) -> list[str]:
    words = list(draw(st.sampled_from(_VERBS)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(words)))
        edit = draw(st.sampled_from(["insert", "insert", "replace", "delete"]))
        words[at : at + (edit != "insert")] = [draw(st.sampled_from(_WORDS))] * (edit != "delete")
    return words


def _make_check(folder: Path) -> Callable[[list[str]], str]:
    spec = yaml.safe_dump(model_of("rows.csv").as_document(), sort_keys=False)

    def check(words: list[str]) -> str:
        if any(_LEFT_OUT.search(word) for word in words) or (
            words[:1] == ["run"] and "spec.yaml" in words
        ):
            return "left out"  # they ask the network, or train
        place = folder / "place"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / "rows.csv").write_text(delays(60))
        (place / "spec.yaml").write_text(spec)
        (place / "run").symlink_to(RUN)
        os.chdir(place)
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main(words)
        except SystemExit as ended:
            code = ended.code
        finally:
            os.chdir(folder)
        printed = err.getvalue()
        assert code in (0, 1, 2), (code, printed)
        assert "unexpected" not in printed and "Traceback" not in printed, printed
        assert code == 0 or "error: " in printed or "Usage" in printed or words[0] == "doctor", (
            printed
        )
        return f"exit {code}"

    return check


DOORS = (Door("commands", _commands(), _make_check, 150),)
