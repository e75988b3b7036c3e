"""What a split means for the scores: shots with their mentions, notes that are trained on and tested, labels that are new."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.isolation import Isolation
from clinical_ie.corpora.label_shift import SEEN, Label, label_shift, labels_of, two_meanings
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.reports.results import Results

_LOG = logging.getLogger(__name__)


class SplitFacts(pl.Callback):
    """Logs these facts when training begins, and keeps them as `facts` for ``results.json``: counts and ids, never text.

    Args:
        begun_with: The folder of the run whose weights a new run begins with. How that one saw the types of what it held out holds
            for what is held out here as well, unless other corpora are learned from here.
    """

    def __init__(self, begun_with: Path | None = None) -> None:
        self.facts: dict[str, Any] = {}
        self._begun_with = begun_with

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Collect them, where training begins."""
        if stage == "fit":
            data = cast("ExtractionDataModule", trainer.datamodule)  # type: ignore[attr-defined]
            self.facts = {"isolation": data.reader.isolation.to_dict()}
            _tell_isolation(data.reader.isolation)
            if shots := _shots(data):
                self.facts["shots"] = shots
            before = Results.load(self._begun_with / "results.json").run.get("label_shift") if self._begun_with is not None else None
            if shift := _label_shift(data, (before or {}).get("corpora", {})):
                self.facts["label_shift"] = shift


def _held_out(data: ExtractionDataModule) -> dict[str, Corpus]:
    """Corpora of which at most shots are learned from."""
    return {name: corpus for name, corpus in data.corpora.items() if name in data.split.held_out}


def _shots(data: ExtractionDataModule) -> dict[str, Any]:
    """The documents of each corpus that are shots, with how many mentions and links of each type they hold."""
    found: dict[str, Any] = {}
    for name, corpus in _held_out(data).items() if data.split.shots else ():
        documents = data.documents["train"][name]
        mentions: Counter[str] = Counter(dict.fromkeys(corpus.schema.entity_names, 0))
        links: Counter[str] = Counter(dict.fromkeys((kind.name for kind in corpus.schema.relations), 0))
        for document in documents:
            mentions.update(entity.type for entity in document.entities)
            links.update(kind for _, kind, _, _ in document.links())
        ids = sorted(document.id for document in documents)
        found[name] = {"documents": len(ids), "mentions": dict(mentions), "links": dict(links), "ids": ids}
        _tell_shots(name, mentions, len(ids))
    return found


def _label_shift(data: ExtractionDataModule, before: Mapping[str, Any]) -> dict[str, Any]:
    """How the labels of what is held out were seen in what is not, now or before; names with two meanings, and what was renamed."""
    meanings = two_meanings(data.corpora.values())
    for name, different in meanings.items():
        _warn_two_meanings(name, different)
    held = {source: data.tasks[source.task] for source in data.sources if not data.split.validates(*source)}
    learned = _learned_labels(data) if held else ([], [])
    found: dict[str, Any] = {}
    for name in dict.fromkeys(source.corpus for source in held) if any(learned) else ():
        corpus, gold = data.corpora[name], (Counter[str](), Counter[str]())
        for document in data.reader.peek(name, "test", data.most(name, "test")):
            gold[0].update(corpus.view.mentions(document))
            gold[1].update(corpus.view.links(document))
        tasks = [task for source, task in held.items() if source.corpus == name]
        wanted = not all(task.needs_mentions for task in tasks), any(task.finds == "relations" for task in tasks)
        kinds = zip(("entities", "links"), wanted, labels_of(corpus), gold, learned, strict=True)
        found[name] = {kind: label_shift(labels, count, known) for kind, is_wanted, labels, count, known in kinds if is_wanted and labels}
        _tell_label_shift(name, found[name])
    found |= {name: before[name] for name in data.split.held_out if name in before and name in data.corpora and name not in found}
    renamed = {name: dict(corpus.view.rename) for name, corpus in data.corpora.items() if corpus.view.rename}
    return {"corpora": found, "two_meanings": meanings, "renamed": renamed} if found or meanings or renamed else {}


def _learned_labels(data: ExtractionDataModule) -> tuple[list[Label], list[Label]]:
    """Labels of mentions and of links that training documents hold; not of shots, nor links where no task learns them."""
    found: tuple[list[Label], list[Label]] = ([], [])
    sources = [source for source in data.sources_of("train") if source.corpus not in data.split.held_out]
    for name in dict.fromkeys(source.corpus for source in sources):
        counts = Counter[str](), Counter[str]()
        for document in data.documents["train"][name]:
            counts[0].update(entity.type for entity in document.entities)
            counts[1].update(kind for _, kind, _, _ in document.links())
        if not any(data.tasks[source.task].finds == "relations" for source in sources if source.corpus == name):
            counts[1].clear()
        for known, labels, count in zip(found, labels_of(data.corpora[name]), counts, strict=True):
            known += [label for label in labels if count[label.name]]
    return found


@rank_zero_only
def _tell_isolation(isolation: Isolation) -> None:
    for (part, corpus), number in isolation.scored.items():
        equal, near = isolation.counts(part, corpus)
        if equal or near:
            _LOG.warning(
                f"{corpus}: {equal} of {number} {part} documents have the text of a training document, and {near} nearly so; their scores"
                " say little of new notes"
            )
    for corpus, names in isolation.dropped.items():
        _LOG.warning(f"{corpus}: {len(names)} training documents repeat test documents of corpora that are held out: dropped")


@rank_zero_only
def _tell_shots(corpus: str, mentions: Counter[str], documents: int) -> None:
    none = [name for name, number in mentions.items() if not number]
    without = f"; none of {', '.join(none)}" if none else ""
    _LOG.info(f"{corpus}: {documents} shots with {mentions.total()} mentions of {len(mentions) - len(none)} types{without}")


@rank_zero_only
def _tell_label_shift(corpus: str, shift: dict[str, Any]) -> None:
    for kind, found in shift.items():
        ways = [f"{found['gold'][how]} ({found['shares'].get(how, 0):.0%}) {_IN_WORDS[how]}" for how in SEEN if found["gold"][how]]
        _LOG.info(f"{corpus}: of the gold {kind} of the test part, training saw the types of {', '.join(ways) or 'none'}")


@rank_zero_only
def _warn_two_meanings(name: str, meanings: dict[str, str]) -> None:
    others = ", ".join(f"{meaning} in {corpus}" for corpus, meaning in meanings.items())
    _LOG.warning(
        f"the corpora call different things {name!r} ({others}), which a model would learn under one name; --data.distinct_names=true"
        " renames what corpora declare, and init_args.rename of a corpus any type"
    )


_IN_WORDS = {"name": "by name", "definition": "by definition", "other meaning": "by name with another meaning", "not at all": "not at all"}
