"""The command of a component: KFP's, but its process takes the place of the shell's."""

import subprocess
import sys

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
