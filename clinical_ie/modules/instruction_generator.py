"""A decoder that answers instructions.

Shape legend: ``B`` rows, ``L`` tokens, ``N`` tokens to be predicted.
"""

from __future__ import annotations

import time
from typing import Any, cast

import torch
from torch import Tensor

from clinical_ie.data.collation import Batch
from clinical_ie.data.conversation import ConversationSubwords
from clinical_ie.decoding.generation import Request, generated
from clinical_ie.models.cross_entropy import summed_cross_entropy
from clinical_ie.models.decoder import Decoder, seen_in_pieces
from clinical_ie.modules.tuned_module import TunedModule
from clinical_ie.schema import Schema
from clinical_ie.tasks.instruction import Completion, Instruction, InstructionExample

_AHEAD = 4
"""Tokens guessed ahead of an answer that repeats its text."""


class InstructionGenerator(TunedModule):
    """Learns the responses of instructions and generates completions.

    Args:
        backbone: Hub name, local folder, GGUF file, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data.
        constrained: Let a completion say nothing but types of the question, words of its text and numbers of its mentions, where the
            syntax of responses allows for that (lines, grouped, inline and markup).
        confidence: The share of the model's probability that what may be said must have where its favourite may not; below it lines
            take back what led there, and answers that repeat their text go on with it. 0 for never.
        batch_size: Segments that are generated side by side; what is finished makes room for what waits.
        answer_tokens: Most tokens of an answer for each token of a question, beside `answer_room`.
        answer_room: Tokens that every answer may have.
        draft: Tokens that are guessed ahead where an answer copies its text; 0 for none, by default 4 for
            constrained answers that repeat all of it.
        compiled: Let torch compile the decoder's layers for training at the first step, which takes long; generation is not compiled.
        chunk: Tokens whose scores of the vocabulary are held at once in training; 0 for all.
        options: Those of `TunedModule`.
    """

    backbone: Decoder
    takes = (Instruction,)

    def __init__(
        self,
        backbone: str,
        schemas: dict[str, Any],
        *,
        constrained: bool = True,
        confidence: float = 0.3,
        batch_size: int = 32,
        answer_tokens: float = 4.0,
        answer_room: int = 64,
        draft: int | None = None,
        chunk: int = 256,
        compiled: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(backbone, schemas, **options)
        self.constrained, self.confidence, self.batch_size, self.chunk = constrained, confidence, batch_size, chunk
        self.compiled = compiled
        self.answer_tokens, self.answer_room, self.draft = answer_tokens, answer_room, draft

    def configure_model(self) -> None:
        """Load the decoder once, where the strategy wants it."""
        if "backbone" in self._modules:
            return
        self.backbone = Decoder(
            self.backbone_name,
            peft=self.peft,
            freeze=self.frozen_base,
            dropout=self.backbone_dropout,
            gradient_checkpointing=self.gradient_checkpointing,
            quantized=self.quantized,
        )
        if self.compiled:
            cast("Any", self.backbone.base).get_decoder().compile(dynamic=True)  # in place, so weights keep their names
        self.heads = torch.nn.Module()  # the vocabulary's scores are the backbone's own
        self.subwords = ConversationSubwords(self.backbone_name)

    def meaning(self, schemas: dict[str, Schema]) -> Any:
        """Nothing: what is asked stands in the question, so weights fit any schema."""
        return "instructions"

    def _loss(self, batch: Batch) -> Tensor:
        """The sum over the tokens of all responses."""
        visible = seen_in_pieces(batch["pieces"], batch["above"])
        hidden = self.backbone(batch["input_ids"], batch["position_ids"], visible)
        states = hidden.flatten(0, 1)[batch["predicting"]]
        return summed_cross_entropy(states, batch["targets"], self.backbone.logits, self.chunk)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss, as its share of the mean over all response tokens of the optimizer step."""
        loss = self._loss(batch)
        number = len(batch["targets"])
        self.log("train/loss", loss.detach() / number, prog_bar=True, batch_size=number)
        # Lightning divides by the batches that are accumulated and by the ranks; the sum over them has its own denominator.
        shares = self.trainer.accumulate_grad_batches * self.trainer.world_size
        return loss * (shares / int(batch["step_targets"]))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> completion."""
        return self._outputs(batch, "dev")

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> completion."""
        return self._outputs(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Example id -> completion."""
        return self._outputs(batch)

    def _outputs(self, batch: Batch, logged: str | None = None) -> dict[str, Any]:
        examples: list[InstructionExample] = batch["examples"].examples
        requests = [
            Request(
                example.opening,
                example.input_ids,
                self.answer_room + int(self.answer_tokens * len(example.input_ids)),
                example.grammar if self.constrained else None,
            )
            for example in examples
        ]
        begun = time.perf_counter()
        repeats = self.constrained and any(example.grammar is not None and example.grammar.repeats for example in examples)
        draft = self.draft if self.draft is not None else _AHEAD if repeats else 0
        found = generated(self.backbone, self.subwords, requests, batch_size=self.batch_size, draft=draft, confidence=self.confidence)
        if logged is not None:
            speed = sum(len(answer.ids) for answer in found) / (time.perf_counter() - begun)
            self.log(f"{logged}/tokens_per_second", speed, prog_bar=True, batch_size=len(examples), sync_dist=True)
        return {
            example.id: Completion(self.subwords.decode(answer.ids), answer.cut, request.grammar is not None, answer.withdrawn)
            for example, request, answer in zip(examples, requests, found, strict=True)
        }
