"""A SavedModel that TensorFlow's own library loads and runs, without TensorFlow's Python.

TensorFlow's wheel has its C API (https://www.tensorflow.org/install/lang_c) in `libtensorflow_cc`,
and its headers in `tensorflow/include/tensorflow/c`. To load a model and call it once takes 0.8
CPU-seconds and 410 MB this way; with `import tensorflow`, 3 CPU-seconds and 690 MB. The answers are
the same to the last bit.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from quatrain.components.errors import ArtifactError
from quatrain.trainer.saved_model import path_without_glob

Column: TypeAlias = np.ndarray | pa.Array
"""`[N]` numbers, or `[N]` Arrow strings."""

_LIBRARY = "libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2"
_STRING = 7
_STRING_BYTES, _SHORT_BYTES = 24, 22
"""The size of a TF_TString, and that of the longest text that it holds itself; a longer one is
elsewhere in memory (tensorflow/core/platform/ctstring_internal.h)."""
_TYPES: Mapping[int, Any] = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    9: np.int64,
    10: np.bool_,
}
"""Numpy's types by their numbers in tensorflow/c/tf_datatype.h."""
_NUMBERS = {np.dtype(type_): number for number, type_ in _TYPES.items()}


class TensorFlowError(RuntimeError):
    """TensorFlow cannot load or run a model; the text is its own."""


class InvalidArgumentError(TensorFlowError):
    """A model refuses the values of its inputs."""


class ResourceExhaustedError(TensorFlowError):
    """Memory ran out."""


_ERRORS = {3: InvalidArgumentError, 8: ResourceExhaustedError}
"""Errors by their code in tensorflow/c/tf_status.h."""


class _Buffer(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


class _Output(ctypes.Structure):
    """An output of an operation of a graph."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


_Prototypes = Mapping[str, tuple[Any, ...]]
"""The type of the result and those of the arguments, by the name of a function."""

_LONG: _Prototypes = {
    "TF_LoadSessionFromSavedModel": (
        *(c_void_p, c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p),
        *(POINTER(_Buffer), c_void_p),
    ),
    "TF_SessionRun": (
        *(None, c_void_p, c_void_p, POINTER(_Output), POINTER(c_void_p), c_int, POINTER(_Output)),
        *(POINTER(c_void_p), c_int, c_void_p, c_int, c_void_p, c_void_p),
    ),
    "TF_CloseSession": (None, c_void_p, c_void_p),
    "TF_DeleteSession": (None, c_void_p, c_void_p),
}
"""Functions that let other threads of Python run."""

_SHORT: _Prototypes = {
    "TF_Version": (c_char_p,),
    "TF_NewStatus": (c_void_p,),
    "TF_GetCode": (c_int, c_void_p),
    "TF_Message": (c_char_p, c_void_p),
    "TF_DeleteStatus": (None, c_void_p),
    "TF_NewSessionOptions": (c_void_p,),
    "TF_DeleteSessionOptions": (None, c_void_p),
    "TF_NewGraph": (c_void_p,),
    "TF_DeleteGraph": (None, c_void_p),
    "TF_NewBuffer": (POINTER(_Buffer),),
    "TF_DeleteBuffer": (None, POINTER(_Buffer)),
    "TF_GraphOperationByName": (c_void_p, c_void_p, c_char_p),
    "TF_AllocateTensor": (c_void_p, c_int, POINTER(c_int64), c_int, c_size_t),
    "TF_DeleteTensor": (None, c_void_p),
    "TF_TensorType": (c_int, c_void_p),
    "TF_NumDims": (c_int, c_void_p),
    "TF_Dim": (c_int64, c_void_p, c_int),
    "TF_TensorData": (c_void_p, c_void_p),
    "TF_StringInit": (None, c_void_p),
    "TF_StringCopy": (None, c_void_p, c_char_p, c_size_t),
    "TF_StringGetDataPointer": (c_void_p, c_void_p),
    "TF_StringGetSize": (c_size_t, c_void_p),
}
"""Functions of less than a microsecond. They keep Python's lock: a thread that lets go of it may
wait 5 ms to get it back."""


@cache
def _tensorflow() -> Any:
    """Returns the functions of the C API, as attributes.

    Raises:
        ArtifactError: There is no TensorFlow, or one without the library.
    """
    spec = importlib.util.find_spec("tensorflow")  # which imports nothing
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    path = next((path for path in (Path(f, _LIBRARY) for f in folders) if path.is_file()), None)
    if path is None:
        raise ArtifactError(
            f"no model can be loaded: TensorFlow's {_LIBRARY} is not in "
            f"{folders[0] if folders else 'sys.path'}; install the wheel of TensorFlow from PyPI"
        )
    functions = {}
    for kind, prototypes in ((ctypes.CDLL, _LONG), (ctypes.PyDLL, _SHORT)):
        library = kind(str(path))
        for name, (result, *arguments) in prototypes.items():
            functions[name] = getattr(library, name)
            functions[name].restype, functions[name].argtypes = result, arguments
    return SimpleNamespace(**functions)


def tensorflow_version() -> str:
    """Returns the version of the library, such as `2.21.0`."""
    return str(_tensorflow().TF_Version().decode())


@contextmanager
def _status() -> Iterator[int]:
    """Yields a TF_Status, and raises the error that is in it at the end."""
    tf = _tensorflow()
    status = tf.TF_NewStatus()
    try:
        yield status
        if code := tf.TF_GetCode(status):
            text = tf.TF_Message(status).decode(errors="replace")
            raise _ERRORS.get(code, TensorFlowError)(text)
    finally:
        tf.TF_DeleteStatus(status)


def load(folder: Path | str) -> Mapping[str, Signature]:
    """Loads the SavedModel of a local folder and returns its signatures.

    Raises:
        TensorFlowError: TensorFlow cannot load it.
        ArtifactError: There is no TensorFlow.
    """
    tf = _tensorflow()
    buffer = tf.TF_NewBuffer()
    try:
        session = _Session(folder, buffer)
        meta_graph = memoryview(ctypes.string_at(buffer.contents.data, buffer.contents.length))
    finally:
        tf.TF_DeleteBuffer(buffer)
    signatures = (_entry(value) for number, value in _fields(meta_graph) if number == 5)
    return {name: _signature(definition, session) for name, definition in signatures}


@dataclass(frozen=True)
class _Argument:
    """An input or an output of a signature: its place in the graph, and the number of its type."""

    place: _Output
    type: int


@dataclass(frozen=True)
class Signature:
    """A signature of a SavedModel. Several threads may call it at once.

    Attributes:
        inputs: Its inputs by name.
        outputs: Its outputs by name.
    """

    inputs: Mapping[str, _Argument]
    outputs: Mapping[str, _Argument]
    _session: _Session

    def missing_row(self) -> dict[str, Column]:
        """Returns a row in which all inputs are missing: NaN or an empty text."""
        return {
            name: self._column(name, [""] if argument.type == _STRING else [math.nan])
            for name, argument in self.inputs.items()
        }

    def answer(self, rows: Mapping[str, list[Any]], output: str) -> np.ndarray:
        """Returns an output for rows of Python's numbers and texts, by input.

        Raises:
            KeyError: An input is absent or unknown, or there is no such output.
            TensorFlowError: The graph cannot be run on these values.
        """
        columns = {name: self._column(name, values) for name, values in rows.items()}
        return self(columns, [output])[output]

    def _column(self, name: str, values: list[Any]) -> Column:
        number = self.inputs[name].type
        return pa.array(values) if number == _STRING else np.array(values, _TYPES[number])

    def __call__(
        self, columns: Mapping[str, Column], outputs: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Returns outputs for `N` rows.

        Args:
            columns: `[N]` numbers or strings for each input, by name.
            outputs: The outputs to return; all of them by default.

        Returns:
            The outputs by name: numbers, or bytes as objects.

        Raises:
            KeyError: An input is absent or unknown, or there is no such output.
            TensorFlowError: The graph cannot be run on these values.
        """
        if unlike := self.inputs.keys() ^ columns.keys():
            raise KeyError(f"the signature's inputs and the columns differ in {sorted(unlike)}")
        read = list(self.outputs if outputs is None else outputs)
        inputs = [(argument.place, columns[name]) for name, argument in self.inputs.items()]
        # All outputs are computed always: TensorFlow prepares the graph for each set of outputs.
        places = {name: argument.place for name, argument in self.outputs.items()}
        return self._session.run(inputs, places, read)


def _signature(definition: memoryview, session: _Session) -> Signature:
    """Returns the signature that a serialized SignatureDef describes."""
    ends: dict[int, dict[str, _Argument]] = {1: {}, 2: {}}
    for number, value in _fields(definition):
        if number in ends:
            name, info = _entry(value)
            tensor = dict(_fields(info))
            if tensor.keys() >= {1, 2}:  # an operation has no type, a sparse tensor no name
                ends[number][name] = _Argument(session.output(bytes(tensor[1]).decode()), tensor[2])
    return Signature(ends[1], ends[2], session)


class _Session:
    """A graph with its variables and tables, which are freed with it, or when Python ends."""

    def __init__(self, folder: Path | str, meta_graph: Any) -> None:
        """Loads the graph of a folder.

        Args:
            folder: The folder of a SavedModel.
            meta_graph: A TF_Buffer for the serialized MetaGraphDef.
        """
        tf = _tensorflow()
        with ExitStack() as ends:
            path = ends.enter_context(path_without_glob(folder))
            options = tf.TF_NewSessionOptions()
            ends.callback(tf.TF_DeleteSessionOptions, options)
            tags = (c_char_p * 1)(b"serve")
            self._graph = tf.TF_NewGraph()
            weakref.finalize(self, tf.TF_DeleteGraph, self._graph).atexit = False
            with _status() as status:
                self._session = tf.TF_LoadSessionFromSavedModel(
                    *(options, None, os.fsencode(path), tags, 1, self._graph, meta_graph, status)
                )
            weakref.finalize(self, _delete, self._session).atexit = False

    def output(self, tensor: str) -> _Output:
        """Returns the place of a tensor, by its name in the graph: `operation:index`."""
        operation, _, index = tensor.partition(":")
        place = _tensorflow().TF_GraphOperationByName(self._graph, operation.encode())
        if not place:
            raise TensorFlowError(f"its graph has no operation {operation!r}")
        return _Output(place, int(index or 0))

    def run(
        self,
        inputs: Sequence[tuple[_Output, Column]],
        outputs: Mapping[str, _Output],
        read: Sequence[str],
    ) -> dict[str, np.ndarray]:
        """Computes all outputs for given inputs, and returns those that are to be read."""
        tf, n, m = _tensorflow(), len(inputs), len(outputs)
        values = (c_void_p * m)()
        with ExitStack() as ends:
            tensors = (c_void_p * n)(*(_tensor(column, ends) for _, column in inputs))
            places = (_Output * n)(*(place for place, _ in inputs))
            with _status() as status:
                tf.TF_SessionRun(
                    *(self._session, None, places, tensors, n),
                    *((_Output * m)(*outputs.values()), values, m, None, 0, None, status),
                )
            for value in values:
                ends.callback(tf.TF_DeleteTensor, value)
            results = dict(zip(outputs, values, strict=True))
            return {name: _array(results[name]) for name in read}


def _delete(session: int) -> None:
    tf = _tensorflow()
    with _status() as status:
        tf.TF_CloseSession(session, status)
        tf.TF_DeleteSession(session, status)


def _tensor(column: Column, ends: ExitStack) -> int:
    """Returns a TF_Tensor of a column, which is freed at the end of a context."""
    tf, n = _tensorflow(), len(column)
    of_numbers = isinstance(column, np.ndarray)
    number = _NUMBERS[column.dtype] if of_numbers else _STRING
    n_bytes = column.nbytes if of_numbers else n * _STRING_BYTES
    tensor = tf.TF_AllocateTensor(number, (c_int64 * 1)(n), 1, n_bytes)
    ends.callback(tf.TF_DeleteTensor, tensor)
    data = tf.TF_TensorData(tensor)
    if of_numbers:
        numbers = np.ascontiguousarray(column)
        ctypes.memmove(data, numbers.ctypes.data, n_bytes)
    else:
        ctypes.memset(data, 0, n_bytes)  # empty texts, which can be freed
        _write_strings(column, data)
    return int(tensor)


def _write_strings(column: pa.Array, data: int) -> None:
    """Writes texts to the memory of a tensor, which owns them.

    A call takes a microsecond and a column has few distinct texts, so each one is converted once
    and copied to its rows. A long text is converted for each row, since a copy would be freed
    twice.
    """
    encoded = column.dictionary_encode()
    texts, places = encoded.dictionary.cast(pa.binary()).to_pylist(), encoded.indices.to_numpy()
    distinct = np.zeros((len(texts), _STRING_BYTES), np.uint8)
    first = distinct.ctypes.data
    for k, text in enumerate(texts):
        if len(text) <= _SHORT_BYTES:
            _write_string(text, first + k * _STRING_BYTES)
    rows = distinct[places]
    ctypes.memmove(data, rows.ctypes.data, rows.nbytes)
    is_long = np.array([len(text) > _SHORT_BYTES for text in texts], bool)
    for row in np.flatnonzero(is_long[places]):
        _write_string(texts[places[row]], data + int(row) * _STRING_BYTES)


def _write_string(text: bytes, at: int) -> None:
    tf = _tensorflow()
    tf.TF_StringInit(at)
    tf.TF_StringCopy(at, text, len(text))


def _array(tensor: int) -> np.ndarray:
    """Returns a copy of a TF_Tensor: numbers, or bytes as objects."""
    tf = _tensorflow()
    shape = [tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor))]
    number, data = tf.TF_TensorType(tensor), tf.TF_TensorData(tensor)
    if number != _STRING:
        numbers = np.empty(shape, _TYPES[number])
        ctypes.memmove(numbers.ctypes.data, data, numbers.nbytes)
        return numbers
    texts = np.empty(shape, object)
    for k in range(texts.size):
        at = data + k * _STRING_BYTES
        texts.flat[k] = ctypes.string_at(tf.TF_StringGetDataPointer(at), tf.TF_StringGetSize(at))
    return texts


def _entry(message: memoryview) -> tuple[str, memoryview]:
    """Returns the key and the value of an entry of a map, by the field numbers 1 and 2."""
    entry = dict(_fields(message))
    return bytes(entry[1]).decode(), entry.get(2, memoryview(b""))


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yields the number and the value of each field of a serialized protocol buffer.

    Google's classes of these messages cannot be imported without TensorFlow's Python. A value is a
    whole number or a run of bytes (https://protobuf.dev/programming-guides/encoding/).
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire_type, length = key & 7, 0
        if wire_type == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if wire_type == 2:
            length, at = _varint(message, at)
        else:
            length = {1: 8, 5: 4}[wire_type]
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Returns the whole number at a place, seven bits a byte, and the place after it."""
    number = shift = 0
    while message[at] >= 0x80:
        number |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | message[at] << shift, at + 1
