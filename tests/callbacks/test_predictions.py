"""What stops the first rank stops all; what was stopped leaves nothing that a later stage would write to."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clinical_ie.callbacks.predictions import PredictionWriter
from clinical_ie.data.streaming import Key
from clinical_ie.document import Document
from clinical_ie.errors import SettingError
from clinical_ie.tasks.task import SourceName

NOTE = Document("n1", "No fever.")
KEY = Key("ward", "entity_tagging", 0)


def trainer(rank: int = 0, told: str | None = None, said: list[Any] | None = None) -> Any:
    """Of a rank that is told what the first says, or that says it."""

    def broadcast(problem: str | None) -> str | None:
        if said is not None:
            said.append(problem)
        return told if rank else problem

    data = SimpleNamespace(
        documents={"test": {"ward": [NOTE]}}, tasks={KEY.task: None}, texts=None, sources_of=lambda stage: [SourceName("ward", KEY.task)]
    )
    return SimpleNamespace(datamodule=data, global_rank=rank, is_global_zero=rank == 0, strategy=SimpleNamespace(broadcast=broadcast))


def test_a_folder_that_cannot_be_written_to_stops_every_rank(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("a file")
    said: list[Any] = []
    with pytest.raises(SettingError, match="cannot be written to"):
        PredictionWriter(str(tmp_path)).begin(trainer(said=said), "test")
    (problem,) = said
    with pytest.raises(SettingError, match="cannot be written to"):
        PredictionWriter(str(tmp_path)).begin(trainer(1, told=problem), "test")


def test_a_stage_behind_one_that_failed_writes_nothing(tmp_path: Path) -> None:
    writer, one = PredictionWriter(str(tmp_path)), trainer()
    writer.begin(one, "test")
    writer.take(one, "test", KEY, NOTE, [])
    writer.on_exception(one, SimpleNamespace(), RuntimeError("in a batch"))  # type: ignore[arg-type]
    assert not list((tmp_path / "predictions" / "test").iterdir())
    writer.begin(one, "dev")
    writer.take(one, "dev", KEY, NOTE, [])
    assert not list((tmp_path / "predictions" / "test").iterdir())
