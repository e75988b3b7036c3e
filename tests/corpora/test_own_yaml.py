"""Descriptions of own corpora as people write them, and as nobody does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.cli import main
from clinical_ie.corpora import BratFolder
from clinical_ie.corpora.integrity import check
from clinical_ie.errors import FileFormatError, InputError, SettingError
from clinical_ie.formats.findings import Findings
from clinical_ie.schema import Schema

REPOSITORY = Path(__file__).parents[2]
TEMPLATE = (REPOSITORY / "configs" / "data" / "brat_folder.yaml").read_text(encoding="utf-8")
NOTES = REPOSITORY / "tests" / "assets" / "my_notes"
START = f"root: {NOTES}\nschema:\n  entities: [Drug, Dose]\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            "  attributes:\n    - {name: Current, values: [yes, no]}\n",
            5,
            "values[0]: found true or false; expected a string; write it in quot",
        ),
        (
            "  attributes:\n    - name: Grade\n      values: [1, 2, 3]\n",
            6,
            "values[0]: found a number; expected a string; write it in quot",
        ),
        (
            "  relations:\n    - {name: Of, heads: Drug}\n",
            5,
            "schema.relations[0].heads: found a string; expected a list; write it in square brackets",
        ),
        ("  relations:\n    - {name: Of, heads: [Drug], tails: }\n", 5, "schema.relations[0].tails: found nothing; expected a list"),
        ("  relations:\n    - {name: Of, head: [Drug]}\n", 5, "unknown key 'head'; expected no others than name, definition, heads"),
        ("  relations:\n    - {name: Of, argument: 'yes'}\n", 5, "argument: found a string; expected true or false"),
        ("  relations:\n    - {heads: [Drug], tails: [Dose]}\n", 5, "'name' is missing"),
        ("  relations: Of\n", 4, "schema.relations: found a string"),
        ("  events: [2024-01-01]\n", 4, "schema.events[0]: found a date"),
        ("  attributes: [{name: ''}]\n", 4, "a name that is empty"),
        ("  attributes: [[[]]]\n", 4, "schema.attributes[0]: found a list"),
        ("  relation: []\n", 3, "did you mean 'relations'"),
        ("  entities: [Other]\n", 4, "the key 'entities' stands twice"),
        ("corpus_name: 5\n", 4, "corpus_name: found a number"),
        ("corpus_name: [my, notes]\n", 4, "corpus_name: found a list"),
        ("split_folders: {train: a}\n", 4, "split_folders.train: found a string; expected a list; write it in square brackets"),
        ("split_folders: {tran: [a]}\n", 4, "did you mean 'train'"),
        ("dev_share: 0.3\n", 4, "dev_share: a corpus only reads, a split decides; write split: {dev_share: ...}"),
        ("split_seed: 3\n", 4, "write split: {seed: ...}"),
        ("flat: maybe\n", 4, "flat: found a string"),
        ("entity_types: Drug\n", 4, "entity_types: found a string; expected a list; write it in square brackets"),
        ("patient_patern: x\n", 1, "did you mean 'patient_pattern'"),
        ("when: 2024-99-99\n", 0, "no date"),
    ],
)
def test_wrong_values_are_named_with_line_place_and_remedy(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(START + text)
    with pytest.raises(FileFormatError) as caught:
        BratFolder.from_yaml(path)
    assert message in str(caught.value)
    assert (caught.value.path, caught.value.line) == (str(path), line)


def test_the_same_as_a_data_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(TEMPLATE.replace("{name: Negated, targets: [Problem]}", "{name: Negated, values: [yes, no]}"))
    assert main(["corpus", "check", str(NOTES), "--corpus", str(path)]) == 2
    number = path.read_text().split("\n").index("            - {name: Negated, values: [yes, no]}") + 1
    told = f"{path}:{number}: schema.attributes[0].values[0]: found true or false; expected a string; write it in quotation marks"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "data: {corpora+: []}",
        "data: {corpora+: [{class_path: clinical_ie.corpora.Demo}]}",
        "data: {corpora+: [{init_args: {}}, {init_args: {}}]}",
        "data: {corpora: {}}",
        "data: {corpora+: [{class_path: clinical_ie.corpora.BratFolder}]}",
        "schema: {entities: [A]}",
        "",
        "[]",
        "5",
        "a: &a [*a]\nroot: *a\nschema: *a",
        "root: x\nschema: &s {entities: *s}",
        "root: " + "[" * 3000,
        "? [a]\n: b",
        "root: !!timestamp x\nschema: {}",
        "root: !!int x",
        "root: !!python/name:os.system",
        "\x01",
    ],
)
def test_what_is_no_description_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(InputError, match=r"my\.yaml"):
        BratFolder.from_yaml(tmp_path / "my.yaml")


def test_keys_whose_entries_are_all_commented_out_are_empty() -> None:
    assert Schema.from_dict({"entities": ["A"], "relations": None, "attributes": None, "events": None}) == Schema.from_dict(
        {"entities": ["A"]}
    )


def test_a_constructor_refuses_the_same() -> None:
    with pytest.raises(SettingError, match=r"ward: schema.attributes\[0\].values\[1\]: found a number"):
        BratFolder("nowhere", {"entities": ["A"], "attributes": [{"name": "B", "values": ["1", 2]}]}, corpus_name="ward")
    with pytest.raises(SettingError, match="did you mean 'Drug'"):
        Schema.from_dict({"entities": ["Drug"], "events": ["Drugs"]})
    with pytest.raises(SettingError, match="declared twice"):
        Schema.from_dict({"entities": ["Drug"], "attributes": ["A", {"name": "A"}]})


SCRAPS = [
    "",
    "5",
    "yes",
    "null",
    "1.5",
    "[]",
    "{}",
    "[a, [b]]",
    "{a: b}",
    "2024-01-01",
    "'x y'",
    "-",
    ":",
    "&a",
    "*a",
    "!!int z",
    "\t",
    "[",
    "}",
    "'",
]


def mutated(dice: random.Random, text: str) -> str:
    lines = text.split("\n")
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(lines))
        kind = dice.randrange(5)
        if kind == 0:
            lines[place:place] = [dice.choice(lines)]
        elif kind == 1 and len(lines) > 1:
            del lines[place]
        elif kind == 2:
            head, colon, _ = lines[place].partition(":")
            lines[place] = f"{head}{colon} {dice.choice(SCRAPS)}"
        elif kind == 3:
            start = dice.randrange(len(lines[place]) + 1)
            lines[place] = lines[place][:start] + dice.choice(SCRAPS) + lines[place][start + dice.randint(0, 3) :]
        else:
            lines[place] = " " * dice.randint(0, 12) + lines[place].lstrip()
    return "\n".join(lines)


def test_any_yaml_is_read_or_refused(tmp_path: Path) -> None:
    dice = random.Random(16)
    path, read, refused = tmp_path / "my.yaml", 0, []
    options: dict[str, Any] = {"root": str(NOTES)}
    for _ in range(600):
        path.write_text(mutated(dice, TEMPLATE))
        try:
            check(BratFolder.from_yaml(path, **options), Findings(strict=False))
            read += 1
        except InputError as error:
            refused.append(str(error))
    assert all("my.yaml" in message or str(NOTES) in message for message in refused)
    assert min(read, len(refused)) > 50
