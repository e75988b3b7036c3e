"""``clinical-ie export RUN --card``: model card, data statement and TRIPOD-LLM of a run, from its files; no weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clinical_ie.commands.corpus_settings import class_of
from clinical_ie.commands.run_directory import RunDirectory
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.yaml_file import YamlFile
from clinical_ie.errors import ClinicalIEError, SettingError, did_you_mean_path
from clinical_ie.files import write_text, writing_folder
from clinical_ie.reports.cards.card_facts import AUTHORS, CardFacts
from clinical_ie.reports.cards.data_statement import data_statement
from clinical_ie.reports.cards.model_card import model_card
from clinical_ie.reports.cards.tripod_llm import tripod_llm
from clinical_ie.reports.results import Results

CARDS = {"model_card.md": model_card, "data_statement.md": data_statement, "tripod_llm.md": tripod_llm}
"""File -> what writes it."""


def export_cards(run_dir: Path, output: Path) -> int:
    """Write the three into a new folder.

    Raises:
        SettingError: No run, a pipeline of several runs, or one that has not ended.
    """
    facts = read_facts(run_dir)
    with writing_folder(output) as partial:
        for name, text in CARDS.items():
            write_text(partial / name, text(facts))
    left = sum((output / name).read_text(encoding="utf-8").count(AUTHORS) for name in CARDS)
    print(f"Cards: {', '.join(str(output / name) for name in CARDS)}")
    print(f"What the run cannot know is marked {AUTHORS!r}, {left} times: fill it in before you publish.")
    return 0


def read_facts(run_dir: Path) -> CardFacts:
    """What the files of a run say.

    Raises:
        SettingError: No run, a pipeline of several runs, or one that has not ended.
    """
    from clinical_ie.callbacks.splits import NAME, read_splits

    run = RunDirectory(run_dir)
    if not run.config.is_file():
        raise SettingError(
            f"{run_dir}: no run (expected config.yaml in it); give the --run_dir of a `clinical-ie fit`{did_you_mean_path(run_dir)}"
        )
    settings = YamlFile(run.config, expected="the settings of a run").data
    if not isinstance(settings, Mapping) or "model" not in settings:
        raise SettingError(f"{run_dir}: no run of one model; of a pipeline give the folder of a stage, such as {run_dir / 'entities'}")
    results = Results.load(run.results)
    if "fingerprint" not in results.run:
        raise SettingError(f"{run_dir}: not finished, there is nothing to report; `clinical-ie fit` with --resume=auto goes on")
    splits = read_splits(run_dir / NAME) if (run_dir / NAME).exists() else {}
    documents = {name: {role: len(ids) for role, ids in roles.items()} for name, roles in splits.items()}
    corpora = dict(filter(None, map(_corpus, (settings.get("data") or {}).get("corpora") or ())))
    return CardFacts(run_dir.resolve().name, results, settings, corpora, documents)


def _corpus(entry: Mapping[str, Any]) -> tuple[str, Corpus] | None:
    """A corpus by its name; None where its class is not there any more, or takes other arguments now."""
    try:
        found: Any = class_of(str(entry["class_path"]))(**(entry.get("init_args") or {}))
    except (ClinicalIEError, TypeError):
        return None
    return found.name, found
