"""Pages hold together: links lead somewhere, code gives what it is said to give, the README stays short."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from clinical_ie.cli import COMMANDS, main
from tests.documents.blocks import MADE, REPOSITORY, pages, python_of

README = REPOSITORY / "README.md"


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_has_one_table_of_six_rows() -> None:
    rows = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 6


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target) and Path(target).name not in MADE:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_no_page_names_a_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root)/", text)


def test_the_mention_that_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["corpus", "convert", "--corpus=demo", "--to=brat", "--output=my_notes"]) == 0
    assert main(["corpus", "draft", "my_notes", "--output=my_notes.yaml"]) == 0
    page = REPOSITORY / "docs" / "start" / "one_mention.md"
    test = doctest.DocTestParser().get_doctest(python_of(page), {}, page.name, str(page), 0)
    assert len(test.examples) >= 20
    said: list[str] = []
    assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)
    annotations = (tmp_path / "my_notes" / "test" / "test-001.ann").read_text(encoding="utf-8").splitlines()
    shown = re.search(r"## 1\..*?```text\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    relations = {line.partition("\t")[2] for line in annotations}
    assert all(line in annotations or line.partition("\t")[2] in relations for line in shown[1].splitlines())


def test_the_reference_is_of_all_commands_and_configurations(tmp_path: Path) -> None:
    import sys

    sys.path.insert(0, str(REPOSITORY / "docs"))
    try:
        from generated_reference import write_reference  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(REPOSITORY / "docs"))
    write_reference(tmp_path)
    text = (tmp_path / "commands.md").read_text(encoding="utf-8")
    assert all(f"\n## {name}\n" in text for name in COMMANDS)
    assert "\n### corpus draft\n" in text
    assert str(REPOSITORY) not in text
    settings = (tmp_path / "settings.md").read_text(encoding="utf-8")
    assert "--data.batch_budget" in settings
    assert "--trainer.max_epochs" in settings
    files = {path.relative_to(REPOSITORY / "configs").with_suffix("").as_posix() for path in (REPOSITORY / "configs").rglob("*.yaml")}
    assert all(f"# {name}\n" in (tmp_path / "configurations.md").read_text(encoding="utf-8") for name in files)
    assert "Sub-words of context on each side" in (tmp_path / "classes.md").read_text(encoding="utf-8")
