"""Tasks to documents: what annotators made of them, or the prediction where nobody looked at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from clinical_ie.document import Attribute, Document, Entity, Event, Fragment, Relation, Span, overlaps_joined
from clinical_ie.errors import shown
from clinical_ie.fields import Fields, MalformedDataError, probability
from clinical_ie.formats.brat.offsets import CHARACTERS, Positions
from clinical_ie.formats.doccano import unknown_keys
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.label_studio.labeling import ATTRIBUTE, CONTINUED, EVENT, FLAG, TEXT, argument_label
from clinical_ie.formats.label_studio.rendering import DOCUMENT_ID, numbered

_OTHER_OFFSETS = (
    "versions of Label Studio before 1.6 count UTF-16 units (--offsets utf-16);"
    " a text with other line ends or blanks than the note has other offsets"
)


def parse(
    task: object,
    findings: Findings,
    path: Path | str = "",
    *,
    fallback: str = "task",
    predictions: bool = True,
    offsets: str = CHARACTERS,
) -> Document | None:
    """The document of a task.

    Of several annotations the one that is marked as ground truth is taken, else the one that was changed last; the others are counted.

    Args:
        task: As Label Studio's JSON export has it.
        findings: Collects what is wrong or left out.
        path: Of the file, for messages.
        fallback: The document's id where the task says none.
        predictions: Whether the prediction stands in for an annotation that isn't there.
        offsets: What offsets count: ``characters``, or ``utf-16`` code units.

    Returns:
        The document; None where the task was skipped or, without predictions, not annotated.

    Raises:
        MalformedDataError: It is no task.
        DocumentError: Its annotations contradict its text.
        FileFormatError: Something in it is broken, in strict mode.
    """
    fields = Fields(task)
    if "data" not in fields:
        remedy = "export as JSON, not as JSON-MIN" if TEXT in fields else unknown_keys(fields, ())
        raise MalformedDataError("", "'data' is missing", expected="a task of Label Studio: {data, annotations}", remedy=remedy)
    data = Fields(fields.get("data"), "data")
    name = _document_id(data, fields, fallback)
    text = _text(data)
    chosen = _chosen(fields, findings, path, name)
    if chosen is None and annotated(fields):
        findings.warning(path, 0, "skipped-task", f"document {shown(name)}: the annotators skipped the task: not read")
        return None
    if chosen is None:
        if not predictions:
            findings.warning(path, 0, "task-without-annotation", f"document {shown(name)}: nobody annotated the task: not read")
            return None
        findings.warning(path, 0, "prediction-read", f"document {shown(name)}: nobody annotated the task; its prediction is read")
        chosen = next(fields.mappings("predictions"), Fields({"result": []}))
        return _Results(name, text, findings, path, offsets, scored=True).document(chosen)
    return _Results(name, text, findings, path, offsets).document(chosen)


def annotated(task: Fields) -> bool:
    """Whether annotators had the task, even if they skipped it."""
    return bool(task.data.get("annotations") or task.data.get("completions"))


def _document_id(data: Fields, task: Fields, fallback: str) -> str:
    for fields, key in ((data, DOCUMENT_ID), (data, "id"), (task, "id")):
        value = fields.data.get(key)
        if (type(value) is str and value) or type(value) is int:
            return str(value)
    return fallback


def _text(data: Fields) -> str:
    if TEXT in data:
        return data.string(TEXT)
    texts = [key for key, value in data.data.items() if type(value) is str and key not in (DOCUMENT_ID, "id")]
    if len(texts) != 1:
        raise MalformedDataError("data", f"no field {TEXT!r} and {len(texts)} others with texts", expected=f"the note as {TEXT!r}")
    return data.string(texts[0])


def _chosen(task: Fields, findings: Findings, path: Path | str, name: str) -> Fields | None:
    key = "annotations" if "annotations" in task else "completions"  # its name before version 1.0
    found = [one for one in task.mappings(key) if not one.flag_or("was_cancelled", False)]
    if len(found) > 1:
        message = f"document {shown(name)}: {len(found)} annotations, of which the ground truth or else the latest is read"
        findings.warning(path, 0, "several-annotations", message)
    return max(found, key=lambda one: (one.data.get("ground_truth") is True, str(one.data.get("updated_at", ""))), default=None)


class _Results:
    """Regions and relations of one annotation."""

    def __init__(self, name: str, text: str, findings: Findings, path: Path | str, offsets: str, *, scored: bool = False) -> None:
        self.name, self.text, self.findings, self.path, self.scored = name, text, findings, path, scored
        self.positions = Positions(text, offsets)
        self.regions: dict[str, tuple[Fragment, list[str]]] = {}
        self.links: list[tuple[str, str, str]] = []
        self.choices: list[tuple[str, str, str]] = []
        self.scores: dict[str, float] = {}

    def document(self, annotation: Fields) -> Document:
        """The document that they make."""
        for result in annotation.mappings("result"):
            try:
                self._result(result)
            except MalformedDataError as error:
                problem = f"document {shown(self.name)}: {error.found}"
                self.findings.error(self.path, 0, "malformed-record", problem, expected=error.expected, remedy=error.remedy)
        entities, mention = self._entities()
        taken = {entity.id for entity in entities}
        events: dict[str, tuple[str, str, list[tuple[str, str]]]] = {}
        for region, control, value in self._known(self.choices, mention):
            if control == EVENT and events.setdefault(mention[region], (_fresh("E", taken), value, []))[1] != value:
                self._lost("several-events", f"region {shown(region)} has two events; the first is read")
        node = {region: events[entity][0] if entity in events else entity for region, entity in mention.items()}
        attributes = tuple(
            Attribute(_fresh("A", taken), control.removeprefix(ATTRIBUTE), node[region], None if value == FLAG else value)
            for region, control, value in self._known(self.choices, mention)
            if control != EVENT
        )
        relations = []
        times: Counter[tuple[str, str]] = Counter()
        for head, tail, label in self.links:
            if label == CONTINUED:
                continue
            if head not in node or tail not in node:
                self._lost("unknown-target", f"a relation between regions {shown(head)} and {shown(tail)}, one of which is no mention")
                continue
            _, kind, arguments = events.get(mention[head], ("", "", []))
            if kind and label.startswith(opening := argument_label(kind, "")):
                role = label.removeprefix(opening)
                times[head, role] += 1
                arguments.append((numbered(role, times[head, role]), node[tail]))
            else:
                relations.append(Relation(_fresh("R", taken), label, node[head], node[tail]))
        found = tuple(Event(name, kind, trigger, tuple(arguments)) for trigger, (name, kind, arguments) in events.items())
        return Document(self.name, self.text, tuple(entities), tuple(relations), found, attributes)

    def _result(self, result: Fields) -> None:
        kind = result.string("type")
        if kind == "relation":
            head, tail = result.string("from_id"), result.string("to_id")
            if result.data.get("direction") == "left":
                head, tail = tail, head
            labels = result.strings("labels") if result.data.get("labels") else []
            if not labels:
                self._lost("relation-without-label", f"the relation from region {shown(head)} to {shown(tail)} has no label")
            self.links += [(head, tail, label) for label in labels]
        elif kind == "labels":
            self._region(result)
        elif kind in ("choices", "textarea"):
            value = Fields(result.get("value"), result.at("value"))
            if "choices" in value or kind == "textarea":
                region, control = result.string("id"), result.string("from_name")
                self.choices += [(region, control, one) for one in value.strings("choices" if kind == "choices" else "text")]
        elif kind == "hypertextlabels":
            remedy = "show the notes with the tag Text, not HyperText"
            raise MalformedDataError(result.at("type"), "a region of HTML, whose offsets are not those of the note", remedy=remedy)
        else:
            self.findings.warning(self.path, 0, "result-not-kept", f"document {shown(self.name)}: a result of another kind is not kept")

    def _region(self, result: Fields) -> None:
        name = result.string("id", empty=False)
        value = Fields(result.get("value"), result.at("value"))
        given = (value.integer("start"), value.integer("end"))
        fragments = self.positions.fragments([given])
        if not fragments:
            problem = f"{given[0]}-{given[1]} is empty or leaves the text of {len(self.text)} characters"
            raise MalformedDataError(value.place, problem, expected="0 <= start < end <= length of the text", remedy=_OTHER_OFFSETS)
        (start, end) = fragments[0]
        witness = value.data.get("text")
        if type(witness) is str and _plain(witness) != _plain(self.text[start:end]):
            message = f"document {shown(self.name)}: the region's copy of its text differs from the text at {start}-{end}, which wins"
            self.findings.warning(self.path, 0, "covered-text-differs", message, remedy=_OTHER_OFFSETS)
        if self.scored and (score := result.data.get("score")) is not None:
            self.scores[name] = probability(score, result.at("score"))
        _, labels = self.regions.setdefault(name, ((start, end), []))
        labels += value.strings("labels")

    def _entities(self) -> tuple[list[Entity], dict[str, str]]:
        """Mentions, and which of them each region belongs to."""
        first = {name: name for name in self.regions}
        tails = set()
        for head, tail, label in self.links:
            if label == CONTINUED and head in first and tail in first:
                tails.add(tail)
                old, new = _root(first, tail), _root(first, head)
                first[old] = new
        groups: dict[str, list[str]] = {}
        for name in self.regions:
            groups.setdefault(_root(first, name), []).append(name)
        entities: list[Entity] = []
        mention: dict[str, str] = {}
        taken = set(self.regions)
        for names in groups.values():
            leader = next((name for name in names if name not in tails), names[0])
            labels = self.regions[leader][1]
            if not labels:
                self._lost("region-without-label", f"region {shown(leader)} has no label")
                continue
            if any(self.regions[name][1] != labels for name in names):
                message = f"document {shown(self.name)}: fragments of region {shown(leader)} have other labels; its own are read"
                self.findings.warning(self.path, 0, "fragment-with-other-label", message)
            span = Span(self._in_order([self.regions[name][0] for name in names], leader))
            for rank, label in enumerate(labels):
                entities.append(Entity(leader if not rank else _fresh(f"{leader}_", taken), label, span, self.scores.get(leader)))
            mention.update(dict.fromkeys(names, leader))
        order = {name: rank for rank, name in enumerate(self.regions)}
        return sorted(entities, key=lambda entity: order.get(entity.id, order.get(entity.id.rpartition("_")[0], 0))), mention

    def _in_order(self, fragments: list[Fragment], leader: str) -> tuple[Fragment, ...]:
        merged = overlaps_joined(fragments)
        if len(merged) < len(fragments):
            message = f"document {shown(self.name)}: fragments of region {shown(leader)} overlap; joined"
            self.findings.warning(self.path, 0, "fragments-overlap", message)
        return tuple(merged)

    def _known(self, found: list[tuple[str, str, str]], mention: dict[str, str]) -> Iterator[tuple[str, str, str]]:
        """What stands at mentions."""
        for region, control, value in found:
            if region in mention:
                yield region, control, value

    def _lost(self, code: str, problem: str) -> None:
        self.findings.error(self.path, 0, code, f"document {shown(self.name)}: {problem}", remedy="correct it in Label Studio")


def _root(first: dict[str, str], name: str) -> str:
    while first[name] != name:
        name = first[name]
    return name


def _fresh(prefix: str, taken: set[str]) -> str:
    """The first free id with a prefix, which is taken from now on."""
    name = next(name for number in count(1) if (name := f"{prefix}{number}") not in taken)
    taken.add(name)
    return name


def _plain(text: str) -> str:
    r"""A text without white space and without the ``\n`` that Label Studio writes for line ends in copies of texts."""
    return "".join(text.replace("\\n", " ").split())
