"""With `--json`, a verb that prints a table prints one JSON document instead."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from quatrain.cli import main
from quatrain.cli.entry import cli

ROOT = Path(__file__).parents[3]
RUN = next((ROOT / "tests/fixtures/root-0.1.0/root/toys").glob("2*351-*"))


@pytest.fixture
def quatrain(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--json"])
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture
def spec_path(tmp_path, spec):
    rows = "".join(f"{i},{'true' if i % 3 else 'false'}\n" for i in range(200))
    (tmp_path / "toy.csv").write_text(f"x,y\n{rows}", encoding="utf-8")
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump({**spec.as_document(), "source": str(tmp_path / "toy.csv")}))
    return path


def test_tiers_prints_each_tier_with_its_machines_and_price(quatrain):
    code, out, err = quatrain("tiers")
    tiers = json.loads(out)
    assert (code, err) == (0, "")
    assert [tier["name"] for tier in tiers][:3] == ["BASIC", "STANDARD_1", "PREMIUM_1"]
    assert tiers[5]["pools"] == [] and tiers[5]["usd_per_hour"] is None
    code, out, _ = quatrain("tiers", "STANDARD_1")
    assert json.loads(out) == tiers[1]
    assert tiers[1]["pools"][1]["machine_type"] == "n1-standard-8"
    assert tiers[1]["pools"][1]["replica_count"] == 4
    assert tiers[1]["was_usd_per_hour"] == 1.988
    assert 2.1 < tiers[1]["usd_per_hour"]["low"] < 2.2


def test_check_prints_the_spec_in_short_its_sample_and_its_warnings(quatrain, spec_path):
    code, out, err = quatrain("check", spec_path, "--set", "train.tier=STANDARD_1")
    assert (code, err) == (0, "")
    document = json.loads(out)
    rows = document.pop("sampled")
    assert rows["read"] == 200
    assert sum(rows.values()) == 400
    assert isinstance(document.pop("warnings"), list)
    assert document == {
        "spec": "toy.yaml",
        "name": "toy",
        "label": "y",
        "task": "binary",
        "columns": ["x", "y"],
        "features": ["x"],
        "tier": "STANDARD_1",
        "notes": [],
        "trained": "",
    }


def test_report_prints_the_record_the_metrics_and_the_page_of_a_run(quatrain):
    code, out, err = quatrain("report", RUN)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["folder"] == str(RUN)
    assert document["run"] == json.loads((RUN / "run.json").read_text())
    assert document["metrics"] == json.loads((RUN / "metrics.json").read_text())
    assert document["page"] == str(RUN / "report.html")


def test_report_of_a_killed_run_says_so_and_has_no_metrics(quatrain, tmp_path):
    record = json.loads((RUN / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**record, "status": "running", "pid": 2**30}))
    document = json.loads(quatrain("report", tmp_path)[1])
    assert document["run"]["status"] == "killed"
    assert (document["metrics"], document["page"]) == (None, None)


@pytest.mark.parametrize("words", [["tiers", "STANDART"], ["report", os.devnull], ["check", "x"]])
def test_an_error_stays_a_sentence_on_stderr(quatrain, words):
    code, out, err = quatrain(*words)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")


def verbs_with_json(group=cli, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs_with_json(command, (*path, name))
        elif any("--json" in parameter.opts for parameter in command.params):
            yield " ".join((*path, name))


def test_the_page_lists_the_document_of_each_verb_that_has_one():
    section = (ROOT / "docs/command-line.md").read_text().split("## JSON for programs")[1]
    documented = re.findall(r"^\| `([a-z ]+)` \|", section.split("\n## ")[0], re.M)
    assert sorted(documented) == sorted(verbs_with_json())
