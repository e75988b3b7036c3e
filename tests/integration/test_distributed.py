"""Two processes score what one process scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from tests.integration.processes import command, results, same_scores, scored_by_ranks


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_two_ranks_score_what_one_scores(finished_run: Path, tmp_path: Path) -> None:
    one, two = scored_by_ranks("validate", "dev", finished_run, tmp_path, "--data.eval_batch_budget=200")
    assert one["demo"]["entity_tagging"]["documents"] == 6
    same_scores(one, two)


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_two_ranks_train(finished_run: Path, tmp_path: Path) -> None:
    """Without a warning, and with averaged weights: what two ranks scored by their average, one process scores by the checkpoint."""
    run = tmp_path / "run"
    averaging = ("--trainer.callbacks+=clinical_ie.callbacks.averaging.MovingAverage", "--trainer.callbacks.init_args.decay=0.5")
    printed = command("fit", "-c", str(finished_run / "config.yaml"), f"--run_dir={run}", "--trainer.max_epochs=2", *averaging, ranks=2)
    assert "Warning" not in printed, printed
    assert results(run)["run"]["devices"] == 2
    assert results(run)["splits"]["test"]["demo"]["entity_tagging"]["documents"] == 6
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    average, raw = (best[key]["heads.heads.demo/concepts.linear.weight"] for key in ("state_dict", "current_model_state"))
    assert not torch.equal(average, raw)
    command("validate", "-c", str(run / "config.yaml"))
    (monitored,) = (state["best_model_score"] for name, state in best["callbacks"].items() if name.startswith("Checkpoints"))
    found = results(run)["splits"]["dev"]["demo"]["entity_tagging"]["entities"]["strict"]["micro"]["f1"]
    assert found == pytest.approx(float(monitored), abs=1e-6)
    assert results(run)["run"]["checkpoints"]["dev"] == results(run)["run"]["checkpoints"]["test"]


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_two_ranks_train_on_two_corpora(finished_run: Path, small_corpus: str, tmp_path: Path) -> None:
    """Batches of one rank may hold one corpus only; the heads of the other must not stop the run."""
    from clinical_ie.formats import brat, jsonl

    brat.write(jsonl.read(Path(small_corpus) / "train.jsonl"), tmp_path / "notes")
    other = tmp_path / "other.yaml"
    corpus = {"root": str(tmp_path / "notes"), "corpus_name": "other", "schema": {"entities": ["Drug"]}, "entity_types": ["Drug"]}
    entry = {"class_path": "clinical_ie.corpora.BratFolder", "init_args": corpus}
    other.write_text(yaml.safe_dump({"data": {"corpora+": [entry], "batch_budget": 128}}), encoding="utf-8")
    run = tmp_path / "run"
    configs = ("-c", str(finished_run / "config.yaml"), "-c", str(other))
    command("fit", *configs, f"--run_dir={run}", "--trainer.max_epochs=1", "-c", "mixing/equal", ranks=2)
    assert set(results(run)["splits"]["test"]) == {"demo", "other"}
    mixing = results(run)["run"]["mixing"]
    assert set(mixing) == {"demo/entity_tagging", "other/entity_tagging"}
    for counts in mixing.values():
        assert counts["planned_examples"] == counts["trained_examples"]
        assert abs(counts["planned_examples"] - mixing["demo/entity_tagging"]["planned_examples"]) <= 1, "equal shares"
        assert counts["planned_targets"] == counts["trained_targets"] > 0


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_two_ranks_write_blank_notes(finished_run: Path, tmp_path: Path) -> None:
    """Without a batch Lightning calls hardly a hook; ranks that wait for each other would wait for ever."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "blank.txt").write_text(" \n", encoding="utf-8")
    given = ("-c", str(finished_run / "config.yaml"), f"--data.texts={tmp_path / 'notes'}", f"--output={tmp_path / 'out'}")
    command("predict", *given, ranks=2)
    assert (tmp_path / "out" / "demo" / "blank.ann").read_bytes() == b""
