"""What the other ranks of a run get to see when one of them has ended."""

from __future__ import annotations

from torch import distributed

from clinical_ie.errors import RunError


def as_lost_rank(error: RuntimeError) -> RunError | None:
    """What to tell where a collective operation failed since another rank is gone or out of reach; None for any other error.

    NCCL and the rendezvous raise `torch.distributed.DistError`, gloo a plain RuntimeError that names its source file.
    """
    said = " ".join(str(error).split())
    if not isinstance(error, distributed.DistError) and "gloo" not in said:
        return None
    return RunError(
        f"another process of the run has ended, or is out of reach ({said[:200]}); look for its own message or a kill, as for want of"
        " memory. What was saved is whole"
    )
