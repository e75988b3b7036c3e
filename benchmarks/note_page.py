"""A page of thousands of notes: its size, and how long a browser takes until something is shown and until a note can be read.

Beside it displaCy (spaCy, ``style="ent"``), which writes all notes into one page as marked-up HTML. Both hold the same invented notes;
displaCy's the gold mentions that do not overlap, ours all of gold against predictions, with links, errors and filters. Needs
chromium, and spaCy for the other page::

    python benchmarks/note_page.py --notes 10000 --displacy 2000
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from clinical_ie.corpora import Demo
from clinical_ie.document import Document, Entity
from clinical_ie.reports.note_page import NotePage

_TIMES = """<script>(async () => {
const pause = () => new Promise((done) => setTimeout(done, 20));
while (document.documentElement.dataset.ready !== "true" && !document.querySelector(".entities")) await pause();
await pause();
const found = { ready: performance.now(), memory: performance.memory?.usedJSHeapSize ?? 0 };
for (const one of performance.getEntriesByType("paint")) found[one.name] = one.startTime;
if (document.querySelector("#documents")) {
  const list = document.querySelector("#documents"), name = () => document.querySelector("#name").textContent;
  list.scrollTop = list.scrollHeight; list.dispatchEvent(new Event("scroll"));
  const row = [...document.querySelectorAll(".row")].at(-1), begun = performance.now(), before = name();
  row.click(); while (name() === before) await new Promise((done) => setTimeout(done, 1));
  found.open = performance.now() - begun;
  const field = document.querySelector("#search"), count = () => document.querySelector("#about").textContent, asked = performance.now();
  field.value = "photosensitivity"; field.dispatchEvent(new Event("input"));
  while (!/ of /.test(count())) await pause();
  found.search = performance.now() - asked - 200; // it waits 200 ms for the next key
}
await fetch("ADDRESS", { method: "POST", mode: "no-cors", body: JSON.stringify(found) });
})();</script></body>"""


def notes(number: int) -> Iterator[tuple[Document, Document]]:
    """Invented notes over and over with other ids, and predictions of which every tenth mention is missing and every ninth too short."""
    corpus = [document for part in ("train", "dev", "test") for document in Demo().read(part)]
    for place, gold in enumerate(islice(cycle(corpus), number)):
        gold = replace(gold, id=f"note-{place:06}")
        kept = [entity for rank, entity in enumerate(gold.entities) if rank % 10]
        names = {entity.id for entity in kept}
        entities = tuple(_short(entity) if rank % 9 == 0 else entity for rank, entity in enumerate(kept))
        relations = tuple(relation for relation in gold.relations if {relation.head, relation.tail} <= names)
        yield (
            replace(
                gold, entities=entities, relations=relations, events=(), attributes=(), normalizations=(), comments=(), equivalences=()
            ),
            gold,
        )


def _short(entity: Entity) -> Entity:
    start, end = entity.span.fragments[0]
    return replace(entity, span=type(entity.span).of(start, max(start + 1, end - 2)))


def _apart(gold: Document) -> list[dict[str, object]]:
    """The mentions that do not overlap an earlier one, for displaCy."""
    found: list[dict[str, object]] = []
    end = 0
    for entity in sorted(gold.entities, key=lambda entity: (entity.start, -entity.end)):
        if entity.start >= end:
            found.append({"start": entity.start, "end": entity.end, "label": entity.type})
            end = entity.end
    return found


def in_browser(page: Path) -> dict[str, float]:
    """Milliseconds from the begin of loading, in a new browser that tells them to a server of ours."""
    told: list[bytes] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Listener)
    server.timeout = 90
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"), count=1)
    before, _, after = text.rpartition("</body>")
    page.write_text(before + _TIMES.replace("ADDRESS", f"http://127.0.0.1:{server.server_port}") + after, encoding="utf-8")
    chromium = shutil.which("chromium") or "google-chrome"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}", "--window-size=1300,900"]
    browser = subprocess.Popen([chromium, *flags, page.as_uri()], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        server.handle_request()
    finally:
        os.killpg(browser.pid, signal.SIGTERM)
        browser.wait()
        server.server_close()
    return json.loads(told[0]) if told else {}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--notes", type=int, default=10_000)
    parser.add_argument("--displacy", type=int, default=0, help="notes of displaCy's page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name, number in (("ours", options.notes), ("ours", options.displacy), ("displaCy", options.displacy)):
            if not number:
                continue
            path, begun = Path(folder) / f"{name}.html", time.perf_counter()
            if name == "ours":
                with NotePage(path, "notes", compared=True) as page:
                    for predicted, gold in notes(number):
                        page.add(predicted, gold)
            else:
                from spacy import displacy

                given = [{"text": gold.text, "ents": _apart(gold)} for _, gold in notes(number)]
                path.write_text(displacy.render(given, style="ent", manual=True, page=True), encoding="utf-8")
            seconds, size = time.perf_counter() - begun, path.stat().st_size / 1e6
            times = ", ".join(
                f"{what} {value / 1e6:.0f} MB" if what == "memory" else f"{what} {value:.0f} ms" for what, value in in_browser(path).items()
            )
            print(f"{name}: {number:,} notes, {seconds:.0f} s to write, {size:.1f} MB; {times}", flush=True)


if __name__ == "__main__":
    main()
