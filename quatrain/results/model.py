"""A model in Python: it answers rows in memory as `quatrain predict` answers those of a file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from quatrain.calls import public
from quatrain.components.serve.frame import Rejected, predict_frame
from quatrain.components.serve.known_models import check_known
from quatrain.components.serve.model_folder import find_model
from quatrain.components.serve.served_model import ServedModel, on_this_machine, read_metadata
from quatrain.components.uris import DEFAULT_ROOT
from quatrain.components.wording import counted
from quatrain.terminal.native_noise import native_noise_hidden
from quatrain.terminal.printouts import gate_warning

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, repr=False)
class Model:
    """A loaded model.

    Attributes:
        place: Its folder, by its path or uri.
        metadata: Its metadata.json: how it was trained, and the digests of its files.
    """

    place: str
    metadata: Mapping[str, Any]
    _served: ServedModel

    def __repr__(self) -> str:
        classes = f" of {', '.join(self.classes)}" if self.classes else ""
        inputs = counted(len(self.inputs), "input")
        return f"{self.task} model of {self.label!r}{classes}, from {inputs}: {self.place}"

    @property
    def task(self) -> str:
        """What it predicts: binary, multiclass or regression."""
        return self._served.transform.task

    @property
    def label(self) -> str:
        """The name of the column that it predicts."""
        return self._served.transform.label.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Its classes in the order of the probabilities; empty for a regression."""
        return self._served.classes

    @property
    def inputs(self) -> Mapping[str, str]:
        """The type in the spec of each column that it takes, by the column's name."""
        return MappingProxyType({i.name: i.type for i in self._served.transform.inputs})

    @public
    def predict(self, rows: Any, *, rejected: Rejected = "error") -> pa.Table:
        """Predicts rows, with the same numbers as `quatrain predict` for the same rows of a file.

        Args:
            rows: A pandas or polars DataFrame, an Arrow table, a list of dicts, or one dict. Each
                has the model's inputs; any other column is ignored.
            rejected: What becomes of a row with a value that cannot be read, such as a text for a
                number: "error" refuses all rows and names the first such one, "null" leaves its
                answers empty.

        Returns:
            A row for each row, in their order, with the columns `probability_<class>` for each
            class and `predicted_class`, or `prediction`.

        Raises:
            FrameError: The rows are no table, lack an input, or have one of a type that does not
                fit.
            DataError: A row cannot be read, and `rejected` is "error".
        """
        return predict_frame(self._served, rows, rejected)


@public
def load_model(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] = DEFAULT_ROOT,
    trust: bool = False,
) -> Model:
    """Loads a model, once its digests and where it came from are checked.

    It warns if the model failed its gate.

    Args:
        path: The folder of a model or of a run, or that of a model's runs, of which the champion
            is taken: a path or a gs:// uri.
        root: The folder of all runs, in which a record must name the model.
        trust: Whether to load a model that no record names: it is a program.

    Raises:
        ArtifactError: There is no complete model, it was altered, or no record names it.
        SourceError: The root is neither a path nor a gs:// uri.
    """
    place = find_model(os.fspath(path))
    with on_this_machine(place) as folder:
        metadata = read_metadata(folder)
        if not trust:
            check_known(folder, place, os.fspath(root))
        with native_noise_hidden():
            served = ServedModel.load(folder)
    if failed := gate_warning(place):
        warnings.warn(failed, stacklevel=3)
    return Model(place, MappingProxyType(metadata), served)
