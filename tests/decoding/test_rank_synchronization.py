"""Ranks with unequal work and sharded weights (FSDP2, ZeRO-3) all finish, and generate what one rank with all weights does."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PromptTuningConfig
from torch import nn
from torch.distributed.fsdp import fully_shard

from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.decoding.generation import GeneratedSequence, GenerationQueue, generate
from clinical_ie.decoding.rank_synchronization import RankSynchronizer
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.sharded_weights import set_weights
from tests.decoding.test_generation import requests_of, with_early_ends

WORK = {"unequal": (7, 2), "one has nothing": (3, 0), "other prefixes": (3, 1), "nothing at all": (0, 0)}


def _rank(rank: int, folder: str, meeting: str, soft: bool) -> None:
    os.environ.update(OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    torch.manual_seed(0)
    peft = PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM") if soft else None
    subwords, backbone = ChatTokenizer(folder), Decoder(folder, peft=peft)
    with_early_ends(backbone, subwords.end_id)
    expected = {name: generate(backbone, subwords, requests_of(subwords, work[rank])) for name, work in WORK.items()}
    body: Any = backbone.base.get_decoder()
    # embeddings, which soft prompts call by themselves, stay whole
    for part in (*body.layers, backbone.base.get_output_embeddings()):
        fully_shard(part)
    for name, work in WORK.items():
        for num_draft_tokens in (0, 3):
            assert (
                generate(backbone, subwords, requests_of(subwords, work[rank]), batch_size=2, num_draft_tokens=num_draft_tokens)
                == expected[name]
            ), name
    _bit_by_bit(rank, subwords, backbone)
    torch.distributed.destroy_process_group()


def _bit_by_bit(rank: int, subwords: ChatTokenizer, backbone: Decoder, whole: Decoder | None = None) -> None:
    """Ranks whose batches hold 5 and 0, 1 and 4, 0 and 2 requests leave the queue together, so that other collective calls may follow."""
    requests = requests_of(subwords, 12)
    expected = generate(whole or backbone, subwords, requests)
    shares = (((0, 5), (5, 6), (6, 6)), ((6, 6), (6, 10), (10, 12)))[rank]
    queue = GenerationQueue(backbone, subwords, batch_size=2)
    found: dict[str, GeneratedSequence] = {}
    for first, end in shares:
        for number in range(first, end):
            queue.add(str(number), requests[number])
        found |= queue.run(to_the_end=False)
        together = torch.ones(1)
        torch.distributed.all_reduce(together)
        assert together.item() == 2
    found |= queue.run(to_the_end=True)
    assert found == {str(number): expected[number] for number in range(shares[0][0], shares[2][1])}


def _zero_rank(rank: int, folder: str, meeting: str) -> None:
    """The same with ZeRO-3: no rank ever has the weights whole."""
    os.environ.update(OMP_NUM_THREADS="1", DS_ACCELERATOR="cpu", LOCAL_RANK=str(rank), RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    import deepspeed
    from deepspeed.ops import __compatible_ops__
    from transformers.integrations.deepspeed import HfDeepSpeedConfig

    __compatible_ops__["deepspeed_shm_comm"] = False  # would be compiled
    deepspeed.init_distributed("gloo")
    subwords, whole = ChatTokenizer(folder), Decoder(folder)
    with_early_ends(whole, subwords.end_id)
    expected = {name: generate(whole, subwords, requests_of(subwords, work[rank])) for name, work in WORK.items()}
    config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}}
    held: Any = HfDeepSpeedConfig
    held = held(config)  # transformers has a weak reference only
    backbone = Decoder(folder)
    assert {parameter.numel() for parameter in backbone.parameters()} == {0}
    set_weights(backbone, whole.state_dict())
    deepspeed.initialize(model=backbone, config=config)
    for name, work in WORK.items():
        for num_draft_tokens in (0, 3):
            found = generate(backbone, subwords, requests_of(subwords, work[rank]), batch_size=2, num_draft_tokens=num_draft_tokens)
            assert found == expected[name], name
    _bit_by_bit(rank, subwords, backbone, whole)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(400)
def test_ranks_generate_the_same_under_zero_3(tiny_llama: str, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_zero_rank, (tiny_llama, str(tmp_path / "meeting")), nprocs=2)


@pytest.mark.distributed
@pytest.mark.timeout(240)
@pytest.mark.parametrize("soft", [False, True])
def test_ranks_with_sharded_weights_generate_the_same(soft: bool, tiny_llama: str, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_rank, (tiny_llama, str(tmp_path / "meeting"), soft), nprocs=2)


def test_one_process_waits_for_nobody() -> None:
    """No collective call in a single process."""
    synchronizer = RankSynchronizer(nn.Linear(1, 1))
    for prefix, step in product((False, True), repeat=2):
        assert synchronizer.wanted(prefix=prefix, step=step) == (prefix, step)
