"""Compose one configuration or many: Hydra once for each distinct set of choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from runner.compose import values, words
from runner.compose.chosen import Chosen, choose
from runner.compose.swapped import Swapper
from runner.compose.written import Written
from runner.foundation import options
from runner.foundation.errors import Misconfigured, did_you_mean, shown
from runner.foundation.files import flat

ROOT = "output_root"  # where things are written
AS_WRITTEN = "grids"  # words, whose interpolations are resolved where they are composed


@dataclass(frozen=True)
class Composition:
    """A composed configuration.

    config   plain values, interpolations resolved: what `config.check` takes
    record   the same with interpolations as written, so that no environment value is stored
    choices  which option of each group was chosen
    sweep    the section `sweep`, which stands in none of these: a run knows nothing of it
    """

    config: dict[str, Any]
    record: dict[str, Any]
    choices: dict[str, Any] = field(default_factory=dict)
    sweep: dict[str, Any] = field(default_factory=dict)

    @property
    def experiment(self) -> str | None:
        """Return the experiment file this came from."""
        return self.choices.get("experiment")


class MistakesFound(Misconfigured):
    """Mistakes found in composing; `config` is what is left, for further checks to add theirs."""

    def __init__(self, problems: list[str], config: dict[str, Any]):
        super().__init__(problems)
        self.config = config


class Composer:
    """Compose configurations of the same folders, machine and groups.

    `folders` hold further options of the user's own; `machine` gives defaults for single keys,
    used where the composed configuration has the key and the user did not set it. Of the groups
    in `several` more than one option may be chosen.
    """

    def __init__(
        self,
        folders: Sequence[Path] = (),
        machine: Mapping[str, Any] | None = None,
        several: Sequence[str] = (),
    ):
        self.read = words.reader()
        self._written = Written(folders)
        self.groups = self._written.groups
        self._folders, self._machine, self._several = folders, machine or {}, several
        self._chosen: dict[tuple[str, ...], Chosen] = {}
        self._root = options.top_level(ROOT)
        self._swapper = Swapper([options.own_folder(), *folders])

    def compose(
        self,
        overrides: Iterable[str],
        *,
        alone: bool = False,
        base: Mapping[str, Any] | None = None,
    ) -> tuple[Composition, list[str]]:
        """Return what the overrides ask for, as far as they can be met, and every mistake.

        `alone`: words of a sweep, and an experiment that is one, are mistakes. `base` is what they
        change, instead of the defaults. Raises `Misconfigured` where Hydra cannot compose the
        options at all.
        """
        problems: list[str] = []
        parsed = self._parsed(overrides, alone, problems)
        words.once_each(parsed, problems)
        choosing = [override for override in parsed if words.is_choice(override, self.groups)]
        valid = [
            each for each in choosing if words.exists(each, self.groups, self._several, problems)
        ]
        chosen = self._choose(valid, problems)
        problems += self._written.doubled(chosen.choices)
        record = values.copied(chosen.config)
        if base is not None:
            groups = [words.top(override) for override in valid]
            record = values.copied({**base, **{group: record[group] for group in groups}})
        for override in parsed:
            if override not in choosing:
                _apply(record, override, problems)
        config = values.resolved(record, problems)
        choices = {group: each for group, each in chosen.choices.items() if group != words.SWEEP}
        sweep = _taken(config, record)
        if alone and isinstance(sweep, dict) and sweep.get("grids"):
            name = choices.get("experiment")
            problems.append(f"experiment={name}: its sweep.grids {words.ONE_RUN}")
        return Composition(config, record, choices, sweep), problems

    def _parsed(self, overrides: Iterable[str], alone: bool, problems: list[str]) -> list[Override]:
        parsed = []
        for word in overrides:
            try:
                override = self.read(word)
            except words.Unreadable as unreadable:
                problems.append(str(unreadable))
                continue
            key = override.key_or_group
            lists = key not in self.groups or key in self._several
            why_not = words.one_value(override, alone, lists)
            if not why_not and words.is_choice(override, self.groups):
                why_not = words.at_its_place(override)
            if why_not:
                problems.append(why_not)
            else:
                parsed.append(override)
        return parsed

    def _choose(self, choosing: Sequence[Override], problems: list[str]) -> Chosen:
        """Return the options' configuration, with the machine's defaults."""
        lines = tuple(each.input_line or "" for each in choosing)
        if lines not in self._chosen:
            if faults := [*dict.fromkeys(self._written.faults(words.chosen(choosing)))]:
                raise Misconfigured([*problems, *faults])
            chosen = self._swapper.swapped(choosing)
            if chosen is None:
                chosen = choose(lines, self._folders, problems)
                self._swapper.remember(choosing, chosen)
            if (root := chosen.config.get(ROOT)) != self._root:
                where = "only the command line and the defaults file may"
                raise Misconfigured([*problems, f"{ROOT}: an option says {shown(root)}; {where}"])
            config = values.copied(chosen.config)
            for key, value in self._machine.items():
                if values.has(config, key):
                    values.put(config, key, value)
            self._chosen[lines] = Chosen(config, chosen.choices)
        return self._chosen[lines]


def _apply(config: dict[str, Any], override: Override, problems: list[str]) -> None:
    """Set or remove one value; whether the key should exist is for `config.check` to say."""
    key = override.key_or_group
    try:
        if override.is_delete():
            values.remove(config, key)
        else:
            values.put(config, key, override.value())
    except KeyError:
        problems.append(f"{key}: unknown key{did_you_mean(key, flat(config))}")


def _taken(config: dict[str, Any], record: dict[str, Any]) -> Any:
    """Take the section of the sweep out of a configuration; return it."""
    written, sweep = record.pop(words.SWEEP, {}), config.pop(words.SWEEP, {})
    if isinstance(sweep, dict) and AS_WRITTEN in sweep:
        sweep[AS_WRITTEN] = written[AS_WRITTEN]
    return sweep
