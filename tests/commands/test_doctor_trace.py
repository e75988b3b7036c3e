"""Planted traces, and one that a real hang leaves: who waited for whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.cli import main
from clinical_ie.commands.doctor_findings import Finding
from clinical_ie.commands.doctor_trace import read_traces, who_waits
from clinical_ie.errors import InputError

NOW = 1000.0


def plant(folder: Path, *ranks: list[dict[str, Any]], world: int | None = None) -> None:
    (folder / "trace").mkdir(exist_ok=True)
    for rank, events in enumerate(ranks):
        start = {"event": "start", "time": 0, "rank": rank, "world_size": world or len(ranks), "host": f"node{rank}", "pid": 70 + rank}
        lines = [json.dumps({"time": 900, "monotonic": 1, **event}) for event in (start, *events)]
        (folder / "trace" / f"rank_{rank}.jsonl").write_text("\n".join(lines) + "\n")


def verdict(folder: Path) -> Finding:
    return who_waits(read_traces(folder), NOW)[-1]


BATCH = {"event": "batch", "epoch": 0, "batch": 3, "step": 3}
BACKWARD = {"event": "backward", "time": 910}


def collective(op: str, n: int) -> dict[str, Any]:
    return {"event": "collective", "op": op, "n": n}


def test_one_rank_waits_for_another_in_a_batch(tmp_path: Path) -> None:
    plant(tmp_path, [BATCH, BACKWARD], [BATCH], [BATCH, BACKWARD])
    found = verdict(tmp_path)
    assert found.level == "problem"
    assert found.text.startswith("ranks 0, 2 wait for rank 1: in the backward pass, where gradients are averaged")
    assert "rank 1 was last seen in training batch 3 of epoch 0 (step 3), 1 min 40 s ago" in found.text
    assert "waited for 1 min 30 s" in found.text
    assert "on node1, `py-spy dump --pid 71`" in found.remedy


def test_ranks_wait_for_one_that_still_evaluates(tmp_path: Path) -> None:
    evaluation = {"event": "evaluation_batch", "part": "dev", "batch": 5}
    plant(tmp_path, [evaluation, collective("all_reduce", 12)], [{**evaluation, "batch": 2}])
    assert "rank 0 waits for rank 1: in all_reduce (its collective 12), in batch 5 of the evaluation on dev" in verdict(tmp_path).text
    assert "rank 1 was last seen in batch 2 of the evaluation on dev" in verdict(tmp_path).text


def test_ranks_that_took_different_ways(tmp_path: Path) -> None:
    plant(tmp_path, [BATCH, collective("all_gather", 7)], [BATCH, collective("all_reduce", 7)])
    found = verdict(tmp_path)
    assert found.level == "problem"
    assert "different collectives" in found.text
    assert "all_gather (its collective 7)" in found.text
    assert "all_reduce (its collective 7)" in found.text


def test_all_in_the_same_operation(tmp_path: Path) -> None:
    plant(tmp_path, [BATCH, collective("barrier", 4)], [BATCH, collective("barrier", 4)])
    assert "the network between them" in verdict(tmp_path).remedy
    assert who_waits(read_traces(tmp_path), 901.0)[-1].level == "ok"


def test_a_rank_that_failed_is_named_first(tmp_path: Path) -> None:
    plant(tmp_path, [BATCH, BACKWARD], [BATCH, {"event": "exception", "type": "OutOfMemoryError"}])
    found = verdict(tmp_path)
    assert "rank 1 ended first, by OutOfMemoryError, in training batch 3" in found.text
    assert "rank 0 waits for what never comes" in found.text


def test_a_rank_that_has_less_to_do(tmp_path: Path) -> None:
    plant(tmp_path, [BATCH, BACKWARD], [BATCH, {"event": "end"}])
    assert "rank 1 ended, but rank 0 did not" in verdict(tmp_path).text


def test_a_rank_without_a_trace(tmp_path: Path) -> None:
    plant(tmp_path, [BATCH], world=2)
    assert "rank 1 of 2 left no trace" in verdict(tmp_path).text


def test_a_gpu_that_left_an_operation_before_it_was_done(tmp_path: Path) -> None:
    out = {"event": "collective_end", "op": "all_reduce", "n": 8, "seconds": 0.0}
    plant(tmp_path, [BATCH, collective("all_reduce", 8), out], [BATCH, collective("all_reduce", 7), {**out, "n": 7}])
    assert verdict(tmp_path).text.startswith("rank 1 is behind: behind all_reduce (its collective 7)")


def test_a_run_that_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, [BATCH, {"event": "end"}], [BATCH, {"event": "end"}])
    assert main(["doctor", "--trace", str(tmp_path)]) == 0
    assert "all 2 ended as they should" in capsys.readouterr().out


def test_the_last_start_counts_and_a_cut_line_does_not(tmp_path: Path) -> None:
    plant(tmp_path, [BATCH, {"event": "exception", "type": "ValueError"}])
    first = (tmp_path / "trace" / "rank_0.jsonl").read_text()
    plant(tmp_path, [BATCH, {"event": "end"}])
    second = (tmp_path / "trace" / "rank_0.jsonl").read_text()
    (tmp_path / "trace" / "rank_0.jsonl").write_text(first + second.replace('"pid": 70', '"pid": 90') + '{"time": 9')
    assert verdict(tmp_path).level == "ok"


def start(rank: int, world: int, pid: int, at: float, command: str = "fit", **more: int) -> dict[str, Any]:
    named = {"event": "start", "time": at, "command": command, "rank": rank, "world_size": world, "host": f"node{rank}", "pid": pid}
    return named | more


def plant_lines(folder: Path, rank: int, *events: dict[str, Any], part: str = "") -> None:
    (folder / "trace").mkdir(exist_ok=True)
    (folder / "trace" / f"rank_{rank}{part}.jsonl").write_text("".join(json.dumps({"monotonic": 1, **event}) + "\n" for event in events))


def test_ranks_of_an_earlier_start_do_not_count(tmp_path: Path) -> None:
    """Four ranks that were stopped, and go on as two."""
    for rank in range(4):
        earlier = [start(rank, 4, 70 + rank, 100), {**BATCH, "time": 200}, {"event": "exception", "type": "Stopped", "time": 201}]
        later = [start(rank, 2, 80 + rank, 900), {**BATCH, "time": 999}] if rank < 2 else []
        plant_lines(tmp_path, rank, *earlier, *later)
    assert [state.rank for state in read_traces(tmp_path)] == [0, 1]
    assert verdict(tmp_path).text == "all are at work; the last line is 1 s old"


def test_a_rank_that_did_not_come_again_has_left_no_trace(tmp_path: Path) -> None:
    for rank in range(2):
        earlier = [start(rank, 2, 70 + rank, 100), {**BATCH, "time": 200}, {"event": "end", "time": 201}]
        plant_lines(tmp_path, rank, *earlier, *([start(0, 2, 80, 900), {**BATCH, "time": 999}] if rank == 0 else []))
    found = verdict(tmp_path)
    assert (found.level, found.text) == ("problem", "rank 1 of 2 left no trace since the run was last started")


def test_clocks_of_nodes_that_differ_a_little(tmp_path: Path) -> None:
    """Rank 1 begins the test in the moment in which rank 0 ends fit; its clock is three seconds behind."""
    for rank, late in ((0, 0), (1, -3)):
        fit = [start(rank, 2, 70 + rank, 100 + late), {"event": "end", "time": 900 + late}]
        plant_lines(tmp_path, rank, *fit, start(rank, 2, 70 + rank, 901 + late, "test"), {**BATCH, "time": 999 + late})
    assert [state.rank for state in read_traces(tmp_path)] == [0, 1]


def test_the_test_behind_fit_is_a_start_of_its_own(tmp_path: Path) -> None:
    """In the same process; its collectives are counted from 1 again."""
    for rank, number in ((0, 7), (1, 3)):
        out = {"event": "collective_end", "op": "all_reduce", "seconds": 0.1}
        fit = [start(rank, 2, 70 + rank, 0), {**collective("all_reduce", 5000), "time": 500}, {**out, "n": 5000, "time": 500}]
        test = [
            start(rank, 2, 70 + rank, 600, "test"),
            {**collective("all_reduce", number), "time": 700},
            {**out, "n": number, "time": 700},
        ]
        plant_lines(tmp_path, rank, *fit, {"event": "end", "time": 510}, *test)
    found = verdict(tmp_path)
    assert found.level == "problem"
    assert found.text.startswith("rank 1 is behind: behind all_reduce (its collective 3)")


def test_a_start_whose_first_file_is_lost(tmp_path: Path) -> None:
    """Rank 0 began its third file; rank 1 is in its first. Both have begun the same batches."""
    own = start(0, 2, 70, 880, collectives=40, batches=7)
    plant_lines(tmp_path, 0, own, {**BATCH, "time": 990}, part=".1")
    plant_lines(tmp_path, 0, {**own, "time": 995, "batches": 8}, {**BATCH, "time": 996})
    plant_lines(tmp_path, 1, start(1, 2, 71, 100), *({**BATCH, "time": 110 + number} for number in range(8)), {**BATCH, "time": 996})
    first, second = read_traces(tmp_path)
    assert (first.collectives, first.batches, second.batches) == (40, 9, 9)


def test_silence_of_all_ranks_is_a_warning(tmp_path: Path) -> None:
    plant(tmp_path, *([BATCH, BACKWARD, {"event": "backward_end", "time": 911}] for _ in range(2)))
    assert who_waits(read_traces(tmp_path), 920.0)[-1].level == "ok"
    found = who_waits(read_traces(tmp_path), 911.0 + 3 * 3600)[-1]
    assert found.level == "warning"
    assert "no rank has written a line for 3 h 0 min: all were last seen behind the backward pass" in found.text
    assert "on node0, `py-spy dump --pid 70`" in found.remedy


def test_no_traces(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was srun forgotten"):
        read_traces(tmp_path)
