"""Shards as DeepSpeed cuts them: flat, of equal length, the last one filled up."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import nn

from clinical_ie.models.learning_rates import parameter_groups
from clinical_ie.models.positions import most_positions
from clinical_ie.models.sharded_weights import gathered, gathered_for_passes, set_weight, set_weights, shard_of, whole_shape


def partitioned(shape: tuple[int, ...], rank: int, ranks: int) -> nn.Parameter:
    """A weight of which this rank holds a shard, with the attributes that DeepSpeed gives it."""
    parameter: Any = nn.Parameter(torch.empty(0))
    size = -(-torch.Size(shape).numel() // ranks)
    parameter.ds_id, parameter.ds_shape, parameter.ds_zero_partition_rank = 0, torch.Size(shape), rank
    parameter.partition_numel, parameter.ds_tensor = (lambda: size), torch.zeros(size)
    return cast("nn.Parameter", parameter)


@pytest.mark.parametrize(("rank", "shard"), [(0, [0.0, 1, 2, 3]), (1, [4.0, 5, 6, 7]), (2, [8.0, 9, 0, 0])])
def test_each_rank_keeps_its_shard(rank: int, shard: list[float]) -> None:
    parameter, whole = partitioned((2, 5), rank, 3), torch.arange(10.0).view(2, 5)
    assert shard_of(whole, parameter).tolist() == shard
    set_weight(parameter, whole)
    assert cast("Any", parameter).ds_tensor.tolist() == shard
    assert parameter.numel() == 0, "no rank has it whole"
    assert whole_shape(parameter) == (2, 5)


def test_a_rank_beyond_the_end_keeps_zeros() -> None:
    assert shard_of(torch.ones(2), partitioned((2,), 3, 4)).tolist() == [0.0]


def test_whole_weights_are_set_by_name() -> None:
    linear = nn.Linear(2, 1)
    bias = linear.bias.clone()
    set_weights(linear, {"weight": torch.tensor([[3.0, 4.0]])})
    assert linear.weight.tolist() == [[3.0, 4.0]]
    assert torch.equal(linear.bias, bias)
    with pytest.raises(KeyError):
        set_weights(linear, {"other": torch.ones(1)})


def test_nothing_is_gathered_of_whole_weights() -> None:
    """No collective call, no hooks, and no DeepSpeed."""
    linear = nn.Linear(2, 1)
    with gathered(linear.parameters()), gathered_for_passes(linear):
        assert not linear._forward_pre_hooks
        linear(torch.ones(1, 2))


def test_sharded_matrices_decay_as_whole_ones_do(tiny_bert: str) -> None:
    """A shard is flat; by its own shape a matrix would be taken for a bias, which does not decay."""
    from clinical_ie.models.encoder import Encoder

    encoder = Encoder(tiny_bert)
    rates = {"learning_rate": 1e-3, "head_learning_rate": 1e-3, "adapter_learning_rate": 1e-3, "layer_decay": 1.0, "weight_decay": 0.01}

    def decaying() -> list[int]:
        groups = parameter_groups(encoder, nn.Linear(2, 2), **rates)
        return sorted(len(cast("list[Any]", group["params"])) for group in groups if group["weight_decay"])

    before = decaying()
    for parameter in encoder.parameters():
        shaped: Any = parameter
        shaped.ds_id, shaped.ds_shape, parameter.data = 0, parameter.shape, torch.empty(0)
    assert decaying() == before


def test_what_is_only_looked_at_is_not_sharded() -> None:
    """Under ZeRO-3 the first rank alone would draw random numbers for it, and other dropout masks ever after."""
    from transformers import RobertaConfig
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, is_deepspeed_zero3_enabled

    config = RobertaConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=34)
    before = torch.get_rng_state()
    held = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}})  # transformers has a weak reference only
    assert most_positions(config) == 34 - config.pad_token_id - 1
    assert is_deepspeed_zero3_enabled()
    assert torch.equal(torch.get_rng_state(), before)
    del held
