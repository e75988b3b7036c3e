"""What a run's checkpoints are called (torch is not needed to know that)."""

BEST = "best.ckpt"
"""The state with the best development score: what is tested and exported."""
LAST = "last.ckpt"
"""The state that a run goes on from."""
