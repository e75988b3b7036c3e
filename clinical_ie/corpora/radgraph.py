"""RadGraph 1.0.0: entities and relations in chest X-ray reports."""

from __future__ import annotations

import re
from pathlib import Path

from clinical_ie.corpora.corpus import Corpus, entity_types, require
from clinical_ie.corpora.splits import Split, named_parts
from clinical_ie.document import Document
from clinical_ie.formats import radgraph
from clinical_ie.formats.findings import Findings
from clinical_ie.schema import RelationType, Schema

_TYPES = {
    "ANAT-DP": "A part of the body that is definitely present.",
    "OBS-DP": "A finding, device or observation that is definitely present.",
    "OBS-U": "An observation whose presence is uncertain.",
    "OBS-DA": "An observation that is definitely absent.",
}
_OBSERVATIONS = ("OBS-DP", "OBS-U", "OBS-DA")
_PATIENT = re.compile(r"p\d{6,}")


class RadGraph(Corpus):
    """Reports by token; a split never separates reports of one patient, where ids name the patient."""

    name = "radgraph"
    licence = "PhysioNet credentialed health data licence 1.5.0"
    citation = "Jain S et al. RadGraph: extracting clinical entities and relations from radiology reports. NeurIPS D&B 2021"
    declared = Schema(
        entity_types({"findings": _TYPES}),
        (
            RelationType("suggestive_of", "The head suggests the tail.", _OBSERVATIONS, _OBSERVATIONS),
            RelationType("located_at", "The head is found at the tail.", _OBSERVATIONS, ("ANAT-DP",)),
            RelationType("modify", "The head describes the tail more closely.", tuple(_TYPES), tuple(_TYPES)),
        ),
    )

    def folders(self) -> dict[Split, list[Path]]:
        """``train.json``, and ``dev.json`` and ``test.json`` where they are there."""
        named = named_parts(self.root, ".json")
        require(named.get("train"), self.root, "train.json")
        return {split: [path] for split, path in named.items()}

    def load(self, path: Path, findings: Findings) -> list[Document]:
        """RadGraph JSON."""
        return radgraph.read(path, findings)

    def group(self, document_id: str) -> str:
        """The patient, where the report's path names one."""
        patients = _PATIENT.findall(document_id)
        return patients[-1] if patients else document_id
