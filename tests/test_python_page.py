"""The blocks of docs/python.md run, and what it says of `run` is so."""

import ast
import inspect
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import quatrain

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/python.md").read_text()
README = (ROOT / "README.md").read_text()
FIXTURE = ROOT / "tests/fixtures/root-0.1.0"


def test_the_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(FIXTURE / "toys.csv", tmp_path)
    shutil.copytree(FIXTURE / "root", tmp_path / "runs", symlinks=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(block, "python.md", "exec"), names)  # noqa: S102 - our own page
    assert names["proposal"].spec.label == "sold"
    assert names["test"].height == 67
    assert names["answers"].column_names[-1] == "predicted_class"


@pytest.mark.whole
def test_the_block_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"\n\n((?:    .*quatrain\.(?:.*\n    )+.*\n))", README)
    rooms = [1 + i % 7 for i in range(400)]
    frame = pl.DataFrame(
        {"rooms": rooms, "price": [90.0 * n + i % 11 for i, n in enumerate(rooms)]}
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"quatrain": quatrain, "frame": frame}
    *statements, last = ast.parse(textwrap.dedent(block)).body
    assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(statements, []), "README.md", "exec"), names)  # noqa: S102 - our own
    answers = eval(compile(ast.Expression(last.value), "README.md", "eval"), names)  # noqa: S307
    assert abs(answers["prediction"][0].as_py() - 275) < 30
    assert names["run"].gate.passed


def test_the_calls_of_run_have_arguments_that_exist() -> None:
    lines = re.findall(r"^    (\w+ = quatrain\.run\(.*)$", PAGE, flags=re.M)
    assert len(lines) == 2
    for line in lines:
        call: Any = ast.parse(line).body[0]
        given = [keyword.arg for keyword in call.value.keywords]
        assert set(given) <= set(inspect.signature(quatrain.run).parameters)


@pytest.mark.parametrize(
    ("heading", "thing"), [("A run", quatrain.Run), ("A model", quatrain.Model)]
)
def test_every_public_name_stands_on_the_page(heading: str, thing: type) -> None:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    public = {name for name in vars(thing) if not name.startswith("_")} - {"metadata", "place"}
    public -= {"task", "label"}  # plain
    assert not [name for name in public if name not in section]
