from __future__ import annotations

import pytest
import torch

from clinical_ie.commands import precision


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_only_where_the_processor_has_it(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert precision.computes_in_bfloat16("auto") is able
