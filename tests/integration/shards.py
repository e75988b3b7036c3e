"""Checkpoints as folders of shards: the files of a finished run in the layouts that FSDP2 and DeepSpeed leave."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch.distributed import checkpoint as sharded


def distributed(file: Path, folder: Path) -> Path:
    """As ``ModelParallelStrategy`` writes it: weights and optimizer by `torch.distributed.checkpoint`, all else in ``meta.pt``."""
    checkpoint: dict[str, Any] = torch.load(file, weights_only=True)
    state = {"state_dict": checkpoint.pop("state_dict"), "optimizer_0": checkpoint.pop("optimizer_states")[0]["state"]}
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there is one process only
        sharded.save(state, checkpoint_id=folder, no_dist=True)
    torch.save(checkpoint, folder / "meta.pt")
    return folder


def deepspeed(file: Path, folder: Path) -> Path:
    """As DeepSpeed's engine writes it: all but weights and optimizer goes into its file of states."""
    checkpoint: dict[str, Any] = torch.load(file, weights_only=True)
    weights, optimizer = checkpoint.pop("state_dict"), checkpoint.pop("optimizer_states")[0]
    inside = folder / "checkpoint"
    inside.mkdir(parents=True)
    shapes = [{name: value.shape for name, value in weights.items()}]
    engine = {"module": weights, "optimizer": None, "param_shapes": shapes, "sparse_tensor_module_names": set(), "ds_version": "0.19.8"}
    torch.save({**engine, **checkpoint}, inside / "mp_rank_00_model_states.pt")
    torch.save({"optimizer_state_dict": optimizer}, inside / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    (folder / "latest").write_text("checkpoint", encoding="utf-8")
    return folder


LAYOUTS = {"distributed": distributed, "deepspeed": deepspeed}


def _save_rank(rank: int, ranks: int, file: Path, folder: Path) -> None:
    from torch.distributed.tensor import Shard, distribute_tensor

    torch.distributed.init_process_group("gloo", init_method=f"file://{folder.with_suffix('.meeting')}", rank=rank, world_size=ranks)
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (ranks,))
    weights = torch.load(file, weights_only=True)["state_dict"]
    spread = {name: distribute_tensor(value, mesh, [Shard(0)]) if value.dim() else value for name, value in weights.items()}
    sharded.save({"state_dict": spread}, checkpoint_id=folder)
    torch.distributed.destroy_process_group()


def distributed_by_ranks(file: Path, folder: Path, ranks: int = 2) -> Path:
    """The same, each weight spread over ranks that write their shards, as FSDP2's."""
    folder.mkdir(parents=True)
    context = torch.multiprocessing.get_context("spawn")
    processes = [context.Process(target=_save_rank, args=(rank, ranks, file, folder)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0
    checkpoint: dict[str, Any] = torch.load(file, weights_only=True)
    torch.save({name: value for name, value in checkpoint.items() if name not in ("state_dict", "optimizer_states")}, folder / "meta.pt")
    return folder
