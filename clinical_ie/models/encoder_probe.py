"""What an encoder can do, tried on a small copy of it before anything is read or loaded.

No list of architectures: whether tokens can share a position, whether a mask for each pair of tokens is honoured, whether a way of tuning,
dropout, gradient checkpointing and a precision work is seen on a few tokens. A pass takes milliseconds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from peft import PeftConfig, PromptLearningConfig
from torch import Tensor, nn
from transformers import PreTrainedConfig

from clinical_ie.errors import ClinicalIEError, SettingError
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.encoder_classes import POSITIONS, WORDS, prepared, small_copy
from clinical_ie.models.folders import first_sentence
from clinical_ie.models.unused_parameters import used_parameters

_EQUAL, _DIFFERENT = 1e-4, 1e-3
"""Of hidden states of about 1 in 32 bits: the most that equal ones may differ, and the least that others must."""
_TEXT = 3 * POSITIONS // 4
"""Sub-words of the text of a pass: more than windows are wide; what stands behind it goes beyond the table of positions."""

_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_TRIED = (*_AUTOCAST, "bf16-true")
"""Precisions that are not taken for granted."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How an encoder is to be trained.

    Args:
        peft: Parameter-efficient tuning.
        freeze: Freeze the encoder's own weights; by default where there is an adapter.
        dropout: Replaces the encoder's own.
        gradient_checkpointing: Recompute activations in the backward pass.
    """

    peft: PeftConfig | None = None
    freeze: bool | None = None
    dropout: float | None = None
    gradient_checkpointing: bool = False


class EncoderProbe:
    """Tries an encoder of a configuration.

    Args:
        name: What it is called in messages.
        config: Of the encoder.
        tuning: How it is to be trained.
    """

    def __init__(self, name: str, config: PreTrainedConfig, tuning: Tuning | None = None) -> None:
        tuning = Tuning() if tuning is None else tuning
        if isinstance(tuning.peft, PromptLearningConfig):  # as many as a small copy has positions for
            peft = copy.copy(tuning.peft)
            peft.num_virtual_tokens = min(int(peft.num_virtual_tokens), POSITIONS // 4)
            tuning = replace(tuning, peft=peft)
        self.name, self.config, self.tuning = name, config, tuning
        if tuning.peft is not None and not isinstance(tuning.peft, PromptLearningConfig) and not self._is_adapted():
            self.tuning = replace(tuning, peft=None)

    def check(self, *, training: bool, positions: bool = False, directed: bool = False) -> None:
        """Refuse a way of tuning under which the encoder cannot compute, or which does nothing.

        Args:
            training: Whether it is to be trained, or to be used only.
            positions: Whether tokens are to share positions.
            directed: Whether each is to have a mask of its own.

        Raises:
            SettingError: What fails, and what to do.
        """
        kind, tuning, given = self.config.model_type, self.tuning, (positions, directed)
        if (found := self._failure(Tuning(), False, False)) is not None:
            raise SettingError(f"{self.name}: a {kind} cannot be used as an encoder here ({found}); give another one")
        if tuning.peft is not None and (found := self._failure(replace(tuning, gradient_checkpointing=False), *given)) is not None:
            raise SettingError(
                f"{type(tuning.peft).__name__} does not work with {self.name}, a {kind} ({found}); take another way of tuning, such as"
                " -c peft/lora"
            )
        if training and tuning.gradient_checkpointing and (found := self._failure(tuning, *given)) is not None:
            raise SettingError(
                f"{self.name}: a {kind} cannot be trained with gradient checkpointing ({found}); set"
                " model.init_args.gradient_checkpointing to false and lower data.batch_budget"
            )
        if training and tuning.dropout is not None:
            self._check_dropout(tuning.dropout)

    def computes_in(self, precision: str, *, positions: bool = False, directed: bool = False) -> bool:
        """Whether the encoder can be trained in a precision on inputs as in `check`; 32 bits are taken for granted."""
        if precision not in _TRIED:
            return True
        try:
            self._pass(self._encoder(self.tuning), positions, directed, precision)
        except ClinicalIEError:
            raise
        except Exception:  # whatever the architecture does with numbers of this kind
            return False
        return True

    def shares_positions(self) -> bool:
        """Whether tokens stand where their positions say: a marker behind the text as well as another in its column."""
        return self._is_true(self._shares_positions)

    def directs_attention(self) -> bool:
        """Whether each token attends to those that its row of the mask names and to no others, wherever they stand."""
        return self._is_true(self._directs_attention)

    def ignores_padding(self) -> bool:
        """Whether a text gets the same states beside a longer one as alone."""
        return self._is_true(self._ignores_padding)

    def _check_dropout(self, dropout: float) -> None:
        encoder = self._encoder(Tuning(dropout=dropout))
        given = _text(1)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            differs = float((encoder(*given) - encoder(*given)).abs().max()) > 0
        if differs != (dropout > 0):
            effect = "some dropout is left" if differs else "it has no effect"
            raise SettingError(
                f"model.init_args.backbone_dropout is {dropout}, but in {self.name}, a {self.config.model_type}, {effect}; leave it out"
            )

    def _is_adapted(self) -> bool:
        """Whether a small copy has what adapters are for; they may name layers that it lacks, and then loading tells what is wrong."""
        try:
            self._encoder(self.tuning)
        except SettingError:
            return False
        return True

    def _failure(self, tuning: Tuning, positions: bool, directed: bool) -> str | None:
        """Why the encoder cannot be trained so; None where it can."""
        try:
            encoder = self._encoder(tuning)
            used = self._pass(encoder, positions, directed)
        except ClinicalIEError:
            raise
        except Exception as error:  # whatever the architecture or PEFT raises
            return first_sentence(error)
        named = dict(encoder.named_parameters())
        unused = [name for name in encoder.adapters if named[name] not in used]
        return f"{len(unused)} of {len(encoder.adapters)} of its parameters have no effect" if unused else None

    def _encoder(self, tuning: Tuning) -> Encoder:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(0)
            return Encoder(
                self.name,
                base=small_copy(prepared(self.config, tuning.dropout)),
                peft=tuning.peft,
                freeze=tuning.freeze,
                gradient_checkpointing=tuning.gradient_checkpointing,
                markers=[[1], [2]],
            )

    def _pass(self, encoder: Encoder, shared: bool, directed: bool, precision: str = "32-true") -> set[Tensor]:
        """Forward and backward as in a training step; the parameters that were used."""
        ids, mask = _text(2)
        mask[1, _TEXT // 2 :] = 0
        positions = unattended = None
        if shared:
            ids, mask = torch.cat([ids, torch.full((2, 2), -1)], 1), nn.functional.pad(mask, (0, 2), value=1)
            positions = torch.cat([torch.arange(_TEXT), torch.tensor([1, _TEXT // 2])]).expand(2, -1)
            unattended = ids < 0 if directed else None
        if precision == "bf16-true":
            encoder = encoder.to(torch.bfloat16)
        autocast = torch.autocast("cpu", _AUTOCAST.get(precision, torch.bfloat16), precision in _AUTOCAST)
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), autocast:
            torch.manual_seed(0)
            hidden = encoder(ids, mask, positions, None, unattended)
        if hidden.shape[:2] != ids.shape or not bool(hidden[mask.bool()].isfinite().all()):
            raise ValueError(f"hidden states of shape {tuple(hidden.shape)} for sub-words of shape {tuple(ids.shape)}, or not finite")
        used = used_parameters(hidden)  # before the backward pass frees the graph
        if hidden.requires_grad:
            hidden.float().pow(2).sum().backward()
        return used

    def _is_true(self, of: Callable[[Encoder], bool]) -> bool:
        try:
            encoder = self._encoder(Tuning()).eval()
            with torch.no_grad():
                return of(encoder)
        except ClinicalIEError:
            raise
        except Exception:  # an architecture that cannot take such positions or masks at all
            return False

    def _ignores_padding(self, encoder: Encoder) -> bool:
        ids, mask = _text(2)
        mask[1, _TEXT // 2 :] = 0
        return _equal(encoder(ids, mask)[1, : _TEXT // 2], encoder(ids[1:, : _TEXT // 2], mask[1:, : _TEXT // 2])[0])

    def _shares_positions(self, encoder: Encoder) -> bool:
        ids, mask = _text(1)
        columns = torch.arange(_TEXT).unsqueeze(0)
        if not _equal(encoder(ids, mask), encoder(ids, mask, columns)):
            return False
        behind, there = torch.cat([ids, torch.full((1, POSITIONS), -1)], 1), torch.ones(1, _TEXT + POSITIONS, dtype=torch.long)
        behind[0, -1] = -2
        places = torch.full((1, POSITIONS), 1)
        places[0, -1] = _TEXT - 1
        first = encoder(behind, there, torch.cat([columns, places], 1))
        last = encoder(torch.cat([ids, behind[:, _TEXT:].flip(1)], 1), there, torch.cat([columns, places.flip(1)], 1))
        moved = encoder(behind, there, torch.cat([columns, places.flip(1)], 1))
        return _equal(first[:, -1], last[:, _TEXT]) and not _equal(first[:, -1], moved[:, -1], _DIFFERENT)

    def _directs_attention(self, encoder: Encoder) -> bool:
        ids, mask = _text(1)
        ids, there = torch.cat([ids, torch.tensor([[-1, -2]])], 1), nn.functional.pad(mask, (0, 2), value=1)
        positions = torch.cat([torch.arange(_TEXT), torch.tensor([1, 1])]).unsqueeze(0)
        both = encoder(ids, there, positions, None, ids < 0)
        kept = [*range(_TEXT), _TEXT + 1]
        alone = encoder(ids[:, kept], there[:, kept], positions[:, kept], None, ids[:, kept] < 0)
        plain = encoder(ids[:, :_TEXT], mask, positions[:, :_TEXT])
        changed = ids.clone()
        changed[0, 1] = WORDS // 2 + 1 - changed[0, 1] % 2  # the word beneath the markers
        seen = encoder(changed, there, positions, None, ids < 0)
        return (
            _equal(both[:, :_TEXT], plain)
            and _equal(both[:, -1], alone[:, -1])
            and not _equal(both[:, -1], seen[:, -1], _DIFFERENT)
            and not _equal(encoder(ids, there, positions)[:, :_TEXT], plain, _DIFFERENT)
        )


def _text(rows: int) -> tuple[Tensor, Tensor]:
    """Words, none of them a special one, and a mask of all of them."""
    ids = WORDS // 2 + torch.arange(rows * _TEXT).reshape(rows, _TEXT) * 7 % (WORDS // 2)
    return ids, torch.ones_like(ids)


def _equal(one: Tensor, other: Tensor, limit: float = _EQUAL) -> bool:
    return float((one - other).abs().max()) <= limit * max(1.0, float(one.abs().max()))
