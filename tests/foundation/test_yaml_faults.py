"""Faults of YAML files: each with its line and a way out, and nothing in the file is believed."""

from pathlib import Path

import pytest

from runner.foundation import yaml_faults
from runner.foundation.yaml_faults import load

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def faults(folder: Path, content: bytes | str) -> list[str]:
    path = folder / "x.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [each.removeprefix(str(path)) for each in load(path)[1]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("lr: 1\nmomentum: 0\nlr: 2\n", [":3: duplicate key 'lr' (first at line 1)"]),
        ("a:\n  b: 1\n  b: 2\n", [":3: duplicate key 'b' (first at line 2)"]),
        ("a:\n\tb: 1\n", [":2: a tab; YAML indents with spaces"]),
        ("a: 1\n  b: 2\n", [":2: a key where none may stand; are the lines above it indented"]),
        ("a: b: c\n", [":1: a key where none may stand"]),
        ("a: [1\nb: 2\n", [":2: expected ',' or ']', but got ':'"]),
        ("# a\nb: caf\u00e9\n".encode("latin-1"), [":2: not UTF-8: the byte 0xe9; save the file"]),
        ("a: 1\n".encode("utf-16"), [":1: not UTF-8: the byte 0xff"]),
        ("a: 1\nb: \0\n", [":2: the character '\\x00' may not stand in YAML"]),
        ("a: !!python/object/apply:os.system [true]\n", [":1: the tag !!python/object/apply:os."]),
        ("b: !mine 3\n", [":1: the tag !mine is not read here"]),
        ("a: !!binary aGk=\n", [":1: the tag !!binary is not read here"]),
        ("a: !!set {b, c}\n", [":1: the tag !!set is not read here"]),
        ("a: *b\n", [":1: nothing of that name (&) stands above"]),
        ("a: &a [*a]\n", [":1: contains itself"]),
        ("a: 1\n---\nb: 2\n", [":2: a second document begins; a file holds one"]),
        ("- a\n- b\n", [":1: expected a mapping of keys, found a list"]),
        ("\nadam\n", [":2: expected a mapping of keys, found a single value"]),
        ("a: 012\n", [":1: YAML reads 012 as 10; write 10, or quote it: '012'"]),
        ("a: [1, 12:30:45]\n", [":1: YAML reads 12:30:45 as 45045; write 45045, or quote it"]),
        ("a: 1:30.5\n", [":1: YAML reads 1:30.5 as 90.5"]),
        ("1: a\nno: b\n", [":1: the key 1 is no text to YAML; quote it: '1'", ":2: the key no is"]),
        ("? [a]\n: 1\n", [":1: expected a text as a key, found a list"]),
        (BOMB, [":4: stands for more than 10,000 values"]),
        ("a: " + "[" * 60 + "]" * 60, [":1: nested too deeply, in more than 40 others"]),
        ("a: " + "[" * 5000 + "]" * 5000, [": nested too deeply"]),
        ("a: " + "9" * 5000, [": Exceeds the limit"]),
        ("a: 012\nb: 1\nb: !x 2\n", [":2", ":3: the tag !x", ":1: YAML reads 012"]),
    ],
)  # fmt: skip
def test_each_fault_has_its_line(tmp_path, content, expected):
    """B50, B51: duplicate keys, tabs, indents, encodings, tags, and what YAML reads differently."""
    found = faults(tmp_path, content)
    if content == "a: 012\nb: 1\nb: !x 2\n":
        expected = [":3: duplicate key 'b' (first at line 2)", *expected[2:0:-1]]
    assert len(found) == len(expected), found
    for line, part in zip(found, expected, strict=True):
        assert line.startswith(part), found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: 1\nb: {c: [x, null, 1e-3, 0.5, -3, 0]}\n", {"a": 1, "b": {"c": [
            "x", None, "1e-3", 0.5, -3, 0]}}),
        ("a: '012'\nb: '12:30'\n'1': yes\n", {"a": "012", "b": "12:30", "1": True}),
        ("base: &b {lr: 1}\nx: {<<: *b, lr: 2}\n", {"base": {"lr": 1}, "x": {"lr": 2}}),
        ("\ufeffa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("{}\n", {}),
        ("# nothing\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_sound_files_are_read(tmp_path, content, expected):
    path = tmp_path / "x.yaml"
    path.write_bytes(content.encode())
    assert load(path) == (expected, [])


def test_what_cannot_be_read_at_all(tmp_path, monkeypatch):
    assert load(tmp_path / "x.yaml")[1] == [f"{tmp_path}/x.yaml: cannot be read: No such file or "
                                            "directory"]  # fmt: skip
    assert load(tmp_path)[1] == [f"{tmp_path}: cannot be read: Is a directory"]
    monkeypatch.setattr(yaml_faults, "MOST_BYTES", 10)
    assert faults(tmp_path, "a: 12345678\n") == [": more than 10 bytes, which is no configuration"]
