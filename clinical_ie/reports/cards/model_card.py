"""A model card of a run.

Reference: Mitchell et al., Model cards for model reporting (FAT* 2019), whose nine sections these are.
"""

from __future__ import annotations

from typing import Any

from clinical_ie.reports.cards.card_facts import AUTHORS, PARTS, CardFacts, score_table, table


def model_card(facts: CardFacts) -> str:
    """The card in Markdown."""
    parts = [
        f"# Model card: {facts.name}",
        "Filled from the files of a run of clinical_ie after Mitchell et al. (2019). What a run cannot know is marked "
        f"{AUTHORS}; nothing else here was written by hand.",
        "## Model details",
        table(["", ""], [[name, value] for name, value in _details(facts)]),
        "Settings of the model: " + _settings(facts.arguments) + ".",
        *(f"Settings of {name}: {_settings(given)}." for name, given in facts.tasks.items()),
        f"Developers, date of release, licence of the model, contact: {AUTHORS}",
        "## Intended use",
        f"Finds {_types(facts)} in notes like those that it was trained on. Primary uses and users: {AUTHORS}",
        "Out of scope: decisions about a patient without a person who reads the note; notes of another language, specialty or time than"
        f" the training data, unless its quality on them was measured. Further ones: {AUTHORS}",
        "## Factors",
        "Scores below are by corpus, task and type of mention. Groups of patients, authors of notes, instruments and sites: "
        f"not recorded in the data; {AUTHORS}",
        "## Metrics",
        _metrics(facts),
        "## Evaluation data",
        _documents(facts, ("dev", "test", "held-out")),
        _isolation(facts),
        "## Training data",
        _documents(facts, ("train", "learned before")),
        "Where the data comes from, who wrote and annotated it: `data_statement.md`.",
        "## Quantitative analyses",
        score_table(facts),
        *_by_type(facts),
        *_losses(facts),
        "Results for groups of patients, and for their intersections: " + AUTHORS,
        "## Ethical considerations",
        "The weights were computed from the training notes. A language model may repeat parts of them; who gets the weights should be"
        f" whom the data use agreement allows. Further: {AUTHORS}",
        "## Caveats and recommendations",
        *_caveats(facts),
        f"Further: {AUTHORS}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _details(facts: CardFacts) -> list[tuple[str, str]]:
    run = facts.run
    trained, whole = run.get("trainable_parameters"), run.get("parameters")
    weights = f"{whole:,}, {trained:,} of them trained" if isinstance(whole, int) and isinstance(trained, int) else ""
    seconds = f"{run['seconds']:,.0f} s" if "seconds" in run else ""
    memory = f"{run['peak_memory_bytes'] / 1e9:.2f} GB" if "peak_memory_bytes" in run else ""
    versions = ", ".join(f"{name} {value}" for name, value in (run.get("versions") or {}).items())
    rows = [
        ("base", facts.model),
        ("architecture", f"{facts.module}, {'a decoder' if facts.generates else 'an encoder'}"),
        ("tasks", ", ".join(facts.tasks)),
        ("way of tuning", str(run.get("tuning") or "")),
        ("weights", weights),
        (
            "training",
            f"{run.get('epochs', '?')} epochs, {run.get('steps', '?')} steps, seed {run.get('seed', '?')}, {run.get('precision', '')}",
        ),
        (
            "cost",
            ", ".join(part for part in (seconds, memory, str(run.get("machine") or ""), f"{run.get('devices', '?')} device(s)") if part),
        ),
        ("begun with the weights of", str((run.get("init_from") or {}).get("fingerprint") or "the base alone")),
        ("fingerprint of the run", str(run.get("fingerprint") or "")),
        ("fingerprint of its data", str(run.get("data") or "")),
        ("versions", versions),
    ]
    return [(name, value) for name, value in rows if value]


def _settings(given: Any) -> str:
    shown = [f"{name} {value}" for name, value in given.items() if value is not None and not isinstance(value, dict | list)]
    return ", ".join(shown) or "all as by default"


def _types(facts: CardFacts) -> str:
    listed = [f"{', '.join(corpus.schema.entity_names)} ({name})" for name, corpus in facts.corpora.items()]
    return "; ".join(listed) or "what its schema declares"


def _metrics(facts: CardFacts) -> str:
    rules = sorted({entry.rules for _, _, _, entry in facts.entries()}) or ["strict-one-to-one"]
    return (
        f"Precision, recall and F1 over all annotations (micro) under {', '.join(rules)}: strict asks for type and both ends, lenient"
        " for type and a common character. Intervals are bootstrap intervals of 95 % over patients where ids tell, else documents; *visible"
        " difference* is the smallest difference that such a test set shows with a power of 80 %. No threshold was chosen on test notes."
    )


def _documents(facts: CardFacts, roles: tuple[str, ...]) -> str:
    rows = [[name, PARTS[role], f"{count:,}"] for name, held in facts.documents.items() for role, count in held.items() if role in roles]
    return table(["corpus", "documents", "how many"], rows) if rows else "None."


def _isolation(facts: CardFacts) -> str:
    found = facts.run.get("isolation") or {}
    rows = [
        [part, corpus, str(one["documents"]), str(one["equal"]), str(one["near"])]
        for part, corpora in (found.get("compared") or {}).items()
        for corpus, one in corpora.items()
    ]
    if not rows:
        return ""
    said = f"Compared with all training notes (nearly the same: Jaccard similarity of words {found.get('threshold')} or more):"
    return said + "\n\n" + table(["part", "corpus", "documents", "with the text of a training note", "nearly so"], rows)


def _by_type(facts: CardFacts) -> list[str]:
    found = []
    for split, corpus, task, entry in facts.entries():
        for kind in entry.kinds if split.startswith("test") else ():
            strict, lenient = (entry.scores[kind][mode].types for mode in ("strict", "lenient"))
            rows = [
                [name, f"{one.tp + one.fn:,}", f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}", f"{lenient[name].f1:.3f}"]
                for name, one in strict.items()
            ]
            found += [
                f"{corpus}, {task}, {split}, by type:",
                table(["type", "gold", "precision", "recall", "strict F1", "lenient F1"], rows),
            ]
    return found


def _losses(facts: CardFacts) -> list[str]:
    found = []
    for split, corpus, task, entry in facts.entries():
        place = f"{corpus}, {task}, {split}"
        if entry.survival:
            share, of = entry.survival.get("share"), entry.survival.get("of")
            causes = ", ".join(f"{count} {cause}" for cause, count in (entry.survival.get("causes") or {}).items())
            if isinstance(share, float):
                found.append(f"{place}: {share:.4f} of the gold {of} could come back at all{f' ({causes})' if causes else ''}.")
        if entry.seen is not None and entry.unseen is not None:
            one, other = entry.seen, entry.unseen
            found.append(
                f"{place}: recall {one.recall:.3f} of {one.gold:,} mentions whose string training has seen,"
                f" {other.recall:.3f} of {other.gold:,} others."
            )
        if entry.outcomes:
            found.append(f"{place}: of the model's answers, {', '.join(f'{count:,} {name}' for name, count in entry.outcomes.items())}.")
    return found


def _caveats(facts: CardFacts) -> list[str]:
    found = []
    few = [one for one in facts.scores() if one.documents < 30]
    if few:
        found.append(f"{few[0].documents} documents of {few[0].corpus} say little: see the intervals.")
    found += [f"The run went on with changes: {change}." for change in facts.run.get("changes") or ()]
    for code, count in (facts.run.get("findings") or {}).items():
        found.append(f"While the data was read, {count:,} x {code}.")
    return found
