"""Reading a BRAT corpus into documents, beside ``bioc`` and EDS-NLP's reader, each in its own interpreter.

    python benchmarks/read_brat.py MACCROBAT_FOLDER --bioc PYTHON_WITH_BIOC --edsnlp PYTHON_WITH_EDSNLP

Every reader runs in a fresh process five times; what counts is the time of reading, without imports. EDS-NLP stops at notes
(``#``), so it gets copies without them; what each reader holds afterwards is printed beside its time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_OURS = """
import json, sys, time
from clinical_ie.formats import brat
begun = time.perf_counter()
documents = brat.read(sys.argv[1])
seconds = time.perf_counter() - begun
held = {"entities": sum(len(d.entities) for d in documents), "relations": sum(len(d.relations) for d in documents),
        "events": sum(len(d.events) for d in documents), "discontinuous": sum(e.span.discontinuous for d in documents for e in d.entities)}
print(json.dumps([seconds, held]))
"""
_BIOC = """
import json, sys, time
from pathlib import Path
from bioc import brat
begun = time.perf_counter()
documents = []
for path in sorted(Path(sys.argv[1]).glob("*.ann")):
    with open(path.with_suffix(".txt"), encoding="utf-8", newline="") as text, open(path, encoding="utf-8", newline="") as ann:
        documents.append(brat.load(text, ann))
seconds = time.perf_counter() - begun
held = {"entities": sum(len(d.entities) for d in documents), "relations": sum(len(d.relations) for d in documents),
        "events": sum(len(d.events) for d in documents),
        "discontinuous": sum(len(e.locations) > 1 for d in documents for e in d.entities)}
print(json.dumps([seconds, held]))
"""
_EDSNLP = """
import json, sys, time
import edsnlp
begun = time.perf_counter()
documents = list(edsnlp.data.read_standoff(sys.argv[1], span_setter="mentions"))
seconds = time.perf_counter() - begun
held = {"entities": sum(len(d.spans.get("mentions", ())) for d in documents), "relations": 0, "events": 0, "discontinuous": 0}
print(json.dumps([seconds, held]))
"""


def measure(python: str, code: str, folder: str, runs: int = 5) -> tuple[float, dict[str, int]] | None:
    """Median seconds of reading, and what was held."""
    found = []
    held: dict[str, int] = {}
    for _ in range(runs):
        done = subprocess.run([python, "-W", "ignore", "-c", code, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"# failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}", file=sys.stderr)
            return None
        seconds, held = json.loads(done.stdout.strip().splitlines()[-1])
        found.append(seconds)
    return statistics.median(found), held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--bioc", help="a Python that has bioc")
    parser.add_argument("--edsnlp", help="a Python that has edsnlp")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as copy:
        for path in sorted(Path(options.folder).glob("*.txt")):
            shutil.copy(path, copy)
            lines = path.with_suffix(".ann").read_text(encoding="utf-8").split("\n")
            Path(copy, f"{path.stem}.ann").write_text("\n".join(line for line in lines if not line.startswith("#")), encoding="utf-8")
        rows = {"clinical_ie": measure(sys.executable, _OURS, options.folder)}
        if options.bioc:
            rows["bioc"] = measure(options.bioc, _BIOC, options.folder)
        if options.edsnlp:
            rows["edsnlp, without notes"] = measure(options.edsnlp, _EDSNLP, copy)
    ours = rows["clinical_ie"]
    if ours is None:
        raise SystemExit(1)
    print("| reader | seconds | times ours | entities | relations | events | discontinuous |\n|---|---|---|---|---|---|---|")
    for name, found in rows.items():
        if found:
            held = " | ".join(f"{found[1][key]:,}" for key in ("entities", "relations", "events", "discontinuous"))
            print(f"| {name} | {found[0]:.3f} | {found[0] / ours[0]:.1f} | {held} |")
        else:
            print(f"| {name} | failed | | | | | |")


if __name__ == "__main__":
    main()
