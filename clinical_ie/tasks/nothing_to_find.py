"""Corpora that a task has nothing to ask about."""

from __future__ import annotations

from typing import Any

from clinical_ie.schema import Schema
from clinical_ie.tasks.links import LinkLabels
from clinical_ie.tasks.task import Finds, Task

ASKS: dict[Finds, str] = {"entities": "finds mentions", "relations": "links mentions", "attributes": "finds attributes of mentions"}
"""What a task does, by what it finds."""
LEARNED: dict[Finds, str] = {
    "entities": "any text",
    "relations": "mentions that the schema lets be joined",
    "attributes": "mentions that may bear an attribute",
}
"""What documents must hold for a task to learn from them, by what it finds."""


def nothing_to_find(task: Task[Any], schema: Schema) -> str:
    """What a task finds and a schema declares none of; empty where there is something to find.

    A task that finds mentions and links at once has its mentions where there are no relations.
    """
    if not task.needs_mentions and not schema.entities:
        return "entities"
    if task.finds == "attributes" and not schema.attributes:
        return "attributes"
    if task.finds == "relations" and task.needs_mentions and not len(LinkLabels(schema)):
        return "relations"
    return ""
