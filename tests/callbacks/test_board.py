from __future__ import annotations

import re

from clinical_ie.callbacks.board import best_metrics, hyper_parameters, layout_of, tag_of
from clinical_ie.document import Document, Entity, Span
from clinical_ie.reports.results import Results
from clinical_ie.scoring.score import score
from clinical_ie.scoring.strict_one_to_one import StrictOneToOne
from clinical_ie.tasks.task import SourceName

SOURCE = SourceName("ward/2024", "entity_tagging")


def test_every_curve_is_in_a_group_of_its_own_kind_and_keeps_its_name_apart() -> None:
    names = [f"dev/{SOURCE}/entities/{part}{mode}_{ratio}" for part in ("", "types/a/b/", "types/Drug/")
             for mode in ("strict", "lenient") for ratio in ("precision", "recall", "f1")]  # fmt: skip
    tags = {tag_of(name) for name in names}
    assert len(tags) == len(names)
    assert {tag.partition("/")[0] for tag in tags} == {"dev, ward, 2024, entity_tagging", "types, ward, 2024, entity_tagging"}
    assert tag_of(f"dev/{SOURCE}/attributes/types/POLARITY=NEG/strict_f1") == "types, ward, 2024, entity_tagging/strict_f1/POLARITY=NEG"
    assert tag_of(f"dev/{SOURCE}/calibration/entities_ece") == "dev, ward, 2024, entity_tagging/entities_ece"
    for name in ("dev/entities/strict_f1", "dev/strict_f1", "dev/loss", "train/loss", "dev/links/lenient_f1", "epoch"):
        assert tag_of(name) == name


def test_every_chart_has_curves() -> None:
    """TensorBoard matches patterns from the begin of a name."""
    logged = ["train/loss", "dev/loss", "dev/strict_f1", "dev/entities/strict_f1", "lr-AdamW/head"]
    logged += [f"dev/{SOURCE}/entities/{part}{mode}_{ratio}" for part in ("", "types/Drug/", "types/Dose/")
               for mode in ("strict", "lenient") for ratio in ("precision", "recall", "f1")]  # fmt: skip
    tags = [tag_of(name) for name in logged]
    layout = layout_of({SOURCE: "entities"})
    found = {title: [tag for tag in tags if any(re.match(one, tag) for one in patterns)]
             for charts in layout.values() for title, (_, patterns) in charts.items()}  # fmt: skip
    assert all(found.values()), found
    assert found["strict F1 by type"] == [f"types, ward, 2024, entity_tagging/strict_f1/{name}" for name in ("Drug", "Dose")]
    assert found["strict F1, means"] == ["dev/strict_f1", "dev/entities/strict_f1"]


def test_what_the_table_of_runs_shows() -> None:
    gold = Document("a", "ab", (Entity("T1", "X", Span.of(0, 1)),))
    results = Results()
    results.add("test", "c", "t", score([gold], [gold], StrictOneToOne()), finds="entities", coverage=None, left_out={}, samples=0)
    found = best_metrics([("dev/strict_f1", 0.5), ("other", None)], results.splits["test"])
    assert found == {
        "best/dev/strict_f1": 0.5, "test/c/t/entities/strict_f1": 1.0, "test/c/t/entities/lenient_f1": 1.0,
        "test/c/t/entities/strict_macro_f1": 1.0,
    }  # fmt: skip
    settings = {"data.batch_budget": 9, "data.root": "/x", "trainer.max_epochs": 3, "trainer.log_every_n_steps": 5, "ckpt_path": "/y"}
    settings |= {"data.corpora.0.class_path": "clinical_ie.corpora.Demo", "data.corpora.1.class_path": "clinical_ie.corpora.Phee"}
    settings |= {"model.class_path": "clinical_ie.modules.EncoderTagger", "data.tasks.0.init_args.window": 256}
    assert hyper_parameters(settings) == {
        "data/batch_budget": 9, "trainer/max_epochs": 3, "corpora": "Demo, Phee", "model": "EncoderTagger", "data/tasks/0/window": 256,
    }  # fmt: skip
