"""The locked requirements of the images: one set of versions, but for the TensorFlow of TPUs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def locked(name: str) -> set[tuple[str, str]]:
    """The name and version of each package in a file of requirements."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return set(re.findall(r"^([a-z0-9._-]+)==([^ ]+)", text, re.M))


def names(packages: set[tuple[str, str]]) -> set[str]:
    return {name for name, _ in packages}


def test_cuda_is_added_to_the_versions_of_the_cpu_image() -> None:
    added = names(locked("cuda") - locked("runtime"))
    assert not added & names(locked("runtime"))
    assert {"nvidia-cudnn-cu12", "nvidia-nccl-cu12"} <= added


def test_tpu_replaces_tensorflow_and_nothing_else() -> None:
    tpu = locked("tpu")
    assert {("tensorflow-tpu", "2.20.0"), ("libtpu", "0.0.21")} <= tpu
    assert names(locked("runtime") - tpu) == {"tensorflow"}  # both would fill one folder
