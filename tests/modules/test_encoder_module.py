"""What an encoder cannot do is refused by the module itself, too, where a trainer is used without the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clinical_ie.corpora import Demo
from clinical_ie.errors import SettingError
from clinical_ie.models.encoder_classes import encoder_class
from clinical_ie.modules import EncoderReader, EncoderRelationClassifier
from clinical_ie.tasks import EntityReading, RelationClassification
from tests.models.tiny_encoders import config_of, save_tokenizer
from tests.modules.tiny_training import WARNINGS_OF_TRAINING, data_of, trained

pytestmark = WARNINGS_OF_TRAINING


def test_needs_of_the_task_count_and_not_those_of_a_batch(tmp_path: Path) -> None:
    """A packed query for one type only stands where the next word would, and yet it must not be attended to."""
    folder = tmp_path / "deberta"
    torch.manual_seed(0)
    encoder_class(config_of("deberta-v2"))(config_of("deberta-v2")).save_pretrained(folder)
    save_tokenizer(folder)
    one_type = data_of(str(folder), EntityReading("packed", window=96), Demo(entity_types=["Drug"]))
    with pytest.raises(SettingError, match=r"a deberta-v2, has not what EntityReading needs .*encoding to single"):
        trained(EncoderReader, one_type, str(folder), tmp_path, epochs=1)
    pairs = data_of(str(folder), RelationClassification("shared", window=96), Demo())
    with pytest.raises(SettingError, match=r"has not what RelationClassification needs .*encoding to pair"):
        trained(EncoderRelationClassifier, pairs, str(folder), tmp_path, epochs=1)
