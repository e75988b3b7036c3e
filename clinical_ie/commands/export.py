"""``clinical-ie export``: a trained model as a folder that plain transformers, PEFT or vLLM loads; or the cards of any run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clinical_ie.commands.arguments import Parser
from clinical_ie.commands.export_cards import export_cards
from clinical_ie.commands.export_encoder import write_encoder, write_readme
from clinical_ie.commands.exported_prompts import PROMPTS, write_prompts
from clinical_ie.errors import SettingError
from clinical_ie.extraction.exported_run import CALIBRATION, write_settings
from clinical_ie.extraction.trained_run import TrainedRun
from clinical_ie.files import write_text, writing_folder
from clinical_ie.models.folders import base_of

_MERGED = {"peft": None, "freeze": None, "base_dtype": "auto"}


def run(arguments: Sequence[str]) -> int:
    """Write an adapter, a whole model with the adapter merged into it, an encoder with its heads, or cards."""
    parser = Parser(
        prog="clinical-ie export",
        example="clinical-ie export runs/llama --output=models/llama_n2c2",
        description=(
            "Write the best state of a run as a Hugging Face folder: of a generator the adapter or the whole model, of an encoder the whole"
            " model and its heads. Or the cards of a run."
        ),
    )
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--output", required=True, help="a folder that does not exist yet")
    parser.add_argument(
        "--merge", action="store_true", help="the whole model, the adapter merged into its weights (an encoder is always whole)"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of a whole model's weights; heads stay in float32"
    )
    parser.add_argument("--card", action="store_true", help="of any run: model card, data statement and TRIPOD-LLM table, and no weights")
    options = parser.parse_args(arguments[1:])
    output = Path(options.output)
    if output.exists():
        raise SettingError(f"{output} exists; --output names a new folder")
    run_dir = Path(options.run)
    if options.card:
        if options.merge:
            raise SettingError("--card writes no weights and --merge does; give one of the two, each with an --output of its own")
        return export_cards(run_dir, output)
    trained = TrainedRun(run_dir)
    model = load_run(run_dir)
    from clinical_ie.modules.encoder_module import EncoderModule

    with writing_folder(output) as partial:
        if isinstance(model, EncoderModule):
            said = _write_encoder(model, trained, partial, options.dtype)
        else:
            said = _write_generator(model, trained, partial, options.dtype if options.merge else None)
        if model.calibration:
            write_text(partial / CALIBRATION, json.dumps(model.calibration, indent=1) + "\n")
    print(said.replace("{output}", str(output)))
    return 0


def _write_encoder(model: Any, trained: TrainedRun, folder: Path, dtype: str) -> str:
    changed = write_encoder(model, folder, dtype)
    write_settings(folder, trained, dtype=dtype, changed=changed)
    write_readme(folder, trained.tasks, model.schemas)
    return "Model: {output}, whole: `clinical-ie extract --model={output}` needs nothing else; {output}/README.md tells how"


def _write_generator(model: Any, trained: TrainedRun, folder: Path, dtype: str | None) -> str:
    """The whole model in a type of weights, or its adapter alone where that is None: what to tell the user."""
    check_exportable(model)
    write_adapter(model, folder) if dtype is None else write_whole(model, folder, dtype)
    write_settings(folder, trained, dtype=dtype, changed={} if dtype is None else _MERGED)
    write_prompts(folder, trained.tasks, model.schemas, model.subwords, base=base_of(model.backbone_name) if dtype is None else None)
    kind = "Adapter" if dtype is None else "Model"
    return f"{kind}: {{output}}\nPrompt:  {{output}}/{PROMPTS}, what to send for each note; {{output}}/README.md tells how"


def load_run(run_dir: Path) -> Any:
    """The module of a run with its best weights.

    Raises:
        SettingError: No finished run.
    """
    from clinical_ie.commands.quiet import quieten

    quieten()
    return TrainedRun(run_dir).model()


def check_exportable(model: Any) -> None:
    """Make sure that one of the two ways of exporting a generator holds all that was trained.

    Raises:
        SettingError: Neither does.
    """
    if model.backbone.num_virtual_tokens and not model.backbone.freeze:
        raise SettingError(
            "this run trained virtual tokens and its base; an adapter holds no base, and merged weights hold no virtual tokens, so only"
            " `clinical-ie predict` can use it; for an export train with -c peft/prompt_tuning or -c peft/full"
        )


def write_adapter(model: Any, folder: Path) -> None:
    """What PEFT loads on top of the base: the adapter's weights and settings.

    Raises:
        SettingError: There is no adapter, or it is not all that was trained.
    """
    from peft import PeftModel

    adapted = model.backbone.model
    if not isinstance(adapted, PeftModel):
        raise SettingError("this run has no adapter, it trained the whole model; export it with --merge")
    if not model.backbone.freeze:
        raise SettingError("this run trained its base too, which an adapter does not hold; export it with --merge")
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = base_of(model.backbone_name)
    adapted.save_pretrained(str(folder), safe_serialization=True)


def write_whole(model: Any, folder: Path, dtype: str) -> None:
    """What transformers and vLLM load: weights, settings and tokenizer.

    Raises:
        SettingError: The adapter is of virtual tokens, which no weights can hold, or its base is held in few bits.
    """
    import torch
    from peft import PeftModel

    from clinical_ie.models.tied_weights import untie_adapted

    if model.quantized is not None:
        raise SettingError(
            f"the base of this run is held in {model.quantized}, which merging would round; export the adapter without --merge and"
            " merge it into the base in full precision with peft"
        )
    found = model.backbone.model
    if isinstance(found, PeftModel):
        if model.backbone.num_virtual_tokens:
            raise SettingError("virtual tokens cannot be merged into weights; export the adapter without --merge")
        untied = untie_adapted(found)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*tie_word_embeddings.*")  # that merging needs what has been done
            found = found.merge_and_unload()
        if untied:
            found.config.tie_word_embeddings = False
    found = found.to(getattr(torch, dtype))
    found.config.use_cache = True
    found.save_pretrained(str(folder))
    model.subwords.tokenizer.save_pretrained(str(folder))
