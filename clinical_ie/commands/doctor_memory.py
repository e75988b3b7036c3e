"""Whether a run fits on its devices, and what would make it fit, each with the number that it gives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from clinical_ie.commands.doctor_findings import Finding, gigabytes
from clinical_ie.commands.memory_estimate import Estimate, Strategy, estimate, strategy_named
from clinical_ie.commands.memory_simulation import Simulated, Step, simulate
from clinical_ie.commands.memory_step import cache_bytes, step_of
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.errors import ClinicalIEError
from clinical_ie.modules import InstructionGenerator
from clinical_ie.modules.tuned_module import TunedModule

_SUBJECT, _OF_HOST = "memory", "host memory"


class Run:
    """What memory depends on; changed copies of it are the remedies.

    Args:
        module: As the command line makes it.
        data: Nothing of it is read.
        precision: The trainer's.
        strategy: The trainer's, by name or class.
        ranks: Of all nodes.
        nodes: Among which they are divided.
        micro_steps: The trainer's ``accumulate_grad_batches``.
        on_gpu: Whether devices are GPUs.
        averaged: Whether checkpoints hold averaged weights beside the trained ones.
    """

    def __init__(
        self,
        module: TunedModule,
        data: ExtractionDataModule,
        *,
        precision: str,
        strategy: str,
        ranks: int,
        nodes: int = 1,
        micro_steps: int = 1,
        on_gpu: bool = True,
        averaged: bool = False,
    ) -> None:
        self.averaged, self.nodes = averaged, nodes
        self.module, self.micro_steps, self.ranks, self.on_gpu = module, micro_steps, ranks, on_gpu
        named = strategy_named(strategy)
        self.strategy: Strategy = "ddp" if named == "single" and ranks > 1 else named
        self.step: Step = step_of(module, data, precision)
        if self.strategy.startswith("zero") and self.step.precision != "bf16-mixed":  # else its engine holds all weights in one precision
            self.step = replace(self.step, base_dtype=torch.float32)
        self.simulated: Simulated | None = None
        self.generation = cache_bytes(module, data, self.step)

    def estimate(self) -> Estimate:
        """Of one device.

        Raises:
            SettingError: The step cannot be carried out on shapes.
        """
        if self.simulated is None:
            self.simulated = simulate(self.module, self.step, micro_steps=self.micro_steps)
        return estimate(self.simulated, self.step, self.strategy, self.ranks, on_gpu=self.on_gpu, generation=self.generation)

    def host(self) -> Estimate | None:
        """Of a node's own memory; None where nothing is offloaded to it.

        Raises:
            SettingError: The step cannot be carried out on shapes.
        """
        found = self.estimate()
        return found.node(self.ranks / self.nodes) if found.host else None

    def saved(self) -> tuple[float, float]:
        """Bytes of a checkpoint, and of its weights alone; it has what is trained, and AdamW's two states of it.

        Raises:
            SettingError: The step cannot be carried out on shapes.
        """
        self.estimate()
        assert self.simulated is not None
        weights = 4 * self.simulated.trained if self.strategy.startswith("zero") else self.simulated.trained_bytes  # of ZeRO the masters
        return 3 * weights + weights * self.averaged, weights

    def changed(self, change: Callable[[Run], None]) -> Run:
        """A copy with a change."""
        other = copy.copy(self)
        other.module = copy.copy(self.module)
        other.module.__dict__ = dict(self.module.__dict__)
        change(other)
        return other


def check_memory(run: Run, limit: float | None, of_node: float | None = None) -> list[Finding]:
    """Estimate, and where it does not fit, what would: in the order of what it costs; the same of the host's memory, where it is used.

    Args:
        run: What is to be trained.
        limit: Bytes of a device; None where they are not known.
        of_node: Bytes of a node's own memory that the job has; None where they are not known.
    """
    found = [_of_device(run, limit, of_node)]
    with suppress(ClinicalIEError):  # as the first finding says
        if host := run.host():
            found.append(_of_host(host, run, of_node))
    return found


def _of_device(run: Run, limit: float | None, of_node: float | None) -> Finding:
    try:
        found = run.estimate()
    except ClinicalIEError as error:
        return Finding("warning", _SUBJECT, str(error))
    step = f" for {run.step.rows} rows of {run.step.width:,} tokens, {run.strategy}, {run.ranks} devices"
    if limit is None:
        return Finding("ok", _SUBJECT, found.said() + step, "--gpu-memory GB says whether that fits")
    total = found.total
    room = f" of {gigabytes(limit)}"
    if total.high <= limit:
        return Finding("ok", _SUBJECT, found.said() + step + room)
    remedies = "; ".join(_remedies(run, limit, of_node))
    if total.expected <= limit:
        return Finding("warning", _SUBJECT, f"may not fit: {found.said()}{step}{room}", remedies)
    return Finding("problem", _SUBJECT, f"does not fit: {found.said()}{step}{room}", remedies)


def _of_host(host: Estimate, run: Run, limit: float | None) -> Finding:
    """Whether what is offloaded to a node fits there."""
    total, text = host.total, host.said("a node") + f" for {run.ranks / run.nodes:g} processes"
    remedy = f"ask for --mem={math.ceil(total.high / 2**30)}G (or --mem=0, all of the node), or for more nodes"
    if limit is None:
        return Finding("ok", _OF_HOST, text, remedy)
    text += f", of {gigabytes(limit)}"
    if total.high <= limit:
        return Finding("ok", _OF_HOST, text)
    if total.expected <= limit:
        return Finding("warning", _OF_HOST, f"may not fit: {text}", remedy)
    return Finding("problem", _OF_HOST, f"does not fit: {text}", remedy)


def _remedies(run: Run, limit: float, of_node: float | None) -> Iterator[str]:
    """Changes one after the other, each on top of those before, until it fits; each with what is expected then."""
    before = run.estimate().total.expected
    for name, applies, change in _CHANGES:
        if not applies(run):
            continue
        other = run.changed(change)
        try:
            total, host = other.estimate().total, other.host()
        except ClinicalIEError:
            continue
        if total.expected > 0.99 * before:  # something else takes it
            continue
        run, before = other, total.expected
        needs = "" if host is None else f", and {host.total} of a node's own memory"
        if host is not None and of_node is not None and host.total.expected > of_node:
            needs += f", where the job has {gigabytes(of_node)}"
        yield f"{name}: {total}{needs}"
        if total.high <= limit:
            return
    yield "then a smaller model, or devices with more memory"


def _set(**values: Any) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        run.simulated = None
        for name, value in values.items():
            setattr(run.module, name, value)

    return change


def _halve(run: Run) -> None:
    run.simulated = None
    rows, width = (run.step.rows // 2, run.step.width) if run.step.rows > 1 else (1, run.step.width // 2)
    run.step = replace(run.step, rows=rows, width=width, targets=max(1, run.step.targets // 2))


def _fewer_completions(run: Run) -> None:
    run.generation //= 4


def _bf16_base(run: Run) -> None:
    run.simulated = None
    run.step = replace(run.step, base_dtype=torch.bfloat16)


def _lora(run: Run) -> None:
    from peft import LoraConfig

    _set(peft=LoraConfig(r=16, target_modules="all-linear"), frozen_base=True)(run)


def _quantized(run: Run) -> None:
    _set(quantized="nf4")(run)


def _with_strategy(strategy: Strategy) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        run.strategy = strategy

    return change


def _more_devices(run: Run) -> None:
    run.ranks = max(2, 2 * run.ranks)


def _is_decoder(run: Run) -> bool:
    return isinstance(run.module, InstructionGenerator)


def _is_frozen(run: Run) -> bool:
    frozen = run.module.frozen_base
    return bool(run.module.peft is not None if frozen is None else frozen)


def _can_halve_base(run: Run) -> bool:
    """Whether the frozen base is held in float32 although the run computes in bfloat16."""
    half = run.step.precision == "bf16-mixed" or (run.step.precision == "bf16-true" and not run.strategy.startswith("zero"))
    return half and _is_frozen(run) and run.step.base_dtype == torch.float32 and run.module.quantized is None


def _can_recompute(run: Run) -> bool:
    kind = "" if run.module.peft is None else str(run.module.peft.peft_type)
    return not run.module.gradient_checkpointing and "PREFIX" not in kind


_CHANGES: list[tuple[str, Callable[[Run], bool], Callable[[Run], None]]] = [
    ("--model.init_args.gradient_checkpointing=true", _can_recompute, _set(gradient_checkpointing=True)),
    (
        "a quarter of --model.init_args.batch_size, of completions side by side",
        lambda run: run.generation > 0 and getattr(run.module, "batch_size", 1) >= 4,
        _fewer_completions,
    ),
    ("half of --data.batch_budget", lambda run: run.step.rows > 1 or (_is_decoder(run) and run.step.width > 1024), _halve),
    ("the frozen base in bfloat16 (--model.init_args.base_dtype=bfloat16)", _can_halve_base, _bf16_base),
    ("-c peft/lora", lambda run: run.module.peft is None and not _is_frozen(run), _lora),
    ("the frozen base in bfloat16, too", _can_halve_base, _bf16_base),
    ("-c peft/qlora", lambda run: _is_decoder(run) and run.module.quantized is None and run.strategy in ("single", "ddp"), _quantized),
    ("-c strategy/zero2", lambda run: run.strategy in ("ddp", "zero1") and run.module.quantized is None, _with_strategy("zero2")),
    ("-c strategy/zero3", lambda run: run.strategy in ("zero2",) and run.ranks > 1, _with_strategy("zero3")),
    ("twice as many devices", lambda run: run.strategy in ("zero3", "fsdp2"), _more_devices),
    ("-c strategy/zero3_offload", lambda run: run.strategy == "zero3", _with_strategy("zero3_offload")),
]
"""What helps, in the order of what it costs -> whether it applies, and what it changes."""
