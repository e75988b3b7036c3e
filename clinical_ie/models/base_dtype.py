"""Frozen weights in bfloat16: half the memory of a frozen base under bf16 autocast, and not one number of it changed.

Autocast rounds the weights of every linear layer to bfloat16 at each of its passes. A frozen one may be held so from the start: that saves
the copy in 32 bits, and the rounding itself. All else that a base computes in 32 bits under autocast stays as exact as it was: norms and
biases are held in 32 bits, and a table of embeddings in 16 only where that loses nothing, as of files in bfloat16; what is looked up in it
leaves it in 32 bits, so that the sums over layers (the residual stream) keep their precision. Two things are not the same to the last bit:
experts of a mixture, which autocast does not round on every device, and the values that adapters begin with, which PEFT rounds.

Reference: Micikevicius et al., Mixed precision training (ICLR 2018).
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.pytorch_utils import Conv1D

from clinical_ie.errors import SettingError
from clinical_ie.models.folders import weight_files
from clinical_ie.models.sharded_weights import gathered, hold_in, whole_shape

BaseDtype = Literal["auto", "float32", "bfloat16"]
_MATRICES = (nn.Linear, Conv1D, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Modules whose weights autocast rounds, whatever else their classes do; weights of three dimensions (experts) are multiplied, too."""
_CHUNK = 1 << 24
"""Weights that are compared at once."""


def computes_in_bfloat16(accelerator: str) -> bool:
    """Whether bfloat16 is an arithmetic of the device that Lightning would take, and not an emulation."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def check_base_dtype(setting: BaseDtype, *, frozen: bool) -> None:
    """Refuse a trained base in half precision.

    Raises:
        SettingError: It is.
    """
    if setting == "bfloat16" and not frozen:
        raise SettingError(
            "base_dtype is bfloat16, but the base is trained, and steps of its size round away in bfloat16; leave base_dtype out"
            " (--model.init_args.base_dtype=auto), or train an adapter on a frozen base (-c peft/lora)"
        )


def chosen_dtype(setting: BaseDtype, *, frozen: bool, precision: str | None) -> torch.dtype:
    """In what the matrices of a base are held.

    Args:
        setting: ``auto`` is bfloat16 where that changes nothing: of a frozen base under bf16 autocast, or where all is in bfloat16.
        frozen: Whether the base is.
        precision: The trainer's; None without a trainer, as for an export, which merges in 32 bits.

    Raises:
        SettingError: The precision computes in something else than bfloat16.
    """
    check_base_dtype(setting, frozen=frozen)
    in_bfloat16 = precision in ("bf16-mixed", "bf16-true")
    if setting == "bfloat16" and precision is not None and not in_bfloat16:
        raise SettingError(
            f"base_dtype is bfloat16, but trainer.precision is {precision}; give --trainer.precision=bf16-mixed, or leave base_dtype out"
        )
    return torch.bfloat16 if frozen and in_bfloat16 and setting != "float32" else torch.float32


def is_mixed(model: PreTrainedModel) -> bool:
    """Whether a model holds matrices in bfloat16 beside other weights in 32 bits, and so computes under autocast only."""
    held = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return held == {torch.float32, torch.bfloat16}


@contextmanager
def loading_in(dtype: torch.dtype, name: str) -> Iterator[None]:
    """While it is active, `from_pretrained` reads the matrices of a model directly in a type; what is stored so is mapped, not copied.

    Pages of a file that are mapped are shared by all processes of a machine, and given back when memory runs short. The rest is
    `hold_in_bfloat16`'s.

    Args:
        dtype: Of the matrices; all else is read in the type that `from_pretrained` is asked for.
        name: Of the model, as the setting has it.
    """
    if dtype == torch.float32 or is_deepspeed_zero3_enabled():  # type: ignore[no-untyped-call]
        yield
        return
    cls: Any = PreTrainedModel
    before = cls._get_dtype_plan

    def plan(model: PreTrainedModel, whole: torch.dtype) -> dict[str, torch.dtype]:
        taken: set[Tensor] = {*_matrices(model)}
        if _stored_in(name, dtype):
            taken |= {table.weight for table in _tables(model) if _looks_up_ids(table)}
        names = {key for key, parameter in model.named_parameters() if parameter in taken}
        return {**before(model, whole), **{f"^{re.escape(key)}$": dtype for key in names}}

    cls._get_dtype_plan = plan
    try:
        yield
    finally:
        cls._get_dtype_plan = before


def hold_in_bfloat16(model: PreTrainedModel) -> None:
    """Round what autocast rounds, hold tables of embeddings in 16 bits where that loses nothing, and all else in 32 bits.

    Args:
        model: Loaded, and to be frozen; weights in few bits (integers) stay as they are.
    """
    tables, matrices = _tables(model), _matrices(model)
    exact: set[Tensor] = set()
    for table in tables:
        with gathered([table.weight]):  # under ZeRO-3 no rank has it whole
            exact |= {table.weight} if _looks_up_ids(table) and _fits_bfloat16(table.weight) else set()
    for parameter in {*model.parameters()}:
        if parameter.is_floating_point():
            dtype = torch.bfloat16 if parameter in matrices or parameter in exact else torch.float32
            hold_in(parameter, dtype)  # one weight after the other
    others = (each for each in model.parameters() if each.dtype == torch.float32 and each not in {table.weight for table in tables})
    reference = next(others, None)
    for table in tables:
        if table.weight in exact:
            table.forward = functools.partial(_looked_up, table, type(table), reference)  # type: ignore[method-assign]


def train_in_float32(model: nn.Module) -> None:
    """Hold what is trained in 32 bits: adapters and copies of modules that were made from a base in bfloat16."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype == torch.bfloat16:
            hold_in(parameter, torch.float32)


def _matrices(model: nn.Module) -> set[nn.Parameter]:
    """What autocast rounds to bfloat16 at each pass, but for tables of embeddings that serve as output layers, too."""
    tables = {table.weight for table in _tables(model)}
    return {
        parameter
        for module in model.modules()
        for parameter in module.parameters(recurse=False)
        if parameter.is_floating_point()
        and parameter not in tables
        and len(whole_shape(parameter)) > (1 if isinstance(module, _MATRICES) else 2)
    }


def _tables(model: nn.Module) -> list[nn.Embedding]:
    return [module for module in model.modules() if isinstance(module, nn.Embedding)]


def _fits_bfloat16(weight: Tensor) -> bool:
    """Whether rounding to bfloat16 changes no number."""
    if weight.dtype == torch.bfloat16:
        return True
    parts = torch.split(weight.detach().flatten(), _CHUNK)
    return all(torch.equal(part.to(torch.bfloat16).to(part.dtype), part) for part in parts)


def _stored_in(name: str, dtype: torch.dtype) -> bool:
    """Whether all weights of a model's files are of this type; of pickles that is not asked."""
    label = {torch.bfloat16: "BF16"}[dtype]
    files = weight_files(name)
    if any(file.suffix != ".safetensors" for file in files):
        return False
    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            if any(opened.get_slice(key).get_dtype() != label for key in opened.keys()):  # noqa: SIM118 (no mapping)
                return False
    return True


def _looks_up_ids(table: nn.Embedding) -> bool:
    """Whether a table is asked for ids and nothing else: itself, or with a scale (Gemma)."""
    return type(table) is nn.Embedding or list(inspect.signature(type(table).forward).parameters) == ["self", "input_ids"]


def _looked_up(table: nn.Embedding, kind: type[nn.Embedding], reference: Tensor | None, ids: Tensor) -> Tensor:
    """What a table gives for ids, computed in the precision of the base's other weights, which generation and bf16-true change."""
    dtype = torch.float32 if reference is None else reference.dtype
    if kind is nn.Embedding or table.weight.dtype == dtype:
        return kind.forward(table, ids).to(dtype)
    rows = copy.copy(table)  # a table of these ids alone, whose scale is not rounded either
    rows._parameters = {"weight": cast("Any", table.weight[ids.flatten()].to(dtype))}
    rows.padding_idx = None
    return kind.forward(rows, torch.arange(ids.numel(), device=ids.device).view(ids.shape))
