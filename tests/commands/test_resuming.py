"""Which settings make a run what it is."""

from __future__ import annotations

from typing import Any

import pytest

from clinical_ie.commands.resuming import identity

RUN: dict[str, Any] = {
    "seed_everything": 0, "run_dir": "/data/runs/a", "init_from": "/data/runs/b", "trainer.max_epochs": 3, "trainer.accelerator": "cpu",
    "trainer.precision": "32-true", "model.class_path": "clinical_ie.modules.EncoderTagger", "model.init_args.backbone": "/models/bert",
    "model.init_args.learning_rate": 1e-4, "data.tokenizer": "/models/bert", "data.corpora.0.class_path": "clinical_ie.corpora.Demo",
    "data.corpora.0.init_args.root": "/data/notes", "data.tasks.0.init_args.window": 512,
    "data.tasks.0.init_args.demonstrations": "/data/shown",
    "checkpoints.every_minutes": 30.0, "data.texts": None, "evaluation.rules": "strict-one-to-one",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"run_dir": "/elsewhere"}, True),
        ({"init_from": "/elsewhere"}, True),
        ({"model.init_args.backbone": "/elsewhere", "data.tokenizer": "/elsewhere"}, True),
        ({"data.corpora.0.init_args.root": "/elsewhere"}, True),
        ({"data.tasks.0.init_args.demonstrations": "/elsewhere"}, True),
        ({"trainer.accelerator": "cuda"}, True),
        ({"evaluation.rules": "n2c2-2018"}, True),
        ({"checkpoints.every_minutes": 5.0}, True),
        ({"checkpoints.model_folder": False}, True),
        ({"model.init_args.confidences": False}, True),
        ({"seed_everything": 1}, False),
        ({"trainer.max_epochs": 4}, False),
        ({"trainer.precision": "bf16-mixed"}, False),
        ({"model.init_args.learning_rate": 1e-5}, False),
        ({"data.corpora.0.class_path": "clinical_ie.corpora.Phee"}, False),
        ({"data.tasks.0.init_args.window": 256}, False),
    ],
)
def test_where_things_lie_is_no_part_of_a_run(change: dict[str, Any], same: bool) -> None:
    """What lies there is: base, documents and examples have digests of their own."""
    assert (identity(RUN) == identity(RUN | change)) == same
    assert not any("/" in str(value) for value in identity(RUN).values())
