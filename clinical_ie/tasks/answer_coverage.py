"""What of a document's annotations the answers to its segments can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clinical_ie.document import Document, Entity, Fragment
from clinical_ie.prompts.answers import NormalizedText
from clinical_ie.prompts.responses import ResponseFormat
from clinical_ie.schema import Schema
from clinical_ie.tasks.coverage import Coverage, Target, count_links, count_mentions
from clinical_ie.tasks.gold_answers import most_mentions
from clinical_ie.tasks.links import LinkLabels


def count_gold(
    document: Document,
    schema: Schema,
    segments: Sequence[Fragment],
    flats: Sequence[NormalizedText],
    owner: Mapping[str, int | None],
    kind: str,
    response: ResponseFormat,
    coverage: Coverage,
) -> None:
    """Count gold annotations, mentions that no segment holds, and what answers can hold at most.

    Args:
        document: Joined.
        schema: Declares what is asked for.
        segments: Their offsets.
        flats: Their texts.
        owner: Mention with words in it -> the segment that holds it, None where none does.
        kind: What is asked for: entities, relations or joint.
        response: The syntax of answers.
        coverage: Where to.
    """
    most = most_mentions(document.text, segments, flats, response)
    if kind == "entities":
        mentions = [entity for entity in document.entities if entity.type in schema.entity_names]
        coverage.gold += len(mentions)
        for entity in mentions:
            if owner.get(entity.id) is None:
                coverage.unrepresentable["crosses the end of a segment" if entity.id in owner else "no word in it"] += 1
        count_mentions(coverage, mentions, most)
        return
    labels = LinkLabels(schema)
    expressed: dict[Target, bool] = {}

    def possible(head: Entity, tail: Entity, name: str) -> bool:
        if head.id == tail.id or not labels.allows(name, head.type, tail.type):
            return False
        if owner.get(head.id) is None or owner.get(head.id) != owner.get(tail.id):
            return False
        for entity in (head, tail) if kind == "joint" else ():
            key = entity.type, entity.span
            if key not in expressed:
                expressed[key] = most([key]) == 1
            if not expressed[key]:
                return False
        return True

    coverage.gold += sum(1 for _ in document.links())
    count_links(coverage, document, possible)
