"""Which values of the environment are hidden, where they come up, and what is warned of."""

from __future__ import annotations

import json

import pytest

from runner.foundation import secrets


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    for name in ("_hidden", "_names"):
        monkeypatch.setattr(secrets, name, {})
    monkeypatch.setattr(secrets, "_secrets", set())


HIDDEN = [  # variable, its value
    ("SECRET", "canary-5f3a9c"),
    ("HF_TOKEN", "hf_abc"),
    ("DB_PASSWORD", "hunter"),
    ("APIKEY", "plainword"),
    ("AWS_ACCESS_KEY_ID", "accuracy"),
    ("DATA", "/mnt/people/me"),
    ("TARGET", "My Column"),
    ("X", "ghp_0123456789abcdef"),
]
SHOWN = [  # numbers, metrics, words and what is too short to be told from them
    ("SEED", "1234567890"),
    ("LR", "1.5e-30"),
    ("PIN_TOKEN", "12345678"),
    ("OBJECTIVE", "valid/accuracy"),
    ("DATASET", "fashion_mnist"),
    ("PRECISION", "bfloat16"),
    ("DEVICE", "cuda:0"),
    ("KEY", "abc"),
    ("EMPTY", ""),
]


@pytest.mark.parametrize(("name", "value"), HIDDEN)
def test_what_is_hidden(name, value, monkeypatch):
    """F43: the name stands for the value, wherever that comes up."""
    monkeypatch.setenv(name, value)
    assert secrets.without(f"at {value}/x") == f"at {value}/x"
    secrets.keep(name)
    assert secrets.without(f"at {value}/x, {value!r}") == (
        f"at ${{oc.env:{name}}}/x, '${{oc.env:{name}}}'"
    )
    assert secrets.names() == [name]


@pytest.mark.parametrize(("name", "value"), SHOWN)
def test_what_is_not_hidden(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    secrets.keep(name, "NOT_SET")
    assert secrets.without(f"at {value}/x") == f"at {value}/x"
    assert not secrets.holds(value)


def test_every_form_is_hidden_the_longest_first(monkeypatch):
    monkeypatch.setenv("A_TOKEN", 'a"b\\c\né')
    monkeypatch.setenv("SHORTER", "people/me")
    monkeypatch.setenv("LONGER", "people/me/there")
    secrets.keep("A_TOKEN", "SHORTER", "LONGER")
    value = 'a"b\\c\né'
    for text in (value, json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)):
        assert secrets.without(text).strip("'\"") == "${oc.env:A_TOKEN}"
    assert secrets.without("people/me/there") == "${oc.env:LONGER}"
    assert secrets.holds(f"x{value}")
    assert not secrets.holds("people/me")


WARNED = ["dataset.token=abcdef", "dataset.api_key='x y'", "name=ghp_0123456789abcdef",
          "dataset.root=https://me:pass@host/x", "loss.secret=${x}abc",
          "name=Zm9vYmFyQmF6MTIzNDU2Nzg5MGFiY2RlZg=="]  # fmt: skip
PASSED = ["dataset.token=${oc.env:HF_TOKEN}", "architecture.tokens=197", "dropout.keep=0.5",
          "dataset.key=3", "name=adam-lr0.1", "dataset=digits", "~hooks", "dataset.keywords=[a]",
          "dataset.password=null", "dataset.root=/mnt/A/very/long/path/no/secret/1"]  # fmt: skip


@pytest.mark.parametrize("word", [*WARNED, *PASSED])
def test_what_is_warned_of(word):
    """F43: a secret that is typed is recorded; the warning does not repeat it."""
    found = list(secrets.typed([word]))
    assert bool(found) == (word in WARNED and "${" not in word)
    for text in found:
        key, _, value = word.partition("=")
        assert text.startswith(f"{key}: looks like a secret")
        assert f"{key}='${{oc.env:NAME}}'" in text
        assert value not in text
