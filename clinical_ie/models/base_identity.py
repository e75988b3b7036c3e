"""Which base and which tokenizer the weights of a checkpoint were trained with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from clinical_ie.errors import SettingError
from clinical_ie.models.file_hashes import weights_digest
from clinical_ie.models.folders import revision_of, weight_files

_LONG = 64
"""Characters of a value, entries of a table, above which a digest stands for it."""
_STATE = {"truncation", "padding", "version"}
"""What of a tokenizer's file is not how it cuts a text."""
_NOT_COMPUTED = re.compile(
    r"""(
    _.* | architectures | transformers_version | (torch_)?dtype | quantization_config(\..*)? | auto_map(\..*)? | torchscript | return_dict
    | id2label(\..*)? | label2id(\..*)? | problem_type | output_.* | use_cache | initializer_(range|factor) | .*dropout.* | .*drop | .*pdrop
    | max_(position_embeddings|length) | chunk_size_feed_forward | gradient_checkpointing | pretraining_tp | (bos|eos|sep)_token_id
    | task_specific_params(\..*)? | summary_.*
    )""",
    re.VERBOSE,
)
"""What of a backbone's ``config.json`` changes no hidden state: names, paths, versions, number formats, heads, initialisation, dropout
(which may be set anew), and the number of positions, which the shape of their table tells."""


@dataclass(frozen=True, slots=True)
class BaseIdentity:
    """Name, revision where the hub gave one, and a SHA-256 of the weights in its files."""

    name: str
    revision: str | None
    sha256: str

    @classmethod
    def of(cls, name: str) -> BaseIdentity:
        """The identity of a base that has been loaded once, and so lies on the disk: the same under any strategy.

        Raises:
            SettingError: No files of weights there.
        """
        return cls(name, revision_of(name), weights_digest(weight_files(name)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    def check(self, needed: dict[str, Any]) -> None:
        """Compare with the identity that a checkpoint holds.

        Raises:
            SettingError: The weights are others.
        """
        if needed["sha256"] != self.sha256:
            revision = f", revision {needed['revision']}" if needed["revision"] else ""
            raise SettingError(
                f"the checkpoint holds trained parameters for the base {needed['name']}{revision} (SHA-256 {needed['sha256'][:16]}...),"
                f" but {self.name} has other weights ({self.sha256[:16]}...); give the base that it was trained on"
            )


def config_identity(model: PreTrainedModel) -> dict[str, str]:
    """What a backbone computes with beside its weights, such as activation, norms, attention and rotary positions: setting -> value."""
    values = model.config.get_text_config().to_dict()
    off = {name: "false" for name, value in values.items() if value is False}
    return {name: value for name, value in (off | _flat(values)).items() if not _NOT_COMPUTED.fullmatch(name)}


def check_config(name: str, found: Mapping[str, str], needed: Mapping[str, str]) -> None:
    """Compare the configuration of a backbone with that which a checkpoint was trained with.

    Only settings that both have are compared: another version of transformers may know more of them, or fewer, and one that is unset
    may get a value there.

    Raises:
        SettingError: It computes otherwise; names what changed.
    """
    both = {key for key in found if key in needed}
    if changed := _changes({key: found[key] for key in both}, {key: needed[key] for key in both}):
        raise SettingError(
            f"the config.json of {name} is not the one that the checkpoint was trained with: {changed}; give the files that it was trained"
            " with"
        )


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """How a tokenizer cuts and frames a text: setting -> value, or a digest of what is long.

    Normalizer, pre-tokenizer, model (vocabulary, merges), added tokens and post-processor of the fast tokenizer, the tokens that
    begin and end a text, and the chat template. Padding and truncation are the caller's and not part of it.
    """
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = {name: value for name, value in stored.items() if name not in _STATE}
    parts |= {name: getattr(tokenizer, name) for name in ("bos_token", "eos_token", "chat_template")}
    return _flat(parts)


def check_tokenizer(name: str, found: Mapping[str, str], needed: Mapping[str, str]) -> None:
    """Compare a tokenizer with the one that a checkpoint was trained with.

    Raises:
        SettingError: It cuts or frames texts otherwise; names what changed.
    """
    if changed := _changes(found, needed):
        raise SettingError(
            f"the tokenizer of {name} is not the one that the checkpoint was trained with: {changed}; give the files that it was trained"
            " with"
        )


def _changes(found: Mapping[str, str], needed: Mapping[str, str]) -> str:
    """What differs, the first four by name; nothing where all is equal."""
    changed = [
        f"{key} was {needed.get(key, 'not there')}, now it is {found.get(key, 'not there')}"
        for key in sorted(found.keys() | needed.keys())
        if found.get(key) != needed.get(key)
    ]
    return "; ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings in one table; what is unset or off is as good as not there, for versions of a library differ in saying so."""
    if value is None or value is False:
        return {}
    if isinstance(value, dict) and prefix.count(".") < 3 and len(value) <= _LONG:
        return {key: text for name, inner in value.items() for key, text in _flat(inner, f"{prefix}.{name}" if prefix else name).items()}
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return {prefix: text if len(text) <= _LONG else f"SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"}
