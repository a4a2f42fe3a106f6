"""Prints the operations of the training steps, and those that XLA cannot compile for a TPU.

    python -m tests.compat.tpu_operations FOLDER...

Runs in the environment for TPUs, on folders of examples. As libtpu is loaded there, TensorFlow has
the kernels of XLA for TPUs, even without a TPU.
"""

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import kernels

from quatrain.trainer.cluster import Cluster
from quatrain.trainer.examples import read_examples
from quatrain.trainer.job import Job, Outputs
from quatrain.trainer.network import fit_network
from quatrain.trainer.predictor import Fitting, head_of
from quatrain.trainer.settings import Hyperparameters

CALLS = ("PartitionedCall", "StatefulPartitionedCall", "Placeholder")  # what they call is listed


class TracedStrategy(tf.distribute.OneDeviceStrategy):
    """Keeps the graphs that a TPUStrategy would compile."""

    def run(self, fn: Callable[..., Any], args: Any = (), *_: Any, **__: Any) -> Any:
        step = tf.function(fn, autograph=False)
        graphs.append(step.get_concrete_function(*args).graph)
        return super().run(step, args)


def nodes(graph: Any) -> Iterator[Any]:
    """Yields the operations of a graph and of its functions."""
    definition = graph.as_graph_def()
    yield from definition.node
    for function in definition.library.function:
        yield from function.node_def


def is_compiled(node: Any) -> bool:
    """Returns whether XLA has a kernel of an operation, for its types, on a TPU."""

    def types(attribute: Any) -> set[int]:
        return set(attribute.list.type) or {attribute.type}

    return any(
        all(types(node.attr[c.name]) <= set(c.allowed_values.list.type) for c in kernel.constraint)
        for kernel in kernels.get_registered_kernels_for_op(node.op).kernel
        if kernel.device_type == "XLA_TPU_JIT"
    )


graphs: list[Any] = []
cluster = Cluster(TracedStrategy("/cpu:0"), is_chief=True, compiles=True)
for folder in sys.argv[1:]:
    for model in ("tabm", "linear"):
        settings = Hyperparameters(model=model, epochs=1, batch_size=64, members=2)
        examples = read_examples(folder)
        train, validation = (examples.split(name) for name in ("train", "validation"))
        with tempfile.TemporaryDirectory() as out:
            job = Job(folder, Outputs.of(out, {}), replace(settings, patience=1))
            head = head_of(examples, train)
            fit_network(Fitting(job, cluster, examples, head, train, validation, lambda e: None))
# XLA registers its kernels when it first compiles. For a CPU this build of TensorFlow cannot.
with contextlib.suppress(tf.errors.NotFoundError):
    tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1.0))
operations = [n for graph in graphs for n in nodes(graph) if n.op not in CALLS]
wrong = {n.op for n in operations if not is_compiled(n)}
print(json.dumps([len(graphs), sorted({n.op for n in operations}), sorted(wrong)]))
