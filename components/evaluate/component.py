"""The evaluate step of the pipeline."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    spec: dict,
    examples: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Scores the test rows through the serving signature and decides the gate.

    Args:
        spec: The model spec, as checked by `quatrain check`.
        examples: Parquet shards of the preprocess step.
        model: What the training job wrote; the SavedModel is in its folder `model`.
        evaluation: metrics.json, report.html and the predictions of the test rows.
        metrics: The metrics of the model, one number each.
        classification: The ROC curve and the confusion matrix of a classifier.
    """
    from components.evaluate.gate import require_passed
    from components.evaluate.recording import record
    from components.evaluate.run import evaluate_model

    measured = evaluate_model(spec, examples.path, model.path, evaluation.path)
    record(measured, metrics, classification)
    require_passed(measured, model.uri)
