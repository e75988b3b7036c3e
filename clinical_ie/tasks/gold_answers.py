"""Gold answers about a segment, and which gold annotations its response syntax cannot express."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from clinical_ie.document import Document, Entity, Fragment, Span
from clinical_ie.prompts.answers import GAP, Answer, Link, Mention, NormalizedText
from clinical_ie.prompts.responses import ResponseFormat
from clinical_ie.schema import Schema
from clinical_ie.tasks.coverage import Target
from clinical_ie.tasks.instruction_variants import InstructionVariant
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.segments import segment_of

WHITE_SPACE = "begins or ends in white space"


def trimmed(span: Span, text: str) -> Span | None:
    """A span without the white space about its fragments; None where it holds only white space."""
    found = []
    for start, end in span.fragments:
        inner = text[start:end].strip()
        if inner:
            start += len(text[start:end]) - len(text[start:end].lstrip())
            found.append((start, start + len(inner)))
    return Span(tuple(found)) if found else None


def shifted(span: Span, by: int) -> Span:
    """A span so many characters farther on."""
    return Span(tuple((start + by, end + by) for start, end in span.fragments))


def trimmed_mentions(document: Document) -> list[Entity]:
    """Mentions without white space around them; mentions of white space only are left out."""
    found = []
    for entity in document.entities:
        span = trimmed(entity.span, document.text)
        if span is not None:
            found.append(entity if span == entity.span else replace(entity, span=span))
    return found


def in_text_order(entities: list[Entity], variant: InstructionVariant) -> list[Entity]:
    """Mentions of the types in a prompt: start, then longest first, then the order of types."""
    rank = {name: place for place, name in enumerate(variant.types)}
    return sorted((entity for entity in entities if entity.type in rank), key=lambda e: (e.start, -e.end, rank[e.type]))


def mention_of(text: str, name: str, span: Span, segment: Fragment, flat: NormalizedText) -> Mention:
    """A mention of a segment in words, under the name of its type in the prompt."""
    words = GAP.join(" ".join(text[start:end].split()) for start, end in span.fragments)
    first, last = (flat.place(edge - segment[0]) for edge in (span.start, span.end - 1))
    return Mention(name, words, (first, last + 1))


def gold_links(
    document: Document, schema: Schema, owner: Mapping[str, int | None], coverage: Counter[str]
) -> list[tuple[int, str, str, int]]:
    """Segment, ids of head and tail, and rank of every link that an answer can hold; the others are counted by reason.

    `owner` is the segment of each mention that has words, None where it crosses the end of one.
    """
    found: dict[tuple[int, str, str, int], None] = {}
    for head, tail, rank in LinkLabels(schema).gold(document):
        at, other = owner.get(head.id), owner.get(tail.id)
        if rank is None:
            coverage["the schema does not allow it"] += 1
        elif head.id == tail.id:
            coverage["links a mention to itself"] += 1
        elif head.id not in owner or tail.id not in owner:
            coverage["no word in it"] += 1
        elif at is None or other is None:
            coverage["a mention crosses the end of a segment"] += 1
        elif at != other:
            coverage["no segment holds both"] += 1
        elif (at, head.id, tail.id, rank) in found:
            coverage["annotated twice"] += 1
        else:
            found[at, head.id, tail.id, rank] = None
    return list(found)


def expressible(
    answer: Answer, mentions: Sequence[Entity], exact: Sequence[bool], response: ResponseFormat, text: str, *, of_links: bool
) -> tuple[Answer, list[Entity], Counter[str]]:
    """The part of an answer that its syntax can express, its mentions, and why the rest, or what is not exact, is lost.

    Args:
        answer: Mentions and links of a segment.
        mentions: Where the answer's mentions stand, without white space about them.
        exact: Whether they stand so in the corpus, too.
        response: The syntax.
        text: The flat text of the segment.
        of_links: Count links, not mentions.
    """
    first: dict[Target, int] = {}
    for place in sorted(range(len(mentions)), key=lambda place: not exact[place]):  # of equal ones the exact one stands for all
        first.setdefault((mentions[place].type, mentions[place].span), place)
    twin = [first[entity.type, entity.span] for entity in mentions]
    different = [place for place, same in enumerate(twin) if place == same]
    reasons = response.inexpressible([answer.mentions[place] for place in different], text)
    lost = {different[place]: reason for place, reason in reasons.items()}
    kept = [place for place in different if place not in lost]
    moved = {old: new for new, old in enumerate(kept)}
    why: Counter[str] = Counter()
    if not of_links:
        for place, same in enumerate(twin):
            if same in lost:
                why[lost[same]] += 1
            elif not exact[place]:
                why[WHITE_SPACE] += 1
            elif same != place:
                why["annotated twice"] += 1
    links: dict[Link, bool] = {}
    """Whether one of those that are said so stands so in the corpus."""
    for link in answer.links:
        head, tail = twin[link.head], twin[link.tail]
        if head in lost or tail in lost:
            why[f"a mention cannot be expressed: {lost[head if head in lost else tail]}"] += 1
            continue
        if head == tail:  # two mentions of one type and place are one in an answer
            why["links a mention to itself"] += 1
            continue
        renumbered = Link(link.label, moved[head], moved[tail])
        stands = exact[link.head] and exact[link.tail]
        if not stands:
            why[f"a mention {WHITE_SPACE}"] += 1
        elif links.get(renumbered):
            why["annotated twice"] += 1
        links[renumbered] = stands or links.get(renumbered, False)
    return Answer(tuple(answer.mentions[place] for place in kept), tuple(links)), [mentions[place] for place in kept], why


def most_mentions(
    text: str, segments: Sequence[Fragment], flats: Sequence[NormalizedText], response: ResponseFormat
) -> Callable[[Sequence[Target]], int]:
    """How many of different mentions the answers about a text can hold exactly, at most."""

    def most(targets: Sequence[Target]) -> int:
        inside: dict[int, list[Mention]] = {}
        for name, span in targets:
            number = segment_of(span, segments)
            if number is not None and trimmed(span, text) == span:
                inside.setdefault(number, []).append(mention_of(text, name, span, segments[number], flats[number]))
        return sum(response.most_expressible(mentions, flats[number].text) for number, mentions in sorted(inside.items()))

    return most
