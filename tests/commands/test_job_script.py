"""Job scripts as sbatch reads them; `tests/slurm/test_submission.py` holds these rules against sbatch itself."""

from __future__ import annotations

from clinical_ie.commands.job_script import parsed

SCRIPT = """#!/bin/bash
#SBATCH -N2 --job-name="two words" --exclusive # why
##SBATCH --mem=1G
  # a comment, which ends nothing
#SBATCH --time 1:00:00
#SBATCH --comment=a#b

set -e # strict
srun clinical-ie fit \\
  -c task/entity_tagging
"""


def test_options_and_commands_of_a_script() -> None:
    script = parsed(SCRIPT)
    assert [(one.line, one.name, one.value, one.given) for one in script.directives] == [
        (2, "nodes", "2", "-N"),
        (2, "job-name", "two words", "--job-name"),
        (2, "exclusive", "", "--exclusive"),
        (5, "time", "1:00:00", "--time"),
        (6, "comment", "a", "--comment"),
    ]
    assert script.commands == [(8, "set -e"), (9, "srun clinical-ie fit  -c task/entity_tagging")]
    assert script.misread == []
    assert script.mentions("fit")


def test_options_by_their_first_letters() -> None:
    script = parsed("#!/bin/bash\n#SBATCH --job=a\n#SBATCH --gpu=2\n")
    assert [(one.name, one.given) for one in script.directives] == [("job-name", "--job")]
    assert [(one.line, one.what) for one in script.misread] == [(3, "sbatch has no option --gpu")]


def test_the_last_of_two_counts() -> None:
    assert parsed("#!/bin/bash\n#SBATCH -N 1\n#SBATCH --nodes=2\n").options["nodes"].value == "2"
