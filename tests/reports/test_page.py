"""The page of a run: what it says, that it stands by itself, and that nobody's texts are obeyed."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.foundation.files import locked
from runner.reports import charts, page
from runner.reports.page import Defaults


def logged(accuracy: float, rows: int) -> list[dict[str, Any]]:
    """Return rows of metrics of so many epochs."""
    return [
        {"step": 2 * at, "epoch": float(at), "train/loss": 0.5**at, "lr": 0.1,
         "valid/loss": 1 / at, "valid/accuracy": accuracy * at / rows}
        for at in range(1, rows + 1)
    ]  # fmt: skip


EMPTY = {"meta", "br", "img", "link", "input", "hr"}  # elements without an end
HOSTILE = (
    "</pre><script>alert(1)</script><img src=https://x.example/a onerror=b>&\"'$x_1$\x1b[31m\0"
)
DEFAULTS = Defaults(
    {"optimizer": "momentum", "architecture": "mlp", "metrics": "standard"},
    {"optimizer": {"_target_": "a.momentum", "lr": 0.03}, "seed": 0, "threads": "auto"},
)
PIXEL = "iVBORw0KGgo="


class Page(HTMLParser):
    """A page read by its rules: open elements, attributes, texts."""

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == [], "what is opened is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and what it has."""
        self.seen.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that ends at once, as those of SVG do."""
        self.seen.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """Expect it to be the one that was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)

    @property
    def text(self) -> str:
        """Return all texts, spaces made one."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def alone(self) -> bool:
        """Tell whether nothing in it is loaded, run or led to."""
        leads = [value for _, name, value in self.attributes
                 if name in ("src", "href", "xlink:href", "action", "data", "srcset")]  # fmt: skip
        urls = [
            url for _, _, value in self.attributes for url in re.findall(r"url\(([^)]*)", value)
        ]
        handlers = [name for _, name, _ in self.attributes if name.startswith("on")]
        inside = all(each.startswith(("#", "data:image/png;base64,")) for each in [*leads, *urls])
        return inside and not handlers and not {"script", "link", "iframe", "object"} & {*self.seen}


def made(folder: Path, **changed: Any) -> Path:
    """Write a finished run's files; `changed` are contents by file, with _ for the dot.

    None leaves a file out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {"loss": 0.5, "accuracy": 0.75}
    contents: dict[str, Any] = {
        "status_json": {"state": "finished", "started": 1.0, "step": 6, "exit_code": 0},
        "overrides_yaml": {"overrides": ["optimizer=adam", "optimizer.lr=0.5", "name=a b"],
                           "choices": {"optimizer": "adam", "architecture": "mlp"}},
        "config_yaml": {"optimizer": {"_target_": "a.adam", "lr": 0.5}, "seed": 0, "threads": 2},
        "metrics_jsonl": logged(0.75, 3),
        "summary_json": {
            "train": metrics, "valid": metrics, "test": {**metrics, "loss": 0.625},
            "best": {"objective": "valid/accuracy", "value": 0.75, "step": 4, "epoch": 2.0},
            "steps": 6, "epochs": 3.0, "seconds": 1.5, "samples_per_second": 4096.0,
        },
        "environment_json": {"versions": {"torch": "2.x"}, "threads": 2, "parameters": 1234,
                             "decided": {"threads": {"value": 2, "reason": "it was faster"}}},
        "diagnosis_json": {
            "facts": {"layers": {"0": {"units": 16, "activation": "ReLU"}}},
            "verdicts": [{"name": "rate too high", "severity": "fault", "text": "it jumps",
                          "number": 3.25, "threshold": 2, "source": "S4",
                          "override": "optimizer.lr=0.05"}],
        },
        "probes_jsonl": [
            {"step": 2 * at, "epoch": float(at), "network": {"loss": 1.0, "sharpness": 2.0 + at},
             "layers": {f"{n}": {"std": 1.0 + n, "dead": 0.1, **({"update": 0.1} if at else {})}
                        for n in range(20)}}
            for at in range(3)
        ],
        "mistakes_json": {
            "split": "test", "task": "classification", "labels": ["cat", "dog"], "count": 40,
            "wrong": 3, "confusion": [[17, 1], [2, 20]],
            "rows": [{"row": 1234, "target": 0, "answer": 1, "probability": 0.875, "loss": 2.5,
                      "image": PIXEL}],
        },
    }  # fmt: skip
    for key, content in (contents | changed).items():
        path = folder / key.replace("_", ".")
        path.unlink(missing_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        elif key.endswith("jsonl") and content is not None:
            path.write_text("".join(json.dumps(row) + "\n" for row in content))
        elif content is not None:
            dump = yaml.safe_dump if key.endswith("yaml") else json.dumps
            path.write_text(dump(content))
    return folder


def read(folder: Path, defaults: Defaults | None = DEFAULTS) -> Page:
    found = Page(page.write(folder, defaults))
    assert found.alone()
    return found


def test_it_says_what_there_is(tmp_path: Path) -> None:
    found = read(made(tmp_path / "1432-adam-3f2a"))
    for text in (
        "1432-adam-3f2a", "finished", "step 6, epoch 3; 1.5 s of training, 4,096 samples/s",
        "runner optimizer=adam optimizer.lr=0.5 'name=a b'",
        "rate too high : it jumps.", "fault; measured 3.25, threshold 2; source: S4",
        "runner optimizer=adam 'name=a b' optimizer.lr=0.05",
        "train 0.5 0.75", "test 0.625 0.75", "step 4 (epoch 2)", "learning rate",
        "standard deviation of activations", "share of dead units", "sharpness along the gradient",
        "0 (16 units, ReLU)", "17", "is cat answer dog 88 %, loss 2.5 row 1234",
        "3 of 40 rows are answered wrongly", "torch 2.x",
    ):  # fmt: skip
        assert text in found.text, text
    assert ("img", "src", f"data:image/png;base64,{PIXEL}") in found.attributes
    assert "the gradient of a" not in found.text, "what no layer has is not drawn"


def test_splits_of_a_metric_stand_in_one_chart(tmp_path: Path) -> None:
    found = read(made(tmp_path / "run"))
    charts = found.seen.count("svg")
    assert charts == 2 + 1 + 3 + 1  # loss and accuracy, lr, three numbers of layers, sharpness
    assert found.seen.count("title") == 1 + (3 + 2 + 1) + 3 * 20 + 1  # the page's, each line's
    texts = [text.strip() for text in found.texts]
    assert texts.count("train") == 3, "in the table, in a legend, and as the name of a line"
    assert "best weights" in texts


def test_twenty_layers_have_colours_in_their_order(tmp_path: Path) -> None:
    found = read(made(tmp_path / "run"))
    colours = [value.removeprefix("background: ") for tag, name, value in found.attributes
               if (tag, name) == ("span", "style")]  # fmt: skip
    assert len(set(colours)) == 20
    light = [sum(int(each[at : at + 2], 16) for at in (1, 3, 5)) for each in colours]
    assert light[0] < light[10] < light[19]
    texts = [text.strip() for text in found.texts]
    key = texts.index("From the first layer, dark, to the last, light:")
    order = [texts.index(name, key) for name in ("0 (16 units, ReLU)", "1", "10", "19")]
    assert order == sorted(order), "in the network's order, not the alphabet's"
    drawn = " ".join(value for _, name, value in found.attributes if name == "style")
    assert all(colour in drawn for colour in colours)


def test_what_was_changed_is_marked(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    found = read(folder)
    assert (
        "optimizer adam momentum optimizer.lr 0.5 0.03 threads 2 auto it was faster" in found.text
    )
    marked = re.findall(r"<mark>(.*?)</mark>", (folder / page.PAGE).read_text())
    assert marked == ["optimizer.lr: 0.5", "threads: 2"]
    assert "seed: 0" in found.text
    unknown = read(folder, None)
    assert "mark" not in unknown.seen
    assert "as by default" not in unknown.text
    same = Defaults({"optimizer": "adam", "architecture": "mlp"},
                    yaml.safe_load((folder / "config.yaml").read_text()))  # fmt: skip
    assert "All as by default." in read(folder, same).text


def test_an_option_that_is_replaced_takes_its_values_along(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", overrides_yaml={
        "overrides": ["+optimizer.lr=0.5", "optimizer=adam", "seed=0", "x=optimizer.lr"],
        "trust": ["mine"], "config_dirs": ["/my conf"]})  # fmt: skip
    rest = "--trust mine --config-dir '/my conf'"
    assert page.command(folder) == (
        f"runner +optimizer.lr=0.5 optimizer=adam seed=0 x=optimizer.lr {rest}")  # fmt: skip
    assert page.command(folder, "optimizer=sgd seed=1") == (
        f"runner x=optimizer.lr optimizer=sgd seed=1 {rest}")  # fmt: skip


def test_several_options_of_a_group_are_read_as_typed(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", overrides_yaml={
        "overrides": ["metrics=[standard,top_k]"], "choices": {"optimizer": "adam"}})  # fmt: skip
    assert page.chosen(folder, ["metrics", "optimizer"]) == {
        "optimizer": "adam", "metrics": "[standard,top_k]"}  # fmt: skip
    assert "metrics [standard,top_k] standard" in read(folder).text


def test_a_job_is_repeated_by_its_own_words(tmp_path: Path) -> None:
    jobs = {"0": {"directory": "lr0.1", "overrides": ["optimizer.lr=0.1", "seed=3"]}}
    folder = made(tmp_path / "rates/lr0.1", overrides_yaml=None, diagnosis_json=None)
    (folder.parent / "sweep.json").write_text(json.dumps({"jobs": jobs}))
    found = read(folder)
    assert "runner optimizer.lr=0.1 seed=3" in found.text
    assert "it is a job of a sweep" in found.text


@pytest.mark.parametrize(
    ("status", "said"),
    [({"state": "diverged", "step": 2, "message": "the loss became nan"}, "the loss became nan"),
     ({"state": "interrupted", "step": 9, "message": "saved step 9"}, "step 9"),
     ({"state": "failed", "message": "RuntimeError: no"}, "Traceback of it"),
     ({"state": "running", "step": 2}, "it was killed, and goes on with runner resume"),
     ({}, "unknown")],
)  # fmt: skip
def test_a_run_without_an_end(tmp_path: Path, status, said) -> None:
    folder = made(tmp_path / "run", status_json=status, summary_json=None, mistakes_json=None,
                  environment_json=None)  # fmt: skip
    if status.get("state") == "failed":
        (folder / "error.txt").write_text("Traceback of it")
    found = read(folder)
    assert said in found.text
    assert "Results" not in found.text
    assert "step 6" in found.text or status.get("step") == 9, "the last step that was logged"
    assert found.seen.count("svg") > 2


def test_a_run_at_work_is_not_called_killed(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", status_json={"state": "running"})
    with locked(folder):
        assert "killed" not in read(folder).text


def test_a_run_that_has_left_nothing_but_its_status(tmp_path: Path) -> None:
    files = [f"{name}_json" for name in ("summary", "environment", "diagnosis", "mistakes")]
    others = ["overrides_yaml", "config_yaml", "metrics_jsonl", "probes_jsonl"]
    found = read(made(tmp_path / "run", **dict.fromkeys([*files, *others])))
    assert "Nothing is logged yet" in found.text
    assert "No look was taken" in found.text
    assert "svg" not in found.seen


def test_a_regression_has_numbers(tmp_path: Path) -> None:
    rows = [{"row": 7, "target": [1.5, None], "answer": [0.25, 2.0], "error": 1.25, "loss": 0.5},
            {"row": 8, "target": [float(at) for at in range(9)], "answer": [0.0] * 9,
             "error": 1.0, "loss": 0.25}]  # fmt: skip
    mistakes = {"split": "valid", "task": "regression", "labels": ["a", "b"], "count": 40,
                "rows": rows}  # fmt: skip
    found = read(made(tmp_path / "run", mistakes_json=mistakes))
    assert "The rows furthest off, of 40." in found.text
    assert "7 1.5, 0.25, 2 1.25 0.5" in found.text
    assert "8 0, 1, 2, 3, …" in found.text
    assert "Confusion" not in found.text


def test_confusion_of_all_splits_where_it_was_measured(tmp_path: Path) -> None:
    details = {split: {"confusion": [[3, 0], [1, 0]], "top": [1]} for split in ("train", "valid")}
    found = read(made(tmp_path / "run", summary_json={"details": details}))
    assert re.search(r"Confusion True classes.* valid .* train .* Worst mistakes, test", found.text)
    assert found.seen.count("details") == 3
    shares = [value for _, name, value in found.attributes if name == "style" and "rgba" in value]
    assert shares[:2] == ["background: rgba(0, 114, 178, 1.000); color: #fff",
                          "background: rgba(0, 114, 178, 0.000)"]  # fmt: skip


def test_long_curves_keep_their_extremes(tmp_path: Path) -> None:
    rows = [{"step": at, "epoch": at / 100, "train/loss": 1.0} for at in range(1, 20_001)]
    rows[7_777]["train/loss"], rows[12_345]["train/loss"] = 5.0, 0.5
    folder = made(tmp_path / "run", metrics_jsonl=rows, probes_jsonl=None)
    read(folder)
    assert (folder / page.PAGE).stat().st_size < 200_000
    thin = charts._thinned([(row["step"], row["train/loss"]) for row in rows])
    assert len(thin) <= 2 * charts.BINS
    assert {5.0, 0.5} <= {value for _, value in thin}
    assert thin == sorted(thin)


def hostile(content: Any) -> Any:
    """Return a content whose texts, keys among them, are those of an attacker."""
    if isinstance(content, dict):
        return {f"{key}{HOSTILE}" if key in ("loss", "0", "torch") else key: hostile(value)
                for key, value in content.items()}  # fmt: skip
    if isinstance(content, list):
        return [hostile(each) for each in content]
    return HOSTILE if isinstance(content, str) else content


def test_no_text_is_obeyed(tmp_path: Path) -> None:
    """Names of layers, metrics, classes, settings; messages, verdicts, pictures, the run's own."""
    name = HOSTILE.replace("/", "|").rstrip("\0")
    folder = made(tmp_path / name)
    for path in folder.iterdir():
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        texts = [json.dumps(hostile(yaml.safe_load(line))) for line in lines]
        path.write_text("".join(f"{text}\n" for text in texts))
    diagnosis = json.loads((folder / "diagnosis.json").read_text())
    diagnosis["verdicts"][0]["override"] = "a='quote that never ends"
    (folder / "diagnosis.json").write_text(json.dumps(diagnosis))
    rows = [{**row, f"train/x{HOSTILE}": 1.0} for row in logged(0.5, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "error.txt").write_text(HOSTILE)
    found = read(folder)
    assert found.text.count("<script>alert(1)</script>") > 15
    assert name.replace("\x1b", "\\x1b") in found.text
    assert not set("\x1b\0") & set((folder / page.PAGE).read_text())


ODD: list[Any] = [None, [], {}, "text", -1, 2**70, 1e400, True, [[]], [{}], {"a": {}}, [1]]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_files_of_any_form_are_read(tmp_path: Path, monkeypatch, odd: Any) -> None:
    """Values of the files in turn, all of them, and whole files are of another kind."""
    run = made(tmp_path / "run")
    texts = {path: path.read_text() for path in run.iterdir()}
    sound = {path: yaml.safe_load(text.splitlines()[0] if path.suffix == ".jsonl" else text)
             for path, text in texts.items()}  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(charts, "_chart", lambda *given: "")
        for at in range(max(map(len, sound.values()))):
            for path, content in sound.items():
                key = [*content][at % len(content)]
                path.write_text(json.dumps({**content, key: odd}) + "\n")
            read(run)
        for path in sound:
            path.write_text(json.dumps(odd) + "\n")
        read(run)
    for path, content in sound.items():
        path.write_text(json.dumps(content | dict.fromkeys({*content} - {"step"}, odd)) + "\n")
    read(run)
