"""Generative information extraction by instruction: prompts, gold responses for instruction tuning, completions grounded in the text.

A note is prompted segment by segment, cut at ends of sentences. All segments of a corpus have the same instruction, which is the shared
prefix of their prompts. Instruction augmentation in training (subsets, order and paraphrases of types, masked names) teaches a model
to follow definitions that it has not seen.

References: Wang et al., InstructUIE (2023); Sainz et al., GoLLIE (ICLR 2024).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from clinical_ie.document import Document, Entity, Fragment, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats import jsonl
from clinical_ie.prompts.answers import Answer, LabelNames, Link, NormalizedText, ParsedCompletion
from clinical_ie.prompts.grammar import Grammar, Syntax
from clinical_ie.prompts.grounding import Grounded, Status, counted, ground
from clinical_ie.prompts.prompt_template import InstructionSpec, PromptTemplate, render_instruction, render_text
from clinical_ie.prompts.responses import FORMATS
from clinical_ie.prompts.responses.markup import UNCLOSED
from clinical_ie.prompts.spelling import SpelledToken, confidence
from clinical_ie.schema import Schema
from clinical_ie.tasks.answer_coverage import count_gold
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.demonstrations import Demonstrations, demonstration, written
from clinical_ie.tasks.gold_answers import expressible, gold_links, in_text_order, mention_of, shifted, trimmed_mentions
from clinical_ie.tasks.instruction_variants import InstructionAugmentation, InstructionVariant, instruction_variant
from clinical_ie.tasks.links import LinkLabel, LinkLabels, linked
from clinical_ie.tasks.segments import segment_of, segments_of
from clinical_ie.tasks.shot_demonstrations import ShotDemonstrations
from clinical_ie.tasks.task import ChatEncoder, Example, Finds, Source, SubwordEncoder, Task

_MOST_VARIANTS = 512
"""Prompts that are kept: with demonstrations by similarity, nearly every text has another."""

ResponseName = Literal["lines", "grouped", "json", "inline", "markup", "bio"]


@dataclass(frozen=True, slots=True)
class Completion:
    """The text that a model generated.

    `truncated` where it was cut off at its token limit, `constrained` where a grammar masked its tokens, `backtracks` counts how often
    constrained decoding discarded a mention or link that it had begun. `tokens` are those that say something, with their probabilities.
    """

    text: str
    truncated: bool = False
    constrained: bool = False
    backtracks: int = 0
    tokens: tuple[SpelledToken, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class InstructionExample(Example):
    """A segment with its prompt and gold response.

    `prefix_ids` are those of the shared prefix, `input_ids` those of the prompt's suffix, `response` the gold response with its
    end token. `segment` are the offsets of its text, `given` the ids of mentions that the prompt numbers, `types` and `labels` the names
    in the prompt, in its order, each with the schema's. What follows is for `grammar`: its syntax, where the response has one, the text,
    the pairs of types (by rank) that each label may join, the types of the given mentions, and whether labels are said of single ones.
    """

    prefix_ids: tuple[int, ...]
    response: tuple[int, ...]
    segment: Fragment
    given: tuple[str, ...]
    types: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, int], ...]
    syntax: Syntax | None = None
    text: str = ""
    legal: tuple[tuple[str, frozenset[tuple[int, int]]], ...] = ()
    given_types: tuple[int, ...] | None = None
    single: bool = False

    common: ClassVar[tuple[str, ...]] = (*Example.common, "prefix_ids", "types", "labels", "legal")

    @property
    def grammar(self) -> Grammar | None:
        """The grammar of constrained decoding, where the syntax has one."""
        if self.syntax is None:
            return None
        return Grammar(self.syntax, self.text, tuple(name for name, _ in self.types), self.legal, self.given_types, self.single)

    @property
    def length(self) -> int:
        """Sub-words of prefix, suffix and response."""
        return len(self.prefix_ids) + len(self.input_ids) + len(self.response)

    @property
    def targets(self) -> int:
        """Tokens of the response."""
        return len(self.response)


class Instruction(Task[InstructionExample]):
    """The base of instruction tasks.

    Args:
        response: Syntax of responses.
        segment: Most sub-words of text in a prompt.
        window: Most positions of an example: prefix, suffix and response.
        prompt_template: Name of a prompt template, or a YAML file.
        definitions: Give the definitions of the schema, not names alone.
        arguments: Say which types each link may join. Constrained decoding keeps to them in any case, and in a schema of many types they
            are most of the prompt.
        augmentation: Instruction augmentation in training; None gives all types in declared order.
        demonstrations: A JSON-lines file of annotated documents as few-shot demonstrations; of several corpora, corpus -> file.
        shot_demonstrations: Few-shot demonstrations out of the shots of corpora that are held out.
        seed: Of all choices; by default the run's (``seed_everything``).
    """

    kind: ClassVar[Literal["entities", "relations", "joint", "attributes"]]

    def __init__(
        self,
        response: ResponseName = "inline",
        *,
        segment: int = 256,
        window: int = 2048,
        prompt_template: str = "unified",
        definitions: bool = True,
        arguments: bool = True,
        augmentation: InstructionAugmentation | None = None,
        demonstrations: dict[str, str] | str | None = None,
        shot_demonstrations: ShotDemonstrations | None = None,
        seed: int | None = None,
    ) -> None:
        self.response = FORMATS[response]()
        if self.kind != "entities" and not self.response.supports_links:
            raise SettingError(f"{response} has no links; take lines or grouped for {type(self).__name__}")
        if segment < 8 or window < segment:
            raise SettingError(f"segment {segment}, window {window}: expected at least 8, and a window that holds more than a segment")
        self.segment, self.window, self.seed = segment, window, seed
        self.prompt_template = PromptTemplate.load(prompt_template)
        self.definitions, self.arguments, self.augmentation = definitions, arguments, augmentation
        self.demonstrations = Demonstrations(demonstrations, shot_demonstrations)
        self._variants: dict[tuple[str, Schema, int, int, tuple[str, ...]], tuple[InstructionVariant, tuple[int, ...]]] = {}

    def examples(
        self, document: Document, source: Source, coverage: Coverage | None = None, *, training: bool = False
    ) -> list[InstructionExample]:
        """The segments of a document with their prompts and gold responses.

        Raises:
            SettingError: No decoder's tokenizer; or a prompt that leaves no room in the window, in training or for every text. Of other
                documents such a prompt is kept: the model may have more positions, and one long note is no reason to annotate none.
        """
        encoder = source.encoder
        if not isinstance(encoder, ChatEncoder):
            raise SettingError(f"{type(self).__name__} needs a decoder; give the -c model/NAME of one, such as model/llama31_8b")
        coverage = Coverage() if coverage is None else coverage
        coverage.of = self.counted
        document = document.joined()
        segments = segments_of(document.text, encoder, self.segment)
        flats = [NormalizedText.of(document.text[slice(*segment)]) for segment in segments]
        trimmed = trimmed_mentions(document)
        untouched = set(document.entities)
        owner = {entity.id: segment_of(entity, segments) for entity in trimmed}
        links = self._gold(document, source.schema, owner, coverage)
        mentions_in: dict[int | None, list[Entity]] = {}
        for entity in trimmed:
            mentions_in.setdefault(owner[entity.id], []).append(entity)
        links_in: dict[int, list[tuple[str, str, int]]] = {}
        for at, head, tail, rank in links:
            links_in.setdefault(at, []).append((head, tail, rank))
        found = []
        for number, (segment, flat) in enumerate(zip(segments, flats, strict=True)):
            text, draw = document.text[slice(*segment)], self.draw("demonstrations", source.corpus)
            shots = self.demonstrations.chosen(source.corpus, document.text, text, encoder, self.segment, draw)
            variant, prefix_ids = self._prompt_parts(source, encoder, f"{document.id}#{number}" if training else None, shots)
            mentions = in_text_order(mentions_in.get(number, []), variant)
            places = {entity.id: place for place, entity in enumerate(mentions)}
            answer = Answer(
                tuple(mention_of(document.text, variant.type_names[e.type], e.span, segment, flat) for e in mentions),
                tuple(Link(variant.label_names[rank], places[a], places[b]) for a, b, rank in links_in.get(number, [])
                      if rank in variant.label_names and a in places and b in places),
            )  # fmt: skip
            lost: Counter[str] = Counter()
            gold = len(mentions) if self.kind == "entities" else len(answer.links)
            if not self.needs_mentions:
                exact = [entity in untouched for entity in mentions]
                answer, mentions, lost = expressible(answer, mentions, exact, self.response, flat.text, of_links=self.kind != "entities")
            example = self._example(
                self.id_of(document, source, number), document, source, segment, flat, variant, prefix_ids, answer, mentions
            )
            if example.length > self.window:
                has_room = len(prefix_ids) + len(example.input_ids) < self.window
                if not has_room and (training or len(prefix_ids) >= self.window):
                    raise SettingError(
                        f"a prompt of {len(prefix_ids)} + {len(example.input_ids)} sub-words leaves no room for a response in a window of"
                        f" {self.window} ({document.id}, characters {segment[0]} to {segment[1]}); lower its segment or"
                        f" raise its window (data.task_args.{self.name})"
                    )
                lost[f"the {'answer' if has_room else 'prompt'} is longer than the window"] += gold - lost.total()
            coverage.unrepresentable.update(+lost)
            if example.length <= self.window or not training:
                found.append(example)
        if self.kind != "attributes":  # whose gold is counted with its classes
            count_gold(document, source.schema, segments, flats, owner, self.kind, self.response, coverage)
        return found

    def _gold(
        self, document: Document, schema: Schema, owner: Mapping[str, int | None], coverage: Coverage
    ) -> list[tuple[int, str, str, int]]:
        """Segment, ids of head and tail, and rank of the label of all that answers say of mentions."""
        return gold_links(document, schema, owner, coverage.unrepresentable) if self.kind != "entities" else []

    def _prompt_parts(
        self, source: Source, encoder: ChatEncoder, training: str | None, shots: tuple[Document, ...]
    ) -> tuple[InstructionVariant, tuple[int, ...]]:
        """The instruction variant of an example, and the ids of the shared prefix; a corpus has a few variants."""
        number = -1
        if training is not None and self.augmentation is not None:
            number = self.draw(source.corpus, training).randrange(self.augmentation.variants)
        key = source.corpus, source.schema, id(encoder), number, tuple(one.id for one in shots)
        if key not in self._variants:
            if len(self._variants) >= _MOST_VARIANTS:
                self._variants.clear()
            variant = self._variant(source.corpus, source.schema, number, shots)
            self._variants[key] = (
                variant,
                tuple(encoder.prompt_prefix(self.prompt_template.system, render_instruction(self.prompt_template, variant.spec))),
            )
        return self._variants[key]

    def _variant(self, corpus: str, schema: Schema, number: int = -1, shots: tuple[Document, ...] = ()) -> InstructionVariant:
        variant = instruction_variant(
            schema, self.kind, self.response, self.definitions, self.augmentation, number, self.seed or 0, self.arguments
        )
        file = self.demonstrations.of(corpus)
        shown = shots if file is None else jsonl.read(file)
        return variant.with_demonstrations(tuple(demonstration(one, variant, schema, self.kind, self.response) for one in shown))

    def spec(self, corpus: str, schema: Schema) -> InstructionSpec:
        """The instruction for a corpus outside training."""
        return self._variant(corpus, schema).spec

    def _example(
        self,
        name: str,
        document: Document,
        source: Source,
        segment: Fragment,
        flat: NormalizedText,
        variant: InstructionVariant,
        prefix_ids: tuple[int, ...],
        answer: Answer,
        mentions: Sequence[Entity],
    ) -> InstructionExample:
        encoder = source.encoder
        assert isinstance(encoder, ChatEncoder)
        given = [(mention.type, mention.text) for mention in answer.mentions] if self.needs_mentions else []
        text = document.text[slice(*segment)]
        grammar = variant.grammar(text, source.schema, mentions if self.needs_mentions else None)
        return InstructionExample(
            name,
            document.id,
            source.corpus,
            self.name,
            tuple(encoder.prompt_suffix(render_text(self.prompt_template, text, given), self.prompt_template.answer)),
            prefix_ids,
            tuple(encoder.response(written(answer, flat, variant, self.kind, self.response))),
            segment,
            tuple(entity.id for entity in mentions) if self.needs_mentions else (),
            tuple(zip((row.name for row in variant.spec.types), variant.types, strict=True)),
            tuple((name, rank) for rank, name in variant.label_names.items()),
            *(() if grammar is None else (grammar.response, text, grammar.labels, grammar.given, grammar.single)),
        )

    def gold_output(self, example: InstructionExample, encoder: SubwordEncoder) -> Completion:
        """The gold response in words, as if nothing had constrained it; an answer that its window cannot hold is none."""
        assert isinstance(encoder, ChatEncoder)
        if example.length > self.window:
            return Completion("", truncated=True)
        return Completion(encoder.decode(list(example.response)))

    def annotations(
        self,
        document: Document,
        examples: Sequence[InstructionExample],
        outputs: Mapping[str, Completion],
        schema: Schema,
        outcomes: Counter[str] | None = None,
    ) -> Document:
        """A document with the generated mentions and links that could be grounded in the text."""
        outcomes = Counter() if outcomes is None else outcomes
        spans: dict[tuple[str, Span], float | None] = {}
        links: list[tuple[tuple[str, Span] | str, tuple[str, Span] | str, int, float | None]] = []
        for example in examples:
            completion = outputs[example.id]
            parsed = self._parsed(completion, example)
            outcomes["completions"] += 1
            outcomes["completions truncated"] += completion.truncated
            if completion.constrained:
                outcomes["mentions and links backtracked"] += completion.backtracks + parsed.problems.pop(UNCLOSED, 0)
            outcomes.update(parsed.problems)
            ends: list[tuple[str, Span] | str | None]
            if self.needs_mentions:
                ends = list(example.given)
            else:
                grounded = self._grounded(document.text[slice(*example.segment)], parsed, completion.constrained)
                outcomes.update(counted(grounded))
                names = dict(example.types)
                ends = [
                    (names[mention.type], shifted(place.span, example.segment[0]).joined(document.text)) if place.span is not None else None
                    for mention, place in zip(parsed.mentions, grounded, strict=True)
                ]
                for mention, end in zip(parsed.mentions, ends, strict=True):
                    if isinstance(end, tuple):
                        spans[end] = _surer(confidence(mention.spelled, completion.tokens), spans.get(end))
            ranks = dict(example.labels)
            for link in parsed.links:
                head, tail = ends[link.head], ends[link.tail]
                if head is None or tail is None:
                    outcomes["links to an ungrounded mention"] += 1
                else:
                    links.append((head, tail, ranks[link.label], confidence(link.spelled, completion.tokens)))
        outcomes += Counter()
        if not self.needs_mentions:
            ordered = sorted(spans, key=lambda mention: (mention[1].start, -mention[1].end, mention[0]))
            entities = tuple(Entity(f"T{rank}", kind, span, spans[kind, span]) for rank, (kind, span) in enumerate(ordered, 1))
            document = Document(document.id, document.text, entities)
            if self.kind == "entities":
                return document
        return self._linked(document, links, schema, outcomes)

    def _parsed(self, completion: Completion, example: InstructionExample) -> ParsedCompletion:
        text = completion.text
        label_names = LabelNames(tuple(name for name, _ in example.types), tuple(name for name, _ in example.labels))
        if completion.truncated and (separators := self.response.separators):
            text = text[: max(text.rfind(separator) for separator in separators) + 1]
        if self.needs_mentions:
            return self.response.parse_links(text, label_names, len(example.given), single=self.kind == "attributes")
        return self.response.parse(text, label_names)

    def _grounded(self, text: str, parsed: ParsedCompletion, constrained: bool) -> list[Grounded]:
        """The spans of mentions; their own where the completion copies the text, by grounding elsewhere."""
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
        links: Sequence[tuple[tuple[str, Span] | str, tuple[str, Span] | str, int, float | None]],
        schema: Schema,
        outcomes: Counter[str],
    ) -> Document:
        labels = LinkLabels(schema)
        by_id = {entity.id: entity for entity in document.entities}
        ids = {(entity.type, entity.span): entity.id for entity in document.entities}
        found: dict[tuple[str, str, LinkLabel], float | None] = {}
        for one, other, rank, sure in links:
            head, tail = (end if isinstance(end, str) else ids[end] for end in (one, other))
            if head == tail or rank not in labels.legal(by_id[head].type, by_id[tail].type):
                outcomes["links that the schema does not allow"] += 1
            else:
                key = head, tail, labels.labels[rank]
                found[key] = _surer(sure, found.get(key))
        return linked(document, [(head, tail, label, 0.0, sure) for (head, tail, label), sure in found.items()], schema)


def _surer(one: float | None, other: float | None) -> float | None:
    """The higher of two confidences of what was said twice."""
    return other if one is None else one if other is None else max(one, other)


class EntityInstruction(Instruction):
    """Named entity recognition: mentions of all types in one response."""

    name: ClassVar[str] = "entity_instruction"
    kind: ClassVar[Literal["entities", "relations", "joint", "attributes"]] = "entities"


class RelationInstruction(Instruction):
    """Relation extraction: links between mentions that the prompt numbers; roles of events and their values are links."""

    name: ClassVar[str] = "relation_instruction"
    kind: ClassVar[Literal["entities", "relations", "joint", "attributes"]] = "relations"
    finds: ClassVar[Finds] = "relations"
    needs_mentions: ClassVar[bool] = True


class JointInstruction(Instruction):
    """Joint extraction: mentions and links in one response; relations, or events with arguments and values."""

    name: ClassVar[str] = "joint_instruction"
    kind: ClassVar[Literal["entities", "relations", "joint", "attributes"]] = "joint"
    finds: ClassVar[Finds] = "relations"
