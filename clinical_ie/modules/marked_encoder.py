"""The base of encoder modules that mark mentions: a marker for each place of each entity type of each corpus."""

from __future__ import annotations

from collections.abc import Mapping

from clinical_ie.data.tokenization import Subwords
from clinical_ie.modules.encoder_module import EncoderModule
from clinical_ie.schema import Schema
from clinical_ie.tasks.levitated_markers import MARKERS


class MarkedEncoder(EncoderModule):
    """Base of modules whose inputs hold typed markers. Its options are those of `EncoderModule`."""

    def markers(self) -> list[list[int]]:
        """Typed markers, each initialised with the name of its type."""
        subwords = Subwords(self.backbone_name)
        types = [name for schema in self.schemas.values() for name in schema.entity_names]
        named = [subwords.encode(name.replace("_", " ").replace("-", " "))[0] for name in types]
        unknown = subwords.prefix or [0]
        return [ids or unknown for ids in named for _ in MARKERS]


def marker_rows(schemas: Mapping[str, Schema]) -> dict[str, list[tuple[str, str]]]:
    """What the rows of the table of markers mean, for `CorpusWeights`."""
    types = [(corpus, name) for corpus, schema in schemas.items() for name in schema.entity_names]
    return {"backbone.markers.weight": [(corpus, f"{name}, {mark}") for corpus, name in types for mark in MARKERS]}
