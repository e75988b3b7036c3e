"""Instructions for a schema, and instruction augmentation in training: hard negatives, shuffled, masked and paraphrased types.

References: Sainz et al., GoLLIE (ICLR 2024), for masked names and definitions; Gui et al., IEPile (ACL 2024), for hard negatives.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from clinical_ie.document import Entity
from clinical_ie.errors import SettingError
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.prompt_template import Demonstration, InstructionSpec, LabelDescription
from clinical_ie.prompts.responses import ResponseFormat
from clinical_ie.schema import EntityType, Schema
from clinical_ie.tasks.links import LinkLabels


@dataclass(frozen=True, slots=True)
class InstructionAugmentation:
    """How instructions vary in training. Examples of one variant share its prefix.

    Args:
        variants: How many different instructions a corpus has.
        shuffle: Types in another order in each.
        types: Share of the types in each, chosen so that they are easily confused (hard negatives).
        masked: Share of the variants with masked names of types, so that only definitions tell them apart.
        paraphrase: Vary the rows of definitions among those of the template.
    """

    variants: int = 8
    shuffle: bool = True
    types: float = 1.0
    masked: float = 0.0
    paraphrase: bool = False

    def __post_init__(self) -> None:
        if self.variants < 1 or not 0 < self.types <= 1 or not 0 <= self.masked <= 1:
            raise SettingError(f"{self}: expected at least 1 variant, and shares of types and masked variants up to 1")


@dataclass(frozen=True, slots=True)
class InstructionVariant:
    """An instruction, and the schema's names behind its names.

    `types` are the schema's names in the order of the instruction; `type_names` maps them to the names shown, `label_names` maps
    the rank of a link's label.
    """

    spec: InstructionSpec
    types: tuple[str, ...]
    label_ranks: tuple[int, ...]

    @property
    def type_names(self) -> dict[str, str]:
        """Type of the schema -> name in the prompt."""
        return dict(zip(self.types, (row.name for row in self.spec.types), strict=True))

    @property
    def label_names(self) -> dict[int, str]:
        """Rank of a label -> name in the prompt."""
        return dict(zip(self.label_ranks, (row.name for row in self.spec.labels), strict=True))

    def with_demonstrations(self, shown: tuple[Demonstration, ...]) -> InstructionVariant:
        """The same with few-shot demonstrations."""
        return replace(self, spec=replace(self.spec, demonstrations=shown))

    def grammar(self, text: str, schema: Schema, given: Sequence[Entity] | None) -> Grammar | None:
        """The grammar of completions about a text; None where the syntax has none.

        Args:
            text: The text of the prompt.
            schema: Declares which types can be linked.
            given: The mentions that the prompt numbers; None where they are part of the completion.
        """
        response = self.spec.response.grammar
        if response is None:
            return None
        names = tuple(row.name for row in self.spec.types)
        reserved = self.spec.response.reserved
        if given is None and (strange := [name for name in names if set(reserved) & set(name)]):
            raise SettingError(
                f"{response}: types with one of {' '.join(reserved)} in their names cannot be told from the text: {strange};"
                " take the response format grouped"
            )
        rank = {kind: place for place, kind in enumerate(self.types)}
        single = self.spec.task == "attributes"
        pairs = _pairs_of_ranks(schema, single, self.types, tuple(self.label_names.items()))
        numbered = None if given is None else tuple(rank[entity.type] for entity in given)
        return Grammar(response, text, names, pairs, numbered, single)


@lru_cache(maxsize=64)
def _pairs_of_ranks(
    schema: Schema, single: bool, types: tuple[str, ...], labels: tuple[tuple[int, str], ...]
) -> tuple[tuple[str, frozenset[tuple[int, int]]], ...]:
    """Labels, each with the ranks in `types` of the heads and tails that it allows; one object for all prompts of a variant."""
    rank = {kind: place for place, kind in enumerate(types)}
    legal = _legal_bearers(schema) if single else _legal_pairs(schema)
    return tuple(
        (name, frozenset((rank[head], rank[tail]) for head, tail in legal[number] if head in rank and tail in rank))
        for number, name in labels
    )


@lru_cache(maxsize=16)
def _legal_pairs(schema: Schema) -> tuple[frozenset[tuple[str, str]], ...]:
    """Types of heads and tails that each label allows."""
    labels = LinkLabels(schema)
    names = schema.entity_names
    return tuple(
        frozenset((head, tail) for head in names for tail in names if rank in labels.legal(head, tail)) for rank in range(len(labels))
    )


@lru_cache(maxsize=16)
def _legal_bearers(schema: Schema) -> tuple[frozenset[tuple[str, str]], ...]:
    """Types of mentions that may bear each label of an attribute, each with itself."""
    return tuple(
        frozenset((name, name) for name in schema.entity_names if kind.allows(name)) for kind in schema.attributes for _ in kind.options
    )


def instruction_variant(
    schema: Schema,
    task: str,
    response: ResponseFormat,
    definitions: bool,
    augmentation: InstructionAugmentation | None,
    variant: int,
    seed: int,
    arguments: bool = True,
) -> InstructionVariant:
    """An instruction with all types of a schema, or (`variant` from 0) an augmented one."""
    draw = random.Random(f"{seed}/variant/{variant}")
    kinds = list(schema.entities)
    row = 0
    masked = False
    if augmentation is not None and variant >= 0:
        if augmentation.types < 1:
            kinds = _confusable(kinds, max(1, round(augmentation.types * len(kinds))), draw)
        if augmentation.shuffle:
            draw.shuffle(kinds)
        masked = draw.random() < augmentation.masked
        row = draw.randrange(1 << 16) if augmentation.paraphrase else 0
    names = {kind.name: f"TYPE{number}" if masked else kind.name for number, kind in enumerate(kinds, 1)}
    types = tuple(LabelDescription(names[kind.name], (kind.definition or kind.name) if masked or definitions else "") for kind in kinds)
    describe = {"entities": lambda *_: ((), ()), "attributes": _attributes}.get(task, _labels)
    ranks, labels = describe(schema, names, definitions)
    return InstructionVariant(InstructionSpec(task, types, labels, response, row, arguments), tuple(names), ranks)


def _labels(schema: Schema, names: dict[str, str], definitions: bool) -> tuple[tuple[int, ...], tuple[LabelDescription, ...]]:
    """Labels between the types of a prompt, with the types that each allows."""
    labels = LinkLabels(schema)
    found: dict[int, LabelDescription] = {}
    for rank, label in enumerate(labels.labels):
        pairs = [(head, tail) for head in names for tail in names if rank in labels.legal(head, tail)]
        if not pairs:
            continue
        definition = next(relation.definition for relation in schema.relations if relation.name == label.relation)
        heads, tails = (tuple(dict.fromkeys(names[pair[side]] for pair in pairs)) for side in (0, 1))
        everything = len(names) > 1
        found[rank] = LabelDescription(
            label.name,
            definition if definitions else "",
            () if everything and len(heads) == len(names) else heads,
            () if everything and len(tails) == len(names) else tails,
        )
    return tuple(found), tuple(found.values())


def _attributes(schema: Schema, names: dict[str, str], definitions: bool) -> tuple[tuple[int, ...], tuple[LabelDescription, ...]]:
    """Attributes with each of their values, with the types of a prompt that may bear them."""
    found: dict[int, LabelDescription] = {}
    rank = -1
    for kind in schema.attributes:
        bearers = tuple(shown for name, shown in names.items() if kind.allows(name))
        for label in kind.labels:
            rank += 1
            if bearers:
                heads = () if len(bearers) == len(names) > 1 else bearers
                found[rank] = LabelDescription(label, kind.definition if definitions else "", heads)
    return tuple(found), tuple(found.values())


def _confusable(kinds: Sequence[EntityType], count: int, draw: random.Random) -> list[EntityType]:
    """Types that are likely taken for each other: a random one, and those that share most words or its layer."""
    first = draw.choice(list(kinds))
    mine = _words(first)

    def likeness(kind: EntityType) -> float:
        other = _words(kind)
        return len(mine & other) / len(mine | other) + 0.2 * (kind.layer == first.layer) + 0.1 * draw.random()

    likes = {kind.name: likeness(kind) for kind in kinds}
    chosen = {kind.name for kind in sorted(kinds, key=lambda kind: (kind is not first, -likes[kind.name]))[:count]}
    return [kind for kind in kinds if kind.name in chosen]


def _words(kind: EntityType) -> set[str]:
    return set(re.findall(r"[a-z]+", f"{kind.name} {kind.definition}".lower())) | {kind.name}
