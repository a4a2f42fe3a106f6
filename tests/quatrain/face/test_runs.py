"""`quatrain.runs` lists what `quatrain list` prints, and each run can be opened."""

import re
from pathlib import Path

import pytest

import quatrain

OLD = Path(__file__).parents[2] / "fixtures/root-0.1.0/root"


def test_the_runs_of_a_model_show_what_the_command_line_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from quatrain.cli import main

    for name in ("toys", ""):
        with pytest.raises(SystemExit):
            main(["list", *([name] if name else []), "--root", str(OLD)])
        printed = capsys.readouterr().out
        assert repr(quatrain.runs(OLD, name)) == printed.removesuffix("\n")


def test_a_notebook_shows_the_runs_as_a_table() -> None:
    listed = quatrain.runs(OLD, "toys")
    page = listed._repr_html_()
    assert page.startswith("<table><caption")
    assert page.count("<tr>") == len(listed) + 1
    table, notes = page.split("</table>")
    cells = [re.sub("<[^>]*>", " ", row).split() for row in table.split("<tr>")[1:]]
    *lines, note = repr(listed).splitlines()
    assert cells == [line.split() for line in lines]
    assert notes == f"<div>{note}</div>"


def test_a_listed_run_opens_by_its_place() -> None:
    listed = quatrain.runs(OLD, "toys", last=1)[0]
    assert quatrain.Run(listed.place).name == listed.name == "toys"
    assert listed.metric is not None
    assert listed.metric["name"] == "auc"


def test_a_root_without_runs_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(quatrain.QuatrainError, match="has no runs; name another root"):
        quatrain.runs(tmp_path)
    with pytest.raises(quatrain.QuatrainError, match="is no folder"):
        quatrain.runs(tmp_path / "gone")
