"""Notes with their mentions as a page to look at, gold above predicted where both are known.

The page holds note text: it is made of predictions, which lie beside it in files anyway.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from clinical_ie.document import Document, Entity
from clinical_ie.files import writing

_STYLE = """
body{font:15px/2.1 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
pre{white-space:pre-wrap;font:inherit;background:#fafafa;border:1px solid #ddd;border-radius:6px;padding:1em}
mark{border-radius:4px;padding:.1em .25em;color:inherit}mark sub{font-size:.62em;margin-left:.3em;opacity:.75}
.missed{outline:2px dashed #c00;background:none}.wrong{outline:2px solid #c00}h2{font-size:1.05em;margin-top:2.5em}
.legend mark{margin-right:.5em}
"""


_NO_SCRIPTS = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
_VISIBLE = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n\r"} | {0x7F: "\u2421"}
"""Control characters, which no page may hold, as the signs that stand for them."""


def _escaped(text: str) -> str:
    return html.escape(text.translate(_VISIBLE))


MOST_DOCUMENTS = 50
"""On a page."""


def write_page(
    path: Path | str,
    title: str,
    predicted: Sequence[Document],
    gold: Sequence[Document] | None = None,
    *,
    count: int | None = None,
    types: Iterable[str] = (),
) -> None:
    """A page with the first documents; wrong mentions have a red frame, missed ones a dashed one.

    Args:
        path: Where to.
        title: Of the page.
        predicted: The first documents, or all of them.
        gold: The same as they should be, where that is known.
        count: How many documents there are in all.
        types: Types of mentions in the others.
    """
    truth = {document.id: document for document in gold or ()}
    types = sorted({*types, *(entity.type for document in predicted for entity in document.entities)})
    colours = {name: f"hsl({360 * rank // max(1, len(types))} 75% 85%)" for rank, name in enumerate(types)}
    with writing(path) as file:
        file.write(
            f'<!doctype html><html lang="en"><meta charset="utf-8">{_NO_SCRIPTS}<title>{_escaped(title)}</title><style>{_STYLE}</style>'
        )
        file.write(f"<h1>{_escaped(title)}</h1><p class=legend>")
        file.writelines(f'<mark style="background:{colours[name]}">{_escaped(name)}</mark>' for name in types)
        if gold is not None:
            file.write('<br><mark class="wrong">predicted, not gold</mark><mark class="missed">gold, not predicted</mark>')
        shown = predicted[:MOST_DOCUMENTS]
        file.write(f"<p>{len(shown)} of {len(predicted) if count is None else count} documents")
        for document in shown:
            file.write(f"<h2>{_escaped(document.id)}</h2><pre>")
            file.writelines(_marked(document, truth.get(document.id) if gold is not None else None, colours))
            file.write("</pre>")
        file.write("</html>\n")


def _marked(document: Document, gold: Document | None, colours: dict[str, str]) -> Iterable[str]:
    """The text with nested marks; a mention that crosses another is left to the BRAT files."""
    document, gold = document.joined(), gold.joined() if gold else None
    right = {(entity.type, entity.span) for entity in gold.entities} if gold else set()
    found = {(entity.type, entity.span) for entity in document.entities}
    rows: list[tuple[Entity, str]] = []
    for entity in document.entities:
        wrong = gold is not None and (entity.type, entity.span) not in right
        rows.append(
            (entity, f'class="wrong" style="background:{colours[entity.type]}"' if wrong else f'style="background:{colours[entity.type]}"')
        )
    for entity in gold.entities if gold else ():
        if (entity.type, entity.span) not in found and not entity.span.discontinuous:
            rows.append((entity, 'class="missed"'))
    rows.sort(key=lambda row: (row[0].start, -row[0].end))
    text, at = document.text, 0
    stack: list[Entity] = []
    for entity, style in rows:
        while stack and stack[-1].end <= entity.start:
            yield from _close(text, at, stack[-1])
            at = stack.pop().end
        if stack and entity.end > stack[-1].end:
            continue
        yield _escaped(text[at : entity.start])
        yield f"<mark {style}>"
        at = entity.start
        stack.append(entity)
    while stack:
        yield from _close(text, at, stack[-1])
        at = stack.pop().end
    yield _escaped(text[at:])


def _close(text: str, at: int, entity: Entity) -> Iterable[str]:
    yield _escaped(text[at : entity.end])
    yield f"<sub>{_escaped(entity.type)}</sub></mark>"
