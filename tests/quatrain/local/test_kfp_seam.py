"""The private parts of kfp that a local run replaces."""

import inspect

from kfp.local import config, placeholder_utils, subprocess_task_handler

from quatrain.local import kfp_seam


def test_the_seam_is_that_of_the_installed_kfp():
    assert kfp_seam.problems() == []


def test_another_version_or_a_missing_name_is_a_sentence(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.18.0")
    monkeypatch.delattr(subprocess_task_handler, "SubprocessTaskHandler")
    monkeypatch.delattr(subprocess_task_handler, "replace_python_executable")
    monkeypatch.setattr(inspect, "getsource", lambda module: "another handler")
    assert kfp_seam.problems() == [
        f"the seam of a local run was read from kfp 2.17, but {text}: read kfp/local again and "
        f"mend quatrain/local/kfp_seam.py"
        for text in (
            "kfp is 2.18.0",
            "kfp.local.subprocess_task_handler.SubprocessTaskHandler is gone",
            "kfp.local.subprocess_task_handler.replace_python_executable is gone",
            "kfp.local.task_dispatcher takes its handler from elsewhere",
        )
    ]


def test_kfp_is_as_before_once_the_context_has_ended():
    def parts():
        return (
            subprocess_task_handler.SubprocessTaskHandler,
            placeholder_utils.resolve_individual_placeholder,
        )

    before = parts()
    with kfp_seam.replace_kfp(lambda command, environment: True, {}):
        assert not set(before) & set(parts())
    assert parts() == before


def test_a_later_call_of_a_component_runs_nothing_on_this_machine(tmp_path):
    assert config.LocalExecutionConfig.instance is None
    with kfp_seam.local_execution(tmp_path / "pipeline", tmp_path / "workspace"):
        assert config.LocalExecutionConfig.instance is not None
    assert config.LocalExecutionConfig.instance is None
