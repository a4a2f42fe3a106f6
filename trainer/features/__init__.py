"""Feature transforms: each class holds its fit, its numpy form and its TensorFlow form.

The numpy form runs in preprocessing, the TensorFlow form inside the exported model. Both start from
the same raw inputs (`raw_inputs`) and give the same engineered columns. TensorFlow is imported only
by the TensorFlow forms, so preprocessing never pays for it.
"""

from .base import (
    CODES,
    LABEL,
    NUMBERS,
    QUANTITY,
    RAW_PREFIX,
    TIMES,
    WEIGHT,
    Engineered,
    Feature,
    Input,
    Raw,
    Task,
    Tensors,
    Type,
    raw_inputs,
)
from .categories import MAX_BUCKETS, Bag, Cross, Frequency, Hash, Vocabulary, rare
from .numbers import (
    MAX_DEVIATIONS,
    Bucketize,
    Clip,
    Log,
    Number,
    Ordered,
    PiecewiseLinear,
    Power,
    QuantileNormal,
    Robust,
    Scaled,
    Standardize,
)
from .pairs import Difference, Ratio
from .places import Distance, Grid
from .text import Text
from .times import Calendar, Cyclic, Part

FEATURES: dict[str, type[Feature]] = {
    "standardize": Standardize,
    "robust": Robust,
    "log": Log,
    "power": Power,
    "clip": Clip,
    "quantile_normal": QuantileNormal,
    "piecewise_linear": PiecewiseLinear,
    "bucketize": Bucketize,
    "vocabulary": Vocabulary,
    "frequency": Frequency,
    "hash": Hash,
    "cross": Cross,
    "bag": Bag,
    "text": Text,
    "cyclic": Cyclic,
    "calendar": Calendar,
    "difference": Difference,
    "ratio": Ratio,
    "distance": Distance,
    "grid": Grid,
}
"""The transforms, by their name in the spec."""

__all__ = [
    "CODES",
    "FEATURES",
    "LABEL",
    "MAX_BUCKETS",
    "MAX_DEVIATIONS",
    "NUMBERS",
    "QUANTITY",
    "RAW_PREFIX",
    "TIMES",
    "WEIGHT",
    "Bag",
    "Bucketize",
    "Calendar",
    "Clip",
    "Cross",
    "Cyclic",
    "Difference",
    "Distance",
    "Engineered",
    "Feature",
    "Frequency",
    "Grid",
    "Hash",
    "Input",
    "Log",
    "Number",
    "Ordered",
    "Part",
    "PiecewiseLinear",
    "Power",
    "QuantileNormal",
    "Ratio",
    "Raw",
    "Robust",
    "Scaled",
    "Standardize",
    "Task",
    "Tensors",
    "Text",
    "Type",
    "Vocabulary",
    "rare",
    "raw_inputs",
]
