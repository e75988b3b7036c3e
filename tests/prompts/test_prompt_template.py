"""Rendered prompts, to the letter, and templates that are refused with their file and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.prompts.prompt_template import InstructionSpec, LabelDescription, PromptTemplate, render_instruction, render_text
from clinical_ie.prompts.responses import FORMATS

OURS = Path(__file__).parents[2] / "clinical_ie" / "prompts" / "templates" / "unified.yaml"

TYPES = (LabelDescription("Drug", "A medication."), LabelDescription("Dose", ""))
LABELS = (
    LabelDescription("Of", "The dose of it.", ("Dose",), ("Drug",)),
    LabelDescription("State", "Whether taken.", ("Drug",), ("Dose", "Drug")),
    LabelDescription("State=on", "Whether taken.", ("Drug",), ("Dose",)),
    LabelDescription("State=off", "Whether taken.", ("Drug",), ("Dose",)),
    LabelDescription("Near", ""),
)

LINES = "Answer with one line for each mention, in the order of the text: type, tab, mention."
LINKS = (
    "Then one line for each kind of link that is there: > and the kind, then pairs of numbers of mentions, head and tail, apart by tabs."
)
VALUES = """\
A link to a mention of these types says its value, kind=value:
Dose: on|off"""
GOLDEN = {
    "entities": f"""\
Find every mention of the types below in the text.

Types:
Drug: A medication.
Dose

{LINES}

""",
    "relations": f"""\
Find every link of the kinds below between the numbered mentions of the text.

Links:
Of (Dose -> Drug): The dose of it.
State (Drug -> Dose|Drug): Whether taken.
Near (* -> *)

{VALUES}

{LINKS}

""",
    "joint": f"""\
Find every mention of the types below in the text, and every link of the kinds below between the mentions.

Types:
Drug: A medication.
Dose

Links:
Of (Dose -> Drug): The dose of it.
State (Drug -> Dose|Drug): Whether taken.
Near (* -> *)

{VALUES}

{LINES} {LINKS}

""",
}


def question(task: str, response: str = "lines", **more: Any) -> InstructionSpec:
    labels = LABELS if task != "entities" else ()
    return InstructionSpec(task, TYPES, labels, FORMATS[response](), **more)


@pytest.mark.parametrize("task", GOLDEN)
def test_the_unified_instruction_to_the_letter(task: str) -> None:
    assert render_instruction(PromptTemplate.load("unified"), question(task)) == GOLDEN[task]


def test_relations_without_the_types_that_they_join() -> None:
    shown = render_instruction(PromptTemplate.load("unified"), question("relations", arguments=False))
    assert shown == GOLDEN["relations"].replace(" (Dose -> Drug)", "").replace(" (Drug -> Dose|Drug)", "").replace(" (* -> *)", "")


def test_values_stand_once_for_the_types_that_share_them() -> None:
    labels = (
        LabelDescription("Status=current", "", ("Drug",), ("Time", "Use")),
        LabelDescription("Status=past", "", ("Drug",), ("Time", "Use")),
        LabelDescription("Type=current", "", ("Dose",), ("Time",)),
        LabelDescription("Type=past", "", ("Dose",), ("Time",)),
        LabelDescription("Type=mild", "", (), ("Grade",)),
        LabelDescription("Sure=yes", ""),
    )
    shown = render_instruction(PromptTemplate.load("unified"), InstructionSpec("relations", (), labels, FORMATS["lines"]()))
    wanted = ["Status (Drug -> Time|Use)", "Type (* -> Time|Grade)", "Sure (* -> *)", "", VALUES.split("\n")[0]]
    wanted += ["Time|Use: current|past", "Grade: mild", "*: yes"]
    assert shown.split("\n")[3:-4] == wanted


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ("lines", LINES),
        ("grouped", "Answer with one line for each type that is there: type, then its mentions in the order of the text, apart by tabs."),
        ("json", "Answer with JSON."),
        ("inline", "Answer with the text again, each mention in braces with its types behind it: {words|type}."),
        ("markup", "Answer with the text again, each mention between tags of its type."),
        ("bio", "Answer with one line for each word: word, tab, B- or I- and the type, or O."),
    ],
)
def test_the_form_of_the_answer(response: str, said: str) -> None:
    template = PromptTemplate.load("unified")
    assert render_instruction(template, question("entities", response)) == GOLDEN["entities"].replace(LINES, said)
    if response != "bio":
        wanted = GOLDEN["joint"].replace(f"{LINES} {LINKS}", said if response == "json" else f"{said} {LINKS}")
        assert render_instruction(template, question("joint", response)) == wanted
        wanted = GOLDEN["relations"].replace(LINKS, said if response == "json" else LINKS)
        assert render_instruction(template, question("relations", response)) == wanted


SHOWN = {0: "Drug: A medication.", 1: "Drug - A medication.", 2: "Drug (A medication.)", 4: "Drug - A medication."}


@pytest.mark.parametrize(("row", "shown"), SHOWN.items())
def test_rows_of_types_in_other_words(row: int, shown: str) -> None:
    wanted = GOLDEN["entities"].replace("Drug: A medication.", shown)
    assert render_instruction(PromptTemplate.load("unified"), question("entities", type_row=row)) == wanted


def test_demonstrations_to_the_letter() -> None:
    shown = (("one aspirin", (), "Dose\tone\nDrug\taspirin"), ("none", (), ""))
    wanted = f"{GOLDEN['entities']}For example:\n\nText:\none aspirin\nAnswer:\nDose\tone\nDrug\taspirin\n\nText:\nnone\nAnswer:\n\n\n"
    assert render_instruction(PromptTemplate.load("unified"), question("entities", demonstrations=shown)) == wanted


def test_the_part_of_one_text_to_the_letter() -> None:
    template = PromptTemplate.load("unified")
    assert render_text(template, "one\naspirin {x}") == "Text:\none\naspirin {x}"
    mentions = [("Dose", "one"), ("Drug", "aspirin")]
    assert render_text(template, "one aspirin", mentions) == "Text:\none aspirin\nMentions:\n1\tDose\tone\n2\tDrug\taspirin"


def test_braces_in_definitions_are_no_fields() -> None:
    types = (LabelDescription("Drug", "Such as {this} or {0}."),)
    assert "Drug: Such as {this} or {0}." in render_instruction(
        PromptTemplate.load("unified"), InstructionSpec("entities", types, (), FORMATS["lines"]())
    )


def test_a_definition_that_ends_in_a_colon_keeps_it() -> None:
    """Only what is left of a row without a definition is cut."""
    labels = (LabelDescription("Of", "One of these:", ("Dose",), ("Drug",)),)
    assert "Of (Dose -> Drug): One of these:\n" in render_instruction(
        PromptTemplate.load("unified"), InstructionSpec("joint", TYPES, labels, FORMATS["lines"]())
    )


# files


def changed(folder: Path, **parts: Any) -> Path:
    data = yaml.safe_load(OURS.read_text(encoding="utf-8"))
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**data, **parts}, sort_keys=False), encoding="utf-8")
    return path


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    ours, mine = PromptTemplate.load("unified"), PromptTemplate.load(str(changed(tmp_path, text="Note:")))
    assert render_text(mine, "x") == "Note:\nx"
    assert mine.fingerprint != ours.fingerprint == PromptTemplate.load(str(OURS)).fingerprint
    assert mine.fingerprint.startswith("unified-3-")


def test_unknown_names_are_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no prompt template polite; known are unified"):
        PromptTemplate.load("polite")
    with pytest.raises(SettingError, match="nowhere"):
        PromptTemplate.load(str(tmp_path / "nowhere.yaml"))


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\t- x", "'", "", "[]", "3", "just words"])
def test_files_that_are_no_template_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError) as refused:
        PromptTemplate.load(str(path))
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("part", [part for part in yaml.safe_load(OURS.read_text(encoding="utf-8")) if part != "attributes"])
def test_a_missing_part_is_named(part: str, tmp_path: Path) -> None:
    data = yaml.safe_load(OURS.read_text(encoding="utf-8"))
    del data[part]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(FileFormatError, match=part) as refused:
        PromptTemplate.load(str(path))
    assert str(path) in str(refused.value)


WRONG: dict[str, dict[str, Any]] = {
    "an unknown part": {"greeting": "Hello"},
    "no words": {"text": 3},
    "half of the words for attributes": {"attributes": {"task": "Say", "heading": "Attributes:"}},
    "an unknown place in a row of attributes": {"attributes": {"task": "Say", "heading": "A", "row": "{value}", "format": "So"}},
    "no number": {"version": "one"},
    "a list of tasks": {"tasks": ["x"]},
    "no rows": {"type_rows": []},
    "rows that are no list": {"type_rows": "{name}"},
    "rows that are no words": {"type_rows": [3]},
    "a task is missing": {"tasks": {"entities": "Find."}},
    "a task that is no words": {"tasks": {"entities": 3, "relations": "x", "joint": "x"}},
    "a format is missing": {"formats": {"lines": "x"}},
    "an unknown field": {"type_rows": ["{name}: {meaning}"]},
    "an open brace": {"link_row": "{name"},
    "an unnamed field": {"link_row": "{} {definition}"},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_part_is_refused_with_its_file(name: str, tmp_path: Path) -> None:
    """When it is read, not with a bare exception while examples are made."""
    path = changed(tmp_path, **WRONG[name])
    with pytest.raises(FileFormatError) as refused:
        PromptTemplate.load(str(path))
    assert str(path) in str(refused.value)
    assert "expected" in str(refused.value)
