"""Who waited for whom, from the traces that ranks leave (`callbacks/trace.py`)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinical_ie.callbacks.trace_events import BATCHES, FOLDER
from clinical_ie.commands.doctor_findings import Finding
from clinical_ie.errors import InputError
from clinical_ie.files import read_text
from clinical_ie.reports.durations import duration

Event = Mapping[str, Any]
_DONE = ("end", "exception")
_LONG = 60.0
"""Seconds without a line after which something is wrong."""
_SKEW = 10.0
"""Seconds by which the clocks of two nodes may differ."""
_LOOK = "look at rank {rank} where it stands: on {host}, `py-spy dump --pid {pid}`, its disk, its GPU"


@dataclass(frozen=True, slots=True)
class RankState:
    """Where a rank was last seen.

    Args:
        rank: Its number.
        start: The first event of its last start.
        last: Its last event.
        collectives: How many collective operations it has entered.
        batches: How many batches, of training and evaluation, it has begun.
        place: The last event that says where in the run it is: a batch, an evaluation, a checkpoint.
        before: When it wrote its last line before that start; minus infinity where there was none.
    """

    rank: int
    start: Event
    last: Event
    collectives: int
    batches: int
    place: Event
    before: float = -math.inf

    @property
    def waits(self) -> bool:
        """Whether it is where only the other ranks can let it go on."""
        return self.last["event"] in ("collective", "backward")

    @property
    def progress(self) -> tuple[int, int]:
        """The further, the higher."""
        return self.collectives, self.batches

    def said(self) -> str:
        """What it was doing last, in words."""
        last = self.last
        doing = {
            "start": "had just started",
            "collective": f"in {last.get('op')} (its collective {last.get('n')})",
            "collective_end": f"behind {last.get('op')} (its collective {last.get('n')})",
            "backward": "in the backward pass, where gradients are averaged",
            "backward_end": "behind the backward pass",
            "save": f"saving a checkpoint at step {last.get('step')}",
            "exception": f"ended by {last.get('type')}",
            "end": "ended as it should",
        }.get(last["event"], "")
        where = _where(self.place)
        return f"{doing}{', ' if doing and where else ''}{where}" if self.last["event"] not in _DONE else doing


def _where(event: Event) -> str:
    match event["event"]:
        case "batch":
            return f"in training batch {event['batch']} of epoch {event['epoch']} (step {event['step']})"
        case "batch_end":
            return f"behind training batch {event['batch']} of epoch {event['epoch']} (step {event['step']})"
        case "evaluation":
            return f"in the evaluation on {event['part']}"
        case "evaluation_batch":
            return f"in batch {event['batch']} of the evaluation on {event['part']}"
        case "evaluation_end":
            return f"behind the evaluation on {event['part']}"
    return ""


_PLACES = ("batch", "batch_end", "evaluation", "evaluation_batch", "evaluation_end")


def read_traces(run_dir: Path) -> list[RankState]:
    """Where each rank was last seen, in the last start of the run; what ranks left of earlier starts only is left out.

    Args:
        run_dir: The run's folder, or its folder of traces.

    Raises:
        InputError: There are no traces.
    """
    folder = run_dir / FOLDER if (run_dir / FOLDER).is_dir() else run_dir
    files = {
        int(path.stem.removeprefix("rank_")): path for path in folder.glob("rank_*.jsonl") if path.stem.removeprefix("rank_").isdecimal()
    }
    if not files:
        raise InputError(
            f"{folder}: no traces. They are written once all ranks have met, where there are several: if the job hangs, ranks wait for one"
            " that never came (was srun forgotten, or MASTER_ADDR wrong? `clinical-ie doctor` inside the job looks)"
        )
    return _of_last_start([_state(rank, path) for rank, path in sorted(files.items())])


def _of_last_start(states: Sequence[RankState]) -> list[RankState]:
    """The ranks that took part in the last start: it may have had fewer, and some of them may not have come as far as to write.

    Ranks meet before the first of them writes, so no rank begins while another is still in the start before.
    """
    world = max(states, key=lambda state: float(state.start["time"])).start.get("world_size") or len(states)
    return [
        state
        for state in states
        if state.rank < int(world) and all(state.start["time"] > other.before - _SKEW for other in states if other is not state)
    ]


def _state(rank: int, path: Path) -> RankState:
    events: list[Event] = []
    earlier = path.with_suffix(".1.jsonl")
    for line in (read_text(earlier) if earlier.exists() else "").splitlines() + read_text(path).splitlines():
        try:
            event = json.loads(line)
            events.append(event | {"event": str(event["event"]), "time": float(event["time"])})
        except (ValueError, KeyError, TypeError):
            continue  # the line in which a killed process was
    starts = [place for place, event in enumerate(events) if event["event"] == "start"]
    if not starts:
        raise InputError(f"{path}: no trace of a rank; expected what `clinical-ie fit` writes")
    # a file that only goes on says how far the start had come by then; of one that is lost by now, the first that is left says it
    begins = next((place for place in reversed(starts) if "batches" not in events[place]), starts[0])
    own = events[begins:]
    entered = [event["n"] for event in own if event["event"] == "collective"]
    batches = sum(event["event"] in BATCHES for event in own)
    place = next((event for event in reversed(own) if event["event"] in _PLACES), own[0])
    return RankState(
        rank,
        start=own[0],
        last=own[-1],
        collectives=max(entered, default=int(own[0].get("collectives", 0))),
        batches=int(own[0].get("batches", 0)) + batches,
        place=place,
        before=max((float(event["time"]) for event in events[:begins]), default=-math.inf),
    )


def who_waits(states: Sequence[RankState], now: float | None = None) -> list[Finding]:
    """Which ranks wait, for whom, and since when.

    Args:
        states: Of all ranks that left a trace.
        now: The wall clock, in seconds; by default that of this machine.
    """
    now = time.time() if now is None else now
    world = max(int(state.start.get("world_size") or 1) for state in states)
    missing = sorted(set(range(world)) - {state.rank for state in states})
    lines = [Finding("ok", _name(state), f"{state.said()}, {_ago(now - state.last['time'])}") for state in states]
    if missing:
        text = f"{_ranks(missing)} of {world} left no trace since the run was last started"
        return [
            *lines,
            Finding("problem", "ranks", text, "look for its process and for the end of its log: it never began, or cannot write there"),
        ]
    return [*lines, _verdict(states, now)]


def _verdict(states: Sequence[RankState], now: float) -> Finding:
    ended = [state for state in states if state.last["event"] == "exception"]
    going = [state for state in states if state.last["event"] not in _DONE]
    if not going and not ended:
        return Finding("ok", "ranks", f"all {len(states)} ended as they should")
    if ended:
        rest = f"; {_ranks([state.rank for state in going])} wait{'s' if len(going) == 1 else ''} for what never comes" if going else ""
        first = min(ended, key=lambda state: state.last["time"])
        text = f"rank {first.rank} ended first, by {first.last['type']}, {_where(first.place)}{rest}"
        return Finding("problem", "ranks", text, f"read what rank {first.rank} printed last (on {first.start.get('host')})")
    quiet = now - max(state.last["time"] for state in going)
    if len(states) > len(going):
        over = [state.rank for state in states if state.last["event"] == "end"]
        text = f"{_ranks(over)} ended, but {_ranks([state.rank for state in going])} did not: they took different numbers of steps"
        return Finding("problem", "ranks", text, "report it with the traces")
    waiting = [state for state in going if state.waits]
    behind = [state for state in going if not state.waits]
    if waiting and behind:
        late = min(behind, key=lambda state: state.progress)
        since = max(state.last["time"] for state in waiting)
        names = _ranks([state.rank for state in behind if state.progress == late.progress])
        text = (
            f"{_ranks([state.rank for state in waiting])} wait{'s' if len(waiting) == 1 else ''} for {names}: {waiting[0].said()};"
            f" rank {late.rank} was last seen {late.said()}, {duration(max(0.0, now - late.last['time']))} ago,"
            f" the others have waited for {duration(max(0.0, now - since))}"
        )
        return Finding("problem", "ranks", text, _LOOK.format(rank=late.rank, host=late.start.get("host"), pid=late.start.get("pid")))
    if len(waiting) > 1:
        return _all_wait(waiting, quiet)
    late, ahead = min(going, key=lambda state: state.progress), max(going, key=lambda state: state.progress)
    if quiet > _LONG and late.collectives < ahead.collectives:  # on a GPU an operation is left at once, and waited for later
        text = f"rank {late.rank} is behind: {late.said()}, while rank {ahead.rank} was {ahead.said()}; nothing for {duration(quiet)}"
        return Finding("problem", "ranks", text, _LOOK.format(rank=late.rank, host=late.start.get("host"), pid=late.start.get("pid")))
    if quiet > _LONG:
        where = f"rank {late.rank} was last seen {late.said()}" if late.progress < ahead.progress else f"all were last seen {late.said()}"
        remedy = _LOOK.format(rank=late.rank, host=late.start.get("host"), pid=late.start.get("pid"))
        text = f"no rank has written a line for {duration(quiet)}: {where}"
        return Finding("warning", "ranks", text, f"where a batch does not take as long as that, {remedy}")
    return Finding("ok", "ranks", f"all are at work; the last line is {duration(max(0.0, quiet))} old")


def _all_wait(waiting: Sequence[RankState], quiet: float) -> Finding:
    """All are in an operation that needs all: in the same one, or in different ones."""
    least = min(waiting, key=lambda state: state.progress)
    most = max(waiting, key=lambda state: state.progress)
    if len({_call(state) for state in waiting}) == 1:
        text = f"all are {waiting[0].said()}, for {duration(max(0.0, quiet))}"
        if quiet > _LONG:
            return Finding("problem", "ranks", text, "the network between them is slow or broken (NCCL_DEBUG=INFO says more)")
        return Finding("ok", "ranks", text)
    if most.progress == least.progress:
        least, most = waiting[0], next(state for state in waiting if _call(state) != _call(waiting[0]))
    text = f"ranks are in different collectives: rank {least.rank} {least.said()}; rank {most.rank} {most.said()}: each waits for the other"
    return Finding("problem", "ranks", text, "ranks took different ways; report it with the traces")


def _call(state: RankState) -> tuple[Any, ...]:
    return state.last["event"], state.last.get("op"), state.last.get("n")


def _name(state: RankState) -> str:
    return f"rank {state.rank} on {state.start.get('host', '?')}"


def _ranks(numbers: Sequence[int]) -> str:
    return f"rank{'s' if len(numbers) != 1 else ''} {', '.join(map(str, numbers))}"


def _ago(seconds: float) -> str:
    return f"{duration(max(0.0, seconds))} ago"
