"""Quadratic scorers in plain tuples, written from the words of the rules alone.

A mention is (type, ((start, end), ...)); a relation is (type, mention, mention);
an event is (type, (start, end), arguments) with an argument (role, (start, end), value or None).
"""

from typing import Any

import networkx

Span = tuple[int, int]
Mention = tuple[str, tuple[Span, ...]]
Relation = tuple[str, Mention, Mention]
Argument = tuple[str, Span, str | None]
Event = tuple[str, Span, tuple[Argument, ...]]
Item = Any  # a mention or a relation; three places tell a relation
Counts = tuple[int, int, int]  # tp, fp, fn


def shares(first: Span, second: Span) -> bool:
    return first[1] > second[0] and first[0] < second[1]


def outer(mention: Mention) -> Span:
    """First start, last end."""
    return min(start for start, _ in mention[1]), max(end for _, end in mention[1])


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


def corpus(rules: str, gold: dict[str, list], system: dict[str, list], mode: str) -> dict:
    """{"micro": counts, "macro": (p, r, f), "types": {type: (counts, (p, r, f) over documents)}}."""
    fair = rules == "strict-one-to-one"
    count = fair_counts if fair else n2c2_counts
    names = sorted(set(gold) | set(system)) if fair else sorted(set(gold) & set(system))
    pairs = [(gold.get(name, []), system.get(name, [])) for name in names]
    types = sorted({item[0] for g, s in pairs for item in [*g, *s]})
    rows = {}
    for key in types:
        each = [count(g, s, mode, key) for g, s in pairs]
        rows[key] = (total(each), mean([prf(c) for c in each]))
    each = [count(g, s, mode) for g, s in pairs]
    over_types = mean([prf(rows[key][0]) for key in types])
    over_documents = mean([prf(c) for c in each])
    return {"micro": total(each), "macro": over_types if fair else over_documents, "types": rows}


def bare(role: str) -> str:
    return role.rstrip("0123456789")


def align(gold: list[Event], system: list[Event], trigger: str) -> list[tuple[int, int]]:
    """Greedy, in order, one to one; min_dist by ascending distance of the midpoints."""
    pairs = [(i, j) for i in range(len(gold)) for j in range(len(system)) if gold[i][0] == system[j][0]]
    if trigger == "exact":
        pairs = [(i, j) for i, j in pairs if gold[i][1] == system[j][1]]
    elif trigger == "overlap":
        pairs = [(i, j) for i, j in pairs if shares(gold[i][1], system[j][1])]
    else:
        pairs.sort(key=lambda pair: abs(sum(gold[pair[0]][1]) - sum(system[pair[1]][1])))
    chosen: list[tuple[int, int]] = []
    for i, j in pairs:
        if all(i != a and j != b for a, b in chosen):
            chosen.append((i, j))
    return chosen


def argument_equal(gold: Argument, system: Argument, span: str, labelled: str) -> bool:
    if bare(gold[0]) != bare(system[0]) or gold[2] != system[2]:
        return False
    how = span if gold[2] is None else labelled
    if how == "label":
        return True
    return gold[1] == system[1] if how == "exact" else shares(gold[1], system[1])


def shac(gold: list[Event], system: list[Event], trigger: str, span: str, labelled: str) -> dict:
    """{(event, argument, value or None): [gold, predicted, tp]} of one document (span: exact, overlap)."""
    rows: dict[tuple, list[int]] = {}
    for side, events in enumerate((gold, system)):
        for kind, _, arguments in events:
            rows.setdefault((kind, "Trigger", None), [0, 0, 0])[side] += 1
            for role, _, value in arguments:
                rows.setdefault((kind, bare(role), value), [0, 0, 0])[side] += 1
    for i, j in align(gold, system, trigger):
        rows[gold[i][0], "Trigger", None][2] += 1
        used: set[int] = set()
        for reference in gold[i][2]:
            for k, candidate in enumerate(system[j][2]):
                if k not in used and argument_equal(reference, candidate, span, labelled):
                    used.add(k)
                    rows[gold[i][0], bare(reference[0]), reference[2]][2] += 1
                    break
    return rows
