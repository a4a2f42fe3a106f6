"""An exported model as it will be served: a SavedModel that answers batches of columns."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from pydantic import TypeAdapter

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError
from quatrain.components.folder import MISSHAPEN, read_manifest
from quatrain.components.serve import saved_model
from quatrain.components.serve.saved_model import (
    Column,
    InvalidArgumentError,
    Signature,
    TensorFlowError,
)
from quatrain.components.storage import open_filesystem, read_file
from quatrain.components.wording import first_line
from quatrain.trainer import golden
from quatrain.trainer.failure import MORE_DISK, Failure, full_disk
from quatrain.trainer.features import LABEL
from quatrain.trainer.features.transform import Transform
from quatrain.trainer.settings import TrainerError
from quatrain.trainer.uris import name_outside

BATCH_ROWS = 8192
PADDING = 256
"""A batch is filled up to a multiple of this many rows.

Kernels compute the last rows of an odd batch in another way, so a row's answer would depend on the
length of its batch: answers differed by 1e-7 in a measurement, and not at all in full batches.
"""

METADATA = "metadata.json"
REQUIRED = ("saved_model.pb", "transform.json")
"""The files without which nothing can be predicted."""

Columns = Mapping[str, Column]


def read_metadata(folder: Path) -> dict[str, Any]:
    """Reads the metadata of a model folder and checks the digests of its files.

    Raises:
        ArtifactError: The folder is not a complete model, or does not hold exactly the files that
            were exported.
    """
    metadata = read_manifest(folder, METADATA, "train")
    digests = _digests_of(metadata, folder)
    for name, sha256 in digests.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(
                f"{folder} is not a complete model: {name} is absent; export the model again"
            )
        digest = sha256_of(path)
        if digest != sha256:
            raise ArtifactError(
                f"{path} is not the file that was exported: its sha256 is {digest[:12]}..., "
                f"metadata.json says {sha256[:12]}...; export the model again"
            )
    # A link to a folder counts as a file: what is in that folder is in no list.
    present = {
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_symlink() or not p.is_dir()
    }
    if foreign := sorted(present - set(digests) - {METADATA}):
        raise ArtifactError(
            f"{folder} holds {foreign[0]!r}, which {METADATA} does not name, so it was not "
            f"exported with the model; remove it, or export the model again"
        )
    return metadata


def _digests_of(metadata: Any, uri: Path | str) -> dict[str, str]:
    """Returns the sha256 of each file that a model's metadata names.

    Raises:
        ArtifactError: It names none of a file that a model needs, or one outside of the model.
    """
    files = metadata.get("files") if isinstance(metadata, dict) else None
    if not isinstance(files, dict) or not all(isinstance(sha, str) for sha in files.values()):
        raise ArtifactError(
            f"{uri}/{METADATA} has no digests of the model's files (`files`); export the "
            f"model again"
        )
    if unnamed := [name for name in REQUIRED if name not in files]:
        raise ArtifactError(
            f"{uri} is not a complete model: `files` in {METADATA} has no digest of {unnamed[0]}; "
            f"export the model again"
        )
    if outside := name_outside(files):
        raise ArtifactError(
            f"{uri}/{METADATA} names {outside!r}, outside of the model; export the model again"
        )
    return files


@contextmanager
def on_this_machine(uri: str) -> Iterator[Path]:
    """Yields a model's folder: its own, or a copy of one in a bucket while the context lasts.

    A file of a copy takes one call, and through a mount at least three; TensorFlow reads some of
    them twice. Errors name the model where its owner finds it, not the copy.

    Raises:
        ArtifactError: A file is absent, or may not be read.
    """
    if "://" not in uri:
        yield Path(uri)
        return
    with TemporaryDirectory(prefix="quatrain-model-") as copy:
        download_model(uri.rstrip("/"), Path(copy))
        try:
            yield Path(copy)
        except ArtifactError as error:
            raise ArtifactError(str(error).replace(copy, uri.rstrip("/"))) from error


def download_model(uri: str, folder: Path) -> None:
    """Copies the files that a model's metadata.json names, and that one, to a local folder.

    A bucket need not have objects for its folders, so they are not listed but made here.

    Raises:
        ArtifactError: A file is absent, or may not be read.
    """
    names = ["metadata.json"]
    try:
        while names:
            path = folder / names.pop()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(read_file(f"{uri}/{path.relative_to(folder)}"))
            if path == folder / "metadata.json":
                names += _digests_of(json.loads(path.read_bytes()), uri)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{uri}/metadata.json is cut short or altered ({first_line(error)}); export the model "
            f"again"
        ) from error
    except OSError as error:
        if full := full_disk(error):
            filesystem, root = open_filesystem(uri)
            files = filesystem.get_file_info(pafs.FileSelector(root, recursive=True))
            size_mb = sum(file.size or 0 for file in files) / 1e6
            raise ArtifactError(
                f"{uri} cannot be copied to this machine: {full}; its files take {size_mb:,.1f} "
                f"MB: {MORE_DISK}"
            ) from error
        raise ArtifactError(
            f"{uri} holds no complete model that can be read here: {Failure.of(error)}"
        ) from error


def read_transform(folder: Path) -> Transform:
    """Reads the fitted transform of a model folder.

    Raises:
        ArtifactError: The transform cannot be read.
    """
    try:
        text = (folder / "transform.json").read_text(encoding="utf-8")
        transform = Transform.from_json(text)
        parts: tuple[Any, ...] = (*transform.inputs, transform.label, transform.text)
        for part in parts:
            TypeAdapter(type(part)).validate_python(asdict(part))  # the trainer has no pydantic
        return transform
    except TrainerError as error:
        raise ArtifactError(f"{folder}: {error}") from error
    except (OSError, *MISSHAPEN) as error:
        raise ArtifactError(
            f"{folder}/transform.json is cut short or altered ({type(error).__name__}: {error}); "
            f"export the model again"
        ) from error


def _check_classes(stated: Any, classes: Sequence[str], signature: Signature) -> None:
    """Checks that a model's three records of its classes agree; golden rows hold numbers alone.

    Raises:
        TrainerError: They do not.
    """
    places = {METADATA: list(stated), "transform.json": list(classes)}
    if classes and "classes" in signature.outputs:
        (names,) = signature(signature.missing_row(), ["classes"])["classes"].tolist()
        places["the signature"] = [name.decode() for name in names]
    for place, names in places.items():
        if names != list(classes):
            raise TrainerError(
                f"its classes are {list(classes)} in transform.json, but {names} in {place}; "
                f"export the model again"
            )


@dataclass(frozen=True)
class ServedModel:
    """A loaded SavedModel.

    Attributes:
        transform: The fitted transform of the model.
        classes: Class labels in the order of the probabilities; empty for regression.
        signatures: The signatures of the SavedModel.
        arguments: The name of a signature's argument by column; they differ where TensorFlow does
            not accept the name of a column.
    """

    transform: Transform
    classes: tuple[str, ...]
    signatures: Mapping[str, Signature]
    arguments: Mapping[str, Mapping[str, str]]

    @classmethod
    def load(cls, folder: Path | str) -> ServedModel:
        """Loads an exported model and replays its golden rows.

        A model from a user's own trainer may have no golden rows.

        Raises:
            ArtifactError: TensorFlow cannot read the model, a signature is absent, a golden row
                gets a different answer than when the model was exported, or a row gets none.
        """
        # What a graph or a checkpoint that is not as TensorFlow wrote it raises.
        broken = (*MISSHAPEN, OSError, TensorFlowError)
        try:
            signatures = saved_model.load(folder)
        except broken as error:
            raise ArtifactError(
                f"{folder} cannot be loaded as a SavedModel ({first_line(error)}); export the "
                f"model again"
            ) from error
        absent = {"serving_default", "engineered"} - set(signatures)
        if absent:
            raise ArtifactError(
                f"{folder} has no signature {sorted(absent)[0]!r}; it has "
                f"{sorted(signatures)}; export it with the trainer's export"
            )
        metadata = read_manifest(folder, METADATA, "train")
        transform = read_transform(Path(folder))
        serving = signatures["serving_default"]
        try:
            arguments = {
                signature: {column["name"]: column["argument"] for column in metadata[key]}
                for signature, key in (("serving_default", "inputs"), ("engineered", "engineered"))
            }
            _check_classes(metadata["classes"], transform.label.classes, serving)
            if golden.NAME in metadata["files"]:
                rows = Path(folder, golden.NAME).read_text(encoding="utf-8")
                golden.replay(rows, serving.answer, saved_model.tensorflow_version())
            served = cls(transform, transform.label.classes, signatures, arguments)
            served._check_answer()
        except TrainerError as error:
            raise ArtifactError(f"{folder}: {error}") from error
        except broken as error:
            raise ArtifactError(
                f"{folder}: {METADATA}, transform.json or {golden.NAME} does not fit its "
                f"SavedModel ({type(error).__name__}: {first_line(error)}); export the model again"
            ) from error
        return served

    def _check_answer(self) -> None:
        """Checks that the serving signature answers a row of the transform's inputs, all missing.

        Raises:
            ValueError: The answer has another shape than the transform's label.
        """
        row = {
            i.name: np.array([math.nan]) if i.is_number else pa.array([""])
            for i in self.transform.inputs
        }
        shape, n = self.answer(row).shape, len(self.classes)
        if shape != ((1, n) if n else (1,)):
            raise ValueError(f"an answer must be of {n or 1} numbers, and has the shape {shape}")

    def answer(self, columns: Columns, signature: str = "serving_default") -> np.ndarray:
        """Returns the answers to a batch.

        Args:
            columns: `[N]` numpy or Arrow string columns by their names.
            signature: serving_default takes raw inputs, engineered takes engineered columns.

        Returns:
            `[N, C] float32` probabilities, or `[N] float32` predictions.
        """
        rows = len(next(iter(columns.values())))
        names = self.arguments[signature]
        padded = {names[name]: _padded(column) for name, column in columns.items()}
        output = "probabilities" if self.classes else "prediction"
        return self.signatures[signature](padded, [output])[output][:rows]

    def answer_to_any(self, columns: Columns) -> np.ndarray:
        """Returns the answers to a batch, or NaN for all of it if the model refuses its values.

        A model of one's own may check that an end comes after its start; shuffled rows need not.
        """
        try:
            return self.answer(columns)
        except InvalidArgumentError:
            rows = len(next(iter(columns.values())))
            shape = (rows, len(self.classes)) if self.classes else (rows,)
            return np.full(shape, np.nan, np.float32)


def _padded(column: Column) -> Column:
    """Returns a column, with its last row repeated up to a multiple of `PADDING` rows."""
    n = -len(column) % PADDING
    if not n:
        return column
    if isinstance(column, np.ndarray):
        return np.concatenate([column, np.repeat(column[-1:], n)])
    return pa.concat_arrays([column, pa.repeat(column[-1], n)])


def prediction_schema(transform: Transform, labelled: bool = False) -> pa.Schema:
    """Returns the columns of predictions: the label, if there is one, and the model's answer.

    The answer is `probability_<class>` for each class and `predicted_class`, or `prediction`.
    """
    classes = transform.label.classes
    label = [(LABEL, pa.string() if classes else pa.float32())] if labelled else []
    if not classes:
        return pa.schema([*label, ("prediction", pa.float32())])
    answers = [(f"probability_{c}", pa.float32()) for c in classes]
    return pa.schema([*label, *answers, ("predicted_class", pa.string())])


def prediction_table(
    transform: Transform, answers: np.ndarray, labels: np.ndarray | None = None
) -> pa.Table:
    """Returns answers, and labels if there are any, in the columns of `prediction_schema`."""
    schema = prediction_schema(transform, labels is not None)
    classes = pa.array(transform.label.classes, pa.string())
    columns: list[Any] = []
    if labels is not None:
        columns.append(classes.take(pa.array(labels)) if len(classes) else labels)
    if len(classes):
        columns += [*answers.T, classes.take(pa.array(answers.argmax(axis=1)))]
    else:
        columns.append(answers)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
