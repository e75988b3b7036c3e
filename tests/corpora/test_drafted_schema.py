"""The draft of a description, held against descriptions that people wrote of the same notes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from clinical_ie.cli import main
from clinical_ie.corpora import BratFolder, Demo
from clinical_ie.corpora.drafted_schema import drafted_schema
from clinical_ie.document import Attribute, Document, Entity, Relation, Span
from clinical_ie.formats import brat
from clinical_ie.schema import Schema

ASSETS = Path(__file__).parents[1] / "assets"


def schema_of(text: str) -> Schema:
    return Schema.from_dict(yaml.safe_load(text)["data"]["corpora+"][0]["init_args"]["schema"])


def test_of_the_embedded_notes_it_is_their_schema_but_for_definitions() -> None:
    documents = [document for part in ("train", "dev", "test") for document in Demo().read(part)]  # type: ignore[arg-type]
    drafted, declared = schema_of(drafted_schema(documents, Path("notes"), "notes")), Demo.declared
    assert set(drafted.entity_names) == set(declared.entity_names)
    assert set(drafted.events) == set(declared.events)

    def links(schema: Schema) -> dict[tuple[str, bool], set[tuple[str, str]]]:
        found = defaultdict(set)
        for kind in schema.relations:
            found[kind.name, kind.argument] |= {(head, tail) for head in kind.heads for tail in kind.tails}
        return found

    found, allowed = links(drafted), links(declared)
    allowed["Frequency", True].remove(("Employment", "Frequency"))  # the one pair that is declared and annotated nowhere
    assert found == allowed
    assert {(kind.name, frozenset(kind.targets), frozenset(kind.values)) for kind in drafted.attributes} <= {
        (kind.name, frozenset(kind.targets), frozenset(kind.values)) for kind in declared.attributes
    }


def test_types_that_overlap_are_in_different_layers() -> None:
    documents = [document for part in ("train", "dev", "test") for document in Demo().read(part)]  # type: ignore[arg-type]
    layer = {kind.name: kind.layer for kind in schema_of(drafted_schema(documents, Path("notes"), "notes")).entities}
    assert layer["Status"] != layer["Tobacco"], "`Smokes` is both"
    for document in documents:
        for first in document.entities:
            for second in document.entities:
                if first.type != second.type and first.span.overlaps(second.span):
                    assert layer[first.type] != layer[second.type]


def test_the_command_writes_what_check_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["corpus", "draft", str(ASSETS / "my_notes"), "--output=mine.yaml"]) == 0
    assert main(["corpus", "check", "--corpus=mine.yaml"]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    drafted, written = BratFolder.from_yaml("mine.yaml"), BratFolder.from_yaml(ASSETS / "my_notes.yaml", root=str(ASSETS / "my_notes"))
    assert drafted.name == "mine"
    assert set(drafted.schema.entity_names) == set(written.schema.entity_names)
    assert drafted.schema.relations == tuple(kind for kind in written.schema.relations)


@pytest.mark.parametrize("name", ["Problem", "no", "1st", "a b", "colon: x", "-", "Krankheit-Ä", "#x", "null", "a_b-c"])
def test_names_survive_yaml(name: str) -> None:
    entities = (Entity("T1", name, Span.of(0, 4)), Entity("T2", "Other", Span.of(5, 9)))
    document = Document(
        "a",
        "some text",
        entities,
        (Relation("R1", name, "T1", "T2"),),
        attributes=(Attribute("A1", name, "R1"), Attribute("A2", "x", "T1", name)),
    )
    schema = schema_of(drafted_schema([document], Path("a: b"), name))
    assert schema.entity_names[0] == name
    assert schema.relations[0].name == name
    assert {(kind.name, kind.targets, kind.values) for kind in schema.attributes} == {(name, (), ()), ("x", (name,), (name,))}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--output=mine.txt"], "expected a name that ends in .yaml, such as my_notes.yaml"),
        (["--output=there.yaml"], "there.yaml exists already, and may have been corrected"),
    ],
)
def test_refusals(given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.yaml").write_text("mine\n", encoding="utf-8")
    assert main(["corpus", "draft", str(ASSETS / "my_notes"), *given]) == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "there.yaml").read_text(encoding="utf-8") == "mine\n"


def test_notes_without_mentions_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    brat.write([Document("a", "text")], tmp_path / "notes")
    assert main(["corpus", "draft", str(tmp_path / "notes"), f"--output={tmp_path / 'x.yaml'}"]) == 2
    assert "1 documents without a mention" in capsys.readouterr().err
    assert not (tmp_path / "x.yaml").exists()
