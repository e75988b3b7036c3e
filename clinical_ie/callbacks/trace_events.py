"""What `callbacks.trace` writes and `clinical-ie doctor --trace` reads, apart so that reading needs no torch."""

FOLDER = "trace"
"""In a run's folder."""
BATCHES = ("batch", "evaluation_batch")
"""Events that begin one."""
