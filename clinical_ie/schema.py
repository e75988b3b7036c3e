"""What a corpus annotates: types with their guideline definitions and what may link to what.

Labels come from here, never from a scan of the data, so that a checkpoint that carries its
schema decodes alone and a rare type has its place before it is first seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from clinical_ie.document import attribute_label
from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.fields import Fields, MalformedDataError, elements, string

ANY: tuple[str, ...] = ()
"""Stands for every entity type where a relation's arguments are not restricted."""


@dataclass(frozen=True, slots=True)
class EntityType:
    """A type of mention.

    `layer` groups types that do not overlap each other by design; types of different layers may.
    """

    name: str
    definition: str = ""
    layer: str = "entities"


@dataclass(frozen=True, slots=True)
class RelationType:
    """A relation, or (`argument`) the role of an event's argument, with its legal heads and tails (`ANY` for all)."""

    name: str
    definition: str = ""
    heads: tuple[str, ...] = ANY
    tails: tuple[str, ...] = ANY
    argument: bool = False

    def allows(self, head: str, tail: str) -> bool:
        """Whether this relation allows a head and a tail of these types."""
        return (not self.heads or head in self.heads) and (not self.tails or tail in self.tails)


def arguments(*roles: RelationType) -> tuple[RelationType, ...]:
    """The same types as roles of events' arguments."""
    return tuple(replace(role, argument=True) for role in roles)


@dataclass(frozen=True, slots=True)
class AttributeType:
    """A property of mentions; without `values` it is a flag, without `targets` it may stand anywhere."""

    name: str
    definition: str = ""
    values: tuple[str, ...] = ()
    targets: tuple[str, ...] = ANY

    def allows(self, target: str) -> bool:
        """Whether a mention of this type may bear it."""
        return not self.targets or target in self.targets

    @property
    def options(self) -> tuple[str | None, ...]:
        """What it may say of a mention: one of its values, or (None) that a flag stands."""
        return self.values or (None,)

    @property
    def labels(self) -> tuple[str, ...]:
        """The same with its name: ``POLARITY=NEG``."""
        return tuple(attribute_label(self.name, value) for value in self.options)


@dataclass(frozen=True, slots=True)
class Schema:
    """All types of a corpus. `events` names the entity types that trigger events.

    Raises:
        SettingError: A name twice, or a reference to an entity type that does not exist.
    """

    entities: tuple[EntityType, ...]
    relations: tuple[RelationType, ...] = ()
    attributes: tuple[AttributeType, ...] = ()
    events: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [entity.name for entity in self.entities]
        if len(set(names)) != len(names):
            raise SettingError(f"schema: an entity type is declared twice among {names}")
        known = set(names)
        used = {name for relation in self.relations for name in relation.heads + relation.tails}
        used.update(name for attribute in self.attributes for name in attribute.targets)
        used.update(self.events)
        if unknown := sorted(used - known):
            hint = did_you_mean(unknown[0], names)
            raise SettingError(f"schema: relations, attributes or events name unknown entity types {unknown}{hint}")
        attributes = [attribute.name for attribute in self.attributes]
        if len(set(attributes)) != len(attributes):
            raise SettingError(f"schema: an attribute is declared twice among {attributes}")

    @property
    def entity_names(self) -> tuple[str, ...]:
        """Entity types in declared order."""
        return tuple(entity.name for entity in self.entities)

    @property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """Layer -> its entity types, both in declared order."""
        found: dict[str, list[str]] = {}
        for entity in self.entities:
            found.setdefault(entity.layer, []).append(entity.name)
        return {layer: tuple(names) for layer, names in found.items()}

    def allows(self, relation: str, head: str, tail: str) -> bool:
        """Whether any declaration of a relation allows these argument types."""
        return any(known.name == relation and known.allows(head, tail) for known in self.relations)

    def restricted(self, entity_types: Iterable[str] | None = None, *, single_layer: bool = False) -> Schema:
        """The same schema with fewer entity types, and optionally all in one layer.

        Relations, attributes and events that lose their last legal argument go with them.

        Raises:
            SettingError: A type that the schema does not declare.
        """
        keep = set(self.entity_names if entity_types is None else entity_types)
        if unknown := sorted(keep - set(self.entity_names)):
            raise SettingError(
                f"unknown entity types {unknown}; the schema has {list(self.entity_names)}{did_you_mean(unknown[0], self.entity_names)}"
            )
        entities = tuple(
            EntityType(entity.name, entity.definition, "entities" if single_layer else entity.layer)
            for entity in self.entities
            if entity.name in keep
        )
        relations = tuple(
            RelationType(relation.name, relation.definition, heads, tails, relation.argument)
            for relation in self.relations
            for heads in [tuple(name for name in relation.heads if name in keep)]
            for tails in [tuple(name for name in relation.tails if name in keep)]
            if bool(heads) == bool(relation.heads) and bool(tails) == bool(relation.tails)
        )
        attributes = tuple(
            AttributeType(attribute.name, attribute.definition, attribute.values, targets)
            for attribute in self.attributes
            for targets in [tuple(name for name in attribute.targets if name in keep)]
            if bool(targets) == bool(attribute.targets)
        )
        return Schema(entities, relations, attributes, tuple(name for name in self.events if name in keep))

    def renamed(self, names: Mapping[str, str]) -> Schema:
        """The same schema with other names for some entity types and relations (roles too); old name -> new name.

        Raises:
            SettingError: An old name that nothing has, or a new one that something else has already.
        """
        known = {kind.name for kind in self.entities}, {kind.name for kind in self.relations}
        for old, new in names.items():
            if old not in known[0] | known[1]:
                raise SettingError(f"rename: the schema has no type or relation {old!r}{did_you_mean(old, known[0] | known[1])}")
            if any(sum(names.get(name, name) == new for name in kinds) > 1 for kinds in known):
                raise SettingError(f"rename: {old!r} cannot be called {new!r}, which another type or relation is called already")

        def all_of(listed: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(names.get(name, name) for name in listed)

        return Schema(
            tuple(replace(kind, name=names.get(kind.name, kind.name)) for kind in self.entities),
            tuple(
                replace(kind, name=names.get(kind.name, kind.name), heads=all_of(kind.heads), tails=all_of(kind.tails))
                for kind in self.relations
            ),
            tuple(replace(kind, targets=all_of(kind.targets)) for kind in self.attributes),
            all_of(self.events),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and strings, for YAML files and checkpoints."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: plain(inner) for key, inner in value.items()}
            return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value

        result: dict[str, Any] = plain(asdict(self))
        return result

    @classmethod
    def from_dict(cls, data: object) -> Schema:
        """What `to_dict` gave, or the same written by hand in YAML.

        Short forms are read too: an entity may be a bare name, or `name: definition`.

        Raises:
            SettingError: An unknown key, a value of the wrong type, or types that contradict each other.
        """
        try:
            return cls.from_fields(data)
        except MalformedDataError as error:
            raise SettingError(str(error)) from None

    @classmethod
    def from_fields(cls, data: object) -> Schema:
        """The same, with errors that name the place for whoever knows its file and line.

        Raises:
            MalformedDataError: An unknown key or a value of the wrong type.
            SettingError: Types that contradict each other.
        """
        fields = Fields(data, "schema")
        fields.only("entities", "relations", "attributes", "events")
        given = {key: value for key, value in fields.data.items() if value is not None}  # a key with all its entries commented out
        return cls(
            tuple(_entity(entry) for entry in _entries(given, "entities")),
            tuple(_relation(entry) for entry in _entries(given, "relations")),
            tuple(_attribute(entry) for entry in _entries(given, "attributes")),
            tuple(Fields(given, "schema").listed("events", _name)),
        )


def _entries(given: dict[str, Any], key: str) -> Iterator[Fields]:
    """Rows of a schema list, the short forms spelled out."""
    place, listed = f"schema.{key}", given.get(key, [])
    rows: list[tuple[str, Any]]
    if isinstance(listed, dict):
        rows = [(f"{place}.{name}", {name: value}) for name, value in listed.items()]
    else:
        rows = [(f"{place}[{number}]", entry) for number, entry in enumerate(elements(listed, place))]
    for where, entry in rows:
        if isinstance(entry, dict) and "name" not in entry and len(entry) == 1:
            ((name, value),) = entry.items()
            # the name comes last: `Drug: {name: Dose}` must not rename it
            entry = {**(value if isinstance(value, dict) else {"definition": value}), "name": name}
        yield Fields({"name": entry} if isinstance(entry, str | bool | int | float) else entry, where)


def _entity(fields: Fields) -> EntityType:
    fields.only("name", "definition", "layer")
    layer = _name(fields.data.get("layer", "entities"), fields.at("layer"))
    return EntityType(_name(fields.get("name"), fields.at("name")), _definition(fields), layer)


def _relation(fields: Fields) -> RelationType:
    fields.only("name", "definition", "heads", "tails", "argument")
    name = _name(fields.get("name"), fields.at("name"))
    heads, tails = fields.listed("heads", _name), fields.listed("tails", _name)
    return RelationType(name, _definition(fields), tuple(heads), tuple(tails), fields.flag_or("argument", False))


def _attribute(fields: Fields) -> AttributeType:
    fields.only("name", "definition", "values", "targets")
    name = _name(fields.get("name"), fields.at("name"))
    return AttributeType(name, _definition(fields), tuple(fields.listed("values", _name)), tuple(fields.listed("targets", _name)))


def _definition(fields: Fields) -> str:
    return "" if fields.data.get("definition") is None else fields.string("definition")


def _name(value: object, place: str) -> str:
    """A name as files can hold it."""
    name = string(value, place)
    if not name.strip() or name != name.strip() or not name.isprintable():
        problem = "a name that is empty, begins or ends with white space, or holds a control character"
        raise MalformedDataError(place, problem, expected="a name such as Drug")
    return name
