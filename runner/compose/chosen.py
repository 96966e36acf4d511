"""Let Hydra compose the options of the groups: the only place that runs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.foundation import options
from runner.foundation.errors import Misconfigured

PRIMARY = "config"


class Chosen(NamedTuple):
    """What the options make together, interpolations as written, and which they are."""

    config: dict[str, Any]
    choices: dict[str, Any]


def choose(words: Sequence[str], folders: Sequence[Path], problems: Sequence[str]) -> Chosen:
    """Compose the options of these words, starting from the defaults list.

    Raises `Misconfigured` with the problems known so far where Hydra cannot.
    """
    search = ",".join(f"'file://{folder.resolve()}'" for folder in folders)
    overrides = [*words, f"hydra.searchpath=[{search}]"]
    with _yaml_errors([options.own_folder(), *folders]):
        try:
            with initialize_config_dir(str(options.own_folder()), version_base="1.3"):
                config = hydra_compose(PRIMARY, overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise Misconfigured([*problems, str(error)]) from error
    choices = {
        group: list(option) if isinstance(option, ListConfig) else option
        for group, option in config.hydra.runtime.choices.items()
        if not str(group).startswith("hydra")
    }
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return Chosen(OmegaConf.to_container(config), choices)  # type: ignore[arg-type]


@contextlib.contextmanager
def _yaml_errors(folders: Sequence[Path]) -> Iterator[None]:
    """Turn a YAML error into a message with file and line."""
    try:
        yield
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.name}:{mark.line + 1}" if mark else _undecodable(folders)
        reason = getattr(error, "problem", None) or str(error)
        raise Misconfigured(f"{where}: {reason}") from error


def _undecodable(folders: Sequence[Path]) -> str:
    for folder in folders:
        for path in sorted(folder.rglob("*.yaml")):
            try:
                path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                return f"{path}: not UTF-8"
    return "a configuration file"
