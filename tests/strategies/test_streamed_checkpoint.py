"""A checkpoint that is written tensor by tensor is what `torch.save` would have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clinical_ie.strategies.streamed_checkpoint import Promises, write_streamed


def checkpoint(promises: Promises, asked: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """One with promised tensors, and the same with those that were promised."""
    generator = torch.Generator().manual_seed(0)
    large, half, scalar = torch.randn(70, 5, generator=generator), torch.randn(3, generator=generator).bfloat16(), torch.tensor(7.0)

    def gather(name: str, tensor: Tensor) -> Tensor:
        asked.append(name)
        return tensor

    promised = promises.promise(large.shape, large.dtype, lambda: gather("large", large))
    promises.promise(torch.Size([9]), torch.float32, lambda: gather("left out", torch.zeros(9)))
    rounded = promises.promise(half.shape, half.dtype, lambda: gather("half", half.float()))
    one = promises.promise(scalar.shape, scalar.dtype, lambda: gather("scalar", scalar))
    view, empty = torch.arange(12.0).view(3, 4)[1:, ::2], torch.empty(0, 4)
    plain = {"step": 3, "names": ["a", None], "view": view, "flags": torch.tensor([True, False]), "empty": empty}
    return (
        {**plain, "state_dict": {"tied": promised, "weight": promised, "half": rounded}, "optimizer": [{0: {"step": one}}]},
        {**plain, "state_dict": {"tied": large, "weight": large, "half": half}, "optimizer": [{0: {"step": scalar}}]},
    )


@pytest.mark.parametrize("mapped", [False, True])
def test_what_is_streamed_is_read_as_what_is_saved(mapped: bool, tmp_path: Path) -> None:
    promises, asked = Promises(), list[str]()
    written, wanted = checkpoint(promises, asked)
    write_streamed(written, tmp_path / "state.ckpt", promises.of(written))
    assert asked == ["large", "half", "scalar"], "in the order of the promises, what is not in the checkpoint is not gathered"
    found = torch.load(tmp_path / "state.ckpt", weights_only=True, mmap=mapped)
    assert found["step"] == 3
    assert found["names"] == ["a", None]
    for name in ("view", "flags", "empty"):
        torch.testing.assert_close(found[name], wanted[name], rtol=0, atol=0)
    torch.testing.assert_close(found["state_dict"], wanted["state_dict"], rtol=0, atol=0)
    assert found["state_dict"]["tied"].data_ptr() == found["state_dict"]["weight"].data_ptr(), "tied weights are written once"
    assert found["optimizer"][0][0]["step"] == 7


def test_what_is_left_after_an_error_can_still_be_gathered(tmp_path: Path) -> None:
    """Ranks that do not write would wait for it."""
    promises, asked = Promises(), list[str]()
    written, _ = checkpoint(promises, asked)
    promised = promises.of(written)
    with pytest.raises(OSError, match="Is a directory"):
        write_streamed(written, tmp_path, promised)
    for _, gather in promised:
        gather()
    assert asked == ["large", "half", "scalar"]
