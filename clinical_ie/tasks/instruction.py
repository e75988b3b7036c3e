"""Extraction by instruction: a question in words, an answer in words, grounded in the text.

A note is asked segment by segment, cut at ends of sentences. Every segment of a corpus is asked in the same words, so what comes before
the text is shared. While training, variants of the instruction may ask for some types only, in another order, with other words,
or under names that mean nothing, so that a model learns to follow definitions that it has not seen.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from clinical_ie.document import Document, Entity, Fragment, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats import jsonl
from clinical_ie.prompts.answers import Answer, Flat, Link, Parsed, Vocabulary
from clinical_ie.prompts.grammar import Grammar
from clinical_ie.prompts.grounding import Grounded, Status, counted, ground
from clinical_ie.prompts.responses import FORMATS
from clinical_ie.prompts.responses.markup import UNCLOSED
from clinical_ie.prompts.template import Question, Wording, asked, instruction
from clinical_ie.schema import Schema
from clinical_ie.tasks.coverage import Coverage, Target, count_links, count_mentions
from clinical_ie.tasks.gold_answers import expressible, gold_links, in_text_order, mention_of, most_mentions, trimmed_mentions
from clinical_ie.tasks.links import LinkLabel, LinkLabels, linked
from clinical_ie.tasks.questions import Asked, Variation, question_of
from clinical_ie.tasks.segments import segment_of, segments_of
from clinical_ie.tasks.task import ChatEncoder, Example, Source, Task

ResponseName = Literal["lines", "grouped", "json", "inline", "markup", "bio"]


@dataclass(frozen=True, slots=True)
class Completion:
    """The text that a model generated.

    `truncated` where it was cut off at its token limit, `constrained` where a grammar masked its tokens, `backtracks` counts how often
    constrained decoding discarded a mention or link that it had begun.
    """

    text: str
    truncated: bool = False
    constrained: bool = False
    backtracks: int = 0


@dataclass(frozen=True, slots=True)
class InstructionExample(Example):
    """A segment with its question and response.

    `prefix_ids` are those of the shared prefix, `input_ids` those of the segment up to the answer, `response` the gold
    answer with its end. `segment` are the characters of the text, `given` the ids of mentions that the question numbers, `types`
    and `labels` the names that the answer uses, in the order of the question, each with what it stands for. `grammar` is what an
    answer can say without being wrong, where its syntax allows for one.
    """

    prefix_ids: tuple[int, ...]
    response: tuple[int, ...]
    segment: Fragment
    given: tuple[str, ...]
    types: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, int], ...]
    grammar: Grammar | None

    @property
    def length(self) -> int:
        """Sub-words of prefix, suffix and response."""
        return len(self.prefix_ids) + len(self.input_ids) + len(self.response)


class Instruction(Task[InstructionExample]):
    """What all instructions share.

    Args:
        response: Syntax of the answer.
        segment: Most sub-words of text in a question.
        window: Most positions of an example: instruction, question and response.
        wording: Name of a wording, or a YAML file.
        definitions: Give the definitions of the schema, not names alone.
        variation: How instructions differ while training; None asks for all types in declared order.
        demonstrations: A JSON-lines file of annotated documents to be shown before the text.
        seed: Of all choices.
    """

    kind: ClassVar[Literal["entities", "relations", "joint"]]

    def __init__(
        self,
        response: ResponseName = "inline",
        *,
        segment: int = 256,
        window: int = 2048,
        wording: str = "unified",
        definitions: bool = True,
        variation: Variation | None = None,
        demonstrations: str | None = None,
        seed: int = 0,
    ) -> None:
        self.response = FORMATS[response]()
        if self.kind != "entities" and not self.response.says_links:
            raise SettingError(f"{response} cannot say links; take lines or grouped for {type(self).__name__}")
        if segment < 8 or window < segment:
            raise SettingError(f"segment {segment}, window {window}: expected at least 8, and a window that holds more than a segment")
        self.segment, self.window, self.seed = segment, window, seed
        self.wording = Wording.load(wording)
        self.definitions, self.variation, self.demonstrations = definitions, variation, demonstrations
        self._asked: dict[tuple[Schema, int, int], tuple[Asked, tuple[int, ...]]] = {}

    def examples(
        self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False
    ) -> list[InstructionExample]:
        """The segments of a document with their questions and gold answers."""
        encoder = source.encoder
        if not isinstance(encoder, ChatEncoder):
            raise SettingError(f"{type(self).__name__} needs a decoder; give a configs/model file of a generator")
        coverage = Coverage() if coverage is None else coverage
        coverage.of = "mentions" if self.kind == "entities" else "links"
        document = document.joined()
        segments = segments_of(document.text, encoder, self.segment)
        flats = [Flat.of(document.text[slice(*segment)]) for segment in segments]
        trimmed = trimmed_mentions(document)
        untouched = set(document.entities)
        owner = {entity.id: segment_of(entity, segments) for entity in trimmed}
        links = gold_links(document, source.schema, owner, coverage.unrepresentable) if self.kind != "entities" else []
        found = []
        for number, (segment, flat) in enumerate(zip(segments, flats, strict=True)):
            what, prefix_ids = self._question(source, encoder, f"{document.id}#{number}" if training else None)
            mentions = in_text_order([e for e in trimmed if owner[e.id] == number], what)
            places = {entity.id: place for place, entity in enumerate(mentions)}
            answer = Answer(
                tuple(mention_of(document.text, what.type_names[e.type], e.span, segment, flat) for e in mentions),
                tuple(Link(what.label_names[rank], places[a], places[b]) for at, a, b, rank in links
                      if at == number and rank in what.label_names and a in places and b in places),
            )  # fmt: skip
            lost: Counter[str] = Counter()
            gold = len(mentions) if self.kind == "entities" else len(answer.links)
            if self.kind != "relations":
                exact = [entity in untouched for entity in mentions]
                answer, mentions, lost = expressible(answer, mentions, exact, self.response, flat.text, of_links=self.kind != "entities")
            example = self._example(
                f"{source.corpus}/{document.id}#{number}", document, source, segment, flat, what, prefix_ids, answer, mentions
            )
            if example.length > self.window:
                if len(prefix_ids) + len(example.input_ids) >= self.window:
                    raise SettingError(
                        f"a question of {len(prefix_ids)} + {len(example.input_ids)} sub-words leaves no room for an answer in a window of"
                        f" {self.window} ({document.id}, characters {segment[0]} to {segment[1]}); lower data.task.segment or raise window"
                    )
                lost["the answer is longer than the window"] += gold - lost.total()
            coverage.unrepresentable.update(+lost)
            if example.length <= self.window or not training:
                found.append(example)
        self._count(document, source.schema, segments, flats, owner, coverage)
        return found

    def _question(self, source: Source, encoder: ChatEncoder, training: str | None) -> tuple[Asked, tuple[int, ...]]:
        """What is asked, and the ids of the shared part; the same few variants for all examples of a corpus."""
        variant = -1
        if training is not None and self.variation is not None:
            variant = random.Random(f"{self.seed}/{source.corpus}/{training}").randrange(self.variation.variants)
        key = source.schema, id(encoder), variant
        if key not in self._asked:
            what = self._asked_of(source.schema, variant)
            self._asked[key] = what, tuple(encoder.prompt_prefix(self.wording.system, instruction(self.wording, what.question)))
        return self._asked[key]

    def _asked_of(self, schema: Schema, variant: int = -1) -> Asked:
        what = question_of(schema, self.kind, self.response, self.definitions, self.variation, variant, self.seed)
        return what if self.demonstrations is None else self._demonstrated(what, schema)

    def question(self, schema: Schema) -> Question:
        """What is asked of every text of a corpus with this schema outside training."""
        return self._asked_of(schema).question

    def _demonstrated(self, what: Asked, schema: Schema) -> Asked:
        """The same question with examples of texts and answers."""
        shown = []
        for document in jsonl.read(str(self.demonstrations)):
            whole = (0, len(document.text))
            flat = Flat.of(document.text)
            mentions = in_text_order(trimmed_mentions(document.joined()), what)
            places = {entity.id: place for place, entity in enumerate(mentions)}
            links = [
                Link(what.label_names[rank], places[head.id], places[tail.id])
                for head, tail, rank in LinkLabels(schema).gold(document)
                if rank in what.label_names and head.id in places and tail.id in places
            ]
            found = tuple(mention_of(document.text, what.type_names[e.type], e.span, whole, flat) for e in mentions)
            answer = Answer(found, tuple(links))
            if self.kind != "relations":
                answer, mentions, _ = expressible(answer, mentions, [True] * len(mentions), self.response, flat.text, of_links=True)
            given = tuple((mention.type, mention.text) for mention in answer.mentions) if self.kind == "relations" else ()
            shown.append((document.text, given, self._written(answer, flat, what)))
        return what.with_demonstrations(tuple(shown))

    def _written(self, answer: Answer, flat: Flat, what: Asked) -> str:
        vocabulary = what.question.vocabulary
        if self.kind == "relations":
            return self.response.render_links(answer.links, vocabulary)
        return self.response.render(answer, flat.text, vocabulary)

    def _example(
        self,
        name: str,
        document: Document,
        source: Source,
        segment: Fragment,
        flat: Flat,
        what: Asked,
        prefix_ids: tuple[int, ...],
        answer: Answer,
        mentions: Sequence[Entity],
    ) -> InstructionExample:
        encoder = source.encoder
        assert isinstance(encoder, ChatEncoder)
        given = [(mention.type, mention.text) for mention in answer.mentions] if self.kind == "relations" else []
        return InstructionExample(
            name,
            document.id,
            source.corpus,
            tuple(encoder.prompt_suffix(asked(self.wording, document.text[slice(*segment)], given), self.wording.answer)),
            prefix_ids,
            tuple(encoder.response(self._written(answer, flat, what))),
            segment,
            tuple(entity.id for entity in mentions) if self.kind == "relations" else (),
            tuple(zip((row.name for row in what.question.types), what.types, strict=True)),
            tuple((name, rank) for rank, name in what.label_names.items()),
            what.grammar(document.text[slice(*segment)], source.schema, mentions if self.kind == "relations" else None),
        )

    def _count(
        self,
        document: Document,
        schema: Schema,
        segments: Sequence[Fragment],
        flats: Sequence[Flat],
        owner: Mapping[str, int | None],
        coverage: Coverage,
    ) -> None:
        """Count gold annotations, mentions that no segment holds, and what answers can hold at most."""
        most = most_mentions(document.text, segments, flats, self.response)
        if self.kind == "entities":
            mentions = [entity for entity in document.entities if entity.type in schema.entity_names]
            coverage.gold += len(mentions)
            for entity in mentions:
                if owner.get(entity.id) is None:
                    coverage.unrepresentable["crosses the end of a segment" if entity.id in owner else "no word in it"] += 1
            count_mentions(coverage, mentions, most)
            return
        labels = LinkLabels(schema)
        said: dict[Target, bool] = {}

        def possible(head: Entity, tail: Entity, name: str) -> bool:
            if head.id == tail.id or not labels.allows(name, head.type, tail.type):
                return False
            if owner.get(head.id) is None or owner.get(head.id) != owner.get(tail.id):
                return False
            for entity in (head, tail) if self.kind == "joint" else ():
                key = entity.type, entity.span
                if key not in said:
                    said[key] = most([key]) == 1
                if not said[key]:
                    return False
            return True

        coverage.gold += sum(1 for _ in document.links())
        count_links(coverage, document, possible)

    def annotations(
        self,
        document: Document,
        examples: Sequence[InstructionExample],
        outputs: Mapping[str, Completion],
        schema: Schema,
        outcomes: Counter[str] | None = None,
    ) -> Document:
        """A document with the mentions and links that were said and could be found in the text."""
        outcomes = Counter() if outcomes is None else outcomes
        labels = LinkLabels(schema)
        spans: dict[tuple[str, Span], None] = {}
        links: list[tuple[tuple[str, Span] | str, tuple[str, Span] | str, int]] = []
        for example in examples:
            completion = outputs[example.id]
            parsed = self._parsed(completion, example)
            outcomes["completions"] += 1
            outcomes["completions truncated"] += completion.truncated
            if completion.constrained:
                outcomes["mentions and links backtracked"] += completion.backtracks + parsed.problems.pop(UNCLOSED, 0)
            outcomes.update(parsed.problems)
            ends: list[tuple[str, Span] | str | None]
            if self.kind == "relations":
                ends = list(example.given)
            else:
                grounded = self._grounded(document.text[slice(*example.segment)], parsed, completion.constrained)
                outcomes.update(counted(grounded))
                names = dict(example.types)
                ends = [
                    (names[mention.type], _shifted(place.span, example.segment[0]).joined(document.text))
                    if place.span is not None
                    else None
                    for mention, place in zip(parsed.mentions, grounded, strict=True)
                ]
                spans.update(dict.fromkeys(end for end in ends if isinstance(end, tuple)))
            ranks = dict(example.labels)
            for link in parsed.links:
                head, tail = ends[link.head], ends[link.tail]
                if head is None or tail is None:
                    outcomes["links to a mention that is not in the text"] += 1
                else:
                    links.append((head, tail, ranks[link.label]))
        outcomes += Counter()
        if self.kind != "relations":
            ordered = sorted(spans, key=lambda mention: (mention[1].start, -mention[1].end, mention[0]))
            entities = tuple(Entity(f"T{rank}", kind, span) for rank, (kind, span) in enumerate(ordered, 1))
            document = Document(document.id, document.text, entities)
            if self.kind == "entities":
                return document
        return self._linked(document, links, labels, schema, outcomes)

    def _parsed(self, completion: Completion, example: InstructionExample) -> Parsed:
        text = completion.text
        vocabulary = Vocabulary(tuple(name for name, _ in example.types), tuple(name for name, _ in example.labels))
        if completion.truncated and (separators := self.response.separators):
            text = text[: max(text.rfind(separator) for separator in separators) + 1]
        if self.kind == "relations":
            return self.response.parse_links(text, vocabulary, len(example.given))
        return self.response.parse(text, vocabulary)

    def _grounded(self, text: str, parsed: Parsed, constrained: bool) -> list[Grounded]:
        """Where mentions stand; to the letter where the completion repeats the text as it is, as far as it comes."""
        if parsed.copied is not None and "".join(text.split()).startswith(parsed.copied):
            dense = [place for place, character in enumerate(text) if not character.isspace()]
            at = [mention.at or (0, 1) for mention in parsed.mentions]
            status: Status = "constrained" if constrained else "exact"
            return [Grounded(Span.of(dense[start], dense[end - 1] + 1), status) for start, end in at]
        found = ground(text, [(mention.type, mention.text) for mention in parsed.mentions], literal=constrained)
        return [Grounded(place.span, "constrained") if constrained and place.span is not None else place for place in found]

    def _linked(
        self,
        document: Document,
        links: Sequence[tuple[tuple[str, Span] | str, tuple[str, Span] | str, int]],
        labels: LinkLabels,
        schema: Schema,
        outcomes: Counter[str],
    ) -> Document:
        by_id = {entity.id: entity for entity in document.entities}
        ids = {(entity.type, entity.span): entity.id for entity in document.entities}
        found: dict[tuple[str, str, LinkLabel], None] = {}
        for one, other, rank in links:
            head, tail = (end if isinstance(end, str) else ids[end] for end in (one, other))
            if head == tail or rank not in labels.legal(by_id[head].type, by_id[tail].type):
                outcomes["links that the schema does not allow"] += 1
            else:
                found[head, tail, labels.labels[rank]] = None
        return linked(document, [(head, tail, label, 0.0) for head, tail, label in found], schema)


class EntityInstruction(Instruction):
    """Mentions of all types in one answer."""

    kind: ClassVar[Literal["entities", "relations", "joint"]] = "entities"


class RelationInstruction(Instruction):
    """Links between mentions that the question numbers; roles of events and their values are links."""

    kind: ClassVar[Literal["entities", "relations", "joint"]] = "relations"
    finds: ClassVar[Literal["entities", "relations"]] = "relations"
    needs_mentions: ClassVar[bool] = True


class JointInstruction(Instruction):
    """Mentions and the links between them in one answer: relations, or events with arguments and values."""

    kind: ClassVar[Literal["entities", "relations", "joint"]] = "joint"
    finds: ClassVar[Literal["entities", "relations"]] = "relations"


def _shifted(span: Span, by: int) -> Span:
    return Span(tuple((start + by, end + by) for start, end in span.fragments))
