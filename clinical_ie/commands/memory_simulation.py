"""A training step carried out on shapes alone: which tensors a pass makes, and how many bytes of them are alive at a time.

The module is made as training makes it, adapters, frozen weights, autocast and activation checkpointing included, but its tensors have no
storage (`FakeTensorMode`), so that models of any size take seconds and next to no memory. Every operation that autograd carries out on
the real model is carried out here. What is counted are the bytes of each storage from its making to its end.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from clinical_ie.errors import SettingError
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.decoder_head import own_logits
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.encoder_classes import encoder_class, loading_options, prepared
from clinical_ie.models.folders import known_config
from clinical_ie.models.megatron_attention import use_fused_attention
from clinical_ie.modules import InstructionGenerator
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.modules.tuned_module import TunedModule

_WHOLE, _FEW, _MORE = 8, 4, 8
"""Models of so many layers are carried out whole; of deeper ones two shallow copies, which tell what each layer adds. Under activation
checkpointing the peak moves to another operation with depth: the estimate of 12 layers from 3 and 6 was 5 % low, from these it is 2 %."""
_BITS = {"nf4": 4.127, "int8": 8.0}
"""Bits of a quantised weight: 4 and a constant for each 64 weights, itself in 8 bits and 32 for each 256 (QLoRA, section 3); 8."""


@dataclass(frozen=True, slots=True)
class Step:
    """A training batch and how it is computed.

    Args:
        rows: Of the batch.
        width: Tokens of a row, padding included.
        targets: Tokens of a decoder's batch that are learned.
        precision: The trainer's, such as ``bf16-mixed``.
        base_dtype: In what frozen matrices are held.
    """

    rows: int
    width: int
    targets: int
    precision: str = "32-true"
    base_dtype: torch.dtype = torch.float32


@dataclass
class Simulated:
    """What a step comes to, on one device with all weights.

    Args:
        frozen: Bytes of weights that are not trained, in the form in which they are held.
        weights: How many there are, trained and frozen.
        trained: How many weights are trained.
        trained_bytes: Their bytes.
        layer_bytes: Bytes of the largest layer.
        root_bytes: Bytes of what is in no layer: embeddings, head, adapters beside layers.
        layers: How many there are.
        timelines: Number of layers -> after each operation the bytes of activations (with all else that the pass made) and of gradients.
            Of all layers, or of two small numbers of them, between which a layer makes the difference.
    """

    frozen: int = 0
    weights: int = 0
    trained: int = 0
    trained_bytes: int = 0
    layer_bytes: int = 0
    root_bytes: int = 0
    layers: int = 0
    timelines: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def peak(self, of_gradients: float = 1.0) -> int:
        """Most bytes of activations and a share of the gradients, at a time."""
        peaks = {
            number: max((activations + of_gradients * gradients for activations, gradients in timeline), default=0)
            for number, timeline in sorted(self.timelines.items())
        }
        if len(peaks) < 2:
            return int(sum(peaks.values()))
        (few, least), (more, most) = peaks.items()
        extrapolated = most + (most - least) / (more - few) * (self.layers - more)
        return int(max(extrapolated, of_gradients * self.trained_bytes))


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages that operations make, until they are gone.

    Args:
        known: Tensors that are there already and are not counted, such as weights.
    """

    def __init__(self, known: Iterator[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._live: dict[int, tuple[Any, int]] = {}
        self._gradients: set[int] = set()
        self.activations = self.gradients = 0
        self.standing = 0
        """Bytes of the gradients of the step before, which Lightning gives back between the forward and the backward pass."""
        self.timeline: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        self._note()
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._live or key in self._known:
            return
        self._live[key] = weakref.ref(storage, lambda _: self._gone(key)), size
        self.activations += size

    def _gone(self, key: int) -> None:
        _, size = self._live.pop(key)
        if key in self._gradients:
            self._gradients.discard(key)
            self.gradients -= size
        else:
            self.activations -= size

    def is_gradient(self, parameter: Tensor) -> None:
        """Count what a parameter has as its gradient among gradients."""
        if parameter.grad is not None:
            key = parameter.grad.untyped_storage()._cdata
            if key in self._live and key not in self._gradients:
                self._gradients.add(key)
                size = self._live[key][1]
                self.activations, self.gradients = self.activations - size, self.gradients + size
            self._note()

    def _note(self) -> None:
        now = (self.activations, self.gradients + self.standing)
        if not self.timeline or self.timeline[-1] != now:
            self.timeline.append(now)


def simulate(module: TunedModule, step: Step, *, micro_steps: int = 1) -> Simulated:
    """Carry out a training step of a module on shapes.

    Args:
        module: As the command line makes it, not configured; it is given back unchanged.
        step: The batch.
        micro_steps: Batches of an optimizer step; from the second on all gradients are there when a pass begins.

    Raises:
        SettingError: A model whose step cannot be carried out on shapes.
    """
    try:
        config = known_config(module.backbone_name)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # training says them itself
            with torch.device("meta"):
                backbone, heads = _parts(module, config)
            found = _weights(nn.ModuleList([backbone, heads]), backbone.base, module.quantized, step)
            depth = getattr(config.get_text_config(), "num_hidden_layers", None)
            found.layers = depth if isinstance(depth, int) else 0
            for number in (_FEW, _MORE) if found.layers > _WHOLE else (found.layers,):
                if number != found.layers:
                    with torch.device("meta"):
                        backbone, heads = _parts(module, _shallow(config, number))
                with FakeTensorMode(allow_non_fake_inputs=True):
                    _without_storage(nn.ModuleList([backbone, heads]), step)
                    found.timelines[number] = _run(module, backbone, heads, step, min(2, micro_steps))
    except SettingError:
        raise
    except Exception as error:
        raise SettingError(f"memory cannot be estimated for {module.backbone_name} ({type(error).__name__}: {str(error)[:200]})") from error
    return found


def _shallow(config: PreTrainedConfig, layers: int) -> PreTrainedConfig:
    """The same model with fewer layers."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = list(text.layer_types)[:layers]
    return config


def _parts(module: TunedModule, config: PreTrainedConfig) -> tuple[Encoder | Decoder, nn.Module]:
    """Backbone and heads as `configure_model` makes them, on the current device."""
    config = copy.deepcopy(config)
    options: dict[str, Any] = {
        "peft": module.peft,
        "freeze": module.frozen_base,
        "gradient_checkpointing": module.gradient_checkpointing,
    }
    if isinstance(module, EncoderModule):
        config = prepared(config, module.backbone_dropout)
        kind: Any = encoder_class(config)
        base: PreTrainedModel = kind(config, **loading_options(kind))
        use_fused_attention(base)
        encoder = Encoder(module.backbone_name, base=base, markers=[[0] for _ in module.markers()], **options)
        return encoder, module.make_heads(encoder.hidden)
    config.get_text_config().use_cache = False
    config.use_cache = False
    made: Any = AutoModelForCausalLM
    base = made.from_config(config, dtype=torch.float32, trust_remote_code=False)
    return Decoder(module.backbone_name, base=base, **options), nn.Module()


def _weights(whole: nn.Module, base: nn.Module, quantized: str | None, step: Step) -> Simulated:
    """Count weights, each once."""
    found = Simulated()
    linear = {layer.weight for layer in base.modules() if isinstance(layer, nn.Linear)}
    head = cast("Any", base).get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    kept = {head.weight} if head is not None else set()

    def size(parameter: Tensor) -> int:
        if parameter.requires_grad:
            return parameter.numel() * _trained_dtype(step).itemsize
        if quantized is not None and parameter in linear and parameter not in kept:
            return int(parameter.numel() * _BITS[quantized] / 8)
        return parameter.numel() * _frozen_dtype(parameter, step).itemsize

    for parameter in whole.parameters():
        found.weights += parameter.numel()
        if parameter.requires_grad:
            found.trained += parameter.numel()
            found.trained_bytes += size(parameter)
        else:
            found.frozen += size(parameter)
    found.frozen += sum(buffer.nbytes for buffer in whole.buffers())
    lists = [part for part in whole.modules() if isinstance(part, nn.ModuleList) and part is not whole]
    layers = max(lists, key=lambda part: sum(map(Tensor.numel, part.parameters())), default=None)
    sizes = [sum(map(size, layer.parameters())) for layer in layers or ()]
    found.layer_bytes = max(sizes, default=0)
    found.root_bytes = found.frozen + found.trained_bytes - sum(sizes)
    return found


def _trained_dtype(step: Step) -> torch.dtype:
    return torch.bfloat16 if step.precision in ("bf16-true", "16-true") else torch.float32


def _frozen_dtype(parameter: Tensor, step: Step) -> torch.dtype:
    if step.precision in ("bf16-true", "16-true"):
        return torch.bfloat16
    return step.base_dtype if parameter.dim() > 1 else torch.float32


def _without_storage(whole: nn.Module, step: Step) -> None:
    """Put tensors without storage, of a CPU, in place of those of the device `meta`, of which operations know too little."""
    made: dict[Tensor, Tensor] = {}

    def like(tensor: Tensor) -> Tensor:
        if tensor not in made:
            if isinstance(tensor, nn.Parameter):
                kind = _trained_dtype(step) if tensor.requires_grad else _frozen_dtype(tensor, step)
                made[tensor] = nn.Parameter(torch.empty(tensor.shape, dtype=kind, device="cpu"), requires_grad=tensor.requires_grad)
            else:
                made[tensor] = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
        return made[tensor]

    for part in whole.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    cast("Any", held)[name] = like(tensor)


def _run(module: TunedModule, backbone: Encoder | Decoder, heads: nn.Module, step: Step, passes: int) -> list[tuple[int, int]]:
    whole = nn.ModuleList([backbone, heads])
    ids = torch.zeros(step.rows, step.width, dtype=torch.long)
    live = LiveBytes(iter([*whole.parameters(), *whole.buffers()]))
    trained: list[Any] = [parameter for parameter in whole.parameters() if parameter.requires_grad]
    hooks = [parameter.register_post_accumulate_grad_hook(live.is_gradient) for parameter in trained]
    half = step.precision.startswith(("bf16-mixed", "16-mixed"))
    with live:
        for number in range(passes):
            if number == passes - 1:
                live.timeline.clear()
                live.standing = sum(parameter.nbytes for parameter in trained) if passes == 1 else 0
            with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
                loss = _decoder_loss(module, backbone, ids, step) if isinstance(backbone, Decoder) else _encoder_loss(backbone, heads, ids)
            live.standing = 0
            loss.backward()  # type: ignore[no-untyped-call]
            del loss
    for hook in hooks:
        hook.remove()
    return live.timeline


def _decoder_loss(module: TunedModule, decoder: Decoder, ids: Tensor, step: Step) -> Tensor:
    """As `InstructionGenerator` computes it, of rows that are packed or not: a mask for each pair of tokens either way."""
    from clinical_ie.models.block_mask import block_mask
    from clinical_ie.models.cross_entropy import chunked_cross_entropy, chunks_of

    assert isinstance(module, InstructionGenerator)
    segments = torch.ones_like(ids)
    mask = block_mask(segments, torch.zeros_like(ids))
    hidden = decoder(ids, torch.arange(ids.shape[1]).expand_as(ids), mask)
    places = torch.zeros(step.targets, dtype=torch.long)
    states = hidden.flatten(0, 1)[places]

    def logits(chunk: Tensor) -> Tensor:
        return own_logits(decoder.base, chunk)

    return chunked_cross_entropy(states, places, logits, chunks_of(len(states), module.chunk))


def _encoder_loss(encoder: Encoder, heads: nn.Module, ids: Tensor) -> Tensor:
    """Of hidden states that are gathered for each unit, and of scores by all linear layers of the heads that take them."""
    hidden = encoder(ids, torch.ones_like(ids))
    width = hidden.shape[2]
    units = hidden.gather(1, ids.unsqueeze(2).expand(-1, -1, width))
    total: Tensor = units.float().sum()
    for layer in heads.modules():
        if isinstance(layer, nn.Linear) and layer.in_features == width:
            total = total + layer(units).float().logsumexp(2).sum()
    return total
