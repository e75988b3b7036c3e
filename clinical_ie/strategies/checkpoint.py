"""A state of a run on the disk, whatever its strategy left there: one file, or a folder of shards with its metadata. Only this opens it.

=================  ===================================================================  =====================
what it is         who writes it                                                        its metadata
=================  ===================================================================  =====================
file               one device, DDP, ZeRO, FSDP2 (`FullySharded`)                        in the file
distributed        `torch.distributed.checkpoint`: Lightning's ModelParallelStrategy    ``meta.pt``
foreign_deepspeed  DeepSpeed's engine, in other programs; ``latest`` names its folder   first file of states
=================  ===================================================================  =====================
"""

from __future__ import annotations

import os
import pickle
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clinical_ie.errors import SettingError
from clinical_ie.files import writing_folder

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["file", "distributed", "foreign_deepspeed"]

_OURS = ("schemas", "tuning", "tokenizer", "backbone_config", "weights", "run")
"""What every checkpoint of a run says of itself."""
_TENSORS = ("state_dict", "optimizer_states", "current_model_state", "module", "optimizer")
"""What of it is no metadata."""
_EXPECTED = "expected what `clinical-ie fit` writes, such as RUN/checkpoints/last.ckpt"


class Checkpoint:
    """Weights that were trained, and what is to be known about them.

    Args:
        path: A file or a folder; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def kind(self) -> Kind | None:
        """What lies there; None for nothing, or for a folder that is no checkpoint or not a whole one."""
        if self.path.is_file():
            return "file"
        if (self.path / ".metadata").is_file() and (self.path / "meta.pt").is_file():
            return "distributed"
        return "foreign_deepspeed" if (self.path / "latest").is_file() else None

    @property
    def exists(self) -> bool:
        """Whether there is a checkpoint."""
        return self.kind is not None

    @property
    def is_consolidated(self) -> bool:
        """Whether it is one file, which any strategy reads."""
        return self.kind == "file"

    @property
    def size(self) -> int:
        """Bytes on the disk: weights, optimizer, metadata."""
        files = [self.path] if self.path.is_file() else [path for path in self.path.rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """All but tensors of weights and optimizer: schemas, tuning, base, tokenizer, the run's record, loops and callbacks.

        Raises:
            SettingError: There is no checkpoint, it is damaged, or something else wrote it.
        """
        found = {name: value for name, value in self._opened().items() if name not in _TENSORS}
        if missing := [part for part in _OURS if part not in found]:
            raise SettingError(
                f"{self.path}: a checkpoint of another program, or of another version of this one (no {missing[0]}); {_EXPECTED}"
            )
        return found

    @property
    def step(self) -> int:
        """Optimizer steps behind it."""
        return int(self.meta["global_step"])

    @property
    def fingerprint(self) -> str:
        """Of the run that wrote it: its model, task, data, split, seed and code, no paths."""
        return str(self.meta["run"]["fingerprint"])

    @property
    def model_bytes(self) -> int:
        """What of it are weights, each once, without optimizer and other state."""
        return int(self.meta["model_bytes"])

    def weights(self) -> dict[str, Tensor]:
        """The weights that were trained, by name; tensors of files are read when they are wanted.

        Raises:
            SettingError: It is no checkpoint, or a folder whose shards only the strategy that wrote them can put together.
        """
        names = self.meta["weights"]
        if self.kind == "file":
            held = self._opened()["state_dict"]
        elif self.kind == "distributed":
            held = _joined(self.path)
        else:
            raise SettingError(
                f"{self.path}: a folder of DeepSpeed's shards, which is not read here; consolidate it into one file"
                " (lightning.pytorch.utilities.deepspeed.convert_zero_checkpoint_to_fp32_state_dict) and name that file, or use the"
                " strategy that wrote it"
            )
        if missing := sorted(names.keys() - held.keys()):
            raise SettingError(f"{self.path}: damaged, it lacks {len(missing)} weights such as {missing[0]}; {_EXPECTED}")
        return {name: held[name] for name in names}

    def whole(self) -> dict[str, Any]:
        """Metadata and weights, and the optimizer's state where it is one file: what a trainer restores."""
        more = {name: value for name, value in self._opened().items() if name in _TENSORS} if self.kind == "file" else {}
        return {**self.meta, **more, "state_dict": self.weights()}

    def put(self, other: Path) -> None:
        """Give it a second name, in whose place there is always a whole checkpoint or none.

        A file becomes a link, for files are replaced and never written into. Folders are copied: engines write into them.
        """
        if other.is_dir() != self.path.is_dir():
            _remove(other)
        if self.path.is_dir():
            with writing_folder(other) as folder:
                shutil.copytree(self.path, folder, dirs_exist_ok=True)
            return
        partial = partial_name(other)
        partial.unlink(missing_ok=True)
        try:
            os.link(self.path, partial)
        except OSError:  # a file system without hard links
            shutil.copyfile(self.path, partial)
            with partial.open("rb") as copied:
                os.fsync(copied.fileno())
        put_in_place(partial, other)

    def _opened(self) -> dict[str, Any]:
        """What the file, or the file of metadata, holds."""
        import torch

        kind = self.kind
        if kind is None:
            problem = "no whole checkpoint in this folder" if self.path.is_dir() else "no such checkpoint"
            raise SettingError(f"{self.path}: {problem}; {_EXPECTED}")
        try:
            file = self.path if kind == "file" else self.path / "meta.pt" if kind == "distributed" else _deepspeed_states(self.path)
            found: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError, pickle.UnpicklingError) as error:
            raise SettingError(f"{self.path}: cut off, damaged or no checkpoint at all ({type(error).__name__}); {_EXPECTED}") from error
        return dict(found) if isinstance(found, dict) else {}


def partial_name(final: Path) -> Path:
    """Where a checkpoint is written before it is one; no pattern for checkpoints finds it."""
    return final.with_name(f".{final.name}.partial")


def put_in_place(partial: Path, final: Path) -> None:
    """Give a file that is on the disk its name, so that the name is on the disk too."""
    partial.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _deepspeed_states(folder: Path) -> Path:
    """The first of the files in which DeepSpeed keeps a model's state and what it was given beside."""
    tag = (folder / "latest").read_text(encoding="utf-8").strip()
    return sorted((folder / tag).glob("*mp_rank_00_model_states.pt"))[0]


def _joined(folder: Path) -> dict[str, Tensor]:
    """The weights of a distributed checkpoint, put together in this process."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

    found: dict[str, Any] = {}
    planner = _EmptyStateDictLoadPlanner(keys={"state_dict"})  # type: ignore[no-untyped-call]
    try:
        _load_state_dict(found, storage_reader=FileSystemReader(folder), planner=planner, no_dist=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, CheckpointException) as error:
        raise SettingError(f"{folder}: shards are missing or damaged ({type(error).__name__}); copy the folder again") from error
    return dict(found["state_dict"])


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
