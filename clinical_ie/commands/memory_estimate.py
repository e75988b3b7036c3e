"""Memory that a training run takes on each device, as low, expected and high; the formula stands in ``docs/memory.md``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from clinical_ie.commands.doctor_findings import gigabytes
from clinical_ie.commands.memory_simulation import Simulated, Step
from clinical_ie.strategies.zero import REDUCED_AT_ONCE

Strategy = Literal["single", "ddp", "zero1", "zero2", "zero3", "zero3_offload", "fsdp2"]
STRATEGIES: tuple[Strategy, ...] = ("single", "ddp", "zero1", "zero2", "zero3", "zero3_offload", "fsdp2")
_ACTIVATIONS = 0.8, 1.0, 1.2
"""Low, expected and high share of what a pass makes: kernels of a device keep more or less than the operations say."""
_CONTEXT = 0.4e9, 0.8e9, 1.6e9
"""Bytes of a GPU that hold CUDA's context, workspaces of libraries and buffers of NCCL."""
_FRAGMENTS = 1.0, 1.02, 1.08
"""What a caching allocator reserves for each byte that is in use."""
_STATES = 2
"""AdamW's, of the size of the weights."""
_KEPT_GATHERED = 500_000_000
"""Weights that ZeRO-3 has gathered where it turns from the forward to the backward pass: those that are used again within its
`max_reuse_distance` of 1e9 are not given back, and from the last half of these the way to their next use is so long."""
_PREFETCHED = 50_000_000
"""Weights that ZeRO-3 gathers ahead into one buffer, from which each takes its own (`prefetch_bucket_size`)."""
_PROCESS = 1e9, 2e9, 4e9
"""Bytes of the host that a process takes for itself: libraries, what CUDA keeps there, examples."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Bytes: low, expected, high."""

    low: float
    expected: float
    high: float

    @classmethod
    def of(cls, value: float, shares: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Spread:
        """A value times a share for each."""
        return cls(*(value * share for share in shares))

    def __add__(self, other: Spread) -> Spread:
        return Spread(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __mul__(self, times: float) -> Spread:
        return Spread(self.low * times, self.expected * times, self.high * times)

    def __str__(self) -> str:
        return f"{gigabytes(self.expected)} ({gigabytes(self.low)} to {gigabytes(self.high)})"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Memory of one device, or of one node.

    Args:
        parts: What takes it -> how much; the whole is their sum.
        host: The same of the host's memory, for the process of this device; empty where nothing is offloaded to it.
    """

    parts: dict[str, Spread]
    host: dict[str, Spread] = field(default_factory=dict)

    @property
    def total(self) -> Spread:
        """All parts together."""
        return sum(self.parts.values(), Spread(0, 0, 0))

    def node(self, processes: float) -> Estimate:
        """What the processes of a node take of its memory together.

        Args:
            processes: How many there are, in the mean over nodes.
        """
        return Estimate({name: part * processes for name, part in self.host.items()})

    def said(self, of: str = "a device") -> str:
        """In a line.

        Args:
            of: What has this memory.
        """
        total = self.total
        parts = ", ".join(
            f"{name} {gigabytes(part.expected)}" for name, part in self.parts.items() if part.expected > total.expected / 1000
        )
        return f"{gigabytes(total.expected)} {of} ({gigabytes(total.low)} to {gigabytes(total.high)}): {parts}"


def strategy_named(name: str) -> Strategy:
    """Which of the strategies a trainer's setting is: its name or its class.

    Example:
        >>> strategy_named("auto"), strategy_named("ddp_find_unused_parameters_true"), strategy_named("zero3")
        ('single', 'ddp', 'zero3')
    """
    plain = name.casefold()
    if "fsdp" in plain or "sharded" in plain or "modelparallel" in plain:
        return "fsdp2"
    if "zero" in plain or "deepspeed" in plain:
        stage = next((sign for sign in plain if sign in "123"), "2")
        found: Strategy = "zero1" if stage == "1" else "zero2" if stage == "2" else "zero3"
        return "zero3_offload" if "offload" in plain and found == "zero3" else found
    return "ddp" if "ddp" in plain else "single"


def estimate(
    simulated: Simulated, step: Step, strategy: Strategy, ranks: int, *, on_gpu: bool, bucket: int = REDUCED_AT_ONCE, generation: int = 0
) -> Estimate:
    """Put together what a device holds at the peak of a training step, from the second step on.

    Args:
        simulated: The step on one device with all weights.
        step: Of which it is.
        strategy: How ranks share the work.
        ranks: Of all nodes.
        on_gpu: Whether the device is a GPU; else what the allocator of a CPU hands out is estimated.
        bucket: Most elements that DeepSpeed reduces or gathers at once.
        generation: Bytes of keys and values in generation, which weights and optimizer states stand beside, but no activations.
    """
    ranks = 1 if strategy == "single" else max(1, ranks)
    trained, held = simulated.trained, simulated.trained_bytes
    itemsize = held // trained if trained else 4
    deepspeed, offloads = strategy.startswith("zero"), strategy == "zero3_offload"
    parts: dict[str, Spread] = {}
    host: dict[str, Spread] = {}
    kept = host if offloads else parts  # where shards stay between their uses
    share = 1 / ranks
    if strategy in ("zero3", "zero3_offload", "fsdp2"):
        whole = simulated.root_bytes if strategy == "fsdp2" else simulated.root_bytes / 2
        there = 0 if offloads and on_gpu else share  # a shard that lies on the device need not come there
        if deepspeed:
            kept_gathered, prefetched = (
                (simulated.frozen + held) * min(1.0, most / max(1, simulated.weights)) for most in (_KEPT_GATHERED, _PREFETCHED)
            )
            gathered = max(whole + 2 * simulated.layer_bytes, kept_gathered) * (1 - there) + (prefetched if there < 1 else 0)
        else:
            gathered = (whole + 2 * simulated.layer_bytes) * (1 - there)
        shard = (simulated.frozen + held) * share
        pinned = held * share if offloads else 0  # of the host's pages, which come in powers of two: up to twice as many
        kept["weights"] = Spread(shard, shard, shard + pinned)
        parts["gathered weights"] = Spread.of(gathered, (0.5, 1.0, 1.3))
    else:
        parts["weights"] = Spread.of(simulated.frozen + held)
    states = _STATES * (held if not deepspeed else 4 * trained)
    masters = 4 * trained if deepspeed else 0  # its own float32 copy of its share, whatever the weights are in
    if strategy == "single" or strategy == "ddp":
        parts["optimizer"] = Spread.of(states)
    else:
        kept["optimizer"] = Spread.of((states + masters) * share)
    of_gradients = 0.0 if offloads else {"single": 1.0, "ddp": 1.0, "zero1": 1.0}.get(strategy, share)
    gradients = of_gradients * itemsize * trained
    activations = simulated.peak(of_gradients) - gradients
    # what is offloaded is there twice: as it was reduced, and in float32 for the step
    kept["gradients"] = Spread.of((itemsize + 4) * trained * share if offloads else gradients)
    parts["activations"] = Spread.of(max(0.0, activations), _ACTIVATIONS)
    if strategy == "ddp" and ranks > 1:
        parts["buckets"] = Spread.of(itemsize * trained)
    elif deepspeed:
        # stages 1 and 2 have two, of which gradients lie in one; neither is there before the backward pass
        spread = (0.5, 1.0, 1.5) if strategy.startswith("zero3") else (0.0, 1.0, 2.0)
        parts["buckets"] = Spread.of(itemsize * min(bucket, trained), spread)
    elif strategy == "fsdp2" and ranks > 1:
        unit = max(simulated.layer_bytes, simulated.root_bytes) * (trained and held / (simulated.frozen + held))
        parts["buckets"] = Spread.of(unit, (0.5, 1.0, 1.5))
    if generation:
        parts["generation"] = Spread.of(max(0.0, generation - parts["activations"].expected), _ACTIVATIONS)
    if not on_gpu:
        return Estimate(host | parts)  # the host is the device
    if host:
        host["processes"] = Spread(*_PROCESS)
    whole_so_far = Estimate(parts).total
    parts["CUDA and fragments"] = Spread(*_CONTEXT) + Spread(
        whole_so_far.low * (_FRAGMENTS[0] - 1), whole_so_far.expected * (_FRAGMENTS[1] - 1), whole_so_far.high * (_FRAGMENTS[2] - 1)
    )
    return Estimate(parts, host)
