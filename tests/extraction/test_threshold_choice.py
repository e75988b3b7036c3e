"""The flags of ``clinical-ie extract``, on a model that no training has made, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clinical_ie.cli import main
from clinical_ie.commands.extract import _percent, run
from clinical_ie.document import Document
from clinical_ie.errors import FileFormatError, InputError, SettingError
from clinical_ie.extraction.exported_run import LEARNED
from clinical_ie.extraction.loading import load
from clinical_ie.extraction.threshold_choice import refuse_learned
from clinical_ie.extraction.trained_run import stage_runs
from clinical_ie.formats import jsonl
from tests.extraction.runs import note, write_tagger


@pytest.fixture(scope="module")
def model(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thresholds") / "run"
    write_tagger(folder, tiny_bert)
    return folder


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes")
    for number in range(12):
        (folder / f"n{number:02}.txt").write_text(note(number))
    return folder


def extracted(model: Path, notes: Path, output: Path, *options: str) -> tuple[list[Document], list[Document]]:
    base = ["extract", str(notes), f"--model={model}", f"--output={output}", "--device=cpu", "--workers=1", "--precision=32"]
    assert run([*base, *options]) == 0
    review = output / "review.jsonl"
    assert not (output / "review").exists()
    return jsonl.read(output / "jsonl"), jsonl.read(review) if review.exists() else []


def test_what_is_not_sure_enough_goes_to_review(model: Path, notes: Path, tmp_path: Path) -> None:
    everything, none = extracted(model, notes, tmp_path / "all")
    assert none == []
    sure = sorted(entity.confidence or 0 for document in everything for entity in document.entities)
    middle = f"{sure[len(sure) // 2]:.3f}"
    kept, review = extracted(model, notes, tmp_path / "half", "--threshold", middle)
    assert [document.id for document in kept] == [document.id for document in everything]
    counts = [sum(len(document.entities) for document in found) for found in (everything, kept, review)]
    assert counts[0] == counts[1] + counts[2]
    assert min(counts) > 0
    assert all((entity.confidence or 0) >= float(middle) for document in kept for entity in document.entities)
    assert all((entity.confidence or 0) < float(middle) for document in review for entity in document.entities)


def test_a_bound_chooses_thresholds_by_type(model: Path, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Gold is what the model says of its surest type, and nothing of the others: the one can be proven, and nothing else."""
    extractor = load(model, device="cpu", precision="32")
    texts = [Document(f"c{number}", note(number)) for number in range(120)]
    predicted = list(extractor.annotate(texts))
    types = sorted({entity.type for document in predicted for entity in document.entities})
    most = max(types, key=lambda name: sum(e.type == name for d in predicted for e in d.entities))
    gold = [Document(d.id, d.text, tuple(e for e in d.entities if e.type == most)) for d in predicted]
    jsonl.write(gold, tmp_path / "gold.jsonl")
    kept, review = extracted(model, notes, tmp_path / "out", "--max-false-discovery", "0.2", "--calibration", str(tmp_path / "gold.jsonl"))
    shown = capsys.readouterr().out
    assert f"  {most}: 0.00" in shown
    assert "all go to review" in shown
    assert {entity.type for document in kept for entity in document.entities} == {most}
    assert most not in {entity.type for document in review for entity in document.entities}
    (model / "splits.json").write_text(json.dumps({"demo": {"train": ["c7"], "test": ["c8"]}}))
    with pytest.raises(SettingError, match="1 of 120 notes"):
        extracted(model, notes, tmp_path / "no", "--max-false-discovery", "0.2", "--calibration", str(tmp_path / "gold.jsonl"))
    (model / "splits.json").unlink()


def test_what_a_run_has_learned_from_proves_nothing_of_its_export_either(
    tiny_bert: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An export had no record of it, and took what its run refused."""
    write_tagger(tmp_path / "run", tiny_bert)
    splits = {"demo": {"train": ["ward/4711", "b"], "dev": ["c"], "test": ["d"], "learned before": ["e"]}}
    (tmp_path / "run" / "splits.json").write_text(json.dumps(splits))
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 0
    learned = (tmp_path / "out" / LEARNED).read_text()
    assert "4711" not in learned
    assert len(json.loads(learned)["notes"]) == 4
    notes = [Document(name, "x") for name in ("ward/4711", "c", "d", "e", "f")]
    for folder in ("run", "out"):
        (found,) = stage_runs(tmp_path / folder)
        assert found.learned(note.id for note in notes) == {"ward/4711", "c", "e"}
        with pytest.raises(SettingError, match=rf"3 of 5 notes are those that .*{folder} has learned from"):
            refuse_learned(found, Path("notes"), notes)
        refuse_learned(found, Path("notes"), [Document("d", "x"), Document("f", "x")])
    assert not caplog.messages

    (tmp_path / "out" / LEARNED).write_text("{}")
    with pytest.raises(FileFormatError, match=r"learned\.json: damaged"):
        stage_runs(tmp_path / "out")[0].learned([])
    for path in (tmp_path / "out" / LEARNED, tmp_path / "run" / "splits.json"):  # as older exports and runs are
        path.unlink()
        (found,) = stage_runs(path.parent)
        refuse_learned(found, Path("notes"), notes)
        assert f"{path.parent} does not say which notes it has learned from" in caplog.messages[-1]
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "more")]) == 0
    assert not (tmp_path / "more" / LEARNED).exists()


def test_a_bound_is_said_as_it_was_given() -> None:
    """It was "at most 0%" of 0.004."""
    assert [_percent(share) for share in (0.004, 0.05, 0.5, 0.999, 1e-5, 0.07)] == ["0.4 %", "5 %", "50 %", "99.9 %", "0.001 %", "7 %"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--threshold", "Drog=0.5"], "did you mean 'Drug'"),
        (["--threshold", "2"], "from 0 to 1"),
        (["--max-false-discovery", "0.05"], "needs --calibration"),
        (["--calibration", "x"], "needs --max-false-discovery"),
        (["--max-false-discovery", "0.05", "--calibration", "x", "--threshold", "0.5"], "leave out --threshold"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    model: Path, notes: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    with pytest.raises(SettingError, match=problem):
        extracted(model, notes, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_notes_that_are_not_there(model: Path, notes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="annotated note"):
        extracted(model, notes, tmp_path / "out", "--max-false-discovery", "0.05", "--calibration", str(tmp_path / "x"))
