"""``clinical-ie score`` beside a plain quadratic scorer, on an invented corpus of the size of the 2018 n2c2 test set.

Run: ``python benchmarks/score.py``. Rows of Markdown tables go to standard output.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.scoring.rules import rule_set
from clinical_ie.scoring.score import score

DOCUMENTS, ENTITIES, RELATIONS, RUNS = 202, 33_000, 23_000, 5
PUBLISHED = 3.24  # seconds the official script is reported to take on this kind of machine
TYPES = ("Drug", "Strength", "Form", "Dosage", "Frequency", "Route", "Duration", "Reason", "ADE")
Records = tuple[list[tuple[str, str, int, int]], list[tuple[str, str, str, str]]]

QUADRATIC = """
import json, os, sys

def read(path):
    tags, relations = {}, []
    for line in open(path, encoding="utf-8"):
        fields = line.rstrip("\\n").split("\\t")
        if fields[0].startswith("T"):
            kind, *places = fields[1].replace(";", " ").split(" ")
            tags[fields[0]] = (kind, int(places[0]), int(places[-1]))
        elif fields[0].startswith("R"):
            kind, head, tail = fields[1].split(" ")
            relations.append((kind, head.split(":")[1], tail.split(":")[1]))
    return list(tags.values()), [(kind, tags[head], tags[tail]) for kind, head, tail in relations]

def equal(a, b, mode):
    if a[0] != b[0]:
        return False
    if isinstance(a[1], tuple):
        return equal(a[1], b[1], mode) and equal(a[2], b[2], mode)
    if mode == "strict":
        return a[1] == b[1] and a[2] == b[2]
    return a[2] > b[1] and a[1] < b[2]

def count(gold, system, mode, key=None):
    if key is not None:
        gold = [one for one in gold if one[0] == key]
        system = [one for one in system if one[0] == key]
    matched, dropped = set(), set()
    for i, candidate in enumerate(system):
        for j, reference in enumerate(gold):
            if equal(reference, candidate, mode):
                if j in matched:
                    dropped.add(i)
                matched.add(j)
    left = [one for i, one in enumerate(system) if i not in dropped]
    tp = sum(any(equal(reference, one, mode) for reference in gold) for one in left)
    return tp, len(left) - tp, len(gold) - tp

def main(gold, system):
    result = {}
    for name in sorted(set(os.listdir(gold)) & set(os.listdir(system))):
        if not name.endswith(".ann"):
            continue
        sides = read(os.path.join(gold, name)), read(os.path.join(system, name))
        for place, kind in enumerate(("entities", "relations")):
            ours, theirs = sides[0][place], sides[1][place]
            for mode in ("strict", "lenient"):
                for key in [None, *sorted({one[0] for one in ours + theirs})]:
                    row = result.setdefault(kind + " " + mode + " " + (key or "micro"), [0, 0, 0])
                    for k, number in enumerate(count(ours, theirs, mode, key)):
                        row[k] += number
    print(json.dumps(result))

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


def gold_note(generator: random.Random, entities: int, relations: int) -> tuple[str, Records]:
    """Invented words, mentions of one to three of them in text order, and links between near mentions."""
    words = ["".join(generator.choices("abcdefghiklmnoprstuvw", k=generator.randint(2, 10))) for _ in range(entities * 9)]
    starts, position = [], 0
    for word in words:
        starts.append(position)
        position += len(word) + 1
    tags = []
    for number, first in enumerate(sorted(generator.sample(range(len(words) - 3), entities)), 1):
        last = first + generator.choice((0, 0, 0, 1, 2))
        tags.append((f"T{number}", generator.choice(TYPES), starts[first], starts[last] + len(words[last])))
    links = []
    for number in range(1, relations + 1):
        place = generator.randrange(entities)
        other = min(max(place + generator.choice((-3, -2, -1, 1, 2, 3)), 0), entities - 1)
        links.append((f"R{number}", f"{tags[place][1]}-Drug", tags[place][0], tags[other][0]))
    return " ".join(words) + "\n", (tags, links)


def system_note(generator: random.Random, gold: Records, length: int) -> Records:
    """As many annotations, a tenth of the spans moved, a twentieth of the types and links wrong, some twice; in another order."""
    tags: list[tuple[str, str, int, int]] = []
    links: list[tuple[str, str, str, str]] = []
    for name, kind, start, end in gold[0]:
        luck = generator.random()
        if luck < 0.1:
            start = max(0, start - generator.randint(1, 6))
            end = min(length, end + generator.randint(0, 6))
        elif luck < 0.15:
            kind = generator.choice(TYPES)
        elif luck < 0.17 and tags:
            kind, start, end = tags[-1][1:]
        tags.append((name, kind, start, end))
    for name, kind, head, tail in gold[1]:
        if generator.random() < 0.05:
            head, tail = tail, head
        links.append((name, kind, head, tail))
    generator.shuffle(tags)
    return tags, links


def render(text: str, records: Records) -> str:
    lines = [f"{name}\t{kind} {start} {end}\t{text[start:end]}" for name, kind, start, end in records[0]]
    lines += [f"{name}\t{kind} Arg1:{head} Arg2:{tail}" for name, kind, head, tail in records[1]]
    return "\n".join(lines) + "\n"


def share(total: int, part: int, number: int) -> int:
    """The size of one of `number` nearly equal parts."""
    return total * (part + 1) // number - total * part // number


def make(root: Path) -> tuple[str, str]:
    generator = random.Random(2018)
    for side in ("gold", "system"):
        (root / side).mkdir()
    for number in range(DOCUMENTS):
        text, gold = gold_note(generator, share(ENTITIES, number, DOCUMENTS), share(RELATIONS, number, DOCUMENTS))
        (root / "gold" / f"{number:03}.txt").write_text(text, encoding="utf-8")
        (root / "gold" / f"{number:03}.ann").write_text(render(text, gold), encoding="utf-8")
        system = system_note(generator, gold, len(text) - 1)
        (root / "system" / f"{number:03}.ann").write_text(render(text, system), encoding="utf-8")
    return str(root / "gold"), str(root / "system")


def median_seconds(command: list[str], runs: int = RUNS) -> tuple[float, str]:
    """Of whole processes, with the output of the last."""
    times, output = [], ""
    for _ in range(runs):
        began = time.perf_counter()
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        times.append(time.perf_counter() - began)
    return statistics.median(times), output


def same_counts(ours: Path, quadratic: str) -> int:
    """How many rows were compared; exits if one differs."""
    data, rows = json.loads(ours.read_text(encoding="utf-8")), json.loads(quadratic)
    found = {}
    for kind in ("entities", "relations"):
        for mode, figures in data[kind].items():
            for name, row in [("micro", figures["micro"]), *figures["types"].items()]:
                found[f"{kind} {mode} {name}"] = [row["tp"], row["fp"], row["fn"]]
    if found != rows:
        wrong = [name for name in found.keys() | rows.keys() if found.get(name) != rows.get(name)]
        sys.exit(f"counts differ in {len(wrong)} rows, e.g. {wrong[0]}: {found.get(wrong[0])} and {rows.get(wrong[0])}")
    return len(rows)


def fastest(action: Callable[[], object], runs: int = 3) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def growth() -> None:
    """Scoring alone, everything in one document."""
    space: dict = {"__name__": "quadratic"}
    exec(QUADRATIC, space)
    print("\n| mentions and relations in one note | n2c2-2018 | strict-one-to-one | quadratic |\n|---:|---:|---:|---:|")
    for number in (100, 1_000, 3_000, 10_000):
        generator = random.Random(number)
        text, gold = gold_note(generator, number, number)
        documents, plain = [], []
        for tags, links in (gold, system_note(generator, gold, len(text) - 1)):
            entities = tuple(Entity(name, kind, Span.of(start, end)) for name, kind, start, end in tags)
            documents.append(Document("a", text, entities, tuple(Relation(*link) for link in links)))
            by_name = {tag[0]: tag[1:] for tag in tags}
            plain.append((list(by_name.values()), [(kind, by_name[head], by_name[tail]) for _, kind, head, tail in links]))
        cells = []
        for rules in ("n2c2-2018", "strict-one-to-one"):
            seconds = fastest(partial(score, documents[:1], documents[1:], rule_set(rules)))
            cells.append(f"{seconds * 1000:.1f} ms")
        if number <= 3_000:
            began = time.perf_counter()
            for place, mode in ((0, "strict"), (0, "lenient"), (1, "strict"), (1, "lenient")):
                space["count"](plain[0][place], plain[1][place], mode)
            cells.append(f"{(time.perf_counter() - began) * 1000:.0f} ms")
        print(f"| {number:,} | {' | '.join([*cells, '-'][:3])} |", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        gold, system = make(root)
        (root / "quadratic.py").write_text(QUADRATIC, encoding="utf-8")
        target = root / "score.json"
        ours = [sys.executable, "-m", "clinical_ie", "score", "--rules", "n2c2-2018", "--json", str(target)]
        mine, _ = median_seconds([*ours, "--gold", gold, "--predicted", system])
        plain, output = median_seconds([sys.executable, str(root / "quadratic.py"), gold, system])
        rows = same_counts(target, output)
    print(f"{DOCUMENTS} notes, {ENTITIES:,} mentions and {RELATIONS:,} relations a side; {rows} rows of counts agree\n")
    print(f"| whole command, median of {RUNS} | seconds | times as long as ours |\n|---|---:|---:|")
    print(f"| clinical-ie score --rules n2c2-2018 --json | {mine:.2f} | 1.0 |")
    print(f"| quadratic scorer, the official algorithm | {plain:.2f} | {plain / mine:.1f} |")
    print(f"| official script, as published | {PUBLISHED:.2f} | {PUBLISHED / mine:.1f} |", flush=True)
    growth()


if __name__ == "__main__":
    main()
