"""Hydra's launchers and sweepers: which are installed, and a multirun through those chosen.

The runner's own launcher always stands between: it keeps the state of the sweep. Another one is
given the names of jobs, as the configuration `job=<name>`, and starts the task for each.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.compose.chosen import PRIMARY
from runner.foundation import options
from runner.foundation.errors import Misconfigured, did_you_mean
from runner.foundation.files import flat

OWN = "runner"  # our launcher, our sweeper
JOB = "runner_job"  # the configuration that another launcher composes for a job: its name
KINDS = ("launcher", "sweeper")
OF_HYDRA = re.compile(r"\+{0,2}hydra[/.](launcher|sweeper)(?=[.=]|$)")
EXTRAS = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "'runner[slurm]'",
    "submitit_slurm": "'runner[slurm]'",
    "ray": "'runner[ray]'",
}


@dataclass(frozen=True)
class Chosen:
    """A launcher and a sweeper by name, and the words about each."""

    launcher: str
    sweeper: str
    words: dict[str, list[str]]

    @property
    def own(self) -> bool:
        """Tell whether both are the runner's, as without a word."""
        return self.launcher == self.sweeper == OWN


def apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words about Hydra's launcher and sweeper, and the others."""
    hydra = [word for word in words if OF_HYDRA.match(word)]
    return hydra, [word for word in words if word not in hydra]


def telling(words: Sequence[str]) -> list[str]:
    """Return the words about launcher and sweeper that say more than a name or a number.

    What they say may be a command, the name of a function or an address, and is acted upon.
    """
    plain = re.compile(
        r"hydra/(launcher|sweeper)=\w+|[^=]*=([-+.\d]+([eE][-+]?\d+)?|true|false|null)"
    )
    return [word for word in apart(words)[0] if not plain.fullmatch(word)]


def choose(words: Sequence[str]) -> Chosen:
    """Return what the words about launcher and sweeper choose; raises `Misconfigured`."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    names = dict.fromkeys(KINDS, OWN)
    problems: list[str] = []
    loader = _hydra().config_loader
    for word in words:
        match = OF_HYDRA.match(word)
        assert match is not None, "a word about one of them"
        kind, key = match[1], word.partition("=")[0]
        found[kind].append(word)
        if key == f"hydra/{kind}":
            if len([each for each in words if each.partition("=")[0] == key]) > 1:
                raise Misconfigured(f"{key}: given more than once")
            names[kind] = word.partition("=")[2]
            problems += _missing(kind, names[kind], loader.get_group_options(key))
    for kind, given in found.items():
        if names[kind] == OWN:
            problems += [f"{word.partition('=')[0]}: the runner's own {kind} has no keys here; "
                         f"choose another with hydra/{kind}=" for word in given
                         if not word.startswith(f"hydra/{kind}=")]  # fmt: skip
    if problems:
        raise Misconfigured(problems)
    chosen = Chosen(names["launcher"], names["sweeper"], found)
    if not chosen.own:
        _composed(words, {kind: [f"hydra/{kind}={names[kind]}"] for kind in KINDS})
    return chosen


def _missing(kind: str, name: str, installed: Sequence[str]) -> Iterator[str]:
    """Say that a launcher or sweeper is not installed, if so, and what may be done."""
    if name in installed:
        return
    there = f"(installed: {', '.join(sorted(installed))})"
    if kind == "launcher" and name in EXTRAS:
        yield f"hydra/{kind}={name}: not installed: pip install {EXTRAS[name]} {there}"
    else:
        known = [*installed, *(EXTRAS if kind == "launcher" else ())]
        hint = did_you_mean(name, known)
        more = "; others come with pip install " + ", ".join(dict.fromkeys(EXTRAS.values()))
        end = more if kind == "launcher" else ""
        yield f"hydra/{kind}={name}: no such {kind}{hint} {there}{end}"


def _composed(words: Sequence[str], plain: dict[str, list[str]]) -> Any:
    """Return Hydra's part of a configuration with these words; `plain` ones name the choices."""
    _register()
    try:
        with _initialized():
            return compose(JOB, list(words), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        unknown = re.match(r"Could not override '(hydra\.(launcher|sweeper)\..*?)'", reason)
        if unknown is None:
            raise Misconfigured(reason) from error
        with _initialized():
            config = compose(JOB, plain[unknown[2]], return_hydra_config=True)
        known = flat(OmegaConf.to_container(config.hydra[unknown[2]]))  # type: ignore[arg-type]
        names = [f"hydra.{unknown[2]}.{key}" for key in known if not key.startswith("_")]
        hint = did_you_mean(unknown[1], names)
        listed = f" ({', '.join(names)})" if names else ""
        more = f"; to add one nevertheless write +{unknown[1]}="
        raise Misconfigured(f"{unknown[1]}: unknown key{hint}{listed}{more}") from error


def multirun(
    chosen: Chosen, session: Any, words: Sequence[str], folders: Sequence[Path], folder: Path
) -> None:
    """Let the sweeper ask for jobs, in batches, until it has enough; the session trains them.

    A sweeper that is not the runner's is given the words as they stand, and Hydra's own
    configuration of the runner's options. Raises `Misconfigured` where Hydra refuses them.
    """
    _register()
    if chosen.sweeper == OWN:
        name, asked = JOB, [f"hydra/sweeper={OWN}"]
    else:
        search = ",".join(_quoted(f"file://{each.resolve()}") for each in folders)
        name = PRIMARY
        asked = [*chosen.words["sweeper"], f"hydra.searchpath=[{search}]", *words]
    hydra = _hydra()
    with _logging_kept(), _as_mistakes():
        hydra.multirun(name, session, [f"hydra/launcher={OWN}", *_quiet(folder), *asked])


def launch(
    chosen: Chosen,
    folder: Path,
    names: Sequence[str],
    task: Callable[[Any], Any],
    first: int,
    context: HydraContext,
) -> None:
    """Let the chosen launcher start a task for each name, numbered from `first` on."""
    _register()
    hydra = _hydra()
    words = [*chosen.words["launcher"], *_quiet(folder), "hydra.sweep.subdir=${job}"]
    with _initialized():
        config = compose(JOB, words, return_hydra_config=True)
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=HydraContext(hydra.config_loader, context.callbacks),
        task_function=task,
        config=config,
    )
    launcher.launch([[f"job={_quoted(name)}"] for name in names], initial_job_idx=first)


def _register() -> None:
    ConfigStore.instance().store(JOB, {"job": None}, provider=OWN)


def _initialized() -> initialize_config_dir:
    return initialize_config_dir(str(options.own_folder()), OWN, version_base="1.3")


def _hydra() -> Any:
    """Return Hydra, not left initialized: others compose while it runs."""
    with _initialized():
        return GlobalHydra.instance().hydra


def _quiet(folder: Path) -> list[str]:
    """Return words for a sweep in a folder that Hydra writes no records of its own to."""
    return [f"hydra.sweep.dir={_quoted(str(folder.resolve()))}", "hydra.output_subdir=null",
            "hydra/job_logging=none"]  # fmt: skip


def _quoted(text: str) -> str:
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", text) + "'"


@contextlib.contextmanager
def _as_mistakes() -> Iterator[None]:
    """Turn what Hydra says against its configuration into a mistake of the user's."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise Misconfigured(str(error).splitlines()[0] or type(error).__name__) from error


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """Put back afterwards how the root logger was set up."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
