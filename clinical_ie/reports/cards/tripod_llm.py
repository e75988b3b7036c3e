"""The items of TRIPOD-LLM with what a run's files answer, and what is left to its authors.

Reference: Gallifant et al., The TRIPOD-LLM reporting guideline for studies using large language models (Nat Med 31:60-69, 2025), Table 2.
Numbers are the guideline's; the short names of its items are ours, and its text says what each asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from clinical_ie.reports.cards.card_facts import AUTHORS, PARTS, CardFacts, table


class Item(NamedTuple):
    """One item: its number, what it is about, and what no file of a run can say."""

    number: str
    topic: str
    left: str


_BY_AUTHORS = "all"
ITEMS = (
    Item("1", "title: kind of study, task, population, outcome", "population"),
    Item("2", "abstract, by its own list", _BY_AUTHORS),
    Item("3a", "background: health-care context and rationale", _BY_AUTHORS),
    Item("3b", "background: population and intended use", _BY_AUTHORS),
    Item("4", "objectives", _BY_AUTHORS),
    Item("5a", "data: sources of each part, and why these", "why these"),
    Item("5b", "data: description and distribution", "languages, countries, kinds of notes"),
    Item("5c", "data: oldest and newest text", _BY_AUTHORS),
    Item("5d", "data: pre-processing and quality checks", "what was done before the files were read"),
    Item("5e", "data: missing and imbalanced data, omissions", "why documents were left out before"),
    Item("6a", "model: name, version, date", "date of use"),
    Item("6b", "model: architecture, building steps, settings of inference", "how settings were chosen"),
    Item("6c", "model: from text to outcome, training, alignment", "alignment of the base"),
    Item("6d", "model: raw and post-processed output", ""),
    Item("6e", "model: classification, probabilities, thresholds", "why these"),
    Item("7a", "evaluation: metrics of quality", ""),
    Item("7b", "evaluation: relevance of the metrics in use", _BY_AUTHORS),
    Item("7c", "evaluation: outcome and how predictions were computed", ""),
    Item("7d", "evaluation: assessors of what is subjective", _BY_AUTHORS),
    Item("7e", "evaluation: comparison with other models, people, standards", _BY_AUTHORS),
    Item("8a", "annotation: how, with which guideline", "process, adjudication, examples"),
    Item("8b", "annotation: how many annotators, shared documents", _BY_AUTHORS),
    Item("8c", "annotation: background of annotators, agreement", _BY_AUTHORS),
    Item("9a", "prompts: design and selection", "how the wording was found"),
    Item("9b", "prompts: data used for their design", _BY_AUTHORS),
    Item("10", "summarization: pre-processing", ""),
    Item("11", "instruction tuning: instructions, interface, evaluators", "who evaluated"),
    Item("12", "compute", "cost, energy"),
    Item("13", "ethical approval, consent", _BY_AUTHORS),
    Item("14a", "open science: funding", _BY_AUTHORS),
    Item("14b", "open science: conflicts of interest", _BY_AUTHORS),
    Item("14c", "open science: protocol", _BY_AUTHORS),
    Item("14d", "open science: registration", _BY_AUTHORS),
    Item("14e", "open science: data", "access"),
    Item("14f", "open science: code", "where it can be had"),
    Item("15", "patient and public involvement", _BY_AUTHORS),
    Item("16a", "participants: flow of documents, with and without the outcome", "patients, follow-up"),
    Item("16b", "participants: characteristics of each source and part", "dates, demographics"),
    Item("16c", "participants: development beside evaluation data", "predictors that are no words of notes"),
    Item("16d", "participants: numbers and events in each analysis", "patients"),
    Item("17", "performance", "subgroups, human evaluation"),
    Item("18", "updating", ""),
    Item("19a", "interpretation, fairness", _BY_AUTHORS),
    Item("19b", "limitations", "the study's own"),
    Item("19c", "usability: known challenges of such data", _BY_AUTHORS),
    Item("19d", "usability: intended use, user, autonomy", _BY_AUTHORS),
    Item("19e", "usability: poor or missing input", "in the place of use"),
    Item("19f", "usability: handling and expertise of users", _BY_AUTHORS),
    Item("19g", "next steps", _BY_AUTHORS),
)


def tripod_llm(facts: CardFacts) -> str:
    """The table in Markdown."""
    known = _known(facts)
    rows = []
    for item in ITEMS:
        said = known.get(item.number, "")
        left = "" if said.startswith(_NOT_OURS) or not item.left else AUTHORS if item.left == _BY_AUTHORS else f"{AUTHORS}: {item.left}"
        rows.append([item.number, item.topic, said or "-", left or "-"])
    answered = sum(bool(known.get(item.number)) for item in ITEMS)
    opening = (
        f"Gallifant et al., Nat Med 31:60-69 (2025). The run's files answer {answered} of {len(ITEMS)} items. The guideline is for"
        " studies of language models; "
        + ("this run is of one." if facts.generates else "this run is of an encoder, so what only a language model has does not apply.")
        + " For a submission fill in the official form (tripod-llm.vercel.app) from this table."
    )
    return f"# TRIPOD-LLM: {facts.name}\n\n{opening}\n\n{table(['item', 'about', 'from the run', 'left'], rows)}\n"


_NOT_OURS = "does not apply"


def _known(facts: CardFacts) -> Mapping[str, str]:
    run, corpora = facts.run, ", ".join(facts.documents or facts.corpora)
    versions = ", ".join(f"{name} {value}" for name, value in (run.get("versions") or {}).items())
    lines = [one for one in facts.scores() if one.split.startswith("test")]
    performance = "; ".join(
        f"{one.corpus}, {one.task}, {one.what}: strict F1 {one.strict.f1:.3f}"
        + (f" [{one.interval[0]:.3f}, {one.interval[1]:.3f}]" if one.interval else "")
        for one in lines
    )
    tasks = "; ".join(f"{name} ({_listed(given)})" if _listed(given) else name for name, given in facts.tasks.items())
    settings = _listed(facts.arguments)
    known = {
        "1": f"tunes ({run.get('tuning', '?')}) and evaluates {facts.model} for information extraction: {', '.join(facts.tasks)}",
        "5a": "; ".join(f"{name}: {corpus.citation or 'no citation'}, licence {corpus.licence}" for name, corpus in facts.corpora.items()),
        "5b": f"{_parts(facts)}; types and definitions in data_statement.md" if facts.documents else "",
        "5d": _findings(facts),
        "5e": "; ".join(_unsaid(facts)) or "nothing of the gold annotations was left out",
        "6a": f"{facts.model}; run {run.get('fingerprint', '?')}; {versions}",
        "6b": f"{facts.module}; {settings}; {tasks}; seed {run.get('seed', '?')}, {run.get('precision', '?')}",
        "6c": (
            f"{run.get('epochs', '?')} epochs, {run.get('steps', '?')} steps, {run.get('training_subwords', 0):,} sub-words; "
            f"begun with {(run.get('init_from') or {}).get('fingerprint') or 'the base alone'}"
        ),
        "6d": _output(facts),
        "6e": "greedy; every completion is parsed" if facts.generates else "the most probable answer; no threshold was tuned on test notes",
        "7a": "precision, recall, F1 (strict and lenient), of strings, of unseen strings; intervals by cluster: model_card.md",
        "7c": "mentions and links as annotated; scored by " + ", ".join(sorted({one.rules for one in lines}) or ["no rules yet"]),
        "8a": f"definitions of all types of {corpora}: data_statement.md" if facts.corpora else "",
        "9a": "prompts.json of `clinical-ie export` holds every prompt" if facts.generates else f"{_NOT_OURS}: no prompts",
        "9b": "" if facts.generates else f"{_NOT_OURS}: no prompts",
        "10": f"{_NOT_OURS}: nothing is summarized",
        "11": tasks if facts.generates else f"{_NOT_OURS}: no instructions",
        "12": (
            f"{run.get('seconds', 0):,.0f} s on {run.get('devices', '?')} device(s), {run.get('machine', '?')}; "
            f"{run.get('peak_memory_bytes', 0) / 1e9:.2f} GB; {run.get('parameters', 0):,} weights,"
            f" {run.get('trainable_parameters', 0):,} trained"
        ),
        "14e": "; ".join(f"{name}: {corpus.licence}" for name, corpus in facts.corpora.items()),
        "14f": f"{versions or 'versions unknown'}; commit {run.get('commit') or 'unknown'}; config.yaml replays the run",
        "16a": _parts(facts),
        "16b": f"{_parts(facts)}; {_gold(facts)}" if facts.documents else "",
        "16c": _shift(facts),
        "16d": _gold(facts),
        "17": f"{performance}; by type in model_card.md" if performance else "",
        "18": "; ".join(run.get("changes") or ()) or "none: trained once",
        "19b": "; ".join(f"{one.documents} test documents of {one.corpus}" for one in lines if one.documents < 30),
        "19e": "notes that cannot be read are refused or counted by name, never skipped in silence",
    }
    return {number: text for number, text in known.items() if text}


def _listed(given: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in given.items() if value is not None and not isinstance(value, dict | list))


def _parts(facts: CardFacts) -> str:
    return "; ".join(
        f"{name}: " + ", ".join(f"{count:,} {PARTS.get(role, role)}" for role, count in held.items() if count)
        for name, held in facts.documents.items()
    )


def _findings(facts: CardFacts) -> str:
    found = facts.run.get("findings") or {}
    return "readers checked every file; " + (
        ", ".join(f"{count:,} x {code}" for code, count in found.items()) or "nothing was mended or left out"
    )


def _unsaid(facts: CardFacts) -> list[str]:
    """What of gold the tasks cannot express, by source and cause."""
    found = []
    for part, sources in (facts.run.get("coverage") or {}).items():
        for source, counted in sources.items():
            if causes := counted.get("unrepresentable"):
                listed = ", ".join(f"{count:,} {cause}" for cause, count in causes.items())
                found.append(
                    f"{source}, {part}: {listed} of {counted.get('gold', 0):,} {counted.get('of', 'annotations')} cannot be expressed"
                )
    return found


def _gold(facts: CardFacts) -> str:
    found = [
        f"{source}, {part}: {counted.get('gold', 0):,} {counted.get('of', 'annotations')}"
        for part, sources in (facts.run.get("coverage") or {}).items()
        for source, counted in sources.items()
    ]
    for split, corpus, task, entry in facts.entries():
        if entry.coverage:
            found.append(f"{corpus}/{task}, {split}: {entry.coverage.get('gold', 0):,} {entry.coverage.get('of', 'annotations')}")
    return "; ".join(found)


def _output(facts: CardFacts) -> str:
    if not facts.generates:
        return "labels of words, pairs or answers, read back as character offsets"
    outcomes = [f"{count:,} {name}" for _, _, _, entry in facts.entries() for name, count in entry.outcomes.items()]
    constrained = "constrained by a grammar" if facts.arguments.get("constrained", True) else "unconstrained, grounded afterwards"
    return f"completions, {constrained}, read back as character offsets; {', '.join(outcomes) or 'no outcomes counted'}"


def _shift(facts: CardFacts) -> str:
    seen = [
        f"{corpus}, {split}: {entry.seen.gold:,} of {entry.seen.gold + entry.unseen.gold:,} gold mentions have strings seen in training"
        for split, corpus, _, entry in facts.entries()
        if entry.seen is not None and entry.unseen is not None
    ]
    return "; ".join(seen)
