"""What the command line answers before anything heavy is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from clinical_ie.cli import COMMANDS, main
from clinical_ie.commands import runs
from clinical_ie.commands.chain import Chain
from clinical_ie.commands.chain_tasks import TASK_ARGS

RUNS = ("fit", "validate", "test", "predict")


def code(*given: str) -> int | str | None:
    try:
        return main(given)
    except SystemExit as stopped:
        return stopped.code


def test_nothing_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr().err
    assert all(f"  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"demo"}))
def test_a_command_alone_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code(command) == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: clinical-ie " + command)
    assert "Example" in said
    assert "--help" in said
    assert len(said.splitlines()) < 16


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["fitt"], "clinical-ie: no command 'fitt'; did you mean 'fit'?"),
        (["xyz"], "clinical-ie: no command 'xyz'; known are fit, validate,"),
        (["corpus", "chek"], "did you mean 'check'?"),
        (["corpus", "check", "--corpsu=x", "--corpus=demo"], "unknown option --corpsu; did you mean '--corpus'?"),
        (["score", "--gold=a", "--predicted=b", "--triggers=overlp"], "did you mean 'overlap'?"),
        (["score", "--gold=a", "--predict=b"], "required: --predicted"),
        (["score", "--gold=a", "--predicted=b", "c"], "'c' is one argument too many"),
        (["demo", "--epoch=3"], "did you mean '--epochs'?"),
        (["pipeline", "uw_social_histroy", "--run_dir=unused"], "did you mean 'uw_social_history'?"),
        (["export", "run"], "required: --output"),
        (["fit", "-c", "task/entity_tagging", "-c", "model/minilm"], "no corpus: add -c data/NAME"),
        (["test", "--run_dir=here"], "no task: add -c task/NAME"),
        (["test", "nowhere"], "'nowhere' is no option; options begin with --, configuration files stand behind -c"),
        (["test", "-c", "test/test_cli.yaml"], "test/test_cli.yaml: no such file, and no packaged configuration of that name"),
    ],
)
def test_one_line_and_exit_code_2(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code(*given) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not captured.out


@pytest.mark.parametrize("command", RUNS)
def test_help_without_torch(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert 7 <= shown.count("\n  -") <= 15, "a dozen options"
    assert shown.count(f"\n  clinical-ie {command} ") == 2, "two examples"
    program = f"import sys; from clinical_ie.cli import main; main(['{command}', '--help']); "
    program += "print(len({'torch', 'lightning', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"


def test_options_of_the_short_help_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for command in RUNS:
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help=all"])
        assert stopped.value.code == 0
        every = capsys.readouterr().out
        for option in re.findall(r"^  (?:-c, )?(--[\w.]+)", runs.help_text(command), re.MULTILINE):
            if not option.startswith(("--model.init_args.", f"--{TASK_ARGS}.")):  # the chain resolves these before the parser
                assert re.search(rf"{re.escape(option)}[ \]]", every), (command, option)


def test_examples_of_the_help_are_chains() -> None:
    text = runs.USAGE["fit"].replace("\\\n", "")
    examples = re.findall(r"^  clinical-ie fit (.*)$", text, re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        Chain(example.split()).require_axes()


def test_a_crash_leaves_no_notes_on_the_disk() -> None:
    program = "from clinical_ie.cli import main; main(['--version']); import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"


def test_an_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(given: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run", interrupted)
    assert main(["fit", "-c", "task/entity_tagging"]) == 75
    assert "--resume=auto" in capsys.readouterr().err


def test_a_run_is_named_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "config.yaml").write_text("trainer: {max_epochs: 1}\n", encoding="utf-8")
    assert main(["test", "runs/demo"]) == 2
    assert "'runs/demo' is no option; name a run by -c runs/demo/config.yaml" in capsys.readouterr().err
    assert main(["test", "-c", "runs/dem/config.yaml"]) == 2
    assert "did you mean 'runs/demo/config.yaml'?" in capsys.readouterr().err
