"""Remarks that no user can act on."""

from __future__ import annotations

import logging
import warnings

import pytest

from clinical_ie.commands.quiet import quieten


def test_hints_are_kept_from_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quieten()
        warnings.warn("The `srun` command is available on your system but is not used. HINT: ...", stacklevel=1)
        warnings.warn("The 'train_dataloader' does not have many workers which may be a bottleneck.", stacklevel=1)
        warnings.warn("something that counts", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["something that counts"]
    logging.getLogger("lightning.fabric.utilities.seed").info("Seed set to 0")
    assert capsys.readouterr().err == ""


def test_only_the_line_about_kernels_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    logger.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s.", "no module")
    logger.warning("something else")
    assert caplog.messages == ["something else"]
