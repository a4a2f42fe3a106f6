"""`quatrain.init` and `quatrain.check`: what they show, and what they raise."""

from pathlib import Path

import pytest

import quatrain


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = "".join(f"{i % 97},{'red' if i % 3 else 'green'},{i % 2}\n" for i in range(600))
    (tmp_path / "toys.csv").write_text("size,colour,new\n" + rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_proposal_shows_what_the_command_line_prints(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from quatrain.cli import main

    with pytest.raises(SystemExit):
        main(["init", "toys.csv", "--target", "new"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "next: quatrain run toys.yaml"
    again = quatrain.init("toys.csv", "new", output="other.yaml", name="toys")
    assert repr(again).replace("other.yaml", "toys.yaml").splitlines() == printed[:-1]
    assert (folder / "other.yaml").read_text() == again.text


def test_a_proposal_fits_a_terminal(folder: Path) -> None:
    many = [f"{i % 97},{'ABCDEFGH'[i % 8] * 30},{i % 2},{i % 2}" for i in range(600)]
    (folder / "wide.csv").write_text("\n".join(["size,a_column_with_a_long_name,new,copy", *many]))
    lines = repr(quatrain.init("wide.csv", "new")).splitlines()
    assert any(line.startswith("look at: ") for line in lines)
    assert max(map(len, lines)) <= 100


def test_a_proposal_is_written_only_on_request(folder: Path) -> None:
    proposal = quatrain.init("toys.csv", "new", name="bought")
    assert [path.name for path in folder.iterdir()] == ["toys.csv"]
    assert repr(proposal).startswith("bought: new (binary) from 2 of 3 columns")
    written = proposal.write(folder / "mine.yaml")
    assert written.path == folder / "mine.yaml"
    assert "name: bought" in written.text
    assert "uri: toys.csv" in written.text
    with pytest.raises(quatrain.SpecError, match="already exists; remove it, or choose another"):
        proposal.write("mine.yaml")


def test_a_proposal_names_a_file_only_once_it_has_one(folder: Path) -> None:
    proposal = quatrain.init("toys.csv", "new")
    first = "# Proposed by quatrain.init; it runs as it is: quatrain.run(proposal)"
    assert proposal.text.splitlines()[0] == first
    first = "# Written by quatrain init; it runs as it is: quatrain run mine.yaml"
    assert proposal.write("mine.yaml").text.splitlines()[0] == first
    assert Path("mine.yaml").read_text().splitlines()[0] == first


def test_init_and_check_report_that_they_are_at_work(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from quatrain.terminal import heartbeat

    monkeypatch.setattr(heartbeat, "FIRST_S", 0.0)
    monkeypatch.setattr(heartbeat, "POLL_S", 0.001)
    proposal = quatrain.init("toys.csv", "new")
    assert capsys.readouterr().err.startswith("init: still at work after 0 s\n")
    quatrain.check(proposal)
    assert capsys.readouterr().err.startswith("check: still at work after 0 s\n")


def test_a_checked_spec_shows_what_the_command_line_prints(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from quatrain.cli import main

    quatrain.init("toys.csv", "new", output="toys.yaml")
    checked = quatrain.check("toys.yaml", tier="STANDARD_1")
    assert checked.tier == "STANDARD_1"
    assert checked.rows["read"] == 600
    with pytest.raises(SystemExit):
        main(["check", "toys.yaml", "--tier", "STANDARD_1"])
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [checked.sampled, *checked.conclusion()]
    assert printed.err == "".join(f"warning: {warning}\n" for warning in checked.warnings)
    assert repr(checked).splitlines()[0] == "sampled 600 rows: " + checked.sampled[18:]


def test_check_raises_every_mistake_at_once(folder: Path) -> None:
    proposal = quatrain.init("toys.csv", "new")
    with pytest.raises(quatrain.SpecError) as refusal:
        quatrain.check(proposal, set={"train.epoch": 3, "label": "old"})
    assert [line.split(": ")[1] for line in str(refusal.value).splitlines()] == [
        "train.epoch",
        "label",
    ]


def test_a_wrong_tier_trainer_or_window_is_an_error_of_ours(folder: Path) -> None:
    proposal = quatrain.init("toys.csv", "new")
    for verb in (quatrain.check, quatrain.run):
        with pytest.raises(quatrain.TierError, match="unknown tier 'BASIK'"):
            verb(proposal, tier="BASIK")
        with pytest.raises(quatrain.QuatrainError, match=r"gone\.py does not exist"):
            verb(proposal, set={"train.trainer": "gone.py"})
        with pytest.raises(quatrain.QuatrainError, match="the spec has no window"):
            verb(proposal, at="2013-07-01")


def test_a_wrong_engine_or_root_is_an_error_of_ours(folder: Path) -> None:
    proposal = quatrain.init("toys.csv", "new")
    with pytest.raises(quatrain.RunnerError, match="--workers belongs to runner local"):
        quatrain.run(proposal, runner="flink", workers=2)
    with pytest.raises(quatrain.RunnerError, match="--workers is -1; write at least 1"):
        quatrain.run(proposal, workers=-1)
    with pytest.raises(quatrain.SpecError, match="gs://b/runs is a uri"):
        quatrain.run(proposal, root="gs://b/runs")


def test_a_file_that_cannot_be_written_is_an_error_of_ours(folder: Path) -> None:
    with pytest.raises(quatrain.SpecError, match="there is no folder gone; create it first"):
        quatrain.init("toys.csv", "new", output="gone/toys.yaml")
    with pytest.raises(quatrain.QuatrainError, match=r"gone\.csv"):
        quatrain.init("gone.csv", "new")
