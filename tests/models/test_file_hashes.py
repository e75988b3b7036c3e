"""The digest of weights: by their tensors, whatever file they lie in; computed once for each state of the files."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from clinical_ie.errors import InputError, RunError
from clinical_ie.models import file_hashes
from clinical_ie.models.file_hashes import weights_digest

TENSORS = {"b": torch.arange(6, dtype=torch.float32).reshape(2, 3), "a": torch.ones(4, dtype=torch.bfloat16), "none": torch.zeros(0, 3)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "clinical_ie" / "hashes"


def saved(folder: Path, *shards: dict[str, Tensor], note: str = "pt") -> list[Path]:
    folder.mkdir()
    for number, shard in enumerate(shards):
        save_file(shard, folder / f"{number}.safetensors", metadata={"format": note})
    return sorted(folder.iterdir())


def test_the_digest_by_hand(tmp_path: Path) -> None:
    """Names in their order, each with its type and shape, and the bytes as they lie in memory (bfloat16 1.0 is 0x3F80)."""
    expected = b"a BF16 [4]\n" + bytes.fromhex("803f") * 4 + b"b F32 [2, 3]\n" + struct.pack("<6f", *range(6)) + b"none F32 [0, 3]\n"
    assert weights_digest(saved(tmp_path / "whole", TENSORS)) == hashlib.sha256(expected).hexdigest()


def test_shards_and_headers_do_not_count(tmp_path: Path) -> None:
    whole = weights_digest(saved(tmp_path / "whole", TENSORS))
    parts = [{"b": TENSORS["b"]}, {"a": TENSORS["a"], "none": TENSORS["none"]}]
    assert weights_digest(saved(tmp_path / "shards", *parts)) == whole
    assert weights_digest(saved(tmp_path / "noted", TENSORS, note="of another version")) == whole


@pytest.mark.parametrize("change", ["value", "name", "shape", "type"])
def test_what_counts(change: str, tmp_path: Path) -> None:
    value = TENSORS["b"]
    changed = {
        "value": {"b": torch.nextafter(value, torch.tensor(9.0))}, "name": {"c": value}, "shape": {"b": value.reshape(3, 2)},
        "type": {"b": value.view(torch.int32)},
    }[change]  # fmt: skip
    rest = {name: tensor for name, tensor in TENSORS.items() if name != "b"}
    assert weights_digest(saved(tmp_path / "one", TENSORS)) != weights_digest(saved(tmp_path / "two", {**rest, **changed}))


def test_other_files_count_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_bytes(b"weights")
    (tmp_path / "two.bin").write_bytes(b"weights")
    assert weights_digest([tmp_path / "one.bin"]) == weights_digest([tmp_path / "two.bin"]) == hashlib.sha256(b"7\nweights").hexdigest()


def test_files_are_read_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = saved(tmp_path / "whole", TENSORS)
    before = weights_digest(files)
    read: list[int] = []
    original = file_hashes._digest_of_tensors
    monkeypatch.setattr(file_hashes, "_digest_of_tensors", lambda found: read.append(1) or original(found))
    assert weights_digest(files) == before
    assert not read
    written = files[0].stat().st_mtime_ns
    save_file({**TENSORS, "b": TENSORS["b"] + 1}, files[0])  # as many bytes as before
    os.utime(files[0], ns=(written, written + 10**9))  # clocks of file systems tick in milliseconds
    after = weights_digest(files)
    assert (len(read), after != before) == (1, True)
    assert len(list(cache.iterdir())) == 1, "what changed takes the place of what was known"
    next(cache.iterdir()).write_text("damaged", encoding="utf-8")
    assert weights_digest(files) == after


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # root may write into any folder, but not below a file
    files = saved(tmp_path / "whole", TENSORS)
    assert weights_digest(files) == weights_digest(files)


@pytest.mark.parametrize("error", [OSError(28, "full"), RunError("the disk is full"), InputError("cannot be written")])
def test_neither_is_a_full_one(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise error

    files = saved(tmp_path / "whole", TENSORS)
    digest = weights_digest(files)
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(file_hashes, "write_text", fails)
    assert weights_digest(files) == digest


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    from clinical_ie.models.folders import weight_files

    files = saved(tmp_path / "model", {"b": TENSORS["b"]}, {"a": TENSORS["a"]}, {"none": TENSORS["none"]})
    index = {"weight_map": {"a": files[1].name, "b": files[0].name}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert weight_files(str(tmp_path / "model")) == files[:2], "an old shard that nothing names is not loaded"


def test_of_several_ranks_one_computes_and_the_others_wait(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = saved(tmp_path / "model", TENSORS)
    computed, begun = [], threading.Event()
    compute = file_hashes._digest_of_tensors

    def slowly(given: Sequence[Path]) -> str:
        computed.append(given)
        begun.set()
        time.sleep(0.2)  # the others come meanwhile
        return compute(given)

    monkeypatch.setattr(file_hashes, "_digest_of_tensors", slowly)
    found: list[str] = []
    ranks = [threading.Thread(target=lambda: found.append(weights_digest(files))) for _ in range(3)]
    ranks[0].start()
    assert begun.wait(60)
    for rank in ranks[1:]:
        rank.start()
    for rank in ranks:
        rank.join(60)
    assert found == [compute(files)] * 3
    assert len(computed) == 1
    assert not list(cache.glob("*.lock"))
