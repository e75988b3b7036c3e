"""A data statement of the corpora of a run.

Reference: Bender and Friedman, Data statements for natural language processing (TACL 2018), whose schema these sections are.
"""

from __future__ import annotations

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.reports.cards.card_facts import AUTHORS, PARTS, CardFacts, table


def data_statement(facts: CardFacts) -> str:
    """A statement for each corpus, in Markdown."""
    parts = [
        f"# Data statement: {facts.name}",
        "After Bender and Friedman (2018), for each corpus of the run. Counts come from its files; what they cannot know is marked"
        f" {AUTHORS}.",
    ]
    for name in dict.fromkeys([*facts.corpora, *facts.documents]):
        parts += _of_corpus(facts, name, facts.corpora.get(name))
    return "\n\n".join(part for part in parts if part) + "\n"


def _of_corpus(facts: CardFacts, name: str, corpus: Corpus | None) -> list[str]:
    held = facts.documents.get(name, {})
    rows = [[PARTS.get(role, role), f"{count:,}", *_mentions(facts, name, role)] for role, count in held.items() if count]
    return [
        f"## {name}",
        f"Source: {corpus.citation or AUTHORS}. Licence: {corpus.licence}." if corpus else f"Source and licence: {AUTHORS}",
        f"**A. Curation rationale.** Which notes were chosen, and why: {AUTHORS}",
        table(["documents", "how many", "annotations"], rows) if rows else "",
        f"**B. Language variety.** Language, region, style (such as US clinical English): {AUTHORS}",
        f"**C. Speaker demographic.** Who wrote the notes, and about which patients (age, gender, ethnicity, condition): {AUTHORS}",
        f"**D. Annotator demographic.** Who annotated, with which training, how many each note, and how well they agreed: {AUTHORS}",
        f"**E. Speech situation.** When and where the notes were written, for whom, dictated or typed: {AUTHORS}",
        f"**F. Text characteristics.** Kinds of notes, sections, templates: {AUTHORS}",
        _annotated(corpus),
        f"**G. Recording quality.** Whether notes were scanned, transcribed or de-identified, and how: {AUTHORS}",
        _findings(facts),
        f"**H. Other.** {AUTHORS}",
        f"**I. Provenance appendix.** Statements of data sets that this one was made of: {AUTHORS}",
    ]


def _mentions(facts: CardFacts, corpus: str, role: str) -> list[str]:
    """What is known of how much is annotated in a part."""
    found = []
    for source, counted in ((facts.run.get("coverage") or {}).get(role) or {}).items():
        if source.partition("/")[0] == corpus:
            found.append(f"{counted.get('gold', 0):,} {counted.get('of', 'annotations')}")
    for split, name, _, entry in facts.entries():
        if name == corpus and split == role and entry.coverage:
            found.append(f"{entry.coverage.get('gold', 0):,} {entry.coverage.get('of', 'annotations')}")
    return [", ".join(dict.fromkeys(found))]


def _annotated(corpus: Corpus | None) -> str:
    if corpus is None:
        return ""
    schema = corpus.schema
    rows = [["mention", kind.name, kind.definition or AUTHORS] for kind in schema.entities]
    for link in schema.relations:
        ends = f"{', '.join(link.heads) or 'any'} -> {', '.join(link.tails) or 'any'}"
        rows.append(["argument" if link.argument else "relation", f"{link.name} ({ends})", link.definition or AUTHORS])
    for attribute in schema.attributes:
        values = f" ({', '.join(attribute.values)})" if attribute.values else ""
        rows.append(["attribute", f"{attribute.name}{values}", attribute.definition or AUTHORS])
    return "What is annotated:\n\n" + table(["kind", "name", "definition"], rows)


def _findings(facts: CardFacts) -> str:
    found = facts.run.get("findings") or {}
    listed = ", ".join(f"{count:,} x {code}" for code, count in found.items())
    return f"What readers mended, left out or warned of, in all corpora of the run: {listed or 'nothing'}."
