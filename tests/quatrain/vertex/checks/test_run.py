"""What cannot work is refused by every door: check --cloud, doctor, submit and schedule apply."""

from pathlib import Path

import pytest
import yaml

from tests.quatrain.vertex.conftest import CRON

DOORS = {
    "check": (["check", "toy.yaml", "--cloud", "cloud.yaml"], False),
    "doctor": (["doctor", "toy.yaml", "--offline"], True),
    "submit": (["submit", "toy.yaml"], True),
    "schedule": (["schedule", "apply", "toy.yaml", *CRON], True),
}

L4 = {
    "tier": "CUSTOM",
    "pools": [
        {"machine_type": "g2-standard-8", "accelerator_type": "NVIDIA_L4", "accelerator_count": 1}
    ],
}
TPU = {"machine_type": "ct5lp-hightpu-1t", "tpu_topology": "1x1"}

WRONG = {
    "tuning on spare capacity": (
        {"tier": "BASIC_SPOT", "tune": {"trials": 2}},
        {},
        "tier BASIC_SPOT trains by SPOT, but Vertex AI runs the trials of a tuning on demand",
    ),
    "tuning that waits for machines": (
        {"tier": "A100_FLEX", "tune": {"trials": 2}},
        {"location": "europe-west4"},
        "tier A100_FLEX trains by FLEX_START, but Vertex AI runs the trials",
    ),
    "tuning with a network attachment": (
        {"tune": {"trials": 2}},
        {"psc_interface": "projects/p/regions/europe-west1/networkAttachments/a"},
        "train.tune and psc_interface do not go together",
    ),
    "tuning in reserved ranges": (
        {"tune": {"trials": 2}},
        {"network": "projects/1/global/networks/n", "reserved_ip_ranges": ["r"]},
        "train.tune and reserved_ip_ranges do not go together",
    ),
    "an L4 in a region that does not train it": (
        {"tier": "L4"},
        {},
        "tier L4 has NVIDIA_L4, with which Vertex AI does not train in europe-west1",
    ),
    "an L4 of the spec's own pools": (L4, {}, "tier CUSTOM has NVIDIA_L4, with which Vertex AI"),
    "an A100 where there is none": (
        {"tier": "A100_8"},
        {},
        "NVIDIA_TESLA_A100, with which Vertex AI does not train in europe-west1",
    ),
    "a TPU where there is none": (
        {"tier": "V5E"},
        {"location": "europe-west4"},
        "tier V5E has ct5lp, with which Vertex AI does not train in europe-west4",
    ),
    "a TPU of the spec's own pools": (
        {"tier": "CUSTOM", "pools": [TPU]},
        {"location": "us-south1"},
        "has ct5lp, with which Vertex AI does not train in us-south1",
    ),
    "options that are too large for a task": (
        {},
        {"runner_options": {"experiments": ["x" * 131_072]}},
        "bytes long as the parameters of a task, of which Vertex AI takes 131,072: shorten",
    ),
}


@pytest.fixture
def settings(google):
    """Changes spec and cloud in the working folder."""

    def change(train, cloud):
        spec = yaml.safe_load(Path("toy.yaml").read_text())
        train = {**spec["train"], **train}
        Path("toy.yaml").write_text(yaml.safe_dump({**spec, "train": train}))
        before = yaml.safe_load(Path("cloud.yaml").read_text())
        Path("cloud.yaml").write_text(yaml.safe_dump({**before, **cloud}))
        google.storage.buckets["bucket"].location = cloud.get("location", "europe-west1")
        google.images.labels.clear()

    return change


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_work_is_refused_by_every_door(wrong, door, settings, quatrain, google):
    train, cloud, sentence = WRONG[wrong]
    settings(train, cloud)
    command, has_pipeline = DOORS[door]
    if "runner_options" in cloud and door != "check":
        command = [*command, *([] if door == "doctor" else ["--runner", "dataflow"])]
    code, out, err = quatrain(*command, **({} if has_pipeline else {"file": None}))
    assert code == 1
    assert sentence in out + err
    assert not google.jobs and not google.schedules


@pytest.mark.parametrize("door", DOORS)
def test_the_same_tier_elsewhere_is_no_problem(door, settings, quatrain, google):
    settings({"tier": "BASIC_GPU"}, {"location": "europe-west4"})
    google.images.build("sha256:" + "0a" * 32, "cuda")
    google.location = "europe-west4"
    command, has_pipeline = DOORS[door]
    if door == "check":  # which reads a sample of the rows
        rows = "".join(f"{x},{'true' if x % 2 else 'false'}\n" for x in range(100))
        Path("toy.csv").write_text(f"x,y\n{rows}")
        command = [*command, "--set", "source.uri=toy.csv"]
    code, out, err = quatrain(*command, **({} if has_pipeline else {"file": None}))
    assert (code, "does not train" in out + err) == (0, False)
