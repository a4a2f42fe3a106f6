"""A deployed model is our own server, which answers 503 unless its golden rows match."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.components.artifacts import sha256_of, write_json
from quatrain.components.errors import QuatrainError, ReleaseError
from quatrain.components.serve.online.service import Service
from quatrain.components.serve.online.version import Slot, load_version
from quatrain.components.serve.served_model import ServedModel
from quatrain.trainer import golden
from tests.components.release.conftest import IMAGE, InMemory, Project


class OurServer:
    """The server of our image, in process."""

    def __init__(self, folder: Path) -> None:
        slot = Slot()
        try:
            slot.version = load_version(str(folder))
        except QuatrainError as error:
            self.log = str(error)
        self.service = Service(slot)

    def call(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        statuses: list[str] = []
        request = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        chunks = self.service(request, lambda status, headers: statuses.append(status))
        return int(statuses[0].split()[0]), json.loads(b"".join(chunks))

    def health(self) -> int:
        return self.call("GET", "/health")[0]

    def predict(self, body: bytes) -> tuple[int, Any]:
        return self.call("POST", "/predict", body)


def with_golden(model: Path, folder: Path, *, damage: float = 0.0) -> Path:
    """Copies a model, and writes golden rows with a missing number and a missing text."""
    shutil.copytree(model, folder / "model")
    delay = np.array([5.0, np.nan, -3.5])
    carrier = np.array([b"UA", b"AA", b""], object)
    served = ServedModel.load(model)
    answers = served.answer({"delay": delay, "carrier": pa.array(["UA", "AA", ""])})
    output = "probabilities" if served.classes else "prediction"
    metadata = json.loads((folder / "model/metadata.json").read_text())
    arguments = {i["name"]: i["argument"] for i in metadata["inputs"]}
    columns = {arguments["delay"]: delay, arguments["carrier"]: carrier}
    path = folder / "model" / golden.NAME
    path.write_text(golden.write(columns, answers + np.float32(damage), output))
    metadata["files"][golden.NAME] = sha256_of(path)
    write_json(folder / "model/metadata.json", metadata)
    return folder


def candidate_of(folder: Path) -> InMemory:
    read = InMemory.read("sizes", "r1", str(folder), IMAGE, {"metrics": {}})
    return dataclasses.replace(read, artifact="gs://b/r1/model")


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_our_server_is_deployed_and_answers_the_golden_rows(
    project: Project, models: dict[str, Path], tmp_path: Path, task: str
) -> None:
    folder = with_golden(models[task], tmp_path / "r1")
    project.serving.start = lambda model: OurServer(folder / "model")

    project.release(candidate_of(folder))

    assert project.runs == {"r1": 100}
    assert len(project.serving.requests) >= 3
    assert {request[3] for request in project.serving.requests} == {"2xx"}


def test_our_server_with_a_golden_row_that_differs_is_never_deployed(
    project: Project, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = with_golden(models["binary"], tmp_path / "r1", damage=0.01)
    servers = []

    def start(model: Any) -> OurServer:
        servers.append(OurServer(folder / "model"))
        return servers[-1]

    project.serving.start = start
    with pytest.raises(ReleaseError, match="never became ready"):
        project.release(candidate_of(folder))

    assert "to golden row" in servers[0].log and not project.endpoint.deployed_models
