"""What the tests of response formats share: a question, drawn answers to it, and one answer in every format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from clinical_ie.prompts.answers import GAP, Answer, LabelNames, Link, Mention
from clinical_ie.prompts.responses import FORMATS
from clinical_ie.prompts.responses.response_format import ResponseFormat
from clinical_ie.prompts.word_pattern import GRAPHEME_WORD as WORD

VOCABULARY = LabelNames(("Drug", "Dose", "B-C", "Living status", "T1"), ("Dose", "Reason-Drug", "is a"))
ALONE = replace(VOCABULARY, labels=())
"""Where there are no links, mentions say no numbers."""
NAMES = tuple(FORMATS)
LINKING = tuple(name for name, kind in FORMATS.items() if kind.supports_links)
PIECES = [
    "aspirin", "ab", "B", "O", "é", "\U0001fac0", "日本", "\u0301", "\u200b", "\x00", "10", "5", "mg", "²", "٣", '"', "'", "<", ">", "&",
    "\\", "\\n", "/", ",", ":", ";", "|", ".", "...", "_", "-", "[", "]", "{", "}", "&lt;", "&amp;", "&", "<Drug>", "</Drug>", "< /T1 >",
    "<br>", ">Dose", "Drug:", "B-Drug", "null", "```", "{a|Drug}", "|Drug:1}", "\\{",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from([*PIECES, " ", " ", " "]), max_size=25).map(lambda parts: re.sub(r" +", " ", "".join(parts)))
TEXT = "takes aspirin 5 mg and heparin"
ANSWER = Answer(
    (Mention("Drug", "aspirin", (6, 13)), Mention("Dose", "5 mg", (14, 18)), Mention("Drug", "heparin", (23, 30))),
    (Link("Dose", 0, 1), Link("Reason-Drug", 2, 0)),
)
GOLDEN = {
    "lines": "Drug\taspirin\nDose\t5 mg\nDrug\theparin\n>Dose\t1 2\n>Reason-Drug\t3 1",
    "grouped": "Drug\t aspirin\t heparin\nDose\t 5 mg\n>Dose\t1 3\n>Reason-Drug\t2 1",
    "json": '{"mentions":[["Drug","aspirin"],["Dose","5 mg"],["Drug","heparin"]],"links":[["Dose",1,2],["Reason-Drug",3,1]]}',
    "inline": "takes {aspirin|Drug:1} {5 mg|Dose:2} and {heparin|Drug:3}\n>Dose\t1 2\n>Reason-Drug\t3 1",
    "markup": "takes <Drug>aspirin</Drug> <Dose>5 mg</Dose> and <Drug>heparin</Drug>\n>Dose\t1 2\n>Reason-Drug\t3 1",
    "bio": "takes\tO\naspirin\tB-Drug\n5\tB-Dose\nmg\tI-Dose\nand\tO\nheparin\tB-Drug",
}


def made(name: str) -> ResponseFormat:
    return FORMATS[name]()


def order(mention: Mention) -> tuple[int, int, int]:
    """Text order: start, then longest first, then the order of types."""
    assert mention.at is not None
    return mention.at[0], -mention.at[1], VOCABULARY.types.index(mention.type)


@st.composite
def answers(draw: st.DrawFn, whole_words: bool = False) -> tuple[str, Answer]:
    """A flat text and any answer: mentions adjacent, nested, crossing, discontinuous, of one span, linked in any way."""
    text = draw(TEXTS)
    edges = {0, len(text)}
    edges |= {edge for word in WORD.finditer(text) for edge in word.span()} if whole_words else set(range(len(text)))
    points = st.sampled_from(sorted(edges))
    mentions = []
    for _ in range(draw(st.integers(0, 6))):
        cuts = sorted(draw(st.sets(points, min_size=1, max_size=4)))
        fragments = [trimmed(text, start, end) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
        fragments = [(start, end) for start, end in fragments if start < end]
        if fragments:
            words = GAP.join(text[start:end] for start, end in fragments)
            mentions.append(Mention(draw(st.sampled_from(VOCABULARY.types)), words, (fragments[0][0], fragments[-1][1])))
    mentions.sort(key=order)
    if not mentions:
        return text, Answer(())
    place = st.integers(0, len(mentions) - 1)
    links = draw(st.lists(st.builds(Link, st.sampled_from(VOCABULARY.labels), place, place), max_size=6, unique=True))
    return text, Answer(tuple(mentions), tuple(links))


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def sayable(kind: ResponseFormat, answer: Answer, text: str) -> Answer:
    """An answer without what the syntax cannot express."""
    left_out = kind.inexpressible(answer.mentions, text)
    assert set(left_out) <= set(range(len(answer.mentions)))
    assert all(left_out.values())
    kept = [place for place in range(len(answer.mentions)) if place not in left_out]
    new = {place: rank for rank, place in enumerate(kept)}
    links = [Link(link.label, new[link.head], new[link.tail]) for link in answer.links if link.head in new and link.tail in new]
    return Answer(tuple(answer.mentions[place] for place in kept), tuple(links) if kind.supports_links else ())


def said(
    mentions: Sequence[Mention], links: Sequence[Link], order_: Sequence[int] | None = None
) -> tuple[list[tuple[str, str]], set[Link]]:
    """Types and words in an order, and links between places of that order."""
    if order_ is None:
        order_ = range(len(mentions))
    new = {place: rank for rank, place in enumerate(order_)}
    rows = [(mentions[place].type, mentions[place].text) for place in order_]
    return rows, {Link(link.label, new[link.head], new[link.tail]) for link in links}


def dense(text: str) -> str:
    return "".join(text.split())


def in_copy(text: str, mention: Mention) -> tuple[int, int]:
    """Where a mention stands among the characters that are not white space."""
    assert mention.at is not None
    return len(dense(text[: mention.at[0]])), len(dense(text[: mention.at[1]]))
