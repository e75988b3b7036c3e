"""A run that goes on with another number of processes teaches every example once an epoch, and its rate falls to 0 at the end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from clinical_ie.callbacks.rank_change import share_out_anew
from clinical_ie.errors import SettingError
from tests.callbacks.rank_legs import train
from tests.conftest import write_demo_notes
from tests.integration.processes import in_ranks
from tests.modules.tiny_training import WARNINGS_OF_TRAINING

pytestmark = [
    WARNINGS_OF_TRAINING,
    pytest.mark.filterwarnings(
        "ignore:You're resuming from a checkpoint that ended before the epoch ended",
        "ignore:Checkpoint directory",
        "ignore:The dirpath has changed",
    ),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("corpus")
    write_demo_notes(folder, train=17, dev=2, test=2)
    return str(folder)


def leg(folder: Path, corpus: str, backbone: str, ranks: int, checkpoint: Path | None = None) -> list[dict[str, Any]]:
    """What was taught, by all ranks."""
    folder.mkdir()
    arguments = (str(folder), corpus, backbone, ranks, None if checkpoint is None else str(checkpoint))
    if ranks == 1:
        train(*arguments)
    else:
        code, printed = in_ranks(train, *arguments, ranks=ranks)
        assert code == 0, printed[-4000:]
    return [row for rank in range(ranks) for row in json.loads((folder / f"taught{rank}.json").read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def firsts(corpus: str, tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, list[dict[str, Any]]]]:
    """Whole runs on one rank and on two."""
    folder = tmp_path_factory.mktemp("first")
    return {ranks: (folder / str(ranks), leg(folder / str(ranks), corpus, tiny_bert, ranks)) for ranks in (1, 2)}


@pytest.mark.distributed
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        ("in the middle", 2, 1),
        ("at the end", 1, 2),
        pytest.param("in the middle", 1, 2, marks=pytest.mark.slow),
        pytest.param("at the end", 2, 1, marks=pytest.mark.slow),
    ],
)
def test_every_example_once_an_epoch(
    where: str, before: int, after: int, firsts: dict[int, tuple[Path, list[dict[str, Any]]]], corpus: str, tiny_bert: str, tmp_path: Path
) -> None:
    folder, first = firsts[before]
    in_epoch = max(row["step"] for row in first if row["epoch"] == 0) + 1
    total = max(row["step"] for row in first) + 1
    assert (in_epoch > 3, total) == (True, 2 * in_epoch)
    done = in_epoch if where == "at the end" else in_epoch // 2
    second = leg(tmp_path / "second", corpus, tiny_bert, after, folder / "steps" / f"step={done}.ckpt")

    everything = {name for row in first for name in row["names"]}
    for epoch in (0, 1):
        taught = [row["names"] for row in first if row["epoch"] == epoch and row["step"] < done]
        taught += [row["names"] for row in second if row["epoch"] == epoch]
        assert Counter(name for names in taught for name in names) == Counter(everything), epoch
    for rank in range(after):
        counts = json.loads((tmp_path / "second" / f"mixing{rank}.json").read_text(encoding="utf-8"))["demo/entity_tagging"]
        assert counts["planned_examples"] == counts["trained_examples"] == 2 * len(everything), "of both parts, over all ranks"
        assert counts["planned_targets"] == counts["trained_targets"]

    rates = {row["step"]: row["rate"] for row in second}
    whole = {row["step"]: row["rate"] for row in first}
    assert rates[done] == pytest.approx(whole[done]), "the rate goes on where it was"
    falls = [rates[step] - rates[step + 1] for step in sorted(rates)[1:-1]]
    assert falls == pytest.approx([rates[max(rates)]] * len(falls)), "in equal steps, of which one more ends at 0"


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_as_many_processes_go_on_exactly(
    firsts: dict[int, tuple[Path, list[dict[str, Any]]]], corpus: str, tiny_bert: str, tmp_path: Path
) -> None:
    """Dropout included."""
    folder, first = firsts[2]
    second = leg(tmp_path / "second", corpus, tiny_bert, 2, folder / "steps" / "step=3.ckpt")
    assert second == [row for row in first if row["step"] >= 3]
    for rank in range(2):
        whole, resumed = (torch.load(path / f"weights{rank}.pt") for path in (folder, tmp_path / "second"))
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def refused(**given: Any) -> str:
    trainer: Any = SimpleNamespace(**{"world_size": 4, "limit_train_batches": 1.0, "max_steps": -1, **given})
    with pytest.raises(SettingError) as stopped:
        share_out_anew({"run": {"ranks": 2}}, {}, trainer)
    return str(stopped.value)


def test_what_cannot_go_on_exactly_is_refused_by_name() -> None:
    assert "2 processes wrote the checkpoint, now there are 4, and trainer.limit_train_batches is 7" in refused(limit_train_batches=7)
    assert "trainer.max_steps is 300" in refused(max_steps=300)
