"""What ``results.json`` says of a run itself, typed: its settings that matter to a table, what it is known by, and its cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from clinical_ie.fields import Fields, MalformedDataError, elements, integer, kind_of, string
from clinical_ie.reports.entry import anything, number


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Settings, identity and cost of a run; None where its file does not say so, as that of a pipeline of several runs.

    `model` is the base's name, `tuning` what of it is trained, `shots` what was taken of held-out corpora to learn from, by corpus;
    `fingerprint` stands for the run, `data` for what it learned from, `commit` for its code. Seconds are of the whole run, bytes of memory
    the most that it held.
    """

    model: str | None = None
    tuning: str | None = None
    seed: int | None = None
    held_out: list[str] | None = None
    shots: dict[str, Any] | None = None
    fingerprint: str | None = None
    data: str | None = None
    commit: str | None = None
    steps: int | None = None
    seconds: float | None = None
    training_subwords: int | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    peak_memory_bytes: int | None = None
    checkpoint_bytes: int | None = None

    @classmethod
    def read(cls, run: Fields) -> RunFacts:
        """From the ``run`` of a results file, which holds more.

        Raises:
            MalformedDataError: A value has the wrong type.
        """
        given = {one.name: run.data.get(one.name) for one in fields(cls)}
        return cls(**{name: _READERS.get(name, integer)(value, run.at(name)) for name, value in given.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        """By name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def _seed(value: object, place: str) -> int:
    if not isinstance(value, int):  # Lightning lets true stand for any seed
        raise MalformedDataError(place, f"found {kind_of(value)}", expected="a number without a fraction")
    return value


def _names(value: object, place: str) -> list[str]:
    return [string(one, f"{place}[{number}]") for number, one in enumerate(elements(value, place))]


_READERS: dict[str, Callable[[object, str], Any]] = {
    **dict.fromkeys(("model", "tuning", "fingerprint", "data", "commit"), string),
    **{"seed": _seed, "held_out": _names, "shots": anything, "seconds": number},
}
