"""The options that YAML files offer: `conf/<group>/<option>.yaml`, read without composing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from runner.foundation.errors import Misconfigured, did_you_mean
from runner.foundation.files import flat, read_yaml

SEEDS = "seeds"  # an axis of a sweep: of no group, and no key of a run
Groups = dict[str, dict[str, Path]]  # group -> option -> file


@dataclass(frozen=True)
class Option:
    """The name of an option of a group, as a parameter: `Annotated[str, Option("activation")]`."""

    group: str

    def check(self, value: str) -> None:
        """Raise a ValueError with the nearest name unless the group has this option."""
        names = groups([own_folder()])[self.group]
        if value not in names:
            raise ValueError(f"no such option{did_you_mean(value, names)} ({', '.join(names)})")

    def __str__(self) -> str:
        return f": an option of {self.group}"


def node(group: str, option: str) -> dict[str, object]:
    """Read what an option's file says, for a group that composes no `defaults`."""
    return read_yaml(groups([own_folder()])[group][option])


def own_folder() -> Path:
    """Return the folder of the options that come with the runner: a checkout's, else a wheel's."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "conf"
    return checkout if (checkout / "config.yaml").is_file() else package / "conf"


def folders(further: Iterable[str] = ()) -> list[Path]:
    """Return the folders of options: the runner's own, then the user's."""
    if "" in (given := list(further)):
        raise Misconfigured("--config-dir: expected a folder, got ''")
    return [own_folder(), *(Path(os.path.expanduser(folder)) for folder in given)]


def having(group: str, key: str) -> list[str]:
    """Return the runner's own options of a group that set this key."""
    known = groups([own_folder()]).get(group, {})
    return [option for option, path in known.items() if key in read_yaml(path)]


def groups(roots: Iterable[Path]) -> Groups:
    """Return, for each group, its options and their files; a folder there is not is a mistake."""
    found: Groups = {}
    for root in roots:
        if not os.path.isdir(root):  # Path.is_dir raises for names that are too long
            raise Misconfigured(f"--config-dir {root}: no such folder")
        for path in sorted(filter(Path.is_file, root.glob("*/**/*.yaml"))):
            group = path.relative_to(root).parent.as_posix()
            found.setdefault(group, {})[path.stem] = path
    return dict(sorted(found.items()))


def description(path: Path) -> str:
    """Return the first comment line of an option's file that is not for Hydra (`# @package`)."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = takewhile(lambda line: line.startswith("#"), file)
        said = (line.lstrip("# ").strip() for line in lines)
        return next((line for line in said if not line.startswith("@")), "")


def keys(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the keys an option sets, and their values as one would type them."""
    content = read_yaml(path)
    content.pop("defaults", None)
    for key, value in flat(content).items():
        if not key.endswith("_target_"):
            yield key, _typed(value)


def _typed(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value).replace(" ", "")


def top_level_keys() -> list[str]:
    """Return the keys of the run itself, which belong to no group."""
    content = read_yaml(own_folder() / "config.yaml")
    return [key for key in content if key != "defaults"]


def top_level(key: str) -> object:
    """Return the value of a key of the run itself, as the runner has it."""
    return read_yaml(own_folder() / "config.yaml")[key]


def words() -> set[str]:
    """Return every group, every key of the run itself, and `seeds`: what may stand before a `=`."""
    return {*groups([own_folder()]), *top_level_keys(), SEEDS}
