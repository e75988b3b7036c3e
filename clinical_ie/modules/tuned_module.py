"""The base of all modules: parameter-efficient or full fine-tuning of a backbone, its optimizer, and adapter-only checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from typing import Any, ClassVar, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy
from peft import PeftConfig
from torch import Tensor

from clinical_ie.data.padding import Batch
from clinical_ie.data.tokenization import load_tokenizer
from clinical_ie.errors import SettingError
from clinical_ie.models.base_dtype import BaseDtype, check_base_dtype, chosen_dtype
from clinical_ie.models.base_identity import BaseIdentity, check_config, check_tokenizer, config_identity, tokenizer_identity
from clinical_ie.models.decoder import Decoder
from clinical_ie.models.encoder import Encoder
from clinical_ie.models.learning_rates import parameter_groups
from clinical_ie.models.quantization import Quantized
from clinical_ie.models.sharded_weights import set_weights, whole_shape
from clinical_ie.modules.agreed_values import log_agreed
from clinical_ie.modules.schedules import Schedule, warmup_schedule
from clinical_ie.modules.strategy_checks import check_strategy
from clinical_ie.modules.weight_matching import CorpusWeights, Taken, check_known, check_same, check_shapes, matched
from clinical_ie.schema import Schema
from clinical_ie.strategies.checkpoint import Checkpoint
from clinical_ie.strategies.in_turn import in_turn
from clinical_ie.strategies.sharding import FullySharded, shard
from clinical_ie.tasks.task import Task

_IRRELEVANT_PEFT_SETTINGS = {"peft_version", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping"}
"""They change no output."""


class TunedModule(pl.LightningModule):
    """Base of modules with a pretrained backbone and perhaps heads on top of it.

    Args:
        backbone: Hub name, local folder, or ``package:NAME/FOLDER``.
        schemas: Corpus -> schema as plain data; the command line links it to the data. It goes into the
            checkpoint, so that a model decodes without its corpora.
        learning_rate: Peak rate of the backbone's top layer.
        head_learning_rate: Peak rate of heads and marker tokens; that of the backbone when None.
        adapter_learning_rate: Peak rate of adapters; that of the backbone when None.
        layer_decay: Layer-wise learning rate decay: rate of a layer relative to the one above it.
        weight_decay: AdamW's, of matrices; biases and norms have none.
        schedule: How the rate falls after the warm-up.
        warmup_share: Share of all steps for the warm-up.
        dropout: Before the heads.
        backbone_dropout: Replaces the backbone's own; None keeps that.
        peft: Parameter-efficient tuning, such as ``peft.LoraConfig``; None for none.
        freeze: Freeze the backbone's own weights; by default where `peft` is given.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, more time.
        quantized: Hold the frozen weights of a decoder's linear layers in so few bits (needs the extra ``qlora``); None for full
            precision.
        base_dtype: In what the matrices of a frozen backbone are held: ``auto`` is bfloat16 under bf16 precision, which changes no
            number there and halves their memory, else float32.
    """

    supported_tasks: ClassVar[type[Task] | tuple[type[Task], ...]]  # type: ignore[type-arg]
    """The tasks whose batches it takes."""
    mixes_tasks: ClassVar[bool] = False
    """Whether batches of several tasks teach it; a module with heads has them for one task."""
    fits_any_schema: ClassVar[bool] = False
    """Whether types come with the data, so that its weights answer for corpora that it has learned nothing from."""

    def __init__(
        self,
        backbone: str,
        schemas: dict[str, Any],
        *,
        learning_rate: float = 2e-5,
        head_learning_rate: float | None = None,
        adapter_learning_rate: float | None = None,
        layer_decay: float = 1.0,
        weight_decay: float = 0.01,
        schedule: Schedule = "linear",
        warmup_share: float = 0.1,
        dropout: float = 0.1,
        backbone_dropout: float | None = None,
        peft: PeftConfig | None = None,
        freeze: bool | None = None,
        gradient_checkpointing: bool = False,
        quantized: Quantized | None = None,
        base_dtype: BaseDtype = "auto",
    ) -> None:
        super().__init__()
        self.backbone_name = backbone
        self.schemas = {name: Schema.from_dict(schema) for name, schema in schemas.items()}
        self.learning_rate = learning_rate
        self.head_learning_rate = learning_rate if head_learning_rate is None else head_learning_rate
        self.adapter_learning_rate = learning_rate if adapter_learning_rate is None else adapter_learning_rate
        self.layer_decay, self.weight_decay = layer_decay, weight_decay
        self.schedule: Schedule = schedule
        self.warmup_share, self.dropout, self.backbone_dropout = warmup_share, dropout, backbone_dropout
        self.peft, self.frozen_base, self.gradient_checkpointing = peft, freeze, gradient_checkpointing
        self.quantized, self.base_dtype = quantized, base_dtype
        check_base_dtype(base_dtype, frozen=self.freezes)
        self.strict_loading = quantized is None  # what is packed is loaded with the base; `on_load_checkpoint` looks at all names
        self.batch_loss: Tensor | float = 0.0
        """Of the latest training batch, summed over its targets."""
        self._step_loss: Tensor | float = 0.0
        self._steps_done = 0
        self._dev_loss: Tensor | float = 0.0
        self._dev_targets = 0
        self.calibration: dict[str, dict[str, dict[str, Any]]] = {}
        """``CORPUS/TASK`` -> the temperatures of its confidences (`clinical_ie.scoring.calibration`), learned on development notes."""
        self.initial: Checkpoint | None = None
        self.taken: Taken | None = None
        self.backbone: Encoder | Decoder
        self.heads: torch.nn.Module

    def configure_model(self) -> None:
        """Load the backbone and make the heads, once, where the strategy wants them."""
        raise NotImplementedError

    @property
    def freezes(self) -> bool:
        """Whether the backbone is frozen."""
        return self.peft is not None if self.frozen_base is None else self.frozen_base

    def held_dtype(self) -> torch.dtype:
        """In what the matrices of the backbone are held under the trainer's precision.

        Raises:
            SettingError: What is set does not go with it.
        """
        if self._trainer is None:
            return chosen_dtype(self.base_dtype, frozen=self.freezes, precision=None)
        if isinstance(self.trainer.strategy, DeepSpeedStrategy) and self.trainer.precision != "bf16-mixed":
            return torch.float32  # in all other precisions its engine holds all weights in one of its own
        return chosen_dtype(self.base_dtype, frozen=self.freezes, precision=str(self.trainer.precision))

    def corpus_weights(self, schemas: dict[str, Schema]) -> CorpusWeights:
        """The weights that belong to corpora, by their schemas; by default none, so that weights fit any corpus."""
        return CorpusWeights()

    def setup(self, stage: str) -> None:
        """Refuse what the strategy cannot do with this model; of a trainer without our command line it is not known before."""
        check_strategy(self, self.trainer.strategy)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Where `configure_model` makes the model: what a run begins with is taken, and the weights go where the strategy wants them.

        Under FSDP2 one process of a node after another: each loads into the host's memory and keeps its shards. Others load onto their
        devices at once, where Lightning has them; under ZeRO-3 together, each its shards.
        """
        strategy = None if self._trainer is None else self.trainer.strategy
        with in_turn(strategy if isinstance(strategy, FullySharded) else None):
            yield
            self.begin()
            # what is frozen is read from the same files by all ranks: DDP's sending it around would copy what they map together
            self._ddp_params_and_buffers_to_ignore = [name for name, weight in self.named_parameters() if not weight.requires_grad]
            self.shard()

    def shard(self) -> None:
        """Share out the weights where the strategy wants that (FSDP2)."""
        if self.device_mesh is not None:
            shard(self, self.backbone.base, self.device_mesh)

    def remaining_outputs(self) -> dict[str, Any]:
        """Outputs of a pass over data that no step has returned; to be asked for on all ranks at the pass's end."""
        return {}

    def head_settings(self) -> dict[str, str]:
        """What heads compute with beside their weights, where shapes do not tell; by default nothing."""
        return {}

    @property
    def way_of_tuning(self) -> str:
        """What is trained, as tables show it: ``full``, ``frozen`` (heads alone), ``lora``, ``prompt_tuning and full``, ``lora in nf4``."""
        adapter = "" if self.peft is None else str(self.peft.to_dict()["peft_type"]).rpartition(".")[2].lower()
        adapter = "dora" if getattr(self.peft, "use_dora", False) else adapter
        base = "" if adapter and self.backbone.freeze else "frozen" if self.backbone.freeze else "full"
        return " and ".join(filter(None, (adapter, base))) + (f" in {self.quantized}" if self.quantized else "")

    def _tuning_settings(self) -> dict[str, str]:
        """What adapters and heads compute with beside their weights, and whether the base is trained."""
        values = {} if self.peft is None else asdict(self.peft)
        kept = {name: value for name, value in values.items() if name not in _IRRELEVANT_PEFT_SETTINGS and "dropout" not in name}
        bits = {} if self.quantized is None else {"quantized": self.quantized}
        return {
            "freeze": str(self.backbone.freeze),
            **bits,
            **self.head_settings(),
            **{name: str(sorted(v) if isinstance(v, set) else v) for name, v in kept.items()},
        }

    @cached_property
    def _tokenizer(self) -> dict[str, str]:
        """How the tokenizer cuts texts."""
        return tokenizer_identity(load_tokenizer(self.backbone_name))

    def _frozen_entries(self) -> set[str]:
        """Names in the state dict whose weights are those of the frozen base."""
        if not self.backbone.freeze:
            return set()
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {name for name in self.state_dict() if name.startswith("backbone.") and name not in trained}

    def _trained_shapes(self) -> dict[str, list[int]]:
        """Name -> whole shape of the weights that a checkpoint holds, also where this rank has a shard of them only."""
        left_out = self._frozen_entries()
        return {name: list(whole_shape(value)) for name, value in self.state_dict(keep_vars=True).items() if name not in left_out}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what tells which model the weights fit; leave out the weights of a frozen base."""
        shapes = self._trained_shapes()
        checkpoint["schemas"] = {name: schema.to_dict() for name, schema in self.schemas.items()}
        checkpoint["tuning"] = self._tuning_settings()
        checkpoint["tokenizer"] = self._tokenizer
        checkpoint["backbone_config"] = config_identity(self.backbone.base)
        checkpoint["weights"] = shapes
        checkpoint["calibration"] = self.calibration
        once = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        checkpoint["model_bytes"] = sum(math.prod(shapes[name]) * value.element_size() for name, value in once.items() if name in shapes)
        if self.backbone.identity is not None:
            checkpoint["base"] = self.backbone.identity.to_dict()
            checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in shapes}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that mean something else or belong to another base; leave out those of other corpora, add those of the base.

        What is refused is known from the metadata: an engine loads the weights itself.

        Raises:
            SettingError: The checkpoint was trained for other corpora or types, on another base, with another tokenizer or config.json,
                or with another way of tuning; or its optimizer cannot be read here.
        """
        own, theirs = self._check_meta(checkpoint)
        self.calibration = dict(checkpoint.get("calibration", {}))
        fitting = self._trainer is not None and self.trainer.state.fn == "fit"
        check_same(own, theirs) if fitting else check_known(own, theirs)
        self._check_shapes(own, theirs, checkpoint)
        if "state_dict" not in checkpoint:
            if own != theirs:
                raise SettingError(
                    f"a folder of shards is loaded whole, for all of its corpora ({', '.join(sorted(theirs.corpora))}); consolidate it"
                    " into one file to leave some out"
                )
            return
        if fitting and "optimizer_states" not in checkpoint:
            raise SettingError(
                "the checkpoint holds no state of an optimizer that can be read here; go on with the strategy that wrote it, or begin a new"
                " run from its weights with --init_from"
            )
        checkpoint["state_dict"] = self._with_base(matched(own, theirs, self._trained_weights(), checkpoint["state_dict"])[0])

    def begin(self) -> None:
        """Take the weights that a run begins with, if they are another's; whole, before a strategy spreads them."""
        if self.initial is not None:
            self.taken = self.take_weights(self.initial)

    def identity(self) -> dict[str, Any]:
        """What the model is before it learns, beside its settings: the base's weights and configuration, and the tokenizer."""
        base = BaseIdentity.of(self.backbone_name).sha256
        return {"base": base, "backbone_config": config_identity(self.backbone.base), "tokenizer": self._tokenizer}

    def take_weights(self, checkpoint: Checkpoint) -> Taken:
        """Begin with the weights of a checkpoint where they mean the same: what was taken and what begins fresh.

        Raises:
            SettingError: It was trained on another base, with another tokenizer or another way of tuning.
        """
        own, theirs = self._check_meta(
            checkpoint.meta, "--init_from takes over the weights of the same kind of model, tuned in the same way"
        )
        self._check_shapes(own, theirs, checkpoint.meta)
        state, taken = matched(own, theirs, self._trained_weights(), checkpoint.weights())
        set_weights(self, state)  # names have been compared
        return taken

    def _check_meta(self, meta: Mapping[str, Any], remedy: str = "use the run's own config.yaml") -> tuple[CorpusWeights, CorpusWeights]:
        """Hold tokenizer, base and way of tuning against those of a checkpoint: the weights that belong to corpora, its and ours."""
        check_tokenizer(self.backbone_name, self._tokenizer, meta["tokenizer"])
        check_config(self.backbone_name, config_identity(self.backbone.base), meta["backbone_config"])
        tuning, needed = (
            {name: value for name, value in settings.items() if value != str(None)}  # a setting that PEFT did not have yet changes nothing
            for settings in (self._tuning_settings(), meta["tuning"])
        )
        if tuning != needed:
            keys = sorted(key for key in needed.keys() | tuning.keys() if needed.get(key) != tuning.get(key))
            keys = ["peft_type"] if "peft_type" in keys else keys  # another way of tuning has other settings
            changes = ", ".join(f"{key} was {needed.get(key)}, now it is {tuning.get(key)}" for key in keys)
            raise SettingError(f"the checkpoint was trained in another way: {changes}; {remedy}")
        if "base" in meta and self.backbone.identity is not None:
            self.backbone.identity.check(meta["base"])
        theirs = self.corpus_weights({name: Schema.from_dict(schema) for name, schema in meta["schemas"].items()})
        return self.corpus_weights(self.schemas), theirs

    def _check_shapes(self, own: CorpusWeights, theirs: CorpusWeights, meta: Mapping[str, Any]) -> None:
        check_shapes(own, theirs, self._trained_shapes(), meta["weights"])

    def _trained_weights(self) -> dict[str, Tensor]:
        """The weights that a checkpoint may replace."""
        left_out = self._frozen_entries()
        return {name: value for name, value in self.state_dict().items() if name not in left_out}

    def _with_base(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state with the weights of the frozen base, for strict loading; not those of a packed base, which loads its own."""
        frozen = set() if self.quantized is not None else self._frozen_entries()
        return {name: state.get(name, value) for name, value in self.state_dict().items() if name in state or name in frozen}

    def step_loss(self, batch: Batch, total: Tensor) -> Tensor:
        """A training batch's share of the mean over all targets of its optimizer step, which is logged when the step is done.

        Args:
            batch: With ``batch_targets`` and ``step_targets``.
            total: The loss, summed over the targets of the batch.
        """
        taught = 1.0 if batch["batch_targets"] else 0.0  # a batch that teaches nothing only pads a micro-step
        self.batch_loss = taught * total.detach().float()
        self._step_loss = self._step_loss + self.batch_loss / batch["step_targets"]
        # Lightning divides by the batches that are accumulated and by the ranks; the sum over them has a denominator of its own.
        shares = self.trainer.accumulate_grad_batches * self.trainer.world_size
        return cast("Tensor", total * (taught * shares / batch["step_targets"]))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Log the loss of an optimizer step, over all ranks and all batches that are accumulated: the same under every strategy."""
        step = self.trainer.global_step
        if step == self._steps_done:
            return
        mine, self._step_loss, self._steps_done = self._step_loss, 0.0, step
        if step % max(1, self.trainer.log_every_n_steps) == 0:  # type: ignore[attr-defined]
            mine = torch.as_tensor(mine, device=self.device)
            self.log("train/loss", self.trainer.strategy.reduce(mine, reduce_op="sum"), prog_bar=True, batch_size=1)

    def on_train_start(self) -> None:
        """Begin with the first step, or where a checkpoint has ended."""
        self._step_loss, self._steps_done = 0.0, self.trainer.global_step

    def add_dev_loss(self, total: Tensor, targets: int) -> None:
        """Add a loss that is summed over so many targets of the development part; the example of a dummy batch is another rank's."""
        if targets:
            self._dev_loss, self._dev_targets = self._dev_loss + total.detach(), self._dev_targets + targets

    def on_validation_epoch_start(self) -> None:
        """Begin a pass of its own, whatever a pass that was stopped has left."""
        self._dev_loss, self._dev_targets = 0.0, 0

    def on_validation_epoch_end(self) -> None:
        """Log the mean loss over all targets of the development part, of all ranks, if there are any.

        Lightning's own weighted mean over ranks rounds their mean number of targets down to a whole one.
        """
        mine = torch.tensor([float(self._dev_loss), self._dev_targets], device=self.device)
        total, targets = cast("Tensor", self.trainer.strategy.reduce(mine, reduce_op="sum"))
        if targets:
            log_agreed(self, {"dev/loss": total / targets})
        else:
            self.without_dev_loss()

    def without_dev_loss(self) -> None:
        """Say, if there is anything to say, why no target of the development part had a loss."""

    def configure_optimizers(self) -> Any:
        """AdamW with layer-wise rates, stepped by the schedule."""
        groups = list(
            parameter_groups(
                self.backbone,
                self.heads,
                learning_rate=self.learning_rate,
                head_learning_rate=self.head_learning_rate,
                adapter_learning_rate=self.adapter_learning_rate,
                layer_decay=self.layer_decay,
                weight_decay=self.weight_decay,
            )
        )
        optimizer = torch.optim.AdamW(groups, fused=True)
        # Fused AdamW announces that it can unscale gradients itself, and Lightning then refuses to clip them. Without the
        # announcement any scaler unscales first, as with every other optimizer.
        optimizer._step_supports_amp_scaling = False
        scheduler = warmup_schedule(optimizer, self.schedule, self.warmup_share, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
