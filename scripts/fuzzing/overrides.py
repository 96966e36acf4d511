"""Command lines that nobody should write: each gets exit code 0 or 2, and changes nothing."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fuzzing import command
from fuzzing.campaign import Outcome
from fuzzing.campaign import command as pasted
from runner.foundation import options
from runner.foundation.files import flat, read_yaml

ALLOWED = (0, 2)
CANARY = "FUZZ_TOKEN", "Tweet-4711"  # a variable of the environment, and its value
# What a word of a command line can hold: no NUL; bytes that are no UTF-8 come as U+DC80 ... U+DCFF.
LETTERS = st.one_of(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
)
TEXT = st.text(LETTERS, max_size=30)
SOUP = st.text("[]{}(),:=$'\"\\ \t\n#@*~+-_.!&|%/?<>;0123456789eEabcxyzNI", max_size=40)
ODD_NUMBERS = ("1e400", "-0", "0x10", "012", "1_000", "1e3", ".5", "5.", "+1", "1e-400", "nan",
               "-inf", "1/3", "50%", "2epochs", "7steps", "-1steps", "1e9epochs", "9" * 400, "٣",
               "１２")  # fmt: skip
NUMBERS = st.one_of(st.floats().map(repr), st.integers().map(str), st.integers(-3, 3).map(str),
                    st.sampled_from(ODD_NUMBERS))  # fmt: skip
WORDS = st.sampled_from([
    "", "null", "true", "false", "no", "on", "~", "???", "auto", "none", "default", "''", '""',
    "os.system", "builtins.eval", "torch.load", "torch.nn.Linear", "torch.optim.Adam", "__main__.x",
    "runner.components.activation.relu", "runner.cli.run", "runner.components.optimizer", "..", ".",
    "../../x", "/etc/passwd", "~root", "${name}", "${seed}", "${optimizer}", "${optimizer.lr}",
    f"${{oc.env:{CANARY[0]}}}", f"a${{oc.env:{CANARY[0]}}}b", "${oc.env:NOPE,3}", "${oc.env:NOPE}",
    "${oc.decode:'[1'}", "${oc.create:{a:1}}", "${now:%Y}",
    "${oc.dict.keys:optimizer}", "${hydra:run.dir}", "${.}", "${..}", "${}", "${", "${${seed}}",
    "${nope:}", "a${seed}b${name}", "\\${x}", "[/red]", "!!python/object/apply:os.system [ls]",
    "{_target_: os.system}", "[${seed}]", "{a: ${seed}}", "1,2", "a,b,c", "[1],[2]", "range(3)",
    "range(1,1e9)", "range(0,1,0)", "choice(1,2)", "sort(3,1)", "shuffle(range(5))", "glob(*)",
    "glob(a*)", "interval(0,1)", "tag(x,choice(1))", "linspace(0,1,5)", "linspace(0,1,1e9)",
    "logspace(1e-4,1,9)", "logspace(-1,1,3)", "extend_list(1)", "int(1.5)", "str([1,2])",
    "json_str({a:1})", "float(nan)", "bool(x)", "cast(3)", "\x1b[31mred", "\r", "\x07", "\u202e",
])  # fmt: skip
SWEEPS = ("seeds", "sweep", "sweep.grids", "sweep.zip", "sweep.max_jobs", "sweep.nope", "hydra",
          "hydra.run.dir", "hydra/launcher", "hydra.sweep.subdir", "hydra/sweeper")  # fmt: skip


@functools.cache
def known() -> dict[str, list[str]]:
    """Return every group with its options, and every key of a configuration without any."""
    groups = options.groups([options.own_folder()])
    keys: dict[str, list[str]] = {group: list(found) for group, found in groups.items()}
    for key in flat(read_yaml(options.own_folder() / "config.yaml")):
        if key != "defaults":
            keys[key] = []
    for group, found in groups.items():
        for option in found:
            for key in flat(options.node(group, option)):
                keys.setdefault(f"{group}.{key}", [])
                keys.setdefault(f"{group}.{option}.{key}", [])
    return keys


def lines() -> SearchStrategy[list[str]]:
    """Return a strategy of command lines, from nearly right to nonsense."""
    odd = st.one_of(_words(), _words(), SOUP, TEXT)
    return st.one_of(
        st.lists(_right(), max_size=4, unique_by=lambda word: word.partition("=")[0]),
        st.tuples(_right(), _words()).map(list),
        st.lists(_words(), min_size=1, max_size=1),
        st.lists(st.one_of(_right(), odd), min_size=1, max_size=5),
    )


def prepared(home: Path) -> tuple[SearchStrategy[list[str]], Callable[[Sequence[str]], Outcome]]:
    """Return what to try, and how."""
    os.environ[CANARY[0]] = CANARY[1]
    command.compose_once()
    command.run(["show"])  # imports what there is to import
    return lines(), attempt


def attempt(words: Sequence[str]) -> Outcome:
    """Let `runner show` answer."""
    answer = command.run(["show", *words], reading=True)
    fault = answer.fault()
    if not fault and answer.code not in ALLOWED:
        fault = f"exit {answer.code}"
    elif not fault and answer.deeds:
        fault = f"did more than read: {answer.deeds[0]}"
    elif not fault and answer.code == 0 and not _is_mapping(answer.out):
        fault = "printed no YAML mapping"
    elif not fault and CANARY[1] in answer.out + answer.err:
        fault = "a value of the environment is printed"
    return Outcome(
        f"exit {answer.code}" if isinstance(answer.code, int) else "raised",
        fault,
        pasted("show", *words),
        f"{answer.out[-300:]}{answer.err[-1500:]}",
    )


def _right() -> SearchStrategy[str]:
    """Return a strategy of words that name an option that there is."""
    pairs = [f"{key}={option}" for key, found in known().items() for option in found]
    return st.sampled_from(pairs)


def _words() -> SearchStrategy[str]:
    """Return a strategy of words of the form key=value."""
    prefixes = st.sampled_from(["", "", "", "", "+", "++", "~", "-", "--"])
    signs = st.sampled_from(["=", "=", "=", "=", "=", "=", "", "==", ":", "@x="])
    return st.tuples(prefixes, _keys(), signs, _values()).map("".join)


def _keys() -> SearchStrategy[str]:
    real = st.sampled_from(list(known()))
    odd = st.one_of(st.sampled_from(SWEEPS), TEXT, st.text("ab.[]/@0_", max_size=12))
    long = st.integers(1, 3000).map(lambda size: "a." * size)
    return st.one_of(real, real, real, st.builds(_mistyped, real, st.integers(0, 40), TEXT),
                     st.builds("{}.{}".format, real, odd), odd, long)  # fmt: skip


def _mistyped(key: str, at: int, text: str) -> str:
    """Return a key with something else in the place of a letter or two."""
    at %= len(key)
    return key[:at] + text[:2] + key[at + 1 + len(text) % 2 :]


def _values() -> SearchStrategy[str]:
    option = st.sampled_from(sorted({each for found in known().values() for each in found}))
    leaf = st.one_of(NUMBERS, WORDS, option, TEXT, SOUP)
    nested = st.recursive(leaf, _nested, max_leaves=6)
    deep = st.builds(_deep, st.integers(1, 400), st.sampled_from(["[]", "{}", "()", "${}"]))
    long = st.builds(str.__mul__, st.one_of(LETTERS, st.sampled_from(["[", "1,", "${", "a:"])),
                     st.integers(1, 4000))  # fmt: skip
    return st.one_of(NUMBERS, WORDS, option, nested, TEXT, SOUP, deep, long)


def _nested(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    items = st.lists(inner, max_size=3)
    pairs = st.lists(st.tuples(st.one_of(st.just("_target_"), st.just("a"), TEXT), inner),
                     max_size=2)  # fmt: skip
    return st.one_of(
        items.map(lambda each: f"[{','.join(each)}]"),
        pairs.map(lambda each: "{" + ",".join(f"{key}: {value}" for key, value in each) + "}"),
        inner.map(lambda each: f"'{each}'"),
        inner.map(lambda each: f'"{each}"'),
        st.tuples(st.sampled_from(["range", "choice", "sort", "glob", "int", "linspace"]), items)
        .map(lambda each: f"{each[0]}({','.join(each[1])})"),
    )  # fmt: skip


def _deep(levels: int, brackets: str) -> str:
    opening, closing = brackets[:-1], brackets[-1]
    return opening * levels + "1" + closing * levels


def _is_mapping(text: str) -> bool:
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return isinstance(yaml.load(text, loader), dict)
    except yaml.YAMLError:
        return False
