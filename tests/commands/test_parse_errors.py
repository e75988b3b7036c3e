"""Messages in the words of jsonargparse 4.5x; that real ones look like these is seen in tests/integration/test_bad_settings.py."""

from __future__ import annotations

import pytest

from clinical_ie.commands.parse_errors import explain

OPTIONS = ("trainer.max_epochs", "trainer.accelerator", "data.tasks", "data.batch_budget", "model", "run_dir")
UNION = """Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'lightning.pytorch.core.module.LightningModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'fractions.Fraction':
        {}
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {{'init_args': {{'numeratr': 3}}}}"""


@pytest.mark.parametrize(
    ("message", "origins", "said"),
    [
        ("unrecognized arguments: --trainr.max_epochs=3 x", {}, "unknown option --trainr.max_epochs; did you mean '--trainer.max_epochs'?"),
        ("unrecognized arguments: hello", {}, "'hello' is no option; options begin with --, configuration files stand behind -c"),
        (
            "Group 'trainer' does not accept option 'max_epoch'",
            {"trainer.max_epoch": "a.yaml:2"},
            "a.yaml:2: trainer.max_epoch: trainer has no setting 'max_epoch'; did you mean 'max_epochs'?",
        ),
        (
            "Option 'trainr.max_epochs' is not accepted",
            {"trainr": "a.yaml:1"},
            "a.yaml:1: trainr: there is no setting 'trainr'; did you mean 'trainer'?",
        ),
        (
            UNION.format("Option 'numeratr' is not accepted"),
            {"model": "a.yaml:1", "model.numeratr": "a.yaml:3"},
            "a.yaml:3: model.numeratr: Fraction has no argument 'numeratr'; did you mean 'numerator'?",
        ),
        (
            UNION.format("module 'fractions' has no attribute 'Fractoin'"),
            {"model": "a.yaml:1"},
            "a.yaml:1: model: there is no class fractions.Fractoin; did you mean 'Fraction'?",
        ),
        (
            UNION.format("Parser key \"numerator\":\n          Expected a <class 'int'>. Got value: many"),
            {"model.numerator": "--model.init_args.numerator"},
            "--model.init_args.numerator: expected a whole number, got 'many'",
        ),
        (
            'Parser key "data.tasks":\n  Import path fractions.Fraction does not correspond to a subclass of Task',
            {"data": "a.yaml:1"},
            "a.yaml:1: data.tasks: fractions.Fraction is no Task",
        ),
        (
            'Parser key "trainer.max_epochs":\n  Does not validate against any of the Union subtypes\n  Errors:\n'
            "    - Expected a <class 'int'>\n    - Expected a <class 'NoneType'>\n  Given value type: <class 'str'>\n  Given value: three",
            {"trainer.max_epochs": "--trainer.max_epochs"},
            "--trainer.max_epochs: expected a whole number or null, got 'three'",
        ),
        (
            "Parser key \"decoder\":\n  Expected a typing.Literal['crf', 'softmax']. Got value: crff",
            {},
            "decoder: expected crf or softmax, got 'crff'; did you mean 'crf'?",
        ),
        ("Something new\n  in two lines", {}, "Something new in two lines"),
    ],
)
def test_one_line_with_the_cause(message: str, origins: dict[str, str], said: str) -> None:
    assert explain(message, OPTIONS, origins) == said


def test_long_values_are_cut() -> None:
    said = explain("Parser key \"data.batch_budget\":\n  Expected a <class 'int'>. Got value: " + "x" * 100_000, OPTIONS, {})
    assert len(said) < 300
    assert len(explain("x\n" * 100_000, OPTIONS, {})) <= 1000
