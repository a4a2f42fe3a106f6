"""A pipeline of two toy steps around a real CustomTrainingJobOp, for the tests of local runs."""

from typing import NamedTuple

from google_cloud_pipeline_components.v1.custom_job import CustomTrainingJobOp
from kfp import dsl


@dsl.component(base_image="toy", install_kfp_package=False)
def prepare(
    spec: str,
    runner: str,
    at: str,
    scheduled: str,
    created: str,
    examples: dsl.Output[dsl.Dataset],
) -> int:
    import json
    import os

    from quatrain.components.errors import DataError
    from quatrain.components.specification.parameter import read_parameter

    if runner == "fail":
        raise DataError("no rows\nin 2 files")
    os.makedirs(examples.path + "/rejected")
    rows = {"read": 4, "train": 2, "validation": 1, "test": 1, "rejected": 0}
    with open(examples.path + "/manifest.json", "w") as stream:
        times = {"at": at, "scheduled": scheduled, "created": created}
        epochs = read_parameter(spec).train.settings.epochs
        manifest = {"rows": rows, "warnings": [], "epochs": epochs, "times": times}
        json.dump(manifest, stream)
    return 4


@dsl.component(base_image="toy", install_kfp_package=False)
def plan(
    examples: dsl.Input[dsl.Dataset], runner: str, script: str, model: dsl.Output[dsl.Model]
) -> NamedTuple("Plan", worker_pool_specs=list, base_output_directory=str):
    import json
    import os
    from collections import namedtuple

    assert os.path.exists(examples.path + "/manifest.json")
    behaviour, counts = json.loads(runner)
    args = [script, behaviour, model.path + "/replicas"]
    container = {"image_uri": "toy", "command": ["python"], "args": args}
    container["env"] = [{"name": "OWN", "value": "mine"}]
    pools = [
        {
            "machine_spec": {"machine_type": "n1-standard-4"},
            "replica_count": count,
            "container_spec": container,
        }
        if count
        else {}
        for count in counts
    ]
    outputs = namedtuple("Plan", ["worker_pool_specs", "base_output_directory"])
    return outputs(pools, model.uri)


def make_toy(script: str):
    @dsl.pipeline(name="train")
    def train(
        examples: dsl.Input[dsl.Dataset], runner: str, project: str, location: str
    ) -> dsl.Model:
        planned = plan(examples=examples, runner=runner, script=script)
        CustomTrainingJobOp(
            display_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            worker_pool_specs=planned.outputs["worker_pool_specs"],
            base_output_directory=planned.outputs["base_output_directory"],
            project=project,
            location=location,
            persistent_resource_id="",
        )
        return planned.outputs["model"]

    @dsl.pipeline(name="toy")
    def toy(
        spec: str,
        project: str,
        location: str,
        root: str = "",
        runner: str = "",
        tier: str = "",
        at: str = "",
    ):
        prepared = prepare(
            spec=spec,
            runner=runner,
            at=at,
            scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
            created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
        )
        train(
            examples=prepared.outputs["examples"], runner=runner, project=project, location=location
        )

    return toy
