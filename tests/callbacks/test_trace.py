"""Traces of ranks: lines come as they are written, stay small, and name who is behind in a real run of two."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from clinical_ie.callbacks.trace import COLLECTIVES, RankTrace, Trace
from clinical_ie.commands.doctor_trace import read_traces, who_waits
from tests.callbacks.sleeping_rank import fit_with_a_sleeper
from tests.integration.processes import in_ranks


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_there_when_it_is_written(tmp_path: Path) -> None:
    trace = RankTrace(tmp_path / "trace" / "rank_0.jsonl", {"rank": 0})
    trace("batch", epoch=0, batch=2, step=1)
    start, batch = lines(trace.path)
    assert (start["event"], start["rank"]) == ("start", 0)
    assert {name: batch[name] for name in ("event", "epoch", "batch", "step")} == {"event": "batch", "epoch": 0, "batch": 2, "step": 1}
    assert abs(batch["time"] - time.time()) < 3600
    assert batch["monotonic"] >= start["monotonic"]
    trace.close()


def test_an_operation_tells_when_it_is_entered(tmp_path: Path) -> None:
    trace = RankTrace(tmp_path / "rank_0.jsonl", {})

    def inner() -> list[str]:
        return [line["event"] for line in lines(trace.path)]

    reduce = trace.watched("all_reduce", inner)
    barrier = trace.watched("barrier", reduce)  # what it calls in turn is its own affair
    assert barrier() == ["start", "collective"]
    assert reduce()[-1] == "collective"
    assert [(line["op"], line["n"]) for line in lines(trace.path) if line["event"] == "collective_end"] == [
        ("barrier", 1),
        ("all_reduce", 2),
    ]
    trace.close()


def test_a_trace_stays_small(tmp_path: Path) -> None:
    trace = RankTrace(tmp_path / "rank_0.jsonl", {"rank": 0, "world_size": 1}, largest=2000)
    for batch in range(200):
        trace("batch", epoch=0, batch=batch, step=batch)
    trace.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"rank_0.jsonl", "rank_0.1.jsonl"}
    assert max(sizes.values()) < 2300
    assert lines(trace.path)[0]["event"] == "start"
    (state,) = read_traces(tmp_path)
    assert (state.last["batch"], state.batches) == (199, 200)


def test_another_file_goes_on_with_the_counts(tmp_path: Path) -> None:
    """Files are as many as it takes, and the first of them are gone; what was counted in them is not."""
    trace = RankTrace(tmp_path / "rank_0.jsonl", {"rank": 0, "world_size": 1, "pid": 7}, largest=2000)
    barrier = trace.watched("barrier", lambda: None)
    for _ in range(30):
        barrier()
    for batch in range(100):
        trace("batch", epoch=0, batch=batch, step=batch)
    (state,) = read_traces(tmp_path)
    assert (state.collectives, state.batches) == (30, 100)
    trace.close()
    again = RankTrace(tmp_path / "rank_0.jsonl", {"rank": 0, "world_size": 1, "pid": 7}, largest=2000)  # the test behind fit
    again("batch", epoch=0, batch=0, step=0)
    again.close()
    (state,) = read_traces(tmp_path)
    assert (state.collectives, state.batches) == (0, 1)


def test_a_full_disk_ends_the_trace_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = RankTrace(tmp_path / "rank_0.jsonl", {})

    def full(*given: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    trace("batch", epoch=0, batch=0, step=0)
    monkeypatch.undo()
    trace("batch", epoch=0, batch=1, step=1)
    assert len(lines(trace.path)) == 1


class Ranks:
    def __init__(self, world_size: int) -> None:
        self.world_size, self.global_rank, self.current_epoch, self.global_step, self.fast_dev_run = world_size, 0, 0, 0, False


@pytest.mark.parametrize(("ranks", "enabled", "writes"), [(1, None, False), (2, None, True), (1, True, True), (2, False, False)])
def test_on_by_default_where_there_are_several_ranks(ranks: int, enabled: bool | None, writes: bool, tmp_path: Path) -> None:
    functions = {name: getattr(torch.distributed, name, None) for name in COLLECTIVES}
    callback, trainer, module = Trace(str(tmp_path), enabled), Ranks(ranks), torch.nn.Module()
    callback.setup(trainer, module, "fit")  # type: ignore[arg-type]
    callback.on_train_batch_start(trainer, module, None, 0)  # type: ignore[arg-type]
    callback.teardown(trainer, module, "fit")  # type: ignore[arg-type]
    assert (tmp_path / "trace" / "rank_0.jsonl").exists() == writes
    assert functions == {name: getattr(torch.distributed, name, None) for name in COLLECTIVES}


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(300)
def test_a_rank_that_sleeps_is_named(tiny_bert: str, tmp_path: Path) -> None:
    """Two processes, of which one stops in its third batch; when it is woken, the run goes on to its end."""
    run, wake, found = tmp_path / "run", tmp_path / "wake", None
    fit = (
        str(wake), "fit", "-c", "task/entity_tagging", f"--model.init_args.backbone={tiny_bert}", "-c", "data/demo", f"--run_dir={run}",
        "--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.precision=32-true",
        "--trainer.max_steps=4", "--data.batch_budget=300", "--test_after_fit=false", "--data.dev_documents=2",
    )  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(in_ranks, fit_with_a_sleeper, *fit, ranks=2)
        try:
            while not running.done() and found is None:
                time.sleep(0.2)
                if all((run / "trace" / f"rank_{rank}.jsonl").exists() for rank in (0, 1)):
                    states = read_traces(run)
                    asleep = states[1].last["event"] == "batch" and states[1].last["batch"] == 2
                    found = who_waits(states)[-1] if asleep and states[0].last["event"] == "backward" else None
        finally:
            wake.touch()
        code, printed = running.result()
    assert code == 0, printed[-3000:]
    assert found is not None
    assert found.level == "problem"
    assert found.text.startswith(
        "rank 0 waits for rank 1: in the backward pass, where gradients are averaged, in training batch 2 of epoch 0"
    )
    assert "rank 1 was last seen in training batch 2 of epoch 0" in found.text
    over = read_traces(run)
    assert who_waits(over)[-1].text == "all 2 ended as they should"
    assert min(state.collectives for state in over) > 5
    assert {"save", "evaluation", "evaluation_batch", "collective"} <= {line["event"] for line in lines(run / "trace" / "rank_0.jsonl")}
