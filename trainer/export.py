"""Exports a model: a SavedModel that takes raw rows, its proof, and at last metadata.json."""

from __future__ import annotations

import hashlib
import json
import keyword
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import golden
from .cluster import Cluster
from .examples import Examples
from .features import Engineered, Tensors, Type
from .features.ngrams import read_sets_tensor
from .features.transform import Transform
from .job import Job
from .predictor import Head, Predictor, in_chunks
from .saved_model import path_without_glob
from .settings import TrainerError
from .storage import remove_folder, show_folder, write_file
from .text_scores import TextScores
from .uris import in_bucket

VERSION = 1
METADATA = "metadata.json"
"""The file that makes a model count."""
PROOF_ROWS = 256
"""Validation rows that the saved model answers twice, raw and engineered."""
PROOF_TOLERANCE = 1e-5
"""Largest difference of an answer, relative above 1: about a hundred roundings of float32."""
_EXAMPLE_TYPES = {"string": tf.string, "float": tf.float32}  # whole numbers and times: int64

DAY_S = 86_400
_BOUNDS = {
    "int": (
        -(2**53),
        2**53,
        "is beyond 2**53, where float64 no longer holds every integer; declare it as string",
    ),
    "bool": (0, 1, "is not a bool (true, false, 1 or 0)"),
    **dict.fromkeys(
        ("timestamp", "date"),
        (-62_135_596_800, 253_402_300_799, "is not in the years 1 to 9999"),
    ),
}
"""The least and the greatest int64 of each type in an example, and what is wrong with others."""
Columns = Mapping[str, Any]
Answer = Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]


class Exported(tf.Module):
    """The module that is saved: the fitted transform, the model and their signatures."""

    def __init__(
        self,
        transform: Transform,
        answer: Answer,
        weights: Sequence[tf.Variable],
        text: TextScores | None = None,
    ) -> None:
        """Tracks the variables and tables of the graphs.

        Args:
            transform: The fitted transform, from raw inputs to engineered columns.
            answer: The model, from numbers `[B, F] float32` and indices `[B, K] int32` to the
                outputs by name.
            weights: The variables that `answer` reads.
            text: The scores of texts, of which `answer` takes the numbers.
        """
        super().__init__()
        self._transform, self._text = transform, text
        self._numbers = transform.numbers if text is None else text.kept
        n_scores = 0 if text is None else len(text.intercepts)
        specs = [tf.TensorSpec([None, len(self._numbers) + n_scores], tf.float32)]
        specs.append(tf.TensorSpec([None, len(transform.indices)], tf.int32))
        # The three signatures share one graph, so it is traced and stored once, with its constants.
        traced = tf.function(answer, input_signature=specs, autograph=False)
        # A lambda, since tf.Module would save a tf.function among its attributes a second time.
        self._answer: Answer = lambda *columns: traced(*columns)
        self.weights, self.tables = list(weights), transform.resources
        self.text_weights = [] if text is None else text.variables()

    def signatures(self) -> dict[str, Any]:
        """Returns the graphs by name of the signature; every argument is `[B]`."""
        inputs, columns = self._transform.inputs, self._transform.engineered
        raw = {i.name: tf.float64 if i.is_number else tf.string for i in inputs}
        engineered = {c.name: tf.int32 if c.cardinality else tf.float32 for c in columns}
        if self._text is not None:
            engineered |= dict.fromkeys(self._text.columns, tf.string)
        specs = {"examples": tf.TensorSpec([None], tf.string, name="examples")}
        return {
            "serving_default": _graph(self.serve, raw),
            "examples": _traced(self.serve_examples, specs),
            "engineered": _graph(self.serve_engineered, engineered),
        }

    def serve(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Answers raw rows.

        Args:
            raw: `[B] float64` (NaN is missing) or `[B] string` ('' is missing) by raw input.
        """
        sets = {} if self._text is None else self._transform.sets_tensor(raw)
        return self._answered(self._transform.tensor(raw), sets)

    def serve_engineered(self, columns: Tensors) -> dict[str, tf.Tensor]:
        """Answers engineered rows.

        Args:
            columns: `[B] float32` or `[B] int32` by engineered column, and `[B] string` by column
                of sets of n-grams.
        """
        names = () if self._text is None else self._text.columns
        return self._answered(columns, {n: read_sets_tensor(columns[n]) for n in names})

    def _answered(
        self, columns: Tensors, sets: Mapping[str, tuple[tf.Tensor, tf.Tensor]]
    ) -> dict[str, tf.Tensor]:
        rows = tf.shape(next(iter(columns.values())))[0]
        numbers = [columns[n] for n in self._numbers]
        if self._text is not None:
            scores = self._text.tensor(sets, rows, self.text_weights)
            numbers += tf.unstack(scores, len(self._text.intercepts), axis=1)
        indices = [columns[n] for n in self._transform.indices]
        return self._answer(
            tf.stack(numbers, axis=1) if numbers else tf.zeros([rows, 0]),
            tf.stack(indices, axis=1) if indices else tf.zeros([rows, 0], tf.int32),
        )

    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers serialized tf.Examples, `[B] string`; an absent feature is a missing value.

        Whole numbers, bools and times (seconds since 1970) are int64 lists. A float list holds
        float32, which resolves the present time only to 128 seconds. A value that the reader of
        tables would refuse fails the request, with the same sentence.
        """
        inputs = self._transform.inputs
        features = {i.name: tf.io.RaggedFeature(_example_type(i.type)) for i in inputs}
        parsed = tf.io.parse_example(examples, features)
        readers = {type_: _reader(type_) for type_ in {i.type: None for i in inputs}}
        ragged = [(i, parsed[i.name]) for i in inputs]
        return self.serve(
            {
                i.name: readers[i.type](v.values, v.row_splits, tf.constant(i.name))
                for i, v in ragged
            }
        )


def _example_type(type_: Type) -> tf.DType:
    """Returns the type of the values of a column in a tf.Example."""
    return _EXAMPLE_TYPES.get(type_, tf.int64)


def _reader(type_: Type) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns `_single` as one graph for all columns of a type, which is traced and loaded once.

    Its arguments are the values, the splits of the rows, and the name of the column.
    """

    def read(values: tf.Tensor, splits: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
        return _single(tf.RaggedTensor.from_row_splits(values, splits, validate=False), name, type_)

    specs = [tf.TensorSpec([None], _example_type(type_)), tf.TensorSpec([None], tf.int32)]
    return tf.function(
        read, input_signature=[*specs, tf.TensorSpec([], tf.string)], autograph=False
    )


def _single(values: tf.RaggedTensor, name: tf.Tensor, type_: Type) -> tf.Tensor:
    """Returns the value of each row, `[B]`, or the missing value.

    Two values in a row fail the request, and so does a value that no door takes for the type.
    """
    is_number = type_ != "string"
    several = tf.strings.join(["feature ", name, " has more than one value in an example"])
    counts = values.row_lengths()
    checks = [tf.debugging.Assert(tf.reduce_all(counts <= 1), [several])]
    if is_number:
        checks.append(_within_bounds(values.flat_values, name, type_))
    with tf.control_dependencies(checks):
        if type_ == "date":  # its day in UTC, as of a timestamp in a file
            values = values - values % DAY_S
        if is_number:
            values, missing = tf.cast(values, tf.float64), tf.constant(np.nan, tf.float64)
        else:
            missing = tf.constant("")
        return values.to_tensor(missing, shape=[None, 1])[:, 0]


def _within_bounds(values: tf.Tensor, name: tf.Tensor, type_: Type) -> tf.Operation:
    """Asserts that numbers are values of the type, with the sentences of the reader of tables.

    TensorFlow would write the quotes around the value with backslashes, so it has none.
    """
    if type_ == "float":
        wrong, why = tf.math.is_inf(values), "is not a finite number"
    else:
        low, high, why = _BOUNDS[type_]
        wrong = (values < low) | (values > high)
    first = tf.strings.reduce_join(tf.strings.as_string(tf.boolean_mask(values, wrong)[:1]))
    sentence = tf.strings.join([name, ": ", first, f" {why}"])
    return tf.debugging.Assert(tf.logical_not(tf.reduce_any(wrong)), [sentence])


def _graph(function: Callable[[Tensors], dict[str, tf.Tensor]], types: Mapping[str, Any]) -> Any:
    """Returns the graph of a function of named tensors, with arguments that a signature allows."""
    arguments = argument_names(types)
    specs = {a: tf.TensorSpec([None], types[name], name=a) for name, a in arguments.items()}

    def call(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return function({name: tensors[argument] for name, argument in arguments.items()})

    return _traced(call, specs)


def _traced(function: Callable[..., Any], specs: Mapping[str, tf.TensorSpec]) -> Any:
    """Returns the graph of a function, traced without autograph, which would parse all of Keras."""
    return tf.function(function, autograph=False).get_concrete_function(**specs)


def argument_names(names: Iterable[str]) -> dict[str, str]:
    """Returns the signature's argument for each name.

    A name of ASCII letters, digits and underscores that starts with a letter and is not a Python
    keyword stays as it is. TensorFlow would change or refuse other names, so they get an alias; it
    ignores case, so of two names that differ by case alone only the first stays.
    """
    names = list(names)
    used: dict[str, str] = {}  # by the lower-case argument, its name
    for name in filter(_is_plain, names):
        used.setdefault(name.lower(), name)
    arguments = {}
    for name in names:
        argument = name
        if used.get(name.lower()) != name:
            argument = f"arg_{re.sub(r'[^A-Za-z0-9]', '_', name)}"
            while argument.lower() in used:
                argument += "_"
            used[argument.lower()] = name
        arguments[name] = argument
    return arguments


def _is_plain(name: str) -> bool:
    """Returns whether a name can be the argument of a signature."""
    is_identifier = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None
    return is_identifier and not keyword.iskeyword(name) and name != "self"


def export(
    job: Job, predictor: Predictor, head: Head, cluster: Cluster, examples: Examples
) -> None:
    """Writes the model's folder, proves the model, and commits it with metadata.json.

    The folder counts once metadata.json exists. On a disk it is written in place. TensorFlow writes
    and reads a SavedModel in a bucket by a hundred calls, so that one is made on this machine and
    each of its files uploaded once. An earlier model is removed first, and so is a
    model that fails its proof.

    Args:
        job: The job, with the folder of the model.
        predictor: The trained model.
        head: The task, which turns predictions into the outputs of the signatures.
        cluster: The replicas that trained it, for the record.
        examples: The examples that it was trained on; their transform is exported with it.

    Raises:
        TrainerError: The saved model answers raw and engineered rows differently.
    """
    predict = in_chunks(predictor.predict)

    def answer(numbers: tf.Tensor, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        return head.answer(predict(numbers, indices))

    text = predictor.text
    exported = Exported(examples.transform, answer, predictor.variables, text)
    with _writable(job.outputs.model) as folder:
        tf.saved_model.save(exported, folder, signatures=exported.signatures())
        Path(folder, "transform.json").write_text(examples.transform_text, encoding="utf-8")
        with path_without_glob(folder) as path:
            signatures = tf.saved_model.load(path).signatures
        raw, engineered = examples.first_rows("validation", PROOF_ROWS)
        sets = () if text is None else text.columns
        engineered = {
            n: engineered[n] for n in [*(c.name for c in examples.transform.engineered), *sets]
        }
        output = "prediction" if examples.transform.task == "regression" else "probabilities"
        prove(signatures, raw, engineered, output)
        rows = _golden(signatures["serving_default"], examples.transform, raw, output)
        Path(folder, golden.NAME).write_text(rows, encoding="utf-8")
        metadata = _metadata(job, predictor, cluster, examples)
        metadata["files"] = _digests(folder)
        if folder != job.outputs.model:
            parents = {str(PurePosixPath(name).parent) for name in metadata["files"]}
            for parent in sorted(parents):
                show_folder(f"{job.outputs.model}/{parent}")
            for name in metadata["files"]:
                write_file(job.outputs.model, name, Path(folder, name).read_bytes())
        document = json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"
        write_file(job.outputs.model, METADATA, document.encode())


def prove(signatures: Mapping[str, Any], raw: Columns, engineered: Columns, output: str) -> None:
    """Compares a loaded model's answers to raw and to engineered validation rows.

    Args:
        signatures: The signatures of the loaded model.
        raw: The raw inputs of the rows, `[N]` by name.
        engineered: The engineered columns of the same rows.
        output: Name of the output to compare.

    Raises:
        TrainerError: An answer is not a finite number, or those of a row differ by more than
            `PROOF_TOLERANCE`.
    """
    from_raw = signatures["serving_default"](**_named(raw))[output].numpy()
    expected = signatures["engineered"](**_named(engineered))[output].numpy()
    _check_finite(expected)
    row = golden.worst_row(from_raw, expected, PROOF_TOLERANCE)
    if row is not None:
        raise TrainerError(
            f"the saved model answers {from_raw[row]} to raw validation row {row}, but "
            f"{expected[row]} to the same row engineered; the transform differs between "
            "preprocessing and serving, so nothing was exported: report that"
        )


def _check_finite(answers: np.ndarray) -> None:
    """Refuses answers to engineered rows, `[N]` or `[N, C]`, of which one is NaN or infinite."""
    finite = np.isfinite(answers.reshape(len(answers), -1)).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise TrainerError(
            f"the trained model answers {answers[row]} to validation row {row}, so nothing was "
            f"exported: its training diverged, or its network divides by zero or takes the "
            f"logarithm of one; lower train.learning_rate, or mend the network"
        )


def _golden(signature: Any, transform: Transform, raw: Columns, output: str) -> str:
    """Returns the text of golden.json: a row of missing values, then the first of these rows."""
    first = {i.name: np.nan if i.is_number else "" for i in transform.inputs}
    rows = {n: np.asarray(v[: golden.ROWS - 1]) for n, v in raw.items()}
    tensors = _named({n: np.concatenate([[first[n]], v]) for n, v in rows.items()})
    arguments = {name: tensor.numpy() for name, tensor in tensors.items()}
    return golden.write(arguments, signature(**tensors)[output].numpy(), output)


def _named(columns: Columns) -> dict[str, tf.Tensor]:
    """Returns columns as tensors by argument of the signature."""
    arguments = argument_names(columns)
    return {arguments[n]: tf.constant(np.asarray(v)) for n, v in columns.items()}


def _metadata(
    job: Job, predictor: Predictor, cluster: Cluster, examples: Examples
) -> dict[str, Any]:
    """Returns the document of metadata.json, without its `files`."""
    transform, progress = examples.transform, predictor.progress
    inputs = argument_names(i.name for i in transform.inputs)
    text = predictor.text
    sets = () if text is None else text.columns
    engineered = [*transform.engineered, *map(Engineered, sets)]
    columns = argument_names(c.name for c in engineered)
    return {
        "version": VERSION,
        "task": transform.task,
        "label": transform.label.name,
        "classes": list(transform.label.classes),
        "inputs": [{**asdict(i), "argument": inputs[i.name]} for i in transform.inputs],
        "engineered": [{**asdict(c), "argument": columns[c.name]} for c in engineered],
        "package_sha256": job.package_sha256,
        "examples": {
            "spec": examples.manifest["spec"],
            "transform": examples.transform_sha256,
            "rows": examples.manifest["rows"],
        },
        "hyperparameters": asdict(job.settings),
        "class_weights": _class_weights(examples),
        "model": {
            "kind": predictor.kind,
            "shares": dict(predictor.shares),
            "candidates": [c.as_json() for c in predictor.candidates],
            "left_out": [asdict(model) for model in predictor.left_out],
            "refit_rows": predictor.refit_rows,
            "text": None if text is None else dict(text.record),
        },
        "versions": {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "tier": job.tier,
        "strategy": job.strategy,
        "replicas": cluster.strategy.num_replicas_in_sync,
        "steps": progress.steps,
        "epochs": progress.epochs,
        "stopped": predictor.stopped,
        "best_epoch": progress.best_epoch,
        "history": [asdict(e) for e in progress.history],
    }


def _class_weights(examples: Examples) -> dict[str, float] | None:
    """Returns the weight of each class by which the model was trained; None without any."""
    if examples.class_weights is None:
        return None
    classes = examples.transform.label.classes
    return dict(zip(classes, examples.class_weights.tolist(), strict=True))


def _digests(folder: str) -> dict[str, str]:
    """Returns the sha256 of each file below a folder, by its path in it."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    return {name: hashlib.sha256(Path(folder, name).read_bytes()).hexdigest() for name in names}


@contextmanager
def _writable(target: str) -> Iterator[str]:
    """Yields a folder of this machine to write a model in: the target itself, if it is one.

    An earlier model is removed before, its metadata.json first, and so is this one if the block
    fails.
    """
    remove_folder(target, first=METADATA)
    try:
        if in_bucket(target):
            with TemporaryDirectory(prefix="quatrain-model-") as folder:
                yield folder
        else:
            yield target
    except BaseException:
        remove_folder(target, first=METADATA)
        raise
