from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ie.commands import configurations
from clinical_ie.errors import SettingError

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_packaged_file_is_found_by_its_name() -> None:
    files = {path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml")}
    assert set(configurations.names()) == files
    assert {configurations.resolve(name).read_text(encoding="utf-8") for name in files} == {
        path.read_text(encoding="utf-8") for path in CONFIGS.rglob("*.yaml")
    }


def test_an_installed_package_has_them_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "clinical_ie"
    (package / "configs" / "task").mkdir(parents=True)
    (package / "configs" / "base.yaml").write_text("trainer: {}\n", encoding="utf-8")
    (package / "configs" / "task" / "own.yaml").write_text("model: {}\n", encoding="utf-8")
    monkeypatch.setattr(configurations, "__file__", str(package / "commands" / "configurations.py"))
    configurations.folder.cache_clear()
    try:
        assert configurations.resolve("task/own") == package / "configs" / "task" / "own.yaml"
    finally:
        configurations.folder.cache_clear()


def test_a_file_goes_before_a_packaged_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task").mkdir()
    assert configurations.resolve("task/entity_tagging") == configurations.folder() / "task" / "entity_tagging.yaml", "a folder is no file"
    (tmp_path / "task" / "entity_tagging.yaml").write_text("model: {}\n", encoding="utf-8")
    assert configurations.resolve("task/entity_tagging") == Path("task/entity_tagging.yaml")
    assert configurations.resolve("task/entity_tagging.yaml") == Path("task/entity_tagging.yaml")


def test_the_folder_of_a_run_is_answered_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("trainer: {}", encoding="utf-8")
    with pytest.raises(SettingError, match=r"is a folder; name the file in it, .*/config.yaml"):
        configurations.resolve(f"{tmp_path}/")


def test_recipes_need_not_name_their_folder() -> None:
    recipe = configurations.folder() / "pipeline" / "demo.yaml"
    assert configurations.resolve("demo", "pipeline") == configurations.resolve("pipeline/demo", "pipeline") == recipe


@pytest.mark.parametrize(
    ("name", "within", "said"),
    [
        ("task/entity_taging", "", "did you mean 'task/entity_tagging'? (task has attribute_classification, attribute_instruction,"),
        ("entity_tagging", "", "did you mean 'task/entity_tagging'? (packaged are data/..., "),
        ("tasks/entity_tagging", "", "did you mean 'task/entity_tagging'?"),
        ("data/n2c2-2018.yaml", "", "did you mean 'data/n2c2_2018'?"),
        ("uw_social_histroy", "pipeline", "did you mean 'uw_social_history'? (pipeline has demo, "),
        ("nowhere.yaml", "", "nowhere.yaml: no such file, and no packaged configuration of that name (packaged are"),
        ("../pyproject", "", "no such file"),
    ],
)
def test_other_names_are_refused(name: str, within: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError) as refused:
        configurations.resolve(name, within)
    assert said in str(refused.value)
