"""The KFP doorways of the evaluate step: `measure`, then `gate`.

They are two tasks because KFP publishes the artifacts of a task only when it succeeds, and the
metrics of a model that fails the gate are the ones that people want to see.
"""

from kfp import dsl

from quatrain.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def measure(
    spec: str,
    root: str,
    run: str,
    created: str,
    cache_key: str,
    template: str,
    files: int,
    digest: str,
    runner: str,
    runner_options: dict,
    project: str,
    location: str,
    image: str,
    train_image: str,
    examples: dsl.Input[dsl.Dataset],
    drift: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
    gcp_resources: dsl.OutputPath(str),  # type: ignore[valid-type]
) -> None:
    """Scores the test rows through the serving signature and reports on the model.

    Args:
        spec: The model spec as JSON text, as checked by `quatrain check`, or the uri of its file.
        root: The folder of all runs, where the champion and the last run are recorded; if empty,
            there are none.
        run: The name of the run.
        created: When the run was created.
        cache_key: The run's own key of the cache; if empty, answers of the champion that an earlier
            run has recorded are taken.
        template: The sha256 of the compiled pipeline.
        files: The number of files of the source.
        digest: Their digest.
        runner: Where Beam scores: local, prism, portable, dataflow, flink, spark, ...
        runner_options: Beam's options for the runner, by name.
        project: The project of the job.
        location: The region of the job.
        image: The image that this step runs in, as do its workers on other machines.
        train_image: The image that the training ran in.
        examples: Parquet shards of the preprocess step.
        drift: How far their columns have moved since earlier runs.
        model: The output of the training job; the SavedModel is in its folder `model`.
        evaluation: metrics.json, report.html and the predictions of the test rows.
        metrics: The metrics of the model, one number each.
        classification: The ROC curve and the confusion matrix of a classifier.
        report: The page of report.html, which the console shows since it is of this type.
        gcp_resources: Links to the job of Dataflow, if there is one.
    """
    from quatrain.components.faults import in_a_sentence
    from quatrain.trainer.importing import uncollected
    from quatrain.trainer.streams import stderr_for_errors

    with in_a_sentence(), stderr_for_errors():
        with uncollected():
            from quatrain.components.buckets import HERE
            from quatrain.components.engine.gcp_resources import write_resources
            from quatrain.components.engine.names import LOCAL
            from quatrain.components.evaluate.run import evaluate_model, record
            from quatrain.components.evaluate.this_run import ThisRun

        launch = None
        if runner == LOCAL and not runner_options:
            write_resources(gcp_resources)
        else:
            with uncollected():
                from quatrain.components.engine.launch import Launch

            options = (runner, runner_options, project, location, image, gcp_resources)
            launch = Launch("evaluate", *options)
        images = ("", "") if location == HERE else (image, train_image)  # none runs here
        measured = evaluate_model(
            spec,
            examples.uri,
            model.uri,
            evaluation.uri,
            drift=drift.uri,
            report=report.uri,
            root=root,
            this_run=ThisRun(run, created, template, files, digest, *images),
            launch=launch,
            cached=not cache_key,
        )
        record(measured, metrics, classification)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    spec: str,
    root: str,
    run: str,
    created: str,
    examples: dsl.Input[dsl.Dataset],
    evaluation: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
) -> str:
    """Fails the run when the model missed a bound of the gate; else promotes or holds it.

    In each case, the run is recorded as the last one that was measured.

    Args:
        spec: The model spec as JSON text, as checked by `quatrain check`, or the uri of its file.
        root: The folder of all runs, where both are recorded; if empty, they are not.
        run: The name of the run.
        created: When the run was created.
        examples: The examples that the model was trained on.
        evaluation: The output of `measure`.
        model: The model; when the gate fails it stays where it is and is not promoted.

    Returns:
        `release` if it is promoted and the spec has a section of that name; else an empty text.
    """
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.components.evaluate.champion import settle
        from quatrain.components.faults import in_a_sentence
        from quatrain.components.specification.parameter import read_parameter

    with in_a_sentence():
        checked = read_parameter(spec)
        artifacts = examples.uri, evaluation.uri, model.uri
        promoted = settle(checked, root, run, created, *artifacts)
    return "release" if promoted and checked.release else ""
