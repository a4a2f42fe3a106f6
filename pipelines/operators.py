"""The two operators of google-cloud-pipeline-components that the pipeline uses."""

import importlib.util
from pathlib import Path
from typing import Any

import google_cloud_pipeline_components
from google_cloud_pipeline_components.v1.custom_job.component import custom_training_job


def _tuning_operator() -> Any:
    """Loads the operator's module alone: importing its package costs 2 s of CPU time.

    The package imports google.cloud.aiplatform for two functions that write a study's metrics and
    parameters; `specification/search_space.py` and `train/plan.py` write ours.
    """
    package = Path(google_cloud_pipeline_components.__file__).parent
    path = package / "v1" / "hyperparameter_tuning_job" / "component.py"
    spec = importlib.util.spec_from_file_location(f"{__name__}.tuning", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a module", path=str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.hyperparameter_tuning_job


CustomTrainingJobOp = custom_training_job
HyperparameterTuningJobRunOp = _tuning_operator()
