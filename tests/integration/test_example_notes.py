"""Notes in TensorBoard are there for who asks and for nobody else, and nothing in a note is taken for markup."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clinical_ie.callbacks.example_notes import ExampleNotes, page
from clinical_ie.cli import main
from clinical_ie.corpora import Demo
from clinical_ie.document import Document, Entity, Span
from clinical_ie.errors import SettingError

HOSTILE = "\tcode\n\n    code\n# Plan | *stop* <script>alert(1)</script>\n  - `x_y_z` & [a](b) \\ 1. next\n\tπ 😀 ~~no~~"


def shown_as(markdown: str) -> str:
    """The page that TensorBoard makes of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is packed into TensorBoard
        from tensorboard.plugin_util import markdown_to_safe_html

        return str(markdown_to_safe_html(markdown))


def test_hostile_notes_come_through_unchanged() -> None:
    gold = Document("a|b<i>", HOSTILE, (Entity("T1", "A|B", Span.of(24, 30)),))
    predicted = Document("a|b<i>", HOSTILE, (Entity("T1", "A|B", Span.of(24, 30), confidence=0.5), Entity("T2", "<b>", Span.of(17, 21))))
    html = shown_as(page(gold, predicted))
    for tag in ("<script", "<em>", "<code>", "<li>", "<a ", "<b>", "<i>", "<del>", "<pre>"):
        assert tag not in html
    assert html.count("<h3>") == 1
    assert html.count("<tr>") == 3
    assert html.count("<td>") == 14
    for shown in ("alert(1)", "x_y_z", "[a](b)", "A|B", "π 😀 ~~no~~", "0.50", "correct", "spurious", "*stop*"):
        assert shown in unescape(html)


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(SettingError, match="notes is 0"):
        ExampleNotes(0)


def test_a_run_shows_its_first_notes_where_it_is_asked_to(
    arguments: Callable[..., list[str]], trained_run: Path, small_corpus: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = ["--trainer.callbacks+=clinical_ie.callbacks.example_notes.ExampleNotes", "--trainer.callbacks.init_args.notes=2"]
    assert main(arguments("fit", run, *asked, "--trainer.max_epochs=2", "--test_after_fit=false")) == 0
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    tags = [tag for tag in board.Tags()["tensors"] if tag.startswith("dev, demo, entity_tagging/")]
    assert tags == [f"dev, demo, entity_tagging/{number}/text_summary" for number in (1, 2)]
    for tag, document in zip(tags, Demo(small_corpus).read("dev"), strict=False):
        events = board.Tensors(tag)
        assert len(events) == 2, "one for each validation"
        (text,) = events[-1].tensor_proto.string_val
        html = unescape(shown_as(text.decode()))
        assert all(line.strip() in html for line in document.text.splitlines())
    others = EventAccumulator(str(trained_run / "tensorboard")).Reload()
    assert not [tag for tag in others.Tags()["tensors"] if tag.endswith("text_summary")]
