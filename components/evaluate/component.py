"""The KFP doorways of the evaluate step: measure, then the gate.

Two tasks, because KFP publishes the artifacts of a task only when it succeeds: the metrics of a
model that fails the gate are the ones that people want to see.
"""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def measure(
    spec: dict,
    examples: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Scores the test rows through the serving signature and reports on the model.

    Args:
        spec: The model spec, as checked by `quatrain check`.
        examples: Parquet shards of the preprocess step.
        model: What the training job wrote; the SavedModel is in its folder `model`.
        evaluation: metrics.json, report.html and the predictions of the test rows.
        metrics: The metrics of the model, one number each.
        classification: The ROC curve and the confusion matrix of a classifier.
    """
    from components.evaluate import run

    measured = run.evaluate_model(spec, examples.path, model.path, evaluation.path)
    run.record(measured, metrics, classification)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(evaluation: dsl.Input[dsl.Artifact], model: dsl.Input[dsl.Model]) -> None:
    """Fails the run when the model missed a bound of the gate.

    Args:
        evaluation: What `measure` found.
        model: The model, for the message: it is kept, and not promoted.
    """
    from components.artifacts import read_manifest
    from components.evaluate.gate import require_passed

    measured = read_manifest(evaluation.path, "metrics.json", "evaluate")
    require_passed(measured, model.uri)
