"""Let Hydra compose the options of the groups: the only place that runs it."""

from __future__ import annotations

from collections.abc import Sequence
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
    try:
        with initialize_config_dir(str(options.own_folder()), version_base="1.3"):
            config = hydra_compose(PRIMARY, overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        reason = str(error) or str(error.__cause__)
        raise Misconfigured([*problems, reason.partition("\n")[0]]) from error
    choices = {
        group: list(option) if isinstance(option, ListConfig) else option
        for group, option in config.hydra.runtime.choices.items()
        if not str(group).startswith("hydra")
    }
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return Chosen(OmegaConf.to_container(config), choices)  # type: ignore[arg-type]
