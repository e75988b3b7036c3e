"""What must stay the same for a run to go on exactly: its settings, as plain values in the checkpoint.

Every setting must be equal unless it is listed here as one that changes no weight, or that takes effect whenever it changes. So a
setting that is new to the package is compared until somebody says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from clinical_ie.errors import SettingError

Plain = str | int | float | bool | None

_FREE = re.compile(
    r"""(
    config | ckpt_path | init_from | weights_only | run_dir | test_after_fit | evaluation(\..*)? | predictions(\..*)?
    | interruption(\..*)? | trace(\..*)? | process_group_timeout
    | checkpoints\.( every_minutes | model_folder ) | patience\.epochs
    | trainer\.( accelerator | devices | num_nodes | strategy(\..*)? | sync_batchnorm | logger(\..*)? | default_root_dir | profiler(\..*)?
        | plugins(\..*)? | max_time(\..*)? | min_epochs | min_steps | max_epochs | max_steps | limit_(test|predict)_batches
        | num_sanity_val_steps | log_every_n_steps | enable_.* | detect_anomaly | benchmark | inference_mode | use_distributed_sampler
        | barebones | model_registry )
    | model\.init_args\.( backbone | base_dtype | gradient_checkpointing | compiled | chunk | packed_attention
        | constrained | confidences | backtrack_threshold | batch_size
        | max_new_tokens_base | max_new_tokens_ratio | num_draft_tokens )
    | data\.roots\..* | data\.( root | tokenizer | texts | mentions | workers | eval_batch_budget | lenient )
    | data\.corpora\.\d+\.init_args\.root
    | data\.tasks\.\d+\.init_args\.( prompt_template | demonstrations(\..*)? )
    )""",
    re.VERBOSE,
)
"""Settings that may change: files and devices, what is shown, how answers are generated, and when training ends.

Paths are here because what lies behind them is compared by its content: documents and examples by the fingerprint of the data, a base
by its weights and its tokenizer.
"""

_ENDS = re.compile(r"trainer\.((max|min)_(epochs|steps)|max_time(\..*)?)|patience\.epochs")
"""When training ends: free, but it shows in the weights."""


def flat(values: Any, prefix: str = "") -> dict[str, Plain]:
    """A nested configuration as ``a.b.0.c`` -> plain value."""
    if isinstance(values, Mapping):
        rows = {str(name): value for name, value in values.items()}
    elif isinstance(values, list | tuple):
        rows = {str(place): value for place, value in enumerate(values)}
    else:
        return {prefix: values if isinstance(values, Plain) else str(values)}
    found: dict[str, Plain] = {}
    for name, value in rows.items():
        found |= flat(value, f"{prefix}.{name}" if prefix else name)
    return found


def compared(settings: Mapping[str, Plain]) -> dict[str, Plain]:
    """The settings that a run goes on with unchanged, None as good as not there."""
    return {name: value for name, value in settings.items() if value is not None and not _FREE.fullmatch(name)}


def identity(settings: Mapping[str, Plain]) -> dict[str, Plain]:
    """The settings that make a run what it is: those that are compared, and the end of training; no paths, no machine."""
    return compared(settings) | {name: value for name, value in settings.items() if value is not None and _ENDS.fullmatch(name)}


def check_settings_kept(saved: Mapping[str, Plain], given: Mapping[str, Plain]) -> None:
    """Hold the settings of a run against those that it is to go on with.

    Raises:
        SettingError: Some changed; names each, its old and its new value. Or it is to begin with other weights, and has begun without.
    """
    if given.get("init_from") is not None and saved.get("init_from") is None:
        raise SettingError(
            f"init_from is {given['init_from']}, but the run that is gone on with began without; leave it out, or begin a new run in"
            " another --run_dir without --ckpt_path"
        )
    before, now = compared(saved), compared(given)
    changed = [
        f"{name}: {_shown(before, name)} -> {_shown(now, name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise SettingError(
            "a run goes on with the settings it began with, but these have changed: "
            + ", ".join(changed)
            + "; leave them as they were (`-c RUN/config.yaml` has them), or begin a new run in another --run_dir"
            " (--init_from=RUN begins it with the weights of this one)"
        )


def check_scores_kept(saved: Mapping[str, Plain], given: Mapping[str, Plain]) -> None:
    """Hold the settings by which a finished run was scored against those that are given now.

    Raises:
        SettingError: Some changed; names each, its old and its new value.
    """
    names = sorted(name for name in saved.keys() | given.keys() if name.startswith("evaluation.") and saved.get(name) != given.get(name))
    if names:
        changed = ", ".join(f"{name}: {_shown(saved, name)} -> {_shown(given, name)}" for name in names)
        raise SettingError(f"the run is finished and was scored with other settings: {changed}; `clinical-ie test` scores it anew")


def is_trained(checkpoint: Mapping[str, Any], cost: Mapping[str, Any], changes: Sequence[str], *, last: bool = True) -> bool:
    """Whether a run has come to its end.

    Args:
        checkpoint: Its last state.
        cost: What ``results.json`` says of the run; it is written when training ends.
        changes: What is to take effect, as `taken_up` tells it: a later end may be among it.
        last: Whether it is the last state; else it is the best, which is all that is left.
    """
    steps, reached = cost.get("steps"), checkpoint["global_step"]
    return steps is not None and (steps == reached if last else steps >= reached) and not changes


def check_end(checkpoint: Mapping[str, Any], given: Mapping[str, Plain]) -> None:
    """Hold the end of training that is asked for against what the run has behind it.

    Raises:
        SettingError: It lies in the past.
    """
    steps, epochs = int(checkpoint["global_step"]), int(checkpoint["epoch"])  # that of the epoch which was under way, from 0
    epochs += bool(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"])
    for name, done in (("max_steps", steps), ("max_epochs", epochs)):
        end = given.get(f"trainer.{name}")
        if isinstance(end, int) and 0 <= end < done:
            raise SettingError(
                f"trainer.{name} is {end}, but the checkpoint has {done} behind it; name a later end, or use `clinical-ie test` on the run"
            )


def taken_up(saved: Mapping[str, Plain], given: Mapping[str, Plain]) -> list[str]:
    """Changed settings that take effect and change what the weights become, each as ``name: old -> new``."""
    schedule = given.get("model.init_args.schedule")
    stretched = "" if schedule in (None, "constant") else f"; from here on the {schedule} schedule is that of the new end"
    of_the_schedule = {"trainer.max_epochs", "trainer.max_steps"}
    return [
        f"{name}: {_shown(saved, name)} -> {_shown(given, name)}{stretched if name in of_the_schedule else ''}"
        for name in sorted(saved.keys() | given.keys())
        if _ENDS.fullmatch(name) and saved.get(name) != given.get(name)
    ]


def _shown(settings: Mapping[str, Plain], name: str) -> str:
    value = settings.get(name)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
