"""Quadratic scorers in plain tuples, written from the words of the rules alone.

A mention is (type, ((start, end), ...)); a relation is (type, mention, mention). The events of `shac` are read
from the lines of BRAT files here, so that neither our reader nor our documents stand between the rules and the counts.
"""

import itertools
from collections.abc import Callable
from typing import Any

import networkx

Span = tuple[int, int]
Mention = tuple[str, tuple[Span, ...]]
Relation = tuple[str, Mention, Mention]
Part = tuple[str, Span, str, str | None]  # a trigger or an argument: its T line's type, first and last number and text, its A line's value
Item = Any  # a mention or a relation; three places tell a relation
Counts = tuple[int, int, int]  # tp, fp, fn


def shares(first: Span, second: Span) -> bool:
    return first[1] > second[0] and first[0] < second[1]


def outer(mention: Mention) -> Span:
    """First start, last end."""
    return min(start for start, _ in mention[1]), max(end for _, end in mention[1])


def n2c2_lines(lines: str) -> tuple[list[Mention], list[Relation]]:
    """Mentions and relations of a BRAT file as the script takes them: by id, so that the last of equal ids stands in the first's place."""
    tags: dict[str, Mention] = {}
    links: dict[str, Relation] = {}
    for line in map(str.strip, lines.splitlines()):
        if line.startswith("T"):
            name, what = line.split("\t")[:2]
            kind, *numbers = what.split(" ")
            tags[name] = (kind, ((int(numbers[0]), int(numbers[-1])),))
    for line in map(str.strip, lines.splitlines()):
        if line.startswith("R"):
            name, what = line.split("\t")
            kind, first, second = what.split(" ")
            links[name] = (kind, tags[first.split(":")[1]], tags[second.split(":")[1]])
    return list(tags.values()), list(links.values())


def n2c2_equal(gold: Item, system: Item, mode: str) -> bool:
    if gold[0] != system[0]:
        return False
    if len(gold) == 3:
        return n2c2_equal(gold[1], system[1], mode) and n2c2_equal(gold[2], system[2], mode)
    if mode == "strict":
        return outer(gold) == outer(system)
    return shares(outer(gold), outer(system))


def n2c2_counts(gold: list, system: list, mode: str, key: str | None = None) -> Counts:
    """One document; `key` is a type (its row) or None (the overall row)."""
    gold = [item for item in gold if key in (None, item[0])]
    system = [item for item in system if key in (None, item[0])]
    matched: set[int] = set()
    dropped: set[int] = set()
    for i, candidate in enumerate(system):
        for j, reference in enumerate(gold):
            if n2c2_equal(reference, candidate, mode):
                if j in matched:
                    dropped.add(i)
                matched.add(j)
    left = [item for i, item in enumerate(system) if i not in dropped]
    tp = sum(any(n2c2_equal(g, item, mode) for g in gold) for item in left)
    return tp, len(left) - tp, len(gold) - tp


def joined(item: Item, text: str) -> Item:
    """A mention, or a relation's mentions, with pieces that only white space of the text parts put together."""
    if len(item) == 3:
        return item[0], joined(item[1], text), joined(item[2], text)
    pieces = [list(piece) for piece in sorted(item[1])]
    for left, right in itertools.pairwise(pieces):
        if not text[left[1] : right[0]].strip():
            right[0] = left[0]
            left[:] = []
    return item[0], tuple(tuple(piece) for piece in pieces if piece)


def fair_equal(gold: Item, system: Item, mode: str) -> bool:
    if gold[0] != system[0]:
        return False
    if len(gold) == 3:
        return fair_equal(gold[1], system[1], mode) and fair_equal(gold[2], system[2], mode)
    if mode == "strict":
        return sorted(gold[1]) == sorted(system[1])
    return any(shares(a, b) for a in gold[1] for b in system[1])


def maximal(edges: list[tuple[int, int]]) -> int:
    """Size of a maximum bipartite matching over (left, right) pairs."""
    graph = networkx.Graph()
    graph.add_edges_from((("left", a), ("right", b)) for a, b in edges)
    return len(networkx.max_weight_matching(graph, maxcardinality=True))


def fair_counts(gold: list, system: list, mode: str, key: str | None = None) -> Counts:
    gold = [item for item in gold if key in (None, item[0])]
    system = [item for item in system if key in (None, item[0])]
    edges = [(i, j) for i, g in enumerate(gold) for j, s in enumerate(system) if fair_equal(g, s, mode)]
    tp = maximal(edges)
    return tp, len(system) - tp, len(gold) - tp


def prf(counts: Counts) -> tuple[float, float, float]:
    tp, fp, fn = counts
    precision = tp / (tp + fp) if tp + fp else 0.0
    recall = tp / (tp + fn) if tp + fn else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return precision, recall, f1


def total(rows: list[Counts]) -> Counts:
    return sum(r[0] for r in rows), sum(r[1] for r in rows), sum(r[2] for r in rows)


def mean(rows: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    if not rows:
        return 0.0, 0.0, 0.0
    return tuple(sum(row[k] for row in rows) / len(rows) for k in range(3))  # type: ignore[return-value]


def corpus(rules: str, gold: dict[str, list], system: dict[str, list], mode: str, text: str) -> dict:
    """{"micro": counts, "macro": (p, r, f), "types": {type: (counts, (p, r, f) over documents)}}."""
    fair = rules == "strict-one-to-one"
    count = fair_counts if fair else n2c2_counts
    names = sorted(set(gold) | set(system)) if fair else sorted(set(gold) & set(system))
    pairs = [(gold.get(name, []), system.get(name, [])) for name in names]
    if fair:
        pairs = [([joined(item, text) for item in one], [joined(item, text) for item in other]) for one, other in pairs]
    types = sorted({item[0] for g, s in pairs for item in [*g, *s]})
    rows = {}
    for key in types:
        each = [count(g, s, mode, key) for g, s in pairs]
        rows[key] = (total(each), mean([prf(c) for c in each]))
    each = [count(g, s, mode) for g, s in pairs]
    over_types = mean([prf(rows[key][0]) for key in types])
    over_documents = mean([prf(c) for c in each])
    return {"micro": total(each), "macro": over_types if fair else over_documents, "types": rows}


LABELLED = ("StatusTime", "StatusEmploy", "TypeLiving")


def shac_events(lines: str) -> list[list[Part]]:
    """Trigger and arguments of every E line. What the E line calls them is of no interest."""
    marked: dict[str, tuple[str, Span, str]] = {}
    values: dict[str, str] = {}
    events: list[list[str]] = []
    for line in lines.splitlines():
        name, what, *text = line.split("\t")
        words = what.replace(";", " ").split()
        if name.startswith("T"):
            marked[name] = (words[0], (int(words[1]), int(words[-1])), text[0])
        elif name.startswith("A"):
            values[words[1]] = words[2]
        elif name.startswith("E"):
            events.append([word.split(":")[1] for word in words])
    return [[(*marked[target], values.get(target)) for target in targets] for targets in events]


def align(gold: list[Part], system: list[Part], how: str) -> list[tuple[int, int]]:
    """Triggers: greedy, in order, one to one; min_dist by ascending distance of the midpoints."""
    pairs = [(i, j) for i, one in enumerate(gold) for j, other in enumerate(system) if one[0] == other[0]]
    if how == "exact":
        pairs = [(i, j) for i, j in pairs if gold[i][1] == system[j][1]]
    elif how == "overlap":
        pairs = [(i, j) for i, j in pairs if shares(gold[i][1], system[j][1])]
    else:
        pairs.sort(key=lambda pair: abs(sum(gold[pair[0]][1]) - sum(system[pair[1]][1])))
    chosen: list[tuple[int, int]] = []
    for i, j in pairs:
        if all(i != a and j != b for a, b in chosen):
            chosen.append((i, j))
    return chosen


def common_run(first: list[str], second: list[str]) -> int:
    """Tokens of the longest run that stands in both."""
    runs = {tuple(first[a:b]) for a in range(len(first)) for b in range(a + 1, len(first) + 1)}
    return max((b - a for a in range(len(second)) for b in range(a + 1, len(second) + 1) if tuple(second[a:b]) in runs), default=0)


def shac(
    gold: str, system: str, trigger: str, span: str, labelled: str, tokens: Callable[[str], list[str]] = str.split
) -> dict[tuple[str, str, str | None], list[int]]:
    """{(event, argument, value or None): [gold, predicted, tp]} of the lines of two BRAT files."""
    rows: dict[tuple[str, str, str | None], list[int]] = {}

    def count(event: str, argument: str, value: str | None, column: int, number: int = 1) -> None:
        rows.setdefault((event, argument, value), [0, 0, 0])[column] += number

    sides = shac_events(gold), shac_events(system)
    for column, events in enumerate(sides):
        for (event, _, _, value), *arguments in events:
            count(event, "Trigger", value, column)
            for kind, _, text, value in arguments:
                in_tokens = span == "partial" and kind not in LABELLED
                count(event, kind, value, column, len(tokens(text)) if in_tokens else 1)
    for i, j in align([event[0] for event in sides[0]], [event[0] for event in sides[1]], trigger):
        (event, _, _, value), *ours = sides[0][i]
        _, *theirs = sides[1][j]
        count(event, "Trigger", value, 2)
        gone: set[int] = set()
        for kind, where, text, value in ours:
            for k, (other, there, words, guess) in enumerate(theirs):
                if other != kind:
                    continue
                if kind not in LABELLED and span == "partial":  # every pair that overlaps
                    if shares(where, there):
                        count(event, kind, value, 2, common_run(tokens(text), tokens(words)))
                    continue
                if k in gone or (kind in LABELLED and guess != value):
                    continue
                how = labelled if kind in LABELLED else span
                if how == "label" or (where == there if how == "exact" else shares(where, there)):
                    gone.add(k)
                    count(event, kind, value, 2)
                    break
    return rows
