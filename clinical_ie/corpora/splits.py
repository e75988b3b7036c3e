"""Train, dev and test: the folders that hold them, and a stable choice by hash where the owners name none."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from clinical_ie.errors import InputError
from clinical_ie.formats.folders import find_folders

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")

_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_of(name: str) -> Split | None:
    """The split that a folder or file is named after, in any case; None where it is no such name.

    Example:
        >>> [split_of(name) for name in ("Train", "validation", "TEST", "notes")]
        ['train', 'dev', 'test', None]
    """
    return _NAMES.get(name.casefold())


def named_parts(root: Path, ending: str = "") -> dict[Split, Path]:
    """The sub-folders of a folder that are named after splits, or its files of that kind (`ending`, such as ``.json``).

    Raises:
        InputError: Two names for one split, such as ``Train`` and ``train``, or ``dev`` and ``val``; or the folder cannot be read.
    """
    found: dict[Split, Path] = {}
    try:
        paths = sorted(root.iterdir())
    except OSError as error:
        raise InputError(f"{root}: cannot be read ({error.strerror})") from error
    for path in paths:
        stem, suffix = (path.stem, path.suffix) if ending else (path.name, "")
        if suffix.casefold() != ending or not (path.is_file() if ending else path.is_dir()):
            continue
        if split := split_of(stem):
            if split in found:
                raise InputError(f"{root}: {found[split].name} and {path.name} both name the {split} part; rename or remove one of them")
            found[split] = path
    return {split: found[split] for split in SPLITS if split in found}


def nested_split_folders(folder: Path, inside: Split | None = None) -> list[str]:
    """Folders at any depth that are named after a split other than the one they lie in, relative to `folder`, sorted.

    Outside of splits, names with a split's name as one of their words (``train_set``, ``2020-test-data``) count too where one
    folder is so named for training and another for something else; a folder ``blood_test`` alone says nothing.
    """
    if not folder.is_dir():
        return []
    names = {path: path.rpartition("/")[2] for path in find_folders(folder)}
    found = [path for path, name in names.items() if split_of(name) not in (None, inside)]
    if inside is None:
        resembling = {path: split for path, name in names.items() if (split := _split_in(name))}
        if "train" in resembling.values() and len(set(resembling.values())) > 1:
            found = list(resembling)
    return sorted(found)


def _split_in(name: str) -> Split | None:
    """The one split that words of a name stand for."""
    splits = {_NAMES[word] for word in re.split(r"[\W\d_]+", name.casefold()) if word in _NAMES}
    return splits.pop() if len(splits) == 1 else None


def position(group: str, seed: int) -> float:
    """Where a group stands between 0 (included) and 1 (excluded): uniform over groups, and the same on every machine."""
    name = unicodedata.normalize("NFC", group)  # file systems differ in how they write accents
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:7]) >> 3) / 2**53


def draw(groups: Iterable[str], seed: int, shares: Mapping[Split, float]) -> dict[str, Split]:
    """Group -> its split: ``test`` holds the lowest positions, ``dev`` the highest, ``train`` what lies between.

    A group's split depends on its name, the seed and the shares alone, so no group moves when others are added or removed. The one
    exception are so few groups that a part stays empty: it takes the nearest group of the part that has most, and gives it back
    once another group falls into its share.

    Args:
        groups: What is never torn apart: patients, articles or documents.
        seed: Another seed, another choice.
        shares: Expected shares of ``dev`` and ``test``, together below 1; a part without a share stays empty.

    Returns:
        Every group, in the order of positions. With fewer groups than parts, ``train`` is never empty.
    """
    places = sorted((position(group, seed), group) for group in set(groups))
    low, high = shares.get("test", 0.0), 1 - shares.get("dev", 0.0)
    chosen: dict[str, Split] = {group: "test" if place < low else "dev" if place >= high else "train" for place, group in places}

    def members(split: Split) -> list[str]:
        return [group for group, part in chosen.items() if part == split]

    for split in ("train", "test", "dev"):
        if (split != "train" and not shares.get(split, 0.0)) or members(split):
            continue
        giver = max(SPLITS, key=lambda part: len(members(part)))
        there = members(giver)
        if len(there) > (split != "train"):
            from_below = split == "test" or (giver == "dev" and split == "train")
            chosen[there[0 if from_below else -1]] = split
    return chosen


def draw_fold(groups: Iterable[str], seed: int, dev_share: float, folds: int, fold: int) -> dict[str, Split]:
    """Group -> its split, where one fold of several is tested.

    A group's fold depends on its name and the seed alone: the folds are disjoint, hold all groups together, and no group moves when others
    are added. Folds hold as many groups as chance gives them, a few might hold none.

    Args:
        groups: What is never torn apart.
        seed: Another seed, other folds.
        dev_share: Expected share of ``dev`` among the groups of the other folds; one group at least where it is above 0 and there are two.
        folds: How many.
        fold: Which is ``test``, from 0.
    """
    known = sorted(set(groups))
    tested = [group for group in known if int(position(group, seed) * folds) == fold]
    there = set(tested)
    # positions of their own, or the development groups would be those of one fold
    others = draw((f"dev:{group}" for group in known if group not in there), seed, {"dev": dev_share})
    return {**dict.fromkeys(tested, "test"), **{name.removeprefix("dev:"): split for name, split in others.items()}}
