"""A trained encoder as a folder that stands alone: the tuned encoder as plain transformers loads it, and beside it what lies on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clinical_ie.extraction.exported_run import HEADS
from clinical_ie.files import write_text


def write_encoder(model: Any, folder: Path, dtype: str) -> dict[str, Any]:
    """Write the encoder with its adapter merged into it, its tokenizer, and what lies on top: heads, marker tokens, virtual tokens.

    Args:
        model: A module with an encoder and its best weights.
        folder: Where to.
        dtype: Of the encoder's weights; what lies on top stays in 32 bits.

    Returns:
        Arguments of the model with which the folder is loaded, in place of those of the run.

    Raises:
        SettingError: The tokenizer is not the same once it is written down.
    """
    import torch
    from peft import PeftModel, PromptLearningConfig
    from safetensors.torch import save_file

    from clinical_ie.data.tokenization import load_tokenizer
    from clinical_ie.models.base_identity import check_tokenizer, tokenizer_identity

    adapted = model.backbone.model
    virtual = isinstance(adapted, PeftModel) and isinstance(adapted.active_peft_config, PromptLearningConfig)
    if isinstance(adapted, PeftModel) and not virtual:
        model.backbone.model = adapted.merge_and_unload()
    base = model.backbone.base
    inside = {id(value) for value in base.state_dict(keep_vars=True).values()}
    above = {name: value for name, value in model.state_dict(keep_vars=True).items() if id(value) not in inside}
    save_file({name: value.detach().float().clone().contiguous() for name, value in above.items()}, folder / HEADS)
    base.to(getattr(torch, dtype)).save_pretrained(str(folder))
    tokenizer = load_tokenizer(model.backbone_name)
    tokenizer.save_pretrained(str(folder))
    check_tokenizer(str(folder), tokenizer_identity(load_tokenizer(str(folder))), tokenizer_identity(tokenizer))
    return {"freeze": False, "base_dtype": "auto", **({} if virtual else {"peft": None})}


def write_readme(folder: Path, tasks: list[Any], schemas: dict[str, Any]) -> None:
    """How the folder is used, with us and without."""
    types = "\n".join(f"* {corpus}: {', '.join(schema.entity_names)}" for corpus, schema in schemas.items())
    asked = ", ".join(f"`{task.name}`" for task in tasks)
    write_text(
        folder / "README.md",
        f"""# A model of clinical_ie

An encoder with heads for {asked}. Types of mentions by corpus:

{types}

```bash
clinical-ie extract --model "this folder" notes/ --output found
```

```python
from clinical_ie import load

document = load("this folder")("Started aspirin 81 mg daily.")
```

A model of links or attributes of given mentions is named as `--relations`, behind one that finds mentions.

`AutoModel.from_pretrained("this folder")` of plain transformers gives the tuned encoder without its heads; those are in `{HEADS}`.
""",
    )
