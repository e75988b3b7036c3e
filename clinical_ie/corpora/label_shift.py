"""Label shift: which types of a corpus that is held out training has seen by name, by definition, or not at all.

Zero-shot scores are high where training had the same labels: a corpus that is new to a model may ask for nothing new.

References:
    Golde et al., NAACL 2025 (label overlap); Yang et al., B2NER 2024 (one name with two meanings over corpora).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from clinical_ie.corpora.corpus import Corpus

Seen = Literal["name", "definition", "other meaning", "not at all"]
SEEN: tuple[Seen, ...] = ("name", "definition", "other meaning", "not at all")
"""How training saw a type: by its name; by its definition under another name; by a name that means something else there; not at all."""


@dataclass(frozen=True, slots=True)
class Label:
    """A type, relation or role of a corpus: its name, what that means (`Corpus.meaning`) and its definitions."""

    name: str
    meaning: str
    definitions: frozenset[str]

    @property
    def key(self) -> str:
        """The name without what models don't see as another one."""
        return _plain(self.name)


def labels_of(corpus: Corpus) -> tuple[list[Label], list[Label]]:
    """Types of mentions, and relations and roles, of a corpus' schema."""
    found = []
    for kinds in (corpus.schema.entities, corpus.schema.relations):
        definitions: dict[str, set[str]] = {}
        for kind in kinds:
            definitions.setdefault(kind.name, set()).update([_plain(kind.definition)] if kind.definition.strip() else [])
        found.append([Label(name, _plain(corpus.meaning(name)), frozenset(texts)) for name, texts in definitions.items()])
    return found[0], found[1]


def label_shift(labels: Iterable[Label], gold: Mapping[str, int], trained: Iterable[Label]) -> dict[str, Any]:
    """How each label was seen, and the share of gold annotations of the test part that each way makes up.

    Args:
        labels: Of the corpus that is held out.
        gold: Name -> annotations in its test part.
        trained: Labels of other corpora that their training documents hold.

    Returns:
        ``{"labels": {NAME: how}, "gold": {how: annotations}, "shares": {how: share}}``; no shares where there is no gold.
    """
    known = list(trained)
    found = {label.name: _seen(label, known) for label in labels}
    counts: Counter[Seen] = Counter()
    for name, how in found.items():
        counts[how] += gold.get(name, 0)
    total = counts.total()
    shares = {how: counts[how] / total for how in SEEN} if total else {}
    return {"labels": found, "gold": {how: counts[how] for how in SEEN}, "shares": shares}


def _seen(label: Label, trained: list[Label]) -> Seen:
    same_name = [other for other in trained if other.key == label.key]
    if any(other.meaning == label.meaning for other in same_name):
        return "name"
    if any(other.meaning == label.meaning or other.definitions & label.definitions for other in trained):
        return "definition"
    return "other meaning" if same_name else "not at all"


def two_meanings(corpora: Iterable[Corpus]) -> dict[str, dict[str, str]]:
    """Names that some corpora have for different things: name -> corpus -> what it means there, as the corpora declare (`meanings`)."""
    found: dict[str, dict[str, str]] = {}
    for corpus in corpora:
        for label in (label for kinds in labels_of(corpus) for label in kinds):
            found.setdefault(label.key, {})[corpus.name] = corpus.meaning(label.name)
    return {name: meanings for name, meanings in found.items() if len({_plain(meaning) for meaning in meanings.values()}) > 1}


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").replace("-", " ").split())
