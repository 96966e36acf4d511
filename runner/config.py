"""From a configuration to objects: `check`, `build`, `maker`. No other code does this.

A node is a mapping with `_target_`, the dotted name of a factory, and the factory's keyword-only
arguments. The signature is the schema: names, annotations and ranges are read from it, every
mistake in the whole configuration is collected, and only then is anything built. Targets come
from an allow list, so that a configuration from a stranger is data and not code.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

from runner.foundation import kinds, options
from runner.foundation.absent import ALSO_CALLED
from runner.foundation.durations import Clock
from runner.foundation.errors import Misconfigured, RunnerError, failed_in, nearest, shown

TRUSTED = ("runner.components.", "torch.nn.", "torch.optim.")
MISSING = "???"
REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Node:
    """A checked node: its key, the factory, and the arguments the configuration gives it."""

    description: ClassVar[str] = "a node with _target_"
    key: str
    factory: Callable[..., Any]
    arguments: dict[str, Any]


def check(config: Mapping[str, Any], schema: type, *, trust: Sequence[str] = ()) -> Any:
    """Return `schema` (a keyword-only dataclass) filled from the configuration.

    Raises `Misconfigured` with one line for each mistake: its full key, what was expected, what
    came, and the nearest valid name. `trust` names packages of the user's own whose functions may
    be targets too.
    """
    problems: list[str] = []
    checker = _Checker(problems, tuple(_keys(config)), (*TRUSTED, *(f"{name}." for name in trust)))
    filled = checker.section(config, schema, "")
    if problems:
        raise Misconfigured(problems)
    return schema(**filled)


def check_node(content: Mapping[str, Any], key: str, group: str) -> Node:
    """Check a single node that stands in no configuration."""
    problems: list[str] = []
    node = _Checker(problems, (), TRUSTED).node(content, key, group)
    if node is None:
        raise Misconfigured(problems)
    return node


def build(node: Node, *runtime: Any, clock: Clock | None = None) -> Any:
    """Call the node's factory now, with run-time data first.

    A `ValueError` of the factory, whose arguments do not go together, becomes a mistake in the
    configuration, with the node's key; what else fails in a user's own one, a `RunnerError`.
    """
    try:
        made = maker(node, clock=clock)
        inspect.signature(made).bind(*runtime)
    except (TypeError, ValueError) as error:
        raise Misconfigured(f"{node.key}: {error}") from error
    try:
        return made(*runtime)
    except RunnerError:
        raise
    except Exception as error:
        if told := failed_in(node.factory.__module__, error, node.key):
            raise told from error
        raise


def maker(node: Node, *, clock: Clock | None = None) -> Callable[..., Any]:
    """Return the factory with its configuration filled in, to be called later.

    Durations become whole numbers of steps, for which a clock is needed.
    """
    arguments = dict(node.arguments)
    for name, parameter in _parameters(node.factory).items():
        if name in arguments and kinds.is_duration(parameter.annotation):
            assert clock is not None, f"{node.factory.__name__}.{name} is a duration"
            arguments[name] = _in_steps(arguments[name], clock)
    return functools.partial(node.factory, **arguments)


def _in_steps(value: Any, clock: Clock) -> Any:
    """Return the whole steps of a duration, or of each in a list; null stays null."""
    if isinstance(value, list):
        return [_in_steps(each, clock) for each in value]
    return None if value is None else clock.steps(value)


def parameters_of(target: str) -> dict[str, inspect.Parameter]:
    """Return the configuration of a trusted factory: its keyword-only parameters."""
    return _parameters(_locate(target))


@dataclass(frozen=True)
class _Checker:
    """Walk a configuration beside its schema and note every mistake."""

    problems: list[str]
    keys: tuple[str, ...]  # every key of the configuration, for suggestions
    trusted: tuple[str, ...]

    def section(
        self, config: Mapping[str, Any], schema: Callable[..., Any], prefix: str, named: str = ""
    ) -> dict[str, Any]:
        """Return the arguments for `schema`; `named` describes it in messages."""
        parameters = _parameters(schema)
        for name in config:
            if name not in parameters:
                self._unknown(f"{prefix}{name}", list(parameters), named)
        filled = {}
        for name, parameter in parameters.items():
            if name in config:
                filled[name] = self.value(config[name], parameter.annotation, prefix + name)
            elif parameter.default is REQUIRED:
                kind = _described(parameter.annotation)
                self.problems.append(f"{prefix}{name}: required key is missing; expected {kind}")
        return filled

    def value(self, value: Any, kind: Any, key: str) -> Any:
        """Return the value as the annotation wants it, or note why it cannot be."""
        if value == MISSING:
            self.problems.append(f"{key}: missing value; expected {_described(kind)}")
            return None
        if (group := _group(kind)) is not None:
            return self.node(value, key, group)
        if get_origin(kind) is dict or (is_dataclass(kind) and isinstance(kind, type)):
            return self._mapping(value, kind, key)
        kind = _alternative(value, kind)
        if get_origin(kind) in (list, tuple) and isinstance(value, list | tuple):
            return self._items(value, kind, key)
        try:
            return kinds.convert(value, kind)
        except ValueError as error:
            return self._wrong(value, kind, key, str(error))

    def _mapping(self, value: Any, kind: Any, key: str) -> Any:
        """Return a dict of checked items, or a section as its dataclass."""
        if not isinstance(value, Mapping):
            return self._wrong(value, kind, key)
        if get_origin(kind) is dict:
            item = get_args(kind)[1]
            return {name: self.value(each, item, f"{key}.{name}") for name, each in value.items()}
        before = len(self.problems)
        filled = self.section(value, kind, f"{key}.")
        return kind(**filled) if len(self.problems) == before else None

    def node(self, value: Any, key: str, group: str = "") -> Node | None:
        """Check a node by the signature of its own target."""
        if not isinstance(value, Mapping) or not isinstance(value.get("_target_"), str):
            self._no_node(value, key, group)
            return None
        target = value["_target_"]
        if not all(part.isidentifier() for part in target.split(".")):
            dotted = "expected a dotted name such as torch.optim.Adam"
            self.problems.append(f"{key}._target_: {dotted}, got {shown(target)}")
            return None
        if not target.startswith(self.trusted):
            package = target.split(".")[0]
            self.problems.append(
                f"{key}._target_: '{target}' is not trusted; "
                f"if the code is yours, add --trust {package}"
            )
            return None
        try:
            factory = _locate(target)
        except (ImportError, AttributeError) as error:
            own = not target.startswith(TRUSTED)
            hint = " (--trust searches the working directory; else install it)" if own else ""
            self.problems.append(f"{key}._target_: no such target '{target}': {error}{hint}")
            return None
        except Exception as error:  # code of the user's own that does not even import
            self.problems.append(f"{key}._target_: '{target}' cannot be imported: {error!r}")
            return None
        if refused := self._refused(factory, target, group):
            self.problems.append(f"{key}._target_: {refused}")
            return None
        options = {name: each for name, each in value.items() if name != "_target_"}
        before = len(self.problems)
        arguments = self.section(options, factory, f"{key}.", named=target.rsplit(".", 1)[-1])
        return Node(key, factory, arguments) if len(self.problems) == before else None

    def _no_node(self, value: Any, key: str, group: str) -> None:
        """Note a value where an option should be, or the key of an option without its name."""
        known = options.groups([options.own_folder()]).get(group, {})
        name = key.rpartition(".")[2]
        target = value.get("_target_") if isinstance(value, Mapping) else None
        if target is not None:
            self._wrong(target, str, f"{key}._target_")
        elif not group:
            self._wrong(value, Node, key)
        elif key != group and name in known:
            self._wrong(value, Node, key, f"choose it: {group}={name}")
        elif key != group:
            deeper = [each for each in self.keys if each.startswith(f"{group}.")
                      and each.endswith(f".{name}") and each != key]  # fmt: skip
            hint = f"did you mean '{deeper[0]}'?" if deeper else f"{group} has {', '.join(known)}"
            self.problems.append(f"{key}: unknown key; {hint}")
        else:
            available = ", ".join(sorted(known))
            self.problems.append(f"{key}: expected an option ({available}), got {shown(value)}")

    def _refused(self, factory: Callable[..., Any], target: str, group: str) -> str:
        """Say why a trusted target may not stand in this place, or nothing."""
        if not f"{factory.__module__}.".startswith(self.trusted):
            return f"'{target}' is defined in {factory.__module__}"
        if target.startswith("torch.") and not inspect.isclass(factory):
            return f"'{target}' is no class"
        if target.startswith("torch.") and group == "loss":
            return f"'{target}' is a class, and a loss a function of outputs and targets"
        own = f"runner.components.{group}."
        if group and target.startswith("runner.components.") and not target.startswith(own):
            return f"'{target}' is no {group}"
        return ""

    def _items(self, value: Sequence[Any], kind: Any, key: str) -> Any:
        items = get_args(kind)
        if get_origin(kind) is tuple and items[-1] is not Ellipsis:
            if len(value) != len(items):
                return self._wrong(value, kind, key)
            return tuple(
                self.value(each, item, f"{key}[{at}]")
                for at, (each, item) in enumerate(zip(value, items, strict=True))
            )
        return [self.value(each, items[0], f"{key}[{at}]") for at, each in enumerate(value)]

    def _unknown(self, key: str, siblings: list[str], named: str) -> None:
        prefix, dot, name = key.rpartition(".")
        near = nearest(name, siblings)
        inside = [each for each in self.keys if each == key or each.startswith(f"{key}.")]
        elsewhere = [] if named else set(self.keys).difference(inside)  # a factory's are its own
        called = ALSO_CALLED.get(name.lower())
        near = f"{prefix}{dot}{near}" if near else called or nearest(key, elsewhere)
        hint = f"; did you mean '{near}'?" if near else ""
        if not hint and named:
            group = key.partition(".")[0]
            has = " or ".join(options.having(group, name))
            hint = f"; {named} has {', '.join(siblings) or 'no options'}"
            hint += f"; {group}={has} has it" if has else ""
        self.problems.append(f"{key if key.isprintable() else shown(key)}: unknown key{hint}")

    def _wrong(self, value: Any, kind: Any, key: str, why: str = "") -> None:
        hint = f"; {why}" if why else ""
        self.problems.append(f"{key}: expected {_described(kind)}, got {shown(value)}{hint}")


def _group(kind: Any) -> str | None:
    """Return the group that a node must be of, "" for any, or None if no node is wanted."""
    if get_origin(kind) is Annotated and get_args(kind)[0] is Node:
        return str(get_args(kind)[1])
    return "" if kind is Node else None


def _described(kind: Any) -> str:
    """Say in words what an annotation wants, the options of a group included."""
    if get_origin(kind) is dict:
        group = _group(get_args(kind)[1])
        return f"options of {group}" if group else kinds.describe(kind)
    return f"an option of {group}" if (group := _group(kind)) else kinds.describe(kind)


def _alternative(value: Any, kind: Any) -> Any:
    """Return the only alternative for a list where a list came to a union, else the kind itself."""
    if get_origin(kind) not in (Union, types.UnionType) or not isinstance(value, list | tuple):
        return kind
    lists = [each for each in get_args(kind) if get_origin(each) in (list, tuple)]
    return lists[0] if len(lists) == 1 else kind


@functools.cache
def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return what a configuration may set: keyword-only parameters, their annotations evaluated.

    A class of torch's has no keyword-only parameters; there every named one is configuration, but
    for the parameters that an optimizer is given when the model is there.
    """
    parameters = inspect.signature(factory).parameters
    if factory.__module__.startswith("torch."):
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        known = {name: each for name, each in parameters.items()
                 if each.kind in named and name != "params"}  # fmt: skip
        return {name: each.replace(annotation=_like(each.default)) for name, each in known.items()}
    own = inspect.unwrap(factory)
    own = own.__init__ if inspect.isclass(own) and not is_dataclass(own) else own
    hints = get_type_hints(own, include_extras=True)
    return {
        name: each.replace(annotation=hints.get(name, each.annotation))
        for name, each in parameters.items()
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _like(default: Any) -> Any:
    """Return the kind of a default, for parameters without annotation."""
    kinds_of = {bool: bool, int: float, float: float}
    return kinds_of.get(type(default), REQUIRED)


def _locate(target: str) -> Callable[..., Any]:
    """Import what a dotted name stands for."""
    module, _, name = target.rpartition(".")
    if name.startswith("_"):
        raise AttributeError(f"{name} is private")
    found = getattr(importlib.import_module(module), name)
    if not callable(found):
        raise AttributeError(f"{target} is not callable")
    return found


def _keys(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in config.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")
