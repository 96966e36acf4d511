"""What Hydra's grammar cannot read: the character at fault, and never a word of the grammar's."""

from __future__ import annotations

import pytest

from runner.compose import words
from runner.compose.unreadable import deep

READ = words.reader()
QUOTES = "\"a='...'\""


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("a=[", "a: cannot read '[': character 1 ('[') is never closed"),
        ("a=[[1]", "a: cannot read '[[1]': character 1 ('[') is never closed"),
        ("a={b:1", "a: cannot read '{b:1': character 1 ('{') is never closed"),
        ("a=1]", "a: cannot read '1]': character 2 (']') closes nothing"),
        ("a=[1}", "a: cannot read '[1}': character 3 ('}') closes nothing"),
        ("a='x", "a: cannot read \"'x\": character 1 (\"'\") is never closed"),
        ("a=it's", "a: cannot read \"it's\": character 3 (\"'\") is never closed"),
        ("a=ü[", f"a: cannot read 'ü[': character 1 ('ü') needs quotes: {QUOTES}"),
        ("a=['ü',é]", f"a: cannot read \"['ü',é]\": character 6 ('é') needs quotes: {QUOTES}"),
        ("a=1\n", f"a: cannot read '1\\n': character 2 ('\\n') needs quotes: {QUOTES}"),
        ("a=(1)", f"cannot read '(1)': a list is written a=[...]; for a text quote it: {QUOTES}"),
        ("a=1,", "a: cannot read '1,': a value is missing beside a comma"),
        ("a=[,1]", "a: cannot read '[,1]': a value is missing beside a comma"),
        ("a=1,,2", "a: cannot read '1,,2': a value is missing beside a comma"),
        ("a=$(x)", f"a: cannot read '$(x)': for a text quote it: {QUOTES}"),
        ("a=${}", "a: cannot read '${}': an interpolation is ${key} or ${oc.env:NAME}; for a text "
         f"quote it: {QUOTES}"),
        ("a=" + "1" * 5000, f"a: cannot read '{'1' * 119}... (5,000 characters): too many digits"),
        ("a=" + "[" * 500 + "]" * 500, "nested too deeply"),
        ("a=" + "[" * 50 + "]" * 50, "nested too deeply"),
        ("a=nosuch(1)", "a: nosuch(1): Unknown function 'nosuch'"),
        ("a=", "a: missing value after '='"),
        ("a", "'a': not of the form key=value; write a=..."),
        ("+a", "'+a': not of the form key=value; write a=..."),
        ("=1", "'=1': not of the form key=value"),
        ("~", "'~': not of the form key=value"),
        ("++=1", "'++=1': not of the form key=value"),
        ("a b=1", "'a b=1': not of the form key=value: character 2 (' ') does not fit in a key"),
        (" a=1", "' a=1': not of the form key=value: character 1 (' ') does not fit in a key"),
        ("a..b=1", "'a..b=1': not of the form key=value: character 2 ('.') does not fit in a key"),
        ("a.=1", "'a.=1': not of the form key=value: character 2 ('.') does not fit in a key"),
        ("a.-1=1", "character 2 ('.') does not fit in a key"),
        ("ä=1", "character 1 ('ä') does not fit in a key"),
        ("a.b[3]=1", "'a.b[3]=1': not of the form key=value; an item of a list is a.b.3=value"),
        ("a.b" + ".c" * 100 + "=1", "nested too deeply"),
        ("hydra.x=1", "hydra.x: the runner composes by itself; hydra has no keys here"),
    ],
)  # fmt: skip
def test_the_reason_in_words(word: str, reason: str) -> None:
    with pytest.raises(words.Unreadable) as caught:
        READ(word)
    assert str(caught.value).endswith(reason), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "word",
    ["a=1", "+a.b=x", "++a=[1,{b: 2}]", "~a", "~a.b=3", "a/b=c", "a@b.c=d", "a.0.b=1", "$a=1",
     "a='ü[('", 'a="it\'s"', "a=${b}", "a=x-y/z.w", "a-b=1", "a=1 2"],
)  # fmt: skip
def test_what_can_be_read(word: str) -> None:
    assert READ(word).input_line == word


def test_depth_is_that_of_brackets_in_one_another() -> None:
    assert not deep("[1]," * 100)
    assert deep("[" * 41 + "]" * 41)
