"""The command of a component: KFP's, but its process takes the place of the shell's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from quatrain.components.errors import QuatrainError
from quatrain.components.preprocess.component import find_files
from quatrain.pipelines.executor import replaced_command


def command_of_kfp():
    return list(find_files.component_spec.implementation.container.command)


def test_only_the_start_of_the_process_differs_from_the_command_of_kfp():
    before = command_of_kfp()
    after = replaced_command(before)
    assert after[:2] == before[:2] and after[3:] == before[3:]
    ours = "exec env _KFP_RUNTIME=true python3 -m quatrain.pipelines.executor "
    assert (
        after[2].replace(ours, "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main ") == (before[2])
    )


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_process_is_the_shell_s_and_knows_that_kfp_runs(tmp_path, shell):
    (tmp_path / "python3").write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "print(os.getpid(), os.environ['_KFP_RUNTIME'], *sys.argv[1:3], *sys.argv[5:])\n"
    )
    (tmp_path / "python3").chmod(0o755)
    _, *rest = replaced_command(command_of_kfp())
    path = f"{tmp_path}:/usr/bin:/bin"
    child = subprocess.Popen(
        [shell, *rest, "--a", "b"], env={"PATH": path}, stdout=subprocess.PIPE, text=True
    )
    said, _ = child.communicate(timeout=30)
    assert said.split() == [str(child.pid), "true", "-m", "quatrain.pipelines.executor", "--a", "b"]


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["python3", "-m", "kfp.dsl.executor_main"],
        ["sh", "-c", "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main x"],
        ["sh", "-ec", "_KFP_RUNTIME=true python -m kfp.dsl.executor_main x"],
        ["sh", "-ec", 2 * "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main x\n"],
    ],
)
def test_another_form_of_command_is_refused_when_the_pipeline_is_compiled(command):
    with pytest.raises(QuatrainError, match=r"mend pipelines/executor\.py"):
        replaced_command(command)


STEP = '''
from kfp import dsl

def probe() -> str:
    """Returns what of a notebook can be imported."""
    import importlib
    found = []
    for name in ("IPython", "matplotlib", "pandas", "sklearn"):
        try:
            importlib.import_module(name)
            found.append(name)
        except ModuleNotFoundError:
            pass
    return f"found {found}"
'''


def test_a_step_imports_nothing_that_only_a_notebook_needs(tmp_path):
    (tmp_path / "step.py").write_text(STEP)
    (tmp_path / "pandas.py").write_text("")
    output = {"outputFile": str(tmp_path / "output.txt")}
    outputs = {"parameters": {"Output": output}, "outputFile": str(tmp_path / "executor.json")}
    command = [sys.executable, "-P", "-m", "quatrain.pipelines.executor"]
    command += ["--component_module_path", str(tmp_path / "step.py")]
    command += ["--function_to_execute", "probe"]
    command += ["--executor_input", json.dumps({"inputs": {}, "outputs": outputs})]
    path = f"{Path(__file__).parents[2]}:{tmp_path}"
    subprocess.run(command, env={"PYTHONPATH": path, "_KFP_RUNTIME": "true"}, check=True)
    written = json.loads((tmp_path / "executor.json").read_text())
    assert written["parameterValues"] == {"Output": "found []"}
