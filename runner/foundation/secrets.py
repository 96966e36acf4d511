"""Values of environment variables that a configuration uses: what is written says their names.

A configuration is recorded with `${oc.env:NAME}` as it was typed. The value may come up elsewhere,
in a path, a message or a traceback; there its name is written instead, unless it is a number, a
metric or a plain word, which tell nothing and which records are made of. What looks like a secret
by its name is never left.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator

_SECRET_NAME = re.compile(
    r"token|passw|passphrase|secret|credential|(api|access|private|ssh)_?key"
    r"|(^|[^a-z])key([^a-z]|$)",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"(gh[opsu]|hf|glpat|github_pat|npm)[_-]\w{10,}|sk-[\w-]{16,}|xox[a-z]-[\w-]{10,}|"
    r"A[KS]IA[A-Z0-9]{12,}|eyJ[\w-]{10,}\.[\w-]+\..*|-----BEGIN .*|\w+://[^/\s:]*:[^/\s@]+@.*|"
    r"[0-9a-f]{32,}|(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+=_-]{32,}",
    re.DOTALL,
)
_NUMBER = re.compile(r"[-+.\d]+([eE][-+]?\d+)?|true|false|null", re.IGNORECASE)
_PLAIN = re.compile(rf"(?i:{_NUMBER.pattern})|(train|valid|test)/\w+|[a-z][a-z0-9_]*")
SHORTEST, SHORTEST_SECRET = 8, 4  # values that may stand in other words
_hidden: dict[str, str] = {}  # each form of a value, and what is written for it
_secrets: set[str] = set()  # those of them that are secrets by their looks
_names: dict[str, None] = {}


def keep(*names: str) -> None:
    """Keep the values of these variables out of what is written from here on."""
    for name in names:
        _names[name] = None
        value = os.environ.get(name, "")
        secret = is_secret_name(name) or is_secret_value(value)
        plain, shortest = (_NUMBER, SHORTEST_SECRET) if secret else (_PLAIN, SHORTEST)
        if plain.fullmatch(value) or len(value) < shortest:
            continue
        ways = json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)
        for form in (value, *(each[1:-1] for each in ways)):
            _hidden[form] = f"${{oc.env:{name}}}"
            if secret:
                _secrets.add(form)


def names() -> list[str]:
    """Return the variables that were used so far, for a process that goes on with this one's."""
    return list(_names)


def without(text: str) -> str:
    """Return a text with the names of variables in the place of their values."""
    for form in sorted(_hidden, key=len, reverse=True) if _hidden else ():
        text = text.replace(form, _hidden[form])
    return text


def holds(text: str) -> bool:
    """Tell whether a value that is secret by its looks is in a text."""
    return any(form in text for form in _secrets)


def is_secret_name(name: str) -> bool:
    """Tell a name that a secret has, such as HF_TOKEN."""
    return _SECRET_NAME.search(name) is not None


def is_secret_value(text: str) -> bool:
    """Tell a text that is made like a secret, such as ghp_ and more letters."""
    return _SECRET_VALUE.fullmatch(text) is not None


def typed(words: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each word `key=value` that is recorded, and looks like a secret."""
    for word in words:
        key, _, value = word.partition("=")
        value = value.strip("'\"")
        named = is_secret_name(key.rpartition(".")[2]) and not _NUMBER.fullmatch(value)
        if "${" not in value and value and (named or is_secret_value(value)):
            yield (
                f"{key}: looks like a secret, and what is typed is recorded; put it into an "
                f"environment variable, and write {key}='${{oc.env:NAME}}'"
            )
