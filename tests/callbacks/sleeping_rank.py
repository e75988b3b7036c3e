"""`clinical-ie`, in which rank 1 stops in the middle of its third batch until it is woken."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any


def fit_with_a_sleeper(wake: str, *arguments: str) -> None:
    from clinical_ie.cli import main
    from clinical_ie.modules import EncoderTagger

    step = EncoderTagger.training_step

    def training_step(self: EncoderTagger, batch: Any, batch_idx: int) -> Any:
        while batch_idx == 2 and os.environ.get("LOCAL_RANK") == "1" and not Path(wake).exists():
            time.sleep(0.1)
        return step(self, batch, batch_idx)

    EncoderTagger.training_step = training_step  # type: ignore[method-assign]
    sys.argv = ["clinical-ie", *arguments]
    sys.exit(main(list(arguments)))
