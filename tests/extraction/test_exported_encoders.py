"""An encoder that was exported finds what its run finds, with no file of the run or of its base left; plain transformers loads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import yaml
from transformers import AutoModel, AutoTokenizer

from clinical_ie import load
from clinical_ie.cli import main
from clinical_ie.corpora import Demo
from clinical_ie.document import Document
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.extraction.loading import identity
from clinical_ie.extraction.trained_run import TrainedRun
from clinical_ie.models.encoder_classes import encoder_class
from clinical_ie.modules import EncoderTagger
from tests.extraction import runs
from tests.models.tiny_encoders import KINDS, config_of, save_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
TEXTS = [runs.note(number, 90) for number in range(4)]
SCHEMAS = {"demo": Demo().schema.to_dict()}
TYPE = {"task_type": "FEATURE_EXTRACTION"}
LORA = TYPE | {"r": 4, "target_modules": "all-linear", "init_lora_weights": False}
TUNINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", LORA),
    "dora": ("LoraConfig", LORA | {"use_dora": True}),
    "prompt": ("PromptTuningConfig", TYPE | {"num_virtual_tokens": 5}),
    "prefix": ("PrefixTuningConfig", TYPE | {"num_virtual_tokens": 5}),
}


def exported(run: Path, folder: Path, *more: str) -> Path:
    assert main(["export", str(run), "--output", str(folder), *more]) == 0
    return folder


def found(model: Path | str, relations: Path | str | None = None) -> list[Document]:
    return list(load(model, relations, precision="32").stream(TEXTS))


def same(ours: list[Document], others: list[Document]) -> None:
    """Equal, and their probabilities but for rounding."""
    assert ours == others
    sure = [[entity.confidence or 0.0 for document in each for entity in document.entities] for each in (ours, others)]
    assert sure[0]
    assert sure[0] == pytest.approx(sure[1], abs=1e-4)


def wide_tagger(folder: Path, backbone: str, **options: Any) -> None:
    """With weights that find something."""
    torch.manual_seed(3)
    kind, given = options.pop("tuning", (None, {}))
    module = EncoderTagger(backbone, SCHEMAS, peft=None if kind is None else getattr(peft, kind)(**given), **options)
    module.configure_model()
    for name, parameter in module.heads.named_parameters():
        if "linear" in name:
            torch.nn.init.normal_(parameter, std=1.0)
    settings: dict[str, Any] = {"backbone": backbone, **options}
    if kind is not None:
        settings["peft"] = {"class_path": f"peft.{kind}", "init_args": given}
    runs.write_run(folder, module, settings, "EntityTagging", window=64, overlap=8)


def test_a_tagger_stands_alone(tmp_path: Path, tiny_bert: str) -> None:
    base = shutil.copytree(tiny_bert, tmp_path / "base")
    wide_tagger(tmp_path / "run", str(base))
    expected, before = found(tmp_path / "run"), identity(tmp_path / "run")
    out = exported(tmp_path / "run", tmp_path / "out")
    shutil.rmtree(base)
    shutil.rmtree(tmp_path / "run")
    moved = out.rename(tmp_path / "moved")
    same(found(moved), expected)
    assert identity(moved) != before
    assert {path.name for path in moved.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "heads.safetensors",
        "clinical_ie.yaml",
        "README.md",
    }
    assert not list(moved.glob("*.bin"))
    model, report = AutoModel.from_pretrained(moved, add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"]
    ids = AutoTokenizer.from_pretrained(moved)("Started aspirin daily.", return_tensors="pt")
    ours = load(moved, precision="32").stages[0].model.backbone
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(**ids).last_hidden_state, ours(ids["input_ids"], ids["attention_mask"]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tuning", TUNINGS)
def test_whatever_was_tuned_is_held(tuning: str, tmp_path: Path, tiny_bert: str) -> None:
    wide_tagger(tmp_path / "run", tiny_bert, tuning=TUNINGS[tuning])
    out = exported(tmp_path / "run", tmp_path / "out")
    same(found(out), found(tmp_path / "run"))


def test_virtual_tokens_before_a_base_that_was_trained_too(tmp_path: Path, tiny_bert: str) -> None:
    wide_tagger(tmp_path / "run", tiny_bert, tuning=TUNINGS["prompt"], freeze=False)
    same(found(exported(tmp_path / "run", tmp_path / "out")), found(tmp_path / "run"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = config_of(kind)
    encoder_class(config)(config).save_pretrained(tmp_path / "base")
    save_tokenizer(tmp_path / "base")
    wide_tagger(tmp_path / "run", str(tmp_path / "base"))
    same(found(exported(tmp_path / "run", tmp_path / "out")), found(tmp_path / "run"))


def test_a_pipeline_of_exports(pipeline_run: str, tiny_bert: str, tmp_path: Path) -> None:
    runs.write_attributes(tmp_path / "attributes", tiny_bert)
    stages = [Path(pipeline_run) / "entities", Path(pipeline_run) / "relations", tmp_path / "attributes"]
    outs = [exported(run, tmp_path / f"out{number}") for number, run in enumerate(stages)]
    for number in (1, 2):
        expected = found(stages[0], stages[number])
        assert found(outs[0], outs[number]) == expected
    assert any(document.relations for document in found(outs[0], outs[1]))


def test_several_corpora_and_their_calibration(tmp_path: Path, tiny_bert: str) -> None:
    runs.write_tagger(tmp_path / "run", tiny_bert, ("demo", "other"))
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(best, weights_only=True)
    checkpoint["calibration"] = {"demo/entity_tagging": {"entities": {"temperature": 2.5}}}
    torch.save(checkpoint, best)
    out = exported(tmp_path / "run", tmp_path / "out")
    whole = load(tmp_path / "run", corpus="demo", precision="32")
    same(list(load(out, corpus="demo", precision="32").stream(TEXTS)), list(whole.stream(TEXTS)))
    assert json.loads((out / "calibration.json").read_text()) == TrainedRun(tmp_path / "run").model().calibration
    (out / "calibration.json").unlink()
    with pytest.raises(AssertionError):
        same(list(load(out, corpus="demo", precision="32").stream(TEXTS)), list(whole.stream(TEXTS)))


def test_sixteen_bits_halve_the_folder(tagger_run: str, tmp_path: Path) -> None:
    sizes = []
    for dtype in ("float32", "bfloat16"):
        out = exported(Path(tagger_run), tmp_path / dtype, f"--dtype={dtype}")
        sizes.append((out / "model.safetensors").stat().st_size)
        assert any(document.entities for document in found(out))
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.05)


def test_exports_of_two_types_of_weights_are_two_models(tagger_run: str, tmp_path: Path) -> None:
    """An extraction that one had begun would have gone on with the other."""
    outs = [exported(Path(tagger_run), tmp_path / dtype, f"--dtype={dtype}") for dtype in ("float32", "bfloat16")]
    again = exported(Path(tagger_run), tmp_path / "again")
    one, other = map(identity, outs)
    assert one != other
    assert one == identity(again)
    settings = yaml.safe_load((again / "clinical_ie.yaml").read_text())
    del settings["dtype"]  # as older exports are
    (again / "clinical_ie.yaml").write_text(yaml.safe_dump(settings))
    assert [name.replace(" in float32", "") for name in one] == identity(again)
    same(found(again), found(outs[0]))


def test_a_whole_export_needs_no_backbone_and_says_so(tagger_run: str, pipeline_run: str, tiny_bert: str, tmp_path: Path) -> None:
    out = exported(Path(tagger_run), tmp_path / "out")
    with pytest.raises(SettingError, match=r"out was exported whole and would not use it; leave out --backbone"):
        load(out, backbone=tiny_bert)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text(TEXTS[0])
    command = ["extract", f"--model={out}", str(tmp_path / "notes"), f"--output={tmp_path / 'found'}", f"--backbone={tiny_bert}"]
    assert main(command) == 2
    assert not (tmp_path / "found").exists()
    relations = Path(pipeline_run) / "relations"
    assert list(load(out, relations, backbone=tiny_bert, precision="32").stream(TEXTS)) == found(out, relations), "of two, one needs it"


def test_heads_of_another_model_are_refused(tagger_run: str, pipeline_run: str, tmp_path: Path) -> None:
    one, other = exported(Path(tagger_run), tmp_path / "one"), exported(Path(pipeline_run) / "relations", tmp_path / "other")
    shutil.copy(other / "heads.safetensors", one / "heads.safetensors")
    with pytest.raises(FileFormatError, match=r"heads.safetensors: .* expected what `clinical-ie export` writes"):
        load(one)
    (one / "heads.safetensors").unlink()
    with pytest.raises(FileFormatError, match=r"heads.safetensors: no such file"):
        load(one)


def test_extract_takes_an_export(tagger_run: str, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for number, text in enumerate(TEXTS):
        (tmp_path / "notes" / f"{number}.txt").write_text(text)
    out = exported(Path(tagger_run), tmp_path / "out")
    assert main(["extract", "--model", str(out), str(tmp_path / "notes"), "--output", str(tmp_path / "found")]) == 0
    assert list((tmp_path / "found").iterdir())
