"""What the commands print: our own log on stderr, without other libraries' remarks that no user can act on."""

from __future__ import annotations

import logging
import os
import sys
import warnings

_QUIET = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda", "lightning.fabric.utilities.seed")
"""Loggers whose warnings count, but not what they tell besides: the seed, the devices, tips."""


class _ToStderr(logging.Handler):
    """Writes to what ``sys.stderr`` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def quieten() -> None:
    """Keep remarks that no user can act on from the screen; called before torch and its kin are imported, since some remark on that."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    ours = logging.getLogger("clinical_ie")
    ours.setLevel(logging.INFO)
    if not ours.handlers:
        ours.addHandler(_ToStderr())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "The `srun` command is available on your system but is not used",  # a login node, or a job of one process
        "The '.*dataloader' does not have many workers",
        "Checkpoint directory .* exists and is not empty",
        "Glyph .* missing from font",  # names of types in scripts that the confusion figure's font lacks
        "Total length of .* across ranks is zero",  # documents without examples are written and scored all the same
        "The dirpath has changed from",  # a checkpoint may be tested in another folder
        "The number of training batches .* is smaller than the logging interval",
        "`torch.distributed.* is deprecated",  # DeepSpeed's calls, a line for each of them
        ".*ended before the epoch ended and your dataloader is not resumable.*",  # it is: the sampler leaves out what was done
        "Found .* module.s. in eval mode at the start of training",
        "You're using the WeightAveraging callback with a model that overrides the configure_model callback",
        ".*gradient_checkpointing.* is deprecated",  # PEFT's and our call, for the sake of older transformers
        ".loftq_config. specified but will be ignored",  # jsonargparse gives all arguments that there are
        "(?s).*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's own call
        "(?s).*instantiate_classes.. was deprecated",  # likewise
        "(?s).*By default only one JsonargparseDeprecationWarning",
    ):
        warnings.filterwarnings("ignore", message=message)

    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
