from __future__ import annotations

import json
from pathlib import Path

import pytest

from clinical_ie.commands.exported_prompts import write_prompts
from clinical_ie.corpora import Demo
from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.tasks.instruction import EntityInstruction, Instruction, RelationInstruction


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_llama2"])
@pytest.mark.parametrize(("task", "numbered"), [(EntityInstruction("grouped"), 0), (RelationInstruction("lines"), 1)])
def test_prompts_hold_places_for_the_text_and_the_mentions(
    task: Instruction, numbered: int, model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tokenizer = ChatTokenizer(request.getfixturevalue(model))
    write_prompts(tmp_path, [task], {"demo": Demo().schema}, tokenizer, base="hub/name")
    held = json.loads((tmp_path / "prompts.json").read_text(encoding="utf-8"))["tasks"][task.name]
    entry = held["corpora"]["demo"]
    assert entry["prompt"].count("{{TEXT}}") == 1
    assert entry["prompt"].count("1\t{{TYPE}}\t{{MENTION}}") == numbered
    assert set(held["placeholders"]) == {name for name in ("{{TEXT}}", "{{TYPE}}", "{{MENTION}}") if name in entry["prompt"]}
    assert (entry["messages"] is not None) == tokenizer.has_turns
    assert bool(entry["links"]) == bool(numbered)
    assert all(kind.partition("=")[0] in entry["prompt"] for kind in entry["links" if numbered else "types"])
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "AutoTokenizer.from_pretrained('hub/name')" in page
    assert "local folder" not in page
