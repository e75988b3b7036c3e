"""The corpora of a run's settings by their names: each has a folder of its own, and none is there twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.errors import SettingError, did_you_mean


def name_of(entry: Any) -> str:
    """What tables, files and other settings call a corpus.

    Args:
        entry: Its ``class_path`` and ``init_args``, as parsed.
    """
    given = (entry.get("init_args") or {}).get("corpus_name")
    return str(given or class_of(entry["class_path"]).name)


def class_of(path: str) -> type[Corpus]:
    """The class of that name.

    Raises:
        SettingError: There is none.
    """
    module, _, name = path.rpartition(".")
    try:
        found: type[Corpus] = getattr(import_module(module or "clinical_ie.corpora"), name)
    except (ImportError, AttributeError, ValueError):
        raise SettingError(f"{path}: no such class of corpora; expected one such as clinical_ie.corpora.Demo") from None
    return found


def check_different(corpora: Sequence[Any], added_by: Sequence[str]) -> None:
    """Make sure that no corpus is there twice.

    Args:
        corpora: Their settings.
        added_by: The configuration files that add corpora, as they were named.

    Raises:
        SettingError: One is.
    """
    names = [name_of(entry) for entry in corpora]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        files = f" ({', '.join(added_by)} add corpora)" if len(added_by) > 1 else ""
        raise SettingError(
            f"corpus {twice[0]} is there twice{files}; leave one file out: an experiment or a run's config.yaml that names its corpus"
            " needs no -c data/NAME beside it. Two corpora of your own need a corpus_name each"
        )


def place_roots(corpora: Sequence[Any], roots: Mapping[str, str]) -> None:
    """Give corpora the folders that ``--data.roots.CORPUS=DIR`` names, in place.

    Raises:
        SettingError: No such corpus.
    """
    named = {name_of(entry): entry for entry in corpora}
    for name, root in roots.items():
        if name not in named:
            raise SettingError(f"--data.roots.{name}: no corpus of that name; there are {', '.join(named)}{did_you_mean(name, named)}")
        named[name].init_args.root = root
