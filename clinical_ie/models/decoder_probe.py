"""What a decoder can do, found out by a few tokens when it is loaded, instead of a list of architectures.

We give a model positions and masks of our own: packed examples must be what each is alone, and a step with cached keys what the whole text
gives. A layer that carries a state from token to token (Mamba, RWKV, short convolutions), positions counted by column (ALiBi) or
another kind of mask does that wrong, mostly without an error. The oracle is the model's own forward pass over one plain example.

Shape legend: ``B`` rows, ``L`` tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from peft import PeftModel, PromptLearningConfig
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PreTrainedConfig, PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.base_dtype import is_mixed
from clinical_ie.models.block_mask import block_mask
from clinical_ie.models.unused_parameters import used_parameters

_PREFIX, _REST = 4, 5
"""Tokens of the shared prefix, and of each of the two examples behind it."""
_WINDOW = 3
"""Tokens that sliding-window layers look back over while the probe runs, or so few tokens would never reach a window's border."""
_WIDEST_GAP = 1024
_TRIES = 4
"""Passes in training mode, for a low rate of dropout may hit nothing in one of so few tokens."""
_REMEDY = "take a decoder with attention in all of its layers and positions that can be given (Llama, Qwen, Gemma, Mistral, Phi, GPT-2)"


class Probed(Protocol):
    """The decoder, as far as the probe looks at it."""

    model: PreTrainedModel | PeftModel
    sliding_window: int | None

    @property
    def base(self) -> PreTrainedModel:
        """The language model inside the adapters."""

    def __call__(self, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor, *, cache: Cache | None = None) -> Tensor:
        """Hidden states, see `Decoder.forward`."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the vocabulary."""


def probe(decoder: Probed, name: str, dropout: float | None = None) -> str | None:
    """Try a decoder without adapters; weights, modes and random state are as before afterwards.

    Args:
        decoder: On its device, in the precision in which it was loaded; under autocast where only its matrices are in bfloat16.
        name: As the setting has it, for messages.
        dropout: What was set as its dropout; None where it was left.

    Returns:
        Why examples that share a row and a prefix (sequence packing) do not get the logits of the model's own forward pass; None where they
        do.

    Raises:
        SettingError: It cannot be trained here at all, or the dropout that was set is not what it does.
    """
    with _undisturbed(decoder, _WINDOW), torch.no_grad():
        prefix, rest = _tokens(decoder.base)
        rows = torch.cat([prefix.expand(2, -1), rest], 1)
        try:
            own: Tensor = cast("Any", decoder.base)(input_ids=rows, attention_mask=torch.ones_like(rows), use_cache=False).logits
        except _FAILURES as error:
            raise SettingError(f"{_named(decoder, name)} fails on a few tokens ({_said(error)}); {_REMEDY}") from error
        wanted = own[:, _PREFIX:]
        packing = _difference(decoder, wanted, _packed, prefix, rest)
        reading = None if packing is None else _difference(decoder, wanted, _alone, prefix, rest)
        caching = _difference(decoder, wanted, _cached, prefix, rest)
        for problem, what in (
            (reading, "a text whose attention mask and positions are given"),
            (caching, "its layers keep no keys of each token to go on from in generation, which"),
        ):
            if problem is not None:
                raise SettingError(f"{_named(decoder, name)} cannot be trained here: {what} {problem}; {_REMEDY}")
        if dropout is not None:
            _check_dropout(decoder, name, dropout, prefix, rest)
    return packing


def check_training(decoder: Probed, name: str) -> None:
    """Hold what would be trained against what a pass reaches, and adapters against the passes of PEFT.

    Args:
        decoder: With its adapters, if any.
        name: As the setting has it, for messages.

    Raises:
        SettingError: Trained parameters that get no gradient, or a soft prompt or prefix that the architecture does not take.
    """
    prefix, rest = _tokens(decoder.base)
    with _undisturbed(decoder, decoder.sliding_window), torch.enable_grad():
        try:
            hidden = _alone(decoder, prefix, rest)
            logits = decoder.logits(hidden)
        except _FAILURES as error:
            raise SettingError(f"{_tuning(decoder)} does not fit {_named(decoder, name)} ({_said(error)}); take -c peft/lora") from error
        used = used_parameters(logits)
        prompt = decoder.model.active_peft_config if isinstance(decoder.model, PeftModel) else None
        if isinstance(prompt, PromptLearningConfig):
            with torch.no_grad():
                problem = _difference(decoder, _of_peft(decoder, prefix, rest), _alone, prefix, rest)
            if problem is not None:
                raise SettingError(
                    f"{_tuning(decoder)} does not fit {_named(decoder, name)}: a row behind virtual tokens {problem}; take -c peft/lora"
                )
    trained = [(key, each) for key, each in cast("nn.Module", decoder).named_parameters() if each.requires_grad]
    if unused := [key for key, each in trained if each not in used]:
        raise SettingError(
            f"{_named(decoder, name)}: {len(unused)} of {len(trained)} parameters that would be trained get no gradient from text, such as"
            f" {unused[0]}; name other target_modules (-c peft/lora), or a language model without these parts"
        )


_FAILURES = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, NotImplementedError)
"""What architectures raise that do not take what they are given; a device without memory is not among it."""


def _packed(decoder: Probed, prefix: Tensor, rest: Tensor) -> Tensor:
    """Hidden states of two examples behind one prefix in one row, ``(2, rest, H)``."""
    gap = _gap(decoder.base.config)
    segments = torch.tensor([[1] * _PREFIX + [2] * _REST + [0] * gap + [3] * _REST], device=rest.device)
    prefixes = torch.tensor([[0] * _PREFIX + [1] * _REST + [0] * gap + [1] * _REST], device=rest.device)
    start = torch.arange(_PREFIX, device=rest.device)
    behind = torch.arange(_PREFIX, _PREFIX + _REST, device=rest.device)
    positions = torch.cat([start, behind, behind[:1].expand(gap), behind])
    ids = torch.cat([prefix[0], rest[0], rest[0, :1].expand(gap), rest[1]])
    hidden = decoder(ids.unsqueeze(0), positions.unsqueeze(0), block_mask(segments, prefixes))[0]
    return torch.stack([hidden[_PREFIX : _PREFIX + _REST], hidden[-_REST:]])


def _gap(config: PreTrainedConfig) -> int:
    """Padding between two examples of a row: as wide as any window that the architecture counts by column (GPT-Neo's), else none."""
    values = config.get_text_config().to_dict()
    widths = [value for key, value in values.items() if "window" in key and key != "sliding_window" and type(value) is int]
    return max([0, *(width for width in widths if width <= _WIDEST_GAP)])


def _alone(decoder: Probed, prefix: Tensor, rest: Tensor) -> Tensor:
    """Hidden states of two examples in rows of their own, padded, ``(2, rest, H)``."""
    padding = 2
    ids = torch.cat([prefix.expand(2, -1), rest, rest[:, :padding]], 1)
    segments = torch.tensor([[1] * (_PREFIX + _REST) + [0] * padding], device=rest.device).expand(2, -1)
    positions = torch.arange(ids.shape[1], device=rest.device).clamp_max(_PREFIX + _REST - 1).expand(2, -1)
    return decoder(ids, positions, block_mask(segments, torch.zeros_like(segments)))[:, _PREFIX : _PREFIX + _REST]


def _cached(decoder: Probed, prefix: Tensor, rest: Tensor) -> Tensor:
    """Hidden states of two examples whose prefix is in a cache, ``(2, rest, H)``."""
    cache = DynamicCache()
    causal = torch.ones(_PREFIX + _REST, _PREFIX + _REST, dtype=torch.bool, device=rest.device).tril().expand(2, -1, -1)
    positions = torch.arange(_PREFIX + _REST, device=rest.device).expand(2, -1)
    decoder(prefix.expand(2, -1), positions[:, :_PREFIX], causal[:, :_PREFIX, :_PREFIX], cache=cache)
    columns = {cast("Any", layer).keys.shape[2] for layer in cache.layers}
    if columns != {_PREFIX}:
        raise ValueError(f"layers hold {sorted(columns)} keys of {_PREFIX} tokens")
    key_positions: Any = {"key_positions": positions}
    return decoder(rest, positions[:, _PREFIX:], causal[:, _PREFIX:], cache=cache, **key_positions)


def _of_peft(decoder: Probed, prefix: Tensor, rest: Tensor) -> Tensor:
    """Logits of two examples in rows of their own by PEFT's forward pass, ``(2, rest, vocabulary)``."""
    rows = torch.cat([prefix.expand(2, -1), rest], 1)
    return cast("Tensor", cast("Any", decoder.model)(input_ids=rows, attention_mask=torch.ones_like(rows)).logits[:, -_REST:])


def _difference(
    decoder: Probed, wanted: Tensor, read: Callable[[Probed, Tensor, Tensor], Tensor], prefix: Tensor, rest: Tensor
) -> str | None:
    """How the logits of a way of reading differ from those that are wanted, in words; None where they are equal in this precision."""
    try:
        found = decoder.logits(read(decoder, prefix, rest))
    except _FAILURES as error:
        return f"fails ({_said(error)})"
    tolerance = _tolerance(decoder.base) * float(wanted.float().abs().max())
    difference = float((found.float() - wanted.float()).abs().max())
    return None if difference <= tolerance else f"gets other logits than in the model's own pass (up to {difference:.2g})"


def _tolerance(model: PreTrainedModel) -> float:
    """Relative to the largest logit: what another order of sums changes in this precision; whatever leaks changes far more."""
    if getattr(model, "is_quantized", False):
        return 0.1  # products in half precision, and of eight bits rounded row by row
    dtype = torch.bfloat16 if is_mixed(model) else model.dtype
    return (1e3 if dtype == torch.float32 else 10) * torch.finfo(dtype).eps


def _check_dropout(decoder: Probed, name: str, dropout: float, prefix: Tensor, rest: Tensor) -> None:
    """Whether training differs from evaluation just where there is dropout; any effect is one of it, so no weight is looked at."""
    without = decoder.logits(_alone(decoder, prefix, rest))
    cast("nn.Module", decoder.base).train()
    changes = (float((decoder.logits(_alone(decoder, prefix, rest)).float() - without.float()).abs().max()) for _ in range(_TRIES))
    differs = any(change > (0 if dropout else _tolerance(decoder.base) * float(without.float().abs().max())) for change in changes)
    cast("nn.Module", decoder.base).eval()
    if differs and not dropout:
        raise SettingError(f"backbone_dropout is 0, but {_named(decoder, name)} keeps a dropout of its own; leave backbone_dropout out")
    if dropout and not differs:
        raise SettingError(f"backbone_dropout is {dropout}, but it has no effect on {_named(decoder, name)}; leave it out")


def _tokens(model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Ids of a prefix, ``(1, L)``, and of two examples behind it, ``(2, L)``: all different and none padding."""
    embeddings = model.get_input_embeddings()
    words = next(each for each in embeddings.modules() if isinstance(each, nn.Embedding))  # PEFT wraps what it adapts, each way in its own
    count = words.num_embeddings
    taken = [place * count // (_PREFIX + 2 * _REST + 2) for place in range(1, _PREFIX + 2 * _REST + 2)]
    ids = torch.tensor([place for place in taken if place != words.padding_idx][: _PREFIX + 2 * _REST], device=words.weight.device)
    return ids[:_PREFIX].unsqueeze(0), ids[_PREFIX:].reshape(2, _REST)


@contextmanager
def _undisturbed(decoder: Probed, near: int | None) -> Iterator[None]:
    """Evaluation mode, full precision of products, this window if any, and a random state of its own; all as before afterwards."""
    model = cast("nn.Module", decoder.model)
    modes = {module: module.training for module in model.modules()}
    configs = {id(part.config): part.config.get_text_config() for part in model.modules() if isinstance(part, PreTrainedModel)}
    window, dtype, precision = decoder.sliding_window, torch.get_default_dtype(), torch.get_float32_matmul_precision()
    device = next(model.parameters()).device
    mixed = is_mixed(decoder.base)

    def _set_window(width: int | None) -> None:
        for holder in (decoder, *configs.values()):
            holder.sliding_window = width

    model.eval()
    try:
        torch.set_default_dtype(torch.float32 if mixed else decoder.base.dtype)  # Lightning makes models with another one
        torch.set_float32_matmul_precision("highest")
        if window is not None:
            _set_window(near)
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.autocast(device.type, torch.bfloat16, enabled=mixed),
        ):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        if window is not None:
            _set_window(window)
        for module, training in modes.items():
            module.training = training


def _named(decoder: Probed, name: str) -> str:
    return f"{name} ({type(decoder.base).__name__})"


def _tuning(decoder: Probed) -> str:
    return type(decoder.model.active_peft_config).__name__ if isinstance(decoder.model, PeftModel) else "training"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]}"
