"""Runs on the disk that no training has made: models with the weights that they begin with find something, the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from clinical_ie.corpora import Demo
from clinical_ie.modules import EncoderAttributeClassifier, EncoderRelationClassifier, EncoderTagger
from clinical_ie.modules.tuned_module import TunedModule

WORDS = "aspirin 81 mg daily for chest pain . denies fever and cough started on metoprolol twice a day by the clinic".split()  # noqa: SIM905 (reads best as a text)


def write_run(folder: Path, module: TunedModule, settings: dict[str, Any], task: str, **arguments: Any) -> None:
    """What a run that has ended leaves of its model and its task."""
    module.configure_model()
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict(), "run": {"fingerprint": folder.name}, "global_step": 7}
    module.on_save_checkpoint(checkpoint)
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(checkpoint, folder / "checkpoints" / "best.ckpt")
    kind = f"clinical_ie.modules.{type(module).__name__}"
    config = {
        "model": {"class_path": kind, "init_args": settings},
        "data": {"tasks": [{"class_path": f"clinical_ie.tasks.{task}", "init_args": arguments}]},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def write_tagger(folder: Path, backbone: str, corpora: tuple[str, ...] = ("demo",)) -> None:
    """A tagger of the demo corpus' types; its weights are drawn wide, so that it finds all kinds of mentions."""
    torch.manual_seed(3)
    schemas = {name: Demo().schema.to_dict() for name in corpora}
    module = EncoderTagger(backbone, schemas)
    module.configure_model()
    for name, parameter in module.heads.named_parameters():
        if "linear" in name:
            torch.nn.init.normal_(parameter, std=1.0)
    write_run(folder, module, {"backbone": backbone}, "EntityTagging", window=64, overlap=8)


def write_linker(folder: Path, backbone: str) -> None:
    """A classifier of pairs of the demo corpus' mentions."""
    torch.manual_seed(4)
    module = EncoderRelationClassifier(backbone, {"demo": Demo().schema.to_dict()}, width=0)
    module.configure_model()
    for parameter in module.heads.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    write_run(folder, module, {"backbone": backbone, "width": 0}, "RelationClassification", window=64, overlap=16)


def write_attributes(folder: Path, backbone: str) -> None:
    """A classifier of the attributes of the demo corpus' mentions."""
    torch.manual_seed(5)
    module = EncoderAttributeClassifier(backbone, {"demo": Demo().schema.to_dict()}, width=0)
    module.configure_model()
    for parameter in module.heads.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    write_run(folder, module, {"backbone": backbone, "width": 0}, "AttributeClassification", window=64, overlap=16)


def note(number: int, words: int = 40) -> str:
    """An invented note, another one for each number."""
    return " ".join(WORDS[(number * 7 + place * (1 + number % 5)) % len(WORDS)] for place in range(words + number % 13))
