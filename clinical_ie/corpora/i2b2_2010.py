"""2010 i2b2/VA: problems, tests, treatments, their relations and assertions."""

from __future__ import annotations

from pathlib import Path

from clinical_ie.corpora.corpus import Corpus, entity_types, first_existing, require
from clinical_ie.corpora.splits import Split, named_parts
from clinical_ie.document import Document
from clinical_ie.files import read_text
from clinical_ie.formats import i2b2
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_files
from clinical_ie.schema import AttributeType, RelationType, Schema

_TYPES = {
    "problem": "What the patient or clinician thinks is abnormal or caused by a disease: diseases, symptoms, findings, injuries.",
    "test": "What is done or measured to find out about a problem: examinations, laboratory tests, images, vital signs.",
    "treatment": "What is done to solve a problem: medications, surgery, therapies, devices.",
}
_PROBLEM, _TEST, _TREATMENT = ("problem",), ("test",), ("treatment",)


class I2b2Concepts2010(Corpus):
    """The challenge's folders: training parts of two or three hospitals and the reference standard of the test."""

    name = "i2b2_2010"
    licence = "n2c2 data use agreement"
    citation = "Uzuner O et al. 2010 i2b2/VA challenge on concepts, assertions, and relations in clinical text. JAMIA 18:552 (2011)"
    declared = Schema(
        entity_types({"concepts": _TYPES}),
        (
            RelationType("TrIP", "The treatment improves the problem.", _TREATMENT, _PROBLEM),
            RelationType("TrWP", "The treatment worsens the problem.", _TREATMENT, _PROBLEM),
            RelationType("TrCP", "The treatment causes the problem.", _TREATMENT, _PROBLEM),
            RelationType("TrAP", "The treatment is given for the problem.", _TREATMENT, _PROBLEM),
            RelationType("TrNAP", "The treatment is not given because of the problem.", _TREATMENT, _PROBLEM),
            RelationType("TeRP", "The test reveals the problem.", _TEST, _PROBLEM),
            RelationType("TeCP", "The test is done to investigate the problem.", _TEST, _PROBLEM),
            RelationType("PIP", "One problem indicates the other.", _PROBLEM, _PROBLEM),
        ),
        (
            AttributeType(
                i2b2.ASSERTION,
                "What is asserted of a problem.",
                ("present", "absent", "possible", "conditional", "hypothetical", "associated_with_someone_else"),
                _PROBLEM,
            ),
        ),
    )

    def folders(self) -> dict[Split, list[Path]]:
        """Training hospitals and, where it is there, the official test; a development part is held out."""
        named = named_parts(self.root)
        training = first_existing(self.root, "concept_assertion_relation_training_data") or named.get("train")
        base = require(
            training or (self.root if find_files(self.root, (".con",), Findings(strict=False)) else None),
            self.root,
            "folder train or .con files",
        )
        hospitals = [base / name for name in ("beth", "partners", "upmcp") if (base / name).is_dir()]
        found: dict[Split, list[Path]] = {"train": hospitals or [base]}
        if "dev" in named:
            found["dev"] = [named["dev"]]
        if test := first_existing(self.root, "reference_standard_for_test_data") or named.get("test"):
            found["test"] = [test]
        return found

    def load(self, path: Path, findings: Findings) -> list[Document]:
        """i2b2 files; the challenge ships the test's texts in a folder of their own."""
        return i2b2.read(path, findings, texts=self._texts(path))

    @staticmethod
    def _texts(path: Path) -> Path | None:
        beside = path.parent / "test_data"
        return beside if path.name == "reference_standard_for_test_data" and beside.is_dir() else None

    def source(self, document_id: str, annotation_id: str = "") -> tuple[str, int]:
        """The file of the annotation's kind; its line, counting records."""
        ending = {"R": ".rel", "A": ".ast"}.get(annotation_id[:1], ".con")
        for root in (path for paths in self.folders().values() for path in paths):
            base = self._texts(root) or (root / "txt" if (root / "txt").is_dir() else root)
            path = i2b2.beside_text(document_id, root, base, ending)
            if path is not None:
                lines = [number for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
                rank = int(annotation_id[1:]) if annotation_id[1:].isdecimal() else 0
                return str(path), lines[rank - 1] if 0 < rank <= len(lines) else 0
        return document_id, 0
