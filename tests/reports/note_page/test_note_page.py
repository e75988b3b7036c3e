"""What the page shows in a browser, and that nothing in a note can act."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.document import Attribute, Document, Entity, Event, Relation, Span
from clinical_ie.reports.note_page import NotePage
from clinical_ie.reports.note_page.encoding import utf16_offsets

from .browser import needs_chromium, result

TEXT = "Gave \U0001f600 aspirin 5 mg daily for pain in left and right knee.\r\nNo fever."


def mention(name: str, kind: str, *words: str, text: str = TEXT, confidence: float | None = None) -> Entity:
    fragments, at = [], 0
    for word in words:
        at = text.index(word, at)
        fragments.append((at, at + len(word)))
        at += len(word)
    return Entity(name, kind, Span(tuple(fragments)), confidence)


GOLD = Document(
    "ward/1",
    TEXT,
    (
        mention("T1", "Drug", "aspirin"),
        mention("T2", "Dose", "5 mg"),
        mention("T3", "Problem", "pain in left", "knee"),  # discontinuous
        mention("T4", "Order", "aspirin 5 mg daily"),
        mention("T5", "Sign", "fever"),
    ),
    (Relation("R1", "DoseOf", "T2", "T1"),),
    (Event("E1", "Order", "T4", (("Why", "T3"),)),),
    (Attribute("A1", "Negated", "T5"),),
)
PREDICTED = Document(
    "ward/1",
    TEXT,
    (
        mention("T1", "Drug", "aspirin", confidence=0.9),
        mention("T2", "Strength", "5 mg", confidence=0.4),  # another type
        mention("T3", "Problem", "pain in left and right knee", confidence=0.7),  # other boundaries
        mention("T4", "Order", "aspirin 5 mg daily", confidence=0.8),
        mention("T5", "Time", "5 mg daily for", confidence=0.2),  # spurious, crosses the order
    ),
    (Relation("R1", "DoseOf", "T2", "T1", confidence=0.5),),
    (Event("E1", "Order", "T4", (("Why", "T3"),), argument_confidences=(0.6,)),),
)
NAMES = "all('.seg[aria-label]').map((one) => one.getAttribute('aria-label').split('; ')).flat()"


def page(
    folder: Path, documents: Iterable[tuple[Document, Document | None]], *, title: str = "notes", compared: bool = True, **options: Any
) -> Path:
    path = folder / "page.html"
    with NotePage(path, title, compared=compared, **options) as written:
        for predicted, gold in documents:
            written.add(predicted, gold)
    return path


def unpacked(path: Path) -> list[Any]:
    """What the data blocks of a page hold; the index comes last."""
    blocks = re.findall(r'<script type="application/gzip;base64"[^>]*>([^<]*)</script>', path.read_text(encoding="utf-8"))
    return [json.loads(gzip.decompress(base64.b64decode(block))) for block in blocks]


def test_offsets_are_in_units_of_javascript() -> None:
    text = "a\U0001f600b\u00e9\U0001f600"
    units = utf16_offsets(text)
    assert [units(offset) for offset in range(len(text) + 1)] == [len(text[:offset].encode("utf-16-le")) // 2 for offset in range(6)]


def test_nothing_is_left_out_in_silence(tmp_path: Path) -> None:
    path = page(tmp_path, [(PREDICTED, GOLD)])
    texts, notes, index = unpacked(path)
    assert texts == [TEXT]
    assert len(notes[0][0]) == 8, "two are the same on both sides; three predicted and three gold ones differ"
    (document,) = index["documents"]
    assert document[:4] == ["ward/1", len(TEXT), 6, 2]
    outcomes = [index["outcomes"][number] for number in document[4][1::4]]
    assert sorted(outcomes) == ["boundary", "correct", "correct", "missed", "spurious", "type"]
    assert sum(document[4][3::4]) == 6


def test_a_page_says_what_it_leaves_out_and_counts_it(tmp_path: Path) -> None:
    documents = [(Document(str(place), "x"), Document(str(place), "x", (Entity("T1", "X", Span.of(0, 1)),))) for place in range(5)]
    *_, index = unpacked(page(tmp_path, documents, most=3))
    assert index["warning"].startswith("This page holds the first 3 of 5 documents")
    assert index["tables"][0]["rows"][0][:2] == ["X", 5], "missed mentions of all five"


def test_the_same_notes_give_the_same_page_and_a_failure_none(tmp_path: Path) -> None:
    one = page(tmp_path, [(PREDICTED, GOLD)]).read_bytes()
    assert page(tmp_path, [(PREDICTED, GOLD)]).read_bytes() == one

    def broken() -> Iterable[tuple[Document, Document | None]]:
        yield PREDICTED, GOLD
        raise ZeroDivisionError

    (tmp_path / "other").mkdir()
    with pytest.raises(ZeroDivisionError):
        page(tmp_path / "other", broken())
    assert not list((tmp_path / "other").iterdir())


def test_no_note_stands_in_a_page_as_it_is(tmp_path: Path) -> None:
    """Not even its id: everything is packed, the title alone is escaped."""
    odd = Document('"><img src=x>', "<script>alert(1)</script>\x1b", (Entity("T1", 'X"><script>', Span.of(0, 8)),))
    text = page(tmp_path, [(odd, odd)], title="</title><script>\x07").read_text(encoding="utf-8")
    assert "alert(1)" not in text
    assert "img src" not in text
    assert "<title>&lt;/title&gt;&lt;script&gt;\u2407</title>" in text
    assert set(re.findall(r"https?://[^\"' )]*", text)) == {"http://www.w3.org/2000/svg"}, "the name of SVG, which nothing loads"


@needs_chromium
def test_nested_crossing_and_discontinuous_mentions_are_there(tmp_path: Path) -> None:
    steps = f"""const dashed = all('.seg').filter((one) => !one.dataset.m && one.style.backgroundImage.includes('repeating'));
    const crossing = all('.seg').filter((one) => one.dataset.m.split(' ').length > 2).map((one) => one.textContent);
    return {{ names: {NAMES}, text: text('.text'), gaps: dashed.map((one) => one.textContent), crossing,
      labels: all('.chip').map((one) => one.dataset.label), errors }};"""
    found = result(page(tmp_path, [(PREDICTED, GOLD)]), steps)
    assert found["text"] == TEXT, "labels are no text"
    assert sorted(found["names"]) == sorted(
        [
            "Drug, correct: aspirin",
            "Order, correct: aspirin 5 mg daily",
            "gold Dose, type: 5 mg",
            "gold Problem, boundary: pain in left \u2026 knee",
            "gold Sign, missed: fever",
            "predicted Problem, boundary: pain in left and right knee",
            "predicted Strength, type: 5 mg",
            "predicted Time, spurious: 5 mg daily for",
        ]
    )
    assert found["crossing"] == ["5 mg"], "dose, strength, order and the crossing time"
    assert sorted(found["labels"]) == ["+ Time", "Dose", "Drug", "Order", "\u2194 Problem", "\u2212 Sign", "\u2260 Strength"]
    assert found["errors"] == []


@needs_chromium
def test_gaps_are_joined(tmp_path: Path) -> None:
    steps = "return all('.seg').filter((one) => !one.dataset.m).map((one) => [one.textContent, one.style.backgroundImage.slice(0, 25)]);"
    found = result(page(tmp_path, [(GOLD, None)], compared=False), steps)
    assert found == [[" and right ", "repeating-linear-gradient"]]


@needs_chromium
def test_links_are_listed_and_drawn(tmp_path: Path) -> None:
    steps = """await press('a');
    return { rows: all('#panel [data-link]').map((one) => one.textContent),
      arcs: all('.arcs g text').map((one) => one.textContent), paths: all('.arcs g path').length };"""
    found = result(page(tmp_path, [(PREDICTED, GOLD)]), steps)
    assert sorted(found["arcs"]) == ["DoseOf", "Why", "\u2194 Why", "\u2260 DoseOf"]
    assert found["paths"] == 4
    assert any("\u2260 type 5 mg \u2014DoseOf\u2192 aspirin 50 %" in row for row in found["rows"])


@needs_chromium
def test_keys(tmp_path: Path) -> None:
    other = Document("ward/2", "fever", (Entity("T1", "Sign", Span.of(0, 5)),))
    documents = [
        (PREDICTED, GOLD),
        (other, other),
        (Document("ward/3", "cough"), Document("ward/3", "cough", (mention("T1", "Sign", "cough", text="cough"),))),
    ]
    steps = """const found = {}, lit = () => all('.seg.lit').map((one) => one.textContent);
    found.first = text('#name');
    await press('j'); found.j = text('#name');
    await press('k'); found.k = text('#name');
    const current = () => all('#panel [aria-current]').map((one) => one.textContent)[0], arcs = () => all('.arcs g').length;
    await press('n'); found.n = [current(), arcs()];
    await press('n'); found.nn = [current(), lit(), arcs()];
    for (let k = 0; k < 9; k++) { await press('n'); if (text('#name') !== 'ward/1') break; }
    found.over = [text('#name'), lit()];
    await press('p'); found.back = text('#name');
    await press('Escape'); found.none = lit();
    await press('g'); found.sides = all('.sheet h3').map((one) => one.textContent);
    await press('g'); found.predicted = all('.chip.gold').length;
    await press('l'); found.labels = getComputedStyle(document.querySelector('.chip')).display;
    const before = getComputedStyle(document.body).backgroundColor;
    await press('t'); found.dark = before !== getComputedStyle(document.body).backgroundColor;
    await press('/'); found.search = document.activeElement.id;
    await press('j'); found.typed = text('#name');
    await press('Escape'); found.left = document.activeElement.id;
    await press('?'); found.help = document.querySelector('#keys').open; document.querySelector('#keys').close();
    await press('e'); found.tables = all('#tables h3').map((one) => one.textContent); document.querySelector('#tables').close();
    document.querySelector('#documents').focus();
    await press('ArrowDown'); found.arrow = text('#name');
    found.option = document.querySelector('[role=option][aria-selected=true]').textContent;
    return found;"""
    found = result(page(tmp_path, documents), steps)
    assert (found["first"], found["j"], found["k"]) == ("ward/1", "ward/2", "ward/1")
    assert found["n"][0].startswith("\u2194 boundary aspirin 5 mg daily \u2014Why\u2192"), "a link whose head comes first in the text"
    assert found["n"][1] == 1
    assert found["nn"][0].startswith("\u2260 type Strength 5 mg 40 %")
    assert found["nn"][1:] == [["5 mg"], 2], "the predicted and the gold mention, with the links of both"
    assert found["over"] == ["ward/3", ["cough"]], "past the note without errors"
    assert found["back"] == "ward/1"
    assert found["none"] == []
    assert found["sides"] == ["Gold", "Predicted"]
    assert found["predicted"] == 0
    assert found["labels"] == "none"
    assert found["dark"] is True
    assert (found["search"], found["typed"], found["left"]) == ("search", "ward/1", "reading")
    assert found["help"] is True
    assert found["tables"][0] == "Mentions by type"
    assert found["arrow"] == "ward/2"
    assert found["option"].startswith("ward/2")


@needs_chromium
@pytest.mark.parametrize("size", ["500,900", "1300,500"])
def test_the_next_error_is_in_sight(size: str, tmp_path: Path) -> None:
    """Also where the lists stand below the text."""
    text = "word\n" * 300 + "end"
    gold = Document("long", text, tuple(Entity(f"T{place}", "X", Span.of(5 * place, 5 * place + 4)) for place in range(100, 300)))
    steps = """for (let k = 0; k < 150; k++) await press('n');
    const box = document.querySelector('.seg.lit').getBoundingClientRect();
    return box.top >= 0 && box.bottom <= innerHeight;"""
    assert result(page(tmp_path, [(Document("long", text), gold)]), steps, size=size) is True


@needs_chromium
def test_filters_and_search(tmp_path: Path) -> None:
    other = Document("ward/2", "No COUGH \U0001f600 at all", (Entity("T1", "Sign", Span.of(3, 8), 0.95),))
    steps = """const button = (label) => all('#filters button').find((one) => one.textContent.startsWith(label));
    const click = async (label) => { button(label).click(); await pause(); };
    const rows = () => all('.row .name').map((one) => one.textContent), found = {};
    const field = document.querySelector('#search');
    const search = async (words) => { field.value = words; field.dispatchEvent(new Event('input')); await pause(400); };
    await click('Sign'); found.sign = [rows(), all('.chip').map((one) => one.dataset.label)];
    await click('Show all');
    for (const label of ['correct', '\u2194 boundary', '\u2260 type', '+ spurious']) await click(label);
    found.missed = [rows(), all('.chip').map((one) => one.dataset.label)];
    await click('Show all');
    const low = document.querySelector('input[type=range]'); low.value = 85; low.dispatchEvent(new Event('input')); await pause();
    found.sure = all('.chip').map((one) => one.dataset.label);
    await click('Show all');
    await search('cough  \U0001f600'); found.cough = [rows(), text('#name'), [...(CSS.highlights.get('found') ?? [])].map(String)];
    await search('WARD/1'); found.id = rows();
    await search('(nothing'); found.nothing = text('.nothing');
    await search(''); found.all = rows();
    return found;"""
    found = result(page(tmp_path, [(PREDICTED, GOLD), (other, other)]), steps)
    assert found["sign"][0] == ["ward/1"], "a note whose mentions are all hidden is none of them"
    assert "\u2212 Sign" not in found["sign"][1]
    assert found["missed"] == [["ward/1"], ["\u2212 Sign"]]
    assert found["sure"] == ["Drug"]
    assert found["cough"] == [["ward/2"], "ward/2", ["COUGH \U0001f600"]]
    assert found["id"] == ["ward/1"]
    assert "No document" in found["nothing"]
    assert found["all"] == ["ward/1", "ward/2"]


HOSTILE = (
    "<script>window.hit=1</script> </script><script>window.hit=2</script> <!-- <script> --> <img src=x onerror='window.hit=3'>"
    " <svg onload=window.hit=4> javascript:window.hit=5 \u2028 \u2029 ]]> &lt;b&gt; \\u003c \x00\x07 \u202e ${window.hit=6} `"
)


@needs_chromium
@pytest.mark.parametrize("guarded", [True, False], ids=["with its policy", "without"])
def test_hostile_notes_do_nothing(tmp_path: Path, guarded: bool) -> None:
    """Nothing runs, nothing is made of it, no policy has to stop it; everything is shown as it was written."""
    kind = '<img src=x onerror="window.hit=7">'
    odd = Document(
        HOSTILE[:40],
        HOSTILE,
        (Entity("T<b>", kind, Span.of(0, 30), 0.5), Entity("T2", "</script>", Span.of(20, 60))),
        (Relation("R1", kind, "T<b>", "T2"),),
        (),
        (Attribute("A1", kind, "T<b>", "</script><script>window.hit=8</script>"),),
    )
    path = page(tmp_path, [(odd, Document(odd.id, odd.text))], title=HOSTILE[:60])
    if not guarded:
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text(encoding="utf-8"))
        path.write_text(text.replace("</head>", '<meta name=x content="script-src \'sha256"></head>'), encoding="utf-8")
    steps = """for (const key of ['n', 'n', 'n', 'a', 'g', 'e']) await press(key);
    document.querySelector('#tables').close();
    const field = document.querySelector('#search'); field.value = '<script>'; field.dispatchEvent(new Event('input')); await pause(400);
    return { hit: window.hit ?? null, images: document.images.length, text: text('.text'), errors, title: text('h1'), name: text('#name'),
      scripts: document.scripts.length, handlers: all('*').filter((one) => [...one.attributes].some((a) => /^on/.test(a.name))).length };"""
    found = result(path, steps)
    assert found["hit"] is None
    assert (found["images"], found["handlers"]) == (0, 0)
    assert found["scripts"] == 5, "a chunk and its texts, the index, the page's own, and that of this test"
    assert found["errors"] == []
    assert found["text"] == HOSTILE.replace("\x00", "\u2400").replace("\x07", "\u2407")
    assert found["name"] == HOSTILE[:40]
    assert found["title"] == HOSTILE[:60]


@needs_chromium
def test_ten_thousand_notes(tmp_path: Path) -> None:
    """Only the rows in sight exist, and a note is unpacked when it is opened."""
    words = "The patient took aspirin 5 mg daily for pain and denied fever, cough or chills at home. " * 4

    def documents() -> Iterable[tuple[Document, Document | None]]:
        for place in range(10_000):
            yield Document(f"note-{place:05}", f"{place} {words}", (Entity("T1", "Drug", Span.of(0, len(str(place)))),)), None

    path = page(tmp_path, documents(), compared=False)
    assert len(unpacked(path)) == 25, "twelve chunks, their texts apart, and the index"
    steps = """const list = document.querySelector('#documents'), found = { rows: all('.row').length, count: text('#about') };
    list.scrollTop = list.scrollHeight; list.dispatchEvent(new Event('scroll')); await pause();
    found.last = all('.row .name').at(-1).textContent;
    all('.row').at(-1).click(); await until(() => text('#name') === 'note-09999'); await pause();
    found.text = text('.text').slice(0, 20);
    const field = document.querySelector('#search'); field.value = '7777 the'; field.dispatchEvent(new Event('input'));
    await until(() => text('#about').startsWith('1 of'));
    found.searched = [text('#about'), text('#name')];
    return found;"""
    found = result(path, steps)
    assert found["rows"] < 60
    assert found["count"] == "10,000 documents"
    assert found["last"] == "note-09999"
    assert found["text"] == "9999 The patient too"
    assert found["searched"] == ["1 of 10,000 documents", "note-07777"]


@needs_chromium
@pytest.mark.parametrize("size", ["500,800", "1300,900"])
def test_nothing_is_wider_than_the_window(tmp_path: Path, size: str) -> None:
    long = Document("a" * 200, "x" * 5000 + " end", (Entity("T1", "Y" * 60, Span.of(0, 5000)),))
    steps = """const reading = document.querySelector('#reading');
    return { wide: document.documentElement.scrollWidth - innerWidth, reading: reading.scrollWidth - reading.clientWidth };"""
    found = result(page(tmp_path, [(long, long), (PREDICTED, GOLD)]), steps, size=size)
    assert found["wide"] <= 0
    assert found["reading"] <= 0


def test_lines_of_one_mention_are_one(tmp_path: Path) -> None:
    """BRAT's fragments of a mention that runs over a line end."""
    gold = Document("d", "220 mg\ntwice daily", (Entity("T1", "Dose", Span(((0, 6), (7, 18)))),))
    predicted = Document("d", gold.text, (Entity("T1", "Dose", Span.of(0, 18)),))
    _, notes, _ = unpacked(page(tmp_path, [(predicted, gold)]))
    assert [row[3] for row in notes[0][0]] == ["correct"]


@pytest.mark.parametrize("documents", [[], [Document("a", "")], [Document("a", "nothing here")]])
@pytest.mark.parametrize("compared", [True, False])
def test_nothing_at_all(documents: list[Document], compared: bool, tmp_path: Path) -> None:
    *_, index = unpacked(page(tmp_path, [(document, document) for document in documents], compared=compared))
    assert len(index["documents"]) == len(documents)
    assert index["tables"] == []


@needs_chromium
def test_long_notes_are_laid_out_in_blocks(tmp_path: Path) -> None:
    """Lines of any length, with mentions that run over the ends of blocks; the text stays what it is."""
    text = ("word " * 6000 + "\n") + "x" * 50_000 + "\U0001f600" * 20_000 + "\n" + "line\n" * 5000
    mentions = tuple(Entity(f"T{place}", "X", Span.of(place * 300, place * 300 + 290)) for place in range(300))
    path = page(tmp_path, [(Document("long", text, (*mentions, Entity("W", "Y", Span.of(0, len(text))))), None)], compared=False)
    steps = """const code = (text) => {
      let sum = 0;
      for (let k = 0; k < text.length; k++) sum = (sum * 31 + text.charCodeAt(k)) % 1000003;
      return sum;
    };
    const found = { sum: code(text('.text')), blocks: all('.block').length, rows: all('#panel li').length };
    for (let k = 0; k < 3; k++) await press('n');
    found.lit = all('.seg.lit').map((one) => one.textContent.length).reduce((a, b) => a + b);
    return found;"""
    found = result(path, steps)
    expected = 0
    units = text.encode("utf-16-le")
    for place in range(0, len(units), 2):
        expected = (expected * 31 + int.from_bytes(units[place : place + 2], "little")) % 1_000_003
    assert found["sum"] == expected
    assert found["blocks"] > 10
    assert found["rows"] == 301
    assert found["lit"] == 290
