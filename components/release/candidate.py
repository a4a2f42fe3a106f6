"""The model that is to be released: what the registry gets of it, and its golden rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quatrain.components.artifacts import canonical_json
from quatrain.components.errors import ArtifactError, ReleaseError
from quatrain.components.storage import read_file, write_file
from quatrain.trainer import golden

PORT, PREDICT, HEALTH = 8080, "/predict", "/health"
COMMAND = ("python", "-P", "-m", "quatrain.components.serve.server")
ALIAS = "champion"
"""The alias of the version that was released last."""
DIGITS = 40
"""The digits of a digest that a label holds, which has at most 63 characters."""
_SCHEMA = "gs://google-cloud-aiplatform/schema/modelevaluation/{}_metrics_1.0.0.yaml"
_METRICS = {
    "auc": "auRoc",
    "average_precision": "auPrc",
    "log_loss": "logLoss",
    "rmse": "rootMeanSquaredError",
    "mae": "meanAbsoluteError",
    "r2": "rSquared",
}
"""The names of Vertex AI's schemata, by those of metrics.json."""
_TYPES = {"float": "number", "int": "integer", "bool": "boolean"}


@dataclass(frozen=True)
class Candidate:
    """A model of a run, as it is to be released.

    Attributes:
        name: The name of the model.
        run: The run that trained it.
        artifact: The gs:// uri of its train step's artifact.
        image: The image that serves it.
        metadata: Its metadata.json.
        digest: The sha256 of that file, which lists those of the other files.
        golden: Its golden rows; None for a model of one's own trainer without any.
        metrics: The metrics of its test rows, by name.
        times: The names of its inputs whose times are written in a format of their own.
    """

    name: str
    run: str
    artifact: str
    image: str
    metadata: Mapping[str, Any]
    digest: str
    golden: Mapping[str, Any] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    times: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, name: str, run: str, artifact: str, image: str, metrics: Mapping[str, Any]
    ) -> Candidate:
        """Reads a model from its folder.

        Args:
            name: The name of the model.
            run: The run that trained it.
            artifact: The uri of the train step's artifact.
            image: The image that serves it, by its digest.
            metrics: metrics.json of the run.

        Raises:
            ArtifactError: The model is gone or not whole.
        """
        folder = f"{artifact.rstrip('/')}/model"
        try:
            data = read_file(f"{folder}/metadata.json")
            metadata = json.loads(data)
            has_golden = golden.NAME in metadata["files"]
            rows = json.loads(read_file(f"{folder}/{golden.NAME}")) if has_golden else None
            transform = json.loads(read_file(f"{folder}/transform.json"))
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise ArtifactError(
                f"{folder} holds no whole model of run {run} ({type(error).__name__}: {error}); "
                f"name another run"
            ) from error
        written = (transform.get("text") or {}).get("columns") or {}
        return cls(
            name,
            run,
            artifact.rstrip("/"),
            image,
            metadata,
            hashlib.sha256(data).hexdigest(),
            rows,
            metrics.get("metrics", {}),
            tuple(n for n, spelling in written.items() if dict(spelling).get("format")),
        )

    @property
    def label(self) -> str:
        """The value of the label `metadata`, by which a version is found."""
        return self.digest[:DIGITS]

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the version."""
        image = self.image.partition("@sha256:")[2]
        examples = self.metadata.get("examples") or {}
        values = {
            "quatrain": self.name,
            "run": run_label(self.run),
            "metadata": self.label,
            "package": str(self.metadata.get("package_sha256", "")),
            "spec": str(examples.get("spec", "")),
            "transform": str(examples.get("transform", "")),
            "image": image,
        }
        return {
            key: value[: 63 if key in ("quatrain", "run") else DIGITS]
            for key, value in values.items()
            if value
        }

    def upload(self, parent_model: str) -> dict[str, Any]:
        """Returns the body of models.upload.

        Args:
            parent_model: The resource name of the model; empty if it does not exist yet.
        """
        where = {"parentModel": parent_model} if parent_model else {"modelId": self.name}
        return {
            **where,
            "model": {
                "displayName": self.name,
                "versionDescription": f"run {self.run}",
                "artifactUri": f"{self.artifact}/model",
                "labels": self.labels,
                "containerSpec": {
                    "imageUri": self.image,
                    "command": list(COMMAND),
                    "ports": [{"containerPort": PORT}],
                    "predictRoute": PREDICT,
                    "healthRoute": HEALTH,
                },
                "predictSchemata": {
                    "instanceSchemaUri": f"{self.artifact}/release/instance.yaml",
                    "predictionSchemaUri": f"{self.artifact}/release/prediction.yaml",
                },
            },
        }

    def write_schemata(self) -> None:
        """Writes the schemata of instances and predictions beside the model."""
        for name, schema in (("instance", self._instance()), ("prediction", self._prediction())):
            text = canonical_json(schema) + "\n"  # JSON is YAML
            write_file(f"{self.artifact}/release/{name}.yaml", text.encode())

    def _instance(self) -> dict[str, Any]:
        inputs = self.metadata["inputs"]
        kinds = {i["name"]: _TYPES.get(i["type"], "string") for i in inputs}
        return {
            "title": self.name,
            "type": "object",
            "properties": {n: {"type": k, "nullable": True} for n, k in kinds.items()},
        }

    def _prediction(self) -> dict[str, Any]:
        number = {"type": "number"}
        if not (classes := self.metadata.get("classes")):
            return {"type": "object", "properties": {"prediction": number}}
        text = {"type": "string", "enum": list(classes)}
        return {
            "type": "object",
            "properties": {
                "predicted_class": text,
                "classes": {"type": "array", "items": text},
                "probabilities": {"type": "array", "items": number},
            },
        }

    @property
    def evaluation(self) -> dict[str, Any]:
        """The body of evaluations.import."""
        kind = "classification" if self.metadata.get("classes") else "regression"
        measured = {
            theirs: self.metrics[ours]["value"]
            for ours, theirs in _METRICS.items()
            if self.metrics.get(ours, {}).get("value") is not None
        }
        return {
            "modelEvaluation": {
                "displayName": f"run {self.run}",
                "metricsSchemaUri": _SCHEMA.format(kind),
                "metrics": measured,
            }
        }

    @property
    def deployed_name(self) -> str:
        """The display name of the deployed model."""
        return f"quatrain {self.name} {self.run}"[:128]

    @property
    def instances(self) -> list[dict[str, Any]] | None:
        """The golden rows as instances; None where they cannot be written as JSON values."""
        if self.golden is None or self.times:
            return None
        columns = {
            i["name"]: [_value(v, i["type"]) for v in self.golden["inputs"][i["argument"]]]
            for i in self.metadata["inputs"]
        }
        n = len(self.golden["answers"])
        return [{name: column[row] for name, column in columns.items()} for row in range(n)]

    def check_answers(self, predictions: list[Mapping[str, Any]]) -> None:
        """Compares an endpoint's answers to the golden rows with those of the export.

        Raises:
            ReleaseError: An answer differs.
        """
        expected = np.asarray((self.golden or {"answers": []})["answers"], np.float64)
        key = "probabilities" if self.metadata.get("classes") else "prediction"
        try:
            answers = np.asarray([p[key] for p in predictions], np.float64)
            row = golden.worst_row(answers, expected.reshape(answers.shape), golden.TOLERANCE)
        except (KeyError, TypeError, ValueError) as error:
            raise ReleaseError(
                f"the deployed model answers golden rows in another form than {key!r} "
                f"({type(error).__name__}: {error}); compare its image with that of the run"
            ) from error
        if row is not None:
            raise ReleaseError(
                f"the deployed model answers {answers[row].tolist()} to golden row {row}, where "
                f"the export answered {expected[row].tolist()}; compare its image with the "
                f"run's, and export the model again"
            )


def run_label(run: str) -> str:
    """Returns the value of the label `run` of a version."""
    return run.lower()[:63]


def _value(value: Any, type_: str) -> Any:
    """Returns a golden value as JSON has it in the input's own type."""
    if value is None or value == "":
        return None
    if type_ == "bool":
        return bool(value)
    return int(value) if type_ == "int" else value
