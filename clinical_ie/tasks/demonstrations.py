"""Few-shot demonstrations: annotated documents that stand in a prompt before its text, of the corpus that the prompt is for."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from clinical_ie.document import Document
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.formats import jsonl
from clinical_ie.prompts.answers import Answer, Link, NormalizedText
from clinical_ie.prompts.prompt_template import Demonstration
from clinical_ie.prompts.responses import ResponseFormat
from clinical_ie.schema import Schema
from clinical_ie.tasks.attributes import self_links
from clinical_ie.tasks.gold_answers import expressible, in_text_order, mention_of, trimmed_mentions
from clinical_ie.tasks.instruction_variants import InstructionVariant
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.shot_demonstrations import ShotDemonstrations, ShotSegments
from clinical_ie.tasks.task import SubwordEncoder

_SETTING = "data.tasks.demonstrations"


class Demonstrations:
    """What is shown for which corpus: the documents of a file, or segments of its shots.

    Args:
        files: A JSON-lines file for the one corpus of a run, or corpus -> file; corpora without one are shown nothing.
        shots: How demonstrations are chosen from shots, for the corpora that have some.
    """

    def __init__(self, files: Mapping[str, str] | str | None = None, shots: ShotDemonstrations | None = None) -> None:
        if files and shots:
            raise SettingError(f"{_SETTING} names files, and shot_demonstrations shows shots; give one of them")
        self._files, self.shots = files, shots
        self._offered: dict[str, Sequence[Document]] = {}
        self._segments: dict[str, ShotSegments] = {}

    def __bool__(self) -> bool:
        return bool(self._files)

    def offer(self, corpus: str, documents: Sequence[Document]) -> None:
        """Name the shots of a corpus, from which demonstrations are chosen."""
        self._offered[corpus] = documents
        self._segments.pop(corpus, None)

    def chosen(
        self, corpus: str, document: str, text: str, encoder: SubwordEncoder, longest: int, draw: random.Random
    ) -> tuple[Document, ...]:
        """Segments of a corpus' shots to show before a text; none where no shots were offered.

        Args:
            corpus: The corpus of the prompt.
            document: The whole text of the document that is asked about; no part of it is shown.
            text: The part of it that is asked about.
            encoder: Counts sub-words.
            longest: Most sub-words of a segment.
            draw: Random numbers for a choice at random.
        """
        if self.shots is None or corpus not in self._offered:
            return ()
        if corpus not in self._segments:
            self._segments[corpus] = ShotSegments(self._offered[corpus], encoder, longest, draw)
        return self._segments[corpus].choose(self.shots, document, text)

    def of(self, corpus: str) -> str | None:
        """The file for a corpus."""
        return self._files if isinstance(self._files, str) or self._files is None else self._files.get(corpus)

    def check(self, schemas: Mapping[str, Schema], *, training: bool) -> None:
        """Make sure that each corpus is shown notes of its own: in those of another, what has other names there would not be marked.

        Args:
            schemas: Corpus -> schema of its files, with types that this run leaves out.
            training: Whether the corpora are all that there will be.

        Raises:
            SettingError: One file for several corpora, one for a corpus that is not there, or one with types of another corpus.
        """
        if isinstance(self._files, str) and len(schemas) > 1:
            files = ", ".join(f"{name}: FILE" for name in schemas)
            raise SettingError(f"{_SETTING} is one file for {len(schemas)} corpora; give one for each, {{{files}}}, or for some of them")
        for name in self._files if training and isinstance(self._files, Mapping) else ():
            if name not in schemas:
                known = f"{', '.join(schemas)}{did_you_mean(name, schemas)}"
                raise SettingError(f"{_SETTING} names corpus {name!r}; the corpora are {known}")
        for corpus, schema in schemas.items():
            file = self.of(corpus)
            shown = {entity.type for document in (jsonl.read(file) if file else ()) for entity in document.entities}
            if strange := sorted(shown - set(schema.entity_names)):
                raise SettingError(
                    f"{_SETTING}: {file} is shown for {corpus}, whose schema does not know {', '.join(strange[:5])}; give notes of {corpus}"
                )


def demonstration(document: Document, variant: InstructionVariant, schema: Schema, kind: str, response: ResponseFormat) -> Demonstration:
    """Text, given mentions and answer of an annotated document, in the words of an instruction variant."""
    whole = (0, len(document.text))
    flat = NormalizedText.of(document.text)
    mentions = in_text_order(trimmed_mentions(document.joined()), variant)
    places = {entity.id: place for place, entity in enumerate(mentions)}
    links = [
        Link(variant.label_names[rank], places[head.id], places[tail.id])
        for head, tail, rank in (self_links(document, schema) if kind == "attributes" else LinkLabels(schema).gold(document))
        if rank in variant.label_names and head.id in places and tail.id in places
    ]
    found = tuple(mention_of(document.text, variant.type_names[e.type], e.span, whole, flat) for e in mentions)
    answer = Answer(found, tuple(links))
    if kind not in ("relations", "attributes"):
        answer, mentions, _ = expressible(answer, mentions, [True] * len(mentions), response, flat.text, of_links=True)
    given = tuple((mention.type, mention.text) for mention in answer.mentions) if kind in ("relations", "attributes") else ()
    return document.text, given, written(answer, flat, variant, kind, response)


def written(answer: Answer, flat: NormalizedText, variant: InstructionVariant, kind: str, response: ResponseFormat) -> str:
    """The text of an answer: of links or attributes alone where mentions are given."""
    label_names = variant.spec.label_names
    if kind in ("relations", "attributes"):
        return response.render_links(answer.links, label_names, single=kind == "attributes")
    return response.render(answer, flat.text, label_names)
