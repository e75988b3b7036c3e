"""Instruction tuning of a decoder (supervised fine-tuning: loss on response tokens only) and constrained generation.

Shape legend: ``B`` rows, ``L`` tokens, ``N`` tokens to be predicted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from clinical_ie.data.chat_tokenizer import ChatTokenizer
from clinical_ie.data.padding import Batch
from clinical_ie.data.response_rows import dummy_row, rows_of_responses
from clinical_ie.decoding.generation import GeneratedSequence, GenerationQueue, GenerationRequest
from clinical_ie.decoding.rank_synchronization import most_of_ranks
from clinical_ie.decoding.token_spans import spelled_tokens
from clinical_ie.decoding.token_trie import token_trie
from clinical_ie.errors import SettingError
from clinical_ie.models.cross_entropy import chunked_cross_entropy, chunks_of
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.packed_attention import PackedAttention, PackedRows
from clinical_ie.models.positions import most_positions
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.tasks.instruction import Completion, Instruction, InstructionExample

_LOG = logging.getLogger(__name__)
_LINKS_SHARE = 0.25  # a model that learned little goes on to the end of its tokens
_DEV_ROW = 2048
"""Tokens of a row of the development loss."""


class InstructionGenerator(TunedModule):
    """Learns the responses of instructions and generates completions.

    Completions of a pass come from one queue: a step returns those that are finished, which may be of examples of earlier batches, and
    the last step of a loop returns the rest.

    Args:
        backbone: Hub name, local folder, GGUF file, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data.
        constrained: Grammar-constrained decoding: completions hold types of the prompt, words of its text and numbers of its mentions only,
            for syntaxes of responses that have a grammar (lines, grouped, inline and markup).
        backtrack_threshold: The probability that the allowed tokens must have together where the model's first choice is not allowed;
            below it lines backtrack to their last branch point, and completions that copy their text go on with it. 0 for never.
        batch_size: Sequences that are generated side by side (continuous batching).
        max_new_tokens_base: Most tokens of a completion: this number, and `max_new_tokens_ratio` for each token of the text's prompt, or
            a quarter of it where given mentions are linked: gold answers of the open corpora take up to 2.7, and 0.6.
        max_new_tokens_ratio: See `max_new_tokens_base`.
        num_draft_tokens: Draft tokens of speculative decoding; 0 for none, by default 4 for constrained completions that copy their text.
        compiled: Compile the decoder's layers for training with `torch.compile` at the first step, which takes long; generation is eager.
        confidences: Keep how sure each mention and link of a constrained completion is, see `clinical_ie.prompts.spelling`.
        packed_attention: How packed rows are masked: ``auto`` skips blocks that no token sees where a GPU can (FlexAttention), and is
            ``dense`` elsewhere.
        chunk: Tokens whose logits are held at once in training (chunked cross-entropy); 0 for all.
        options: Those of `TunedModule`.
    """

    backbone: Decoder
    supported_tasks = (Instruction,)
    mixes_tasks = True
    fits_any_schema = True

    def __init__(
        self,
        backbone: str,
        schemas: dict[str, Any],
        *,
        constrained: bool = True,
        backtrack_threshold: float = 0.3,
        batch_size: int = 32,
        max_new_tokens_base: int = 64,
        max_new_tokens_ratio: float = 4.0,
        num_draft_tokens: int | None = None,
        chunk: int = 256,
        packed_attention: PackedAttention = "auto",
        compiled: bool = False,
        confidences: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(backbone, schemas, **options)
        self.constrained, self.backtrack_threshold, self.batch_size = constrained, backtrack_threshold, batch_size
        self.compiled, self.chunk = compiled, chunk
        self.packed_attention: PackedAttention = packed_attention
        self.max_new_tokens_base, self.max_new_tokens_ratio = max_new_tokens_base, max_new_tokens_ratio
        self.num_draft_tokens, self.confidences = num_draft_tokens, confidences
        self.on_generation_step: Callable[[int, int], None] | None = None
        """Called with the numbers of completions of a pass that are finished and of those that are not."""
        self.keeps_queue = False
        """Whether the queue outlives the end of a pass, with the weights that it has merged: where nothing is trained any more."""
        self._queue: GenerationQueue | None = None
        self._constrained: set[str] = set()
        """Of the examples in the queue, those whose completions are constrained."""

    def configure_model(self) -> None:
        """Load the decoder once, where the strategy wants it."""
        if "backbone" in self._modules:
            return
        with self.loading():
            self.backbone = Decoder(
                self.backbone_name,
                peft=self.peft,
                freeze=self.frozen_base,
                dropout=self.backbone_dropout,
                gradient_checkpointing=self.gradient_checkpointing,
                base_dtype=self.held_dtype(),
                packed_attention=self.packed_attention,
                quantized=self.quantized,
            )
            if self.compiled:
                cast("Any", self.backbone.base).get_decoder().compile(dynamic=True)  # in place, so weights keep their names
            self._positions = most_positions(self.backbone.base.config)
            self.heads = torch.nn.Module()  # the vocabulary's scores are the backbone's own
            self.subwords = ChatTokenizer(self.backbone_name)

    def on_fit_start(self) -> None:
        """Refuse packed rows where the decoder cannot keep the examples of a row apart.

        Raises:
            SettingError: It cannot.
        """
        packing = getattr(getattr(self.trainer, "datamodule", None), "packing", False)
        if packing and self.backbone.packing_problem is not None:
            raise SettingError(
                f"{self.backbone_name} cannot keep packed examples apart: behind another one, an example"
                f" {self.backbone.packing_problem}; give data.packing: false"
            )

    def _loss(self, batch: Batch) -> Tensor:
        """The sum over the tokens of all responses, which attend to their own prompts only (packed rows)."""
        rows = PackedRows(batch["segment_ids"], batch["prefix_segment_ids"])
        hidden = self.backbone(batch["input_ids"], batch["position_ids"], rows)
        states = hidden.flatten(0, 1)[batch["loss_positions"]]
        chunks = most_of_ranks(chunks_of(len(states), self.chunk), self.backbone)
        return chunked_cross_entropy(states, batch["targets"], self.backbone.logits, chunks)

    def _add_dev_loss(self, batch: Batch) -> None:
        """Add to the loss over response tokens (teacher forcing), which costs one pass over each example.

        Examples that are longer than the decoder has positions are left out of it: their completions are cut off, and counted there.
        """
        # the last token of a response is not read
        readable = [example for example in batch["examples"].examples if len(example.response) <= self._room(example) + 1]
        rows = rows_of_responses(readable, _DEV_ROW, self.subwords.pad_id, packed=self.backbone.packing_problem is None)
        number = sum(len(example.response) for example in readable)
        total = torch.zeros((), device=self.device)
        for row in range(most_of_ranks(len(rows), self.backbone)):
            if row < len(rows):
                total = total + self._loss(move_data_to_device(rows[row], self.device))
            else:  # other ranks have more, and need this one's shards
                self._loss(move_data_to_device(dummy_row(self.subwords.end_id), self.device))
        self.add_dev_loss(total, number if batch["batch_targets"] else 0)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss, as its share of the mean over all response tokens of the optimizer step."""
        return self.step_loss(batch, self._loss(batch))

    def on_validation_epoch_start(self) -> None:  # noqa: D102 (see the base)
        super().on_validation_epoch_start()
        self._queue = None

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    def without_dev_loss(self) -> None:  # noqa: D102 (see the base)
        if self._positions is not None:
            problem = f"no development example fits into the {self._positions} positions of the decoder"
            rank_zero_only(_LOG.warning)(f"dev/loss is left out: {problem}")

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> completion; and the loss."""
        self._add_dev_loss(batch)
        return self._outputs(batch, "dev")

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> completion."""
        return self._outputs(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> completion."""
        return self._outputs(batch)

    def remaining_outputs(self) -> dict[str, Any]:
        """Example id -> completion, of all that still wait or run; the pass ends with it."""
        return self._generated(to_the_end=True)

    def _max_new_tokens(self, example: InstructionExample) -> int:
        """Most tokens of a completion: by the length of the question, and never behind the last position of the decoder.

        0 where the prompt takes all positions.
        """
        ratio = self.max_new_tokens_ratio * (_LINKS_SHARE if example.given else 1)
        wanted = self.max_new_tokens_base + int(ratio * len(example.input_ids))
        return int(max(0, min(wanted, self._room(example))))

    def _room(self, example: InstructionExample) -> float:
        """Positions of the decoder behind the prompt; below 0 where the prompt itself has not enough."""
        if self._positions is None:
            return math.inf
        return self._positions - self.backbone.num_virtual_tokens - len(example.prefix_ids) - len(example.input_ids)

    def _outputs(self, batch: Batch, logged: str | None = None) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        if self._queue is None:
            self._queue, self._constrained = self._new_queue(), set()
        queue = self._queue
        for example in batch["examples"].examples:
            if not example.id:  # a dummy batch; the queue itself keeps step with other ranks
                continue
            limit = self._max_new_tokens(example)
            if not limit:  # what is not asked counts as a completion that was cut off before its first token
                outputs[example.id] = Completion("", truncated=True)
                continue
            grammar = example.grammar if self.constrained else None
            queue.add(example.id, GenerationRequest(example.prefix_ids, example.input_ids, limit, grammar))
            if grammar is not None:
                self._constrained.add(example.id)
        last = self._is_last_batch()
        outputs |= self._generated(to_the_end=last)
        if logged is not None and last:
            speed = queue.tokens / queue.seconds
            self.log(f"{logged}/tokens_per_second", speed, prog_bar=True, reduce_fx="sum", sync_dist=True, batch_size=1)
        return outputs

    def _new_queue(self) -> GenerationQueue:
        return GenerationQueue(
            self.backbone,
            self.subwords,
            batch_size=self.batch_size,
            num_draft_tokens=self.num_draft_tokens,
            backtrack_threshold=self.backtrack_threshold,
            confidences=self.confidences,
            on_step=self.on_generation_step,
        )

    def _generated(self, *, to_the_end: bool) -> dict[str, Any]:
        if self._queue is None:
            return {}
        queue, self._queue = self._queue, None  # what fails or ends is gone, with its weights and keys
        finished = queue.run(to_the_end=to_the_end)
        if self.keeps_queue or not to_the_end:
            self._queue = queue
        return {name: self._completion(name, sequence) for name, sequence in finished.items()}

    def _completion(self, name: str, sequence: GeneratedSequence) -> Completion:
        constrained = name in self._constrained
        self._constrained.discard(name)
        text = self.subwords.decode(sequence.ids)
        tokens = spelled_tokens(text, sequence, token_trie(self.subwords.tokenizer)) if constrained and sequence.logs else ()
        return Completion(text, sequence.truncated, constrained, sequence.backtracks, tokens)

    def _is_last_batch(self) -> bool:
        """Whether a loop of the trainer runs and has come to its end: what is done behind it may change the weights (averages)."""
        progress = getattr(self._trainer and self._trainer._active_loop, "batch_progress", None)
        return progress is not None and bool(progress.is_last_batch)
