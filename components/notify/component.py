"""The KFP doorway of the exit task."""

from kfp import dsl

from quatrain.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def notify(
    spec: str,
    root: str,
    run: str,
    addresses: dict,
    project: str,
    location: str,
    status: dsl.PipelineTaskFinalStatus,
    sent: dsl.OutputPath(str),  # type: ignore[valid-type]
    experiment: str = "",
    predicts: bool = False,
    notify_success: bool = True,
) -> None:
    """Sends a notice of how the run has ended, when everything else has, and mirrors its lineage.

    It never fails.

    Args:
        spec: The model spec as JSON text, or the uri of its file.
        root: The folder of all runs, where the verdict is recorded.
        run: The name of the run.
        addresses: `webhook` and `pubsub`; if empty, nothing is sent.
        project: The project of the job.
        location: The region of the job.
        status: How the run has ended.
        sent: What became of the notice. Its folder lies beside those of the other tasks.
        experiment: The experiment of Vertex AI that the run is mirrored to; if empty, none.
        predicts: Whether the run is one of the prediction pipeline, which leaves no verdict.
        notify_success: Whether a run that succeeds without drift sends a notice, too.
    """
    from quatrain.components.notify.run import notify_of

    ended = status.state, status.error_message or ""
    notify_of(addresses, spec, root, run, project, location, *ended, sent, predicts, notify_success)
    if experiment:  # after the notice, since it may take a minute
        from quatrain.components.notify.metadata_store import MetadataStore
        from quatrain.components.notify.mirror import mirror_run

        store = MetadataStore(project, location)
        print(mirror_run(store, experiment, spec, root, run, *ended), flush=True)
