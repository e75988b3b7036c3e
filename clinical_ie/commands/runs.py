"""``clinical-ie fit | validate | test | predict`` up to where torch is needed: help, and a first look at the settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from clinical_ie.commands import configurations
from clinical_ie.commands.chain import Chain
from clinical_ie.commands.quiet import quieten
from clinical_ie.strategies.stop_signals import stopping_at_once

_FIT = """usage: clinical-ie fit -c task/NAME -c model/NAME -c data/NAME [-c ...] --run_dir=DIR [options]

Train a model, keep its best checkpoint, and score it on the test split; with --submit in a job of SLURM (`fit --submit --help`).

Examples:
  clinical-ie fit -c task/entity_tagging -c model/minilm -c data/demo --run_dir=runs/demo
  clinical-ie fit -c task/entity_tagging -c model/gatortron_base -c peft/lora -c data/n2c2_2018 --data.root=/data/n2c2_2018 \\
      --evaluation.rules=n2c2-2018 --run_dir=runs/n2c2

Exit codes: 0 trained and scored, 75 stopped by Ctrl-C, SIGTERM or SIGUSR1 (the same command with --resume=auto goes on), 2 bad usage or
input, 1 anything else.
"""
_RUN = """usage: clinical-ie {command} -c RUN/config.yaml [options]

{what}

Examples:
  clinical-ie {command} -c runs/n2c2/config.yaml{first}
  clinical-ie {command} -c runs/n2c2/config.yaml{second}
"""
USAGE = {
    "fit": _FIT,
    "validate": _RUN.format(
        command="validate", what="Score a run's best checkpoint on the development split.",
        first="", second=" --data.root=/data/n2c2_2018",
    ),
    "test": _RUN.format(
        command="test", what="Score a run's best checkpoint on the test split.",
        first="", second=" --evaluation.rules=n2c2-2018",
    ),
    "predict": _RUN.format(
        command="predict", what="Annotate a folder of .txt files with a run's best checkpoint.",
        first=" --data.texts=/data/new_notes --output=annotated", second=" --data.texts=/data/new_notes --data.mentions=mentions",
    ),
}  # fmt: skip
"""How each of them is called; the first line is the usage."""

_SHARED = {
    "-c, --config NAME": "a packaged configuration or a YAML file; later ones win, and options win over files that stand before them",
    "--run_dir=DIR": "where checkpoints, predictions and results.json go",
    "--data.root=DIR": "the folder of the corpus; --data.roots.CORPUS=DIR that of one of several",
    "--evaluation.rules=NAME": "strict-one-to-one (default), n2c2-2018 or shac-2022",
    "--data.eval_batch_budget=N": "sub-words of a batch that is not trained on (default: 8192)",
    "--ckpt_path=FILE": "another checkpoint than the run's best",
    "--trainer.devices=N": "GPUs or processes (default: 1)",
    "--data.lenient=true": "mend and count broken records instead of stopping at the first",
}
_OPTIONS: dict[str, dict[str, str]] = {
    "fit": {
        "-c, --config NAME": _SHARED["-c, --config NAME"],
        "--run_dir=DIR": "where everything of the run goes",
        "--data.root=DIR": _SHARED["--data.root=DIR"],
        "--evaluation.rules=NAME": "rules of the test score: strict-one-to-one (default), n2c2-2018 or shac-2022; .CORPUS=NAME for one",
        "--model.init_args.backbone=NAME": "hub name or folder of the pretrained model, in place of that of -c model/...",
        "--model.init_args.learning_rate=X": "peak learning rate of the pretrained weights",
        "--trainer.max_epochs=N": "passes over the training notes (default: 10)",
        "--data.task_args.TASK.X=V": "an argument of one task of several (TASK all: of each); --data.tasks.init_args.X that of the last",
        "--data.batch_budget=N": "sub-words of a training batch, padding included (default: 2048)",
        "--patience.epochs=N": "stop after so many epochs without a better development score",
        "--seed_everything=N": "seed of weights, dropout and order (default: 0)",
        "--trainer.devices=N": _SHARED["--trainer.devices=N"],
        "--data.lenient=true": _SHARED["--data.lenient=true"],
        "--resume=auto": "begin, or go on where the run in --run_dir was stopped: the same command for a job that is started again",
        "--init_from=RUN": "begin a new run with the weights of another, new corpora and types with fresh heads",
    },
    "validate": _SHARED,
    "test": _SHARED | {"--data.mentions=DIR": "link the mentions that another model found instead of gold ones"},
    "predict": {
        "-c, --config NAME": _SHARED["-c, --config NAME"],
        "--data.texts=DIR": "the .txt files to annotate; without it, the corpus' test notes",
        "--output=DIR": "where annotations go (default: RUN/predictions/predict)",
        "--data.mentions=DIR": "the mentions to link, where the task needs them: predictions of an entity model",
        "--ckpt_path=FILE": _SHARED["--ckpt_path=FILE"],
        "--data.eval_batch_budget=N": _SHARED["--data.eval_batch_budget=N"],
        "--trainer.devices=N": _SHARED["--trainer.devices=N"],
    },
}
_FOLDERS = ("task", "model", "peft", "data", "strategy", "experiment")


def run(arguments: Sequence[str]) -> int:
    """Help, or a look at the settings that costs no import of torch, and then the command itself."""
    command, given = arguments[0], list(arguments[1:])
    if not given:
        more = f"`clinical-ie {command} --help` lists the options that matter, `--help=all` all."
        print(f"{USAGE[command]}\n{more}", file=sys.stderr)
        return 2
    if command == "fit" and ("--submit" in given or "--dry-run" in given):
        from clinical_ie.commands import submit_fit

        return submit_fit.run(given)
    if "-h" in given or "--help" in given:
        print(help_text(command), end="")
        return 0
    if "--help=all" in given:
        given = ["--help"]
    elif not any(option.startswith("--print_config") or ".help" in option for option in given):
        Chain(given).require_axes()

    with stopping_at_once():
        quieten()
        from clinical_ie.commands import training

        return training.run([command, *given])


def help_text(command: str) -> str:
    """The options that matter, and the packaged configurations."""
    options = _OPTIONS[command]
    rows = [f"  {name:<{max(map(len, options))}}  {text}" for name, text in options.items()]
    text = f"{USAGE[command]}\nOptions:\n" + "\n".join(rows) + "\n"
    if command == "fit":
        named = [f"  {folder + '/':<12}{', '.join(configurations.names(folder))}" for folder in _FOLDERS]
        text += (
            f"\nPackaged configurations, in {configurations.folder()} (base and strategy/single need no mention):\n"
            + "\n".join(named)
            + "\n"
        )
    return f"{text}\n`clinical-ie {command} --help=all` lists every option, `--model.help CLASS` the arguments of a class.\n"
