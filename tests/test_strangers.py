"""Configurations, run directories, checkpoints and secrets: what strangers say is data, and what
the environment says stays there.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from runner.execution.jobs import Member, Record
from runner.execution.launch import Request
from runner.foundation import secrets
from runner.foundation.errors import Misconfigured, RunnerError
from runner.foundation.files import read_json, read_yaml
from runner.recording import directory
from runner.recording.recorder import Recorder
from runner.sweeps import dispatch
from runner.training import checkpoints

QUICK = ("trainer=quick", "compile=false", "architecture.hidden=[4]", "trainer.batch_size=64")
MARKER = "marker"  # what a stranger's code would make


class Hostile:
    """Make a folder when unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, (MARKER,)


@pytest.fixture(autouse=True)
def _unharmed() -> Iterator[None]:
    """Hold that no stranger's code ran."""
    yield
    assert not Path(MARKER).exists()


def outside(tmp_path: Path) -> list[Path]:
    """Return the files beside the working directory, which a test may have put there."""
    return [path for path in tmp_path.rglob("*") if path.is_file()
            and not path.is_relative_to(tmp_path / "here")]  # fmt: skip


def cut(monkeypatch: pytest.MonkeyPatch, step: int = 5) -> None:
    record = Recorder.record

    def interrupted(self: Recorder, state: Any, row: dict[str, Any]) -> None:
        record(self, state, row)
        if state.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "record", interrupted)


@pytest.fixture
def begun(runner, monkeypatch) -> Path:
    """Return the directory of a run that was cut."""
    with monkeypatch.context() as patch:
        cut(patch)
        assert runner(*QUICK, "trainer.save_every=2steps").code == 130
    (folder,) = directory.runs(Path("outputs"))
    return folder


@pytest.fixture
def swept(runner) -> Path:
    """Return the directory of a sweep of two lanes; one job is not finished."""
    words = (*QUICK, "optimizer.lr=0.1,0.2", "name=rates", "sweep.figures=false", "sweep.lanes=2",
             "sweep.processes=1")  # fmt: skip
    assert runner("-m", *words).code == 0
    folder = Path("outputs/default/rates")
    edit_json(folder / "lr0.2" / directory.STATUS, state="interrupted")
    edit_json(folder / directory.SWEEP, jobs=lambda jobs: {
        key: job | ({"state": "interrupted"} if job["directory"] == "lr0.2" else {})
        for key, job in jobs.items()})  # fmt: skip
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    for key, value in changes.items():
        content[key] = value(content.get(key)) if callable(value) else value
    path.write_text(json.dumps(content))


def edit_yaml(path: Path, **changes: Any) -> None:
    content = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        content[key] = value(content.get(key)) if callable(value) else value
    path.write_text(yaml.safe_dump(content))


def refused(done: Any, code: int, *said: str) -> None:
    assert done.code == code, done.err + done.out
    assert "Traceback" not in done.err + done.out
    assert "\x1b" not in done.err + done.out
    for each in said:
        assert each in done.err


# ---- checkpoints --------------------------------------------------------------------------------


def poison(folder: Path, zipped: bool) -> None:
    """Put a pickle that runs code in the place of every checkpoint, under a name that fits."""
    found = checkpoints.listed(folder)
    assert found
    for path in found:
        content = {**checkpoints.read(path), "further": Hostile()}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        data = buffer.getvalue() if zipped else pickle.dumps({"further": Hostile()})
        step = path.name.split("-")[1]
        path.unlink()
        digest = hashlib.sha256(data).hexdigest()[:16]
        (folder / f"step-{step}-{digest}.pt").write_bytes(data)


def bites(folder: Path) -> bool:
    """Tell whether these checkpoints do run code where nobody looks; take the traces away."""
    with contextlib.suppress(RuntimeError):  # it is no checkpoint beside
        torch.load(checkpoints.listed(folder)[0], weights_only=False)
    found = Path(MARKER).exists()
    shutil.rmtree(MARKER)
    return found


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
@pytest.mark.parametrize("verb", ["resume", "evaluate"])
def test_a_hostile_checkpoint(runner, begun: Path, verb: str, zipped: bool) -> None:
    """F41: exit 5, each named with the reason; nothing is run and nothing deleted."""
    saves = begun / directory.CHECKPOINTS
    poison(saves, zipped)
    kept = sorted(saves.iterdir())
    done = runner(verb, str(begun))
    refused(done, 5, *(path.name for path in kept), "not a checkpoint, or one that would run code")
    assert sorted(saves.iterdir()) == kept
    assert bites(saves)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
def test_a_hostile_checkpoint_of_a_sweep(runner, swept: Path, zipped: bool) -> None:
    """F41: the batch is not gone on with, the job says why, and the other one stays finished."""
    saves = {path.parent for path in (swept / directory.BATCHES).rglob("*.pt")}
    for folder in saves:
        poison(folder, zipped)
    done = runner("resume", str(swept))
    refused(done, 6)
    assert "would run code" in done.out + done.err
    status = directory.status(swept / "lr0.2")
    assert (status["state"], status["exit_code"]) == ("failed", 5)
    assert directory.status(swept / "lr0.1")["state"] == "finished"
    refused(runner("evaluate", str(swept / "lr0.2")), 5, "would run code")
    assert all(map(bites, saves))


def test_a_checkpoint_that_is_a_bomb(runner, begun: Path) -> None:
    """F41: a few bytes that unpack to many more are refused before they do."""
    saves = begun / directory.CHECKPOINTS
    for path in checkpoints.listed(saves):
        buffer, packed = io.BytesIO(), io.BytesIO()
        torch.save({**checkpoints.read(path), "further": torch.zeros(1_000_000)}, buffer)
        with zipfile.ZipFile(buffer) as plain, zipfile.ZipFile(packed, "w") as bomb:
            for each in plain.infolist():
                bomb.writestr(each.filename, plain.read(each), zipfile.ZIP_DEFLATED)
        digest = hashlib.sha256(packed.getvalue()).hexdigest()[:16]
        path.unlink()
        (saves / f"{path.name.rpartition('-')[0]}-{digest}.pt").write_bytes(packed.getvalue())
    for verb in ("resume", "evaluate"):
        refused(runner(verb, str(begun)), 5, "not a checkpoint: it unpacks to 4,0")


# ---- configurations on the command line ---------------------------------------------------------

NAMES = {  # and what is said of them; "" where they are refused otherwise
    "above": "name=../x",
    "absolute": "name=/tmp/x",
    "300 characters": f"name={'x' * 300}",
    "newline": "name='a\nb'",
    "markup": "name='[/x]'",
    "escape": "name='\x1b[31mred'",
    "empty": "name=''",
    "dots": "name=..",
    "hidden": "name=.ssh",
    "option": "name=-rf",
}


@pytest.mark.parametrize("case", NAMES)
def test_a_hostile_name(runner, case: str) -> None:
    """F42: exit 2, and nothing is made."""
    refused(runner(*QUICK, NAMES[case]), 2, "name: ")
    assert not list(Path().iterdir())


WORDS = {  # code
    "a function": "optimizer._target_=os.system",
    "of a class": "activation._target_=subprocess.Popen",
    "of ours": "optimizer._target_=runner.components.dataset.fetch.fetch",
    "through ours": "optimizer._target_=runner.components.dataset.fetch.sys.exit",
    "imported by ours": "dataset._target_=runner.components.dataset.images.Path",
    "private": "dataset._target_=runner.components.dataset.images._idx",
    "dunder": "optimizer._target_=torch.optim.__import__",
    "no class": "optimizer._target_=torch.optim.os.system",
    "a node in a node": "+optimizer.further={_target_:os.system}",
    "a node for a value": "optimizer.lr={_target_:os.system}",
    "a tag": "optimizer.lr='!!python/object/apply:os.system [mkdir marker]'",
    "an interpolation": "optimizer.lr=${os.system:mkdir marker}",
    "an object": "optimizer.lr=${hydra:runtime.cwd}",
    "launcher": "hydra.launcher._target_=os.system",
    "callback": "+hydra.callbacks.x._target_=os.system",
    "search path": "hydra.searchpath=[file:///tmp]",
}


@pytest.mark.parametrize("case", WORDS)
@pytest.mark.parametrize("verb", ["train", "show"])
def test_a_word_that_names_code(runner, case: str, verb: str) -> None:
    """F42: refused before anything is made; the package has to be trusted by a flag."""
    refused(runner(verb, WORDS[case]), 2)
    assert not list(Path().iterdir())


# ---- option files of a stranger's ---------------------------------------------------------------

FAR = "/tmp/escaped-by-a-test-of-strangers"
EXPERIMENTS = {  # the text of an option file, and what is said of it
    "code": ("optimizer:\n  _target_: os.system\n", "'os.system' is not trusted"),
    "a tag": ("name: !!python/object/apply:os.mkdir [marker]\n", "is not read here"),
    "a tag of OmegaConf's": ("name: !!python/name:os.mkdir\n", "is not read here"),
    "hydra": ("hydra:\n  callbacks:\n    x:\n      _target_: os.mkdir\n      path: marker\n",
              "hydra has no keys here"),
    "logging": ("hydra:\n  job_logging:\n    handlers:\n      x: {(): os.mkdir, path: marker}\n",
                "hydra has no keys here"),
    "a root": (f"output_root: {FAR}\n", "output_root: an option says"),
    "a root of parts": (f"far: {FAR}\noutput_root: ${{far}}\n", "output_root: an option says"),
    "a name": ("name: ../../escaped\n", "name: expected a text"),
    "an escape": ('name: "\\e[31m[/red]"\n', "name: expected a text"),
    "a bomb": ("a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{key}: &{key} [{','.join([f'*{before}'] * 9)}]\n"
        for before, key in zip("abcdefgh", "bcdefghi", strict=True)), "stands for more than"),
}  # fmt: skip


@pytest.mark.parametrize("case", EXPERIMENTS)
@pytest.mark.parametrize("multirun", [False, True], ids=["run", "sweep"])
def test_a_hostile_option(runner, case: str, multirun: bool) -> None:
    """F42: an option file of a stranger's `--config-dir` is data, and writes nowhere else."""
    text, message = EXPERIMENTS[case]
    folder = Path("stranger/experiment")
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(f"# @package _global_\n# Evil.\n{text}")
    words = ["--config-dir", str(folder.parent), "experiment=evil", *QUICK]
    done = runner(*(["-m", "seed=0,1"] if multirun else []), *words)
    refused(done, 2, message)
    assert [path.name for path in Path().iterdir()] == ["stranger"]
    assert not Path(FAR).exists()


def test_a_hostile_option_of_a_group(runner) -> None:
    """F42: in the place of an option of the runner's too."""
    folder = Path("stranger/optimizer")
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text("# Evil.\n_target_: os.mkdir\npath: marker\n")
    refused(runner("--config-dir", str(folder.parent), "optimizer=evil"), 2, "is not trusted")
    (folder.parent / "config.yaml").write_text("optimizer: {_target_: os.mkdir, path: marker}\n")
    done = runner("--config-dir", str(folder.parent), *QUICK)
    assert done.code == 0
    assert "architecture.hidden" not in done.err


@pytest.mark.parametrize("key", ["slurm.setup=[mkdir marker]", "ray.address=evil:6379"])
def test_commands_for_a_cluster(runner, monkeypatch, key: str) -> None:
    """F42: what a file says to a cluster is not done unless it is trusted; what is typed is."""

    def absent() -> None:
        raise Misconfigured("there is no cluster here")

    for each in dispatch.ENGINES.values():
        monkeypatch.setattr(each, "ready", staticmethod(absent))
    folder = Path("stranger/experiment")
    folder.mkdir(parents=True)
    (section, name), value = key.partition("=")[0].split("."), key.partition("=")[2]
    (folder / "evil.yaml").write_text(
        f"# @package _global_\n# Evil.\nsweep: {{cluster: {section}, {section}: "
        f"{{{name}: {value}}}}}\n"
    )
    words = ["-m", "--config-dir", str(folder.parent), "experiment=evil", "seed=0,1", *QUICK]
    refused(runner(*words), 2, f"sweep.{section}.{name}=", "if you trust it, add --trust cluster")
    assert not Path("outputs").exists()
    typed = [f"sweep.cluster={section}", f"sweep.{key}"]
    for asked in ([*words, "--trust", "cluster"],
                  ["-m", "seed=0,1", *QUICK, *typed]):  # fmt: skip
        refused(runner(*asked), 2, "there is no cluster here")


# ---- directories of a stranger's ----------------------------------------------------------------

EVERY = ("runs", "report", "diff", "evaluate", "resume")


def opened(runner, verb: str, folder: Path) -> Any:
    """Open a directory with a verb."""
    words = {"runs": [], "diff": [str(folder), str(folder)]}.get(verb, [str(folder)])
    return runner(verb, *words)


CODE = {
    "a target": {"optimizer": {"_target_": "os.mkdir", "path": MARKER}},
    "a node in a node": {"loss": lambda node: {**node, "eps": {"_target_": "os.mkdir"}}},
    "own code": {"hooks": {"x": {"_target_": "stranger.hook", "every": "1steps"}}},
}


@pytest.mark.parametrize("case", CODE)
def test_code_in_a_recorded_configuration(runner, begun: Path, case: str) -> None:
    """F42: whoever opens the directory trusts nobody by that, whatever it says of trust."""
    Path("stranger.py").write_text(f"import os\nos.mkdir('{MARKER}')\ndef hook(state, *, every): 0")
    edit_yaml(begun / directory.CONFIG, **CODE[case])
    edit_yaml(begun / directory.OVERRIDES, trust=["os", "stranger"], config_dirs=[str(Path.cwd())])
    message = "calls code of os, stranger (option folders: "
    for verb in EVERY:
        trusting = verb in ("evaluate", "resume")
        refused(opened(runner, verb, begun), 2 if trusting else 0, message if trusting else "")
    edit_yaml(begun / directory.OVERRIDES, trust=[])
    for verb in EVERY:
        trusting = verb in ("evaluate", "resume")
        refused(
            opened(runner, verb, begun), 2 if trusting else 0, "nothing was run" if trusting else ""
        )


def test_code_that_is_trusted_runs(runner, begun: Path) -> None:
    """F42: the control: with the flag it does."""
    Path("trusted_stranger.py").write_text("def hook(state, *, every: str): return {}")
    edit_yaml(begun / directory.CONFIG, hooks={"x": {"_target_": "trusted_stranger.hook",
                                                    "every": "1steps"}})  # fmt: skip
    edit_yaml(begun / directory.OVERRIDES, trust=["trusted_stranger"])
    refused(runner("evaluate", str(begun)), 2, "add --trust trusted_stranger")
    done = runner("evaluate", str(begun), "--trust", "trusted_stranger")
    assert done.code == 0, done.err


TAGS = {
    "config.yaml": "name: !!python/object/apply:os.mkdir [marker]\n",
    "overrides.yaml": "overrides: !!python/object/apply:os.mkdir [marker]\n",
    "status.json": '{"state": "\\u001b[31m[/x]finished", "message": "\\u001b]0;x\\u0007"}',
    "summary.json": '{"best": {"objective": "\\u001b[31m[/x]", "value": 1}}',
    "sweep.json": '{"jobs": {"\\u001b[31m": 1}}',
    "environment.json": '{"data": {"source": "\\u001b[31m[/x]"}}',
    "metrics.jsonl": '{"step": 1, "\\u001b[31m[/x]": 1}\n',
}


@pytest.mark.parametrize("name", TAGS)
def test_tags_and_escapes_in_a_record(runner, begun: Path, name: str) -> None:
    """F42: neither a parser nor a terminal obeys."""
    (begun / name).write_text(TAGS[name])
    for verb in EVERY:
        done = opened(runner, verb, begun)
        assert "Traceback" not in done.err + done.out
        assert "\x1b" not in done.err + done.out
        assert done.code in (0, 2, 3, 5), done.err


ODD: list[Any] = [None, [], 5, "x", [[1]], {"a": {"b": 1}}, 1e300, True, "../../x", "\x1b[31m"]


def places(content: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value, and to the first of a list."""
    yield way
    if isinstance(content, dict):
        for key, each in content.items():
            yield from places(each, (*way, key))
    elif isinstance(content, list) and content:
        yield from places(content[0], (*way, 0))


def with_odd(content: Any, way: tuple[Any, ...], odd: Any) -> Any:
    if not way:
        return odd
    copy = content.copy()
    copy[way[0]] = with_odd(content[way[0]], way[1:], odd)
    return copy


def test_values_of_another_kind_in_every_place(runner, begun: Path, swept: Path) -> None:
    """F42: what only looks at directories reads a damaged record like one that lacks something."""
    job, tried = swept / "lr0.1", 0
    differ = ["diff", str(begun), str(job)]
    looked = {begun: [["runs"], differ, ["report", str(begun)]],
              job: [["runs"], ["report", str(swept)], differ],
              swept: [["runs"], ["report", str(swept)], differ]}  # fmt: skip
    for folder, commands in looked.items():
        for name in ("status.json", "summary.json", "environment.json", "overrides.yaml",
                     "sweep.json"):  # fmt: skip
            path = folder / name
            if not path.exists():
                continue
            sound = path.read_bytes()
            content = yaml.safe_load(sound)
            for at, way in enumerate(places(content)):
                text = json.dumps(with_odd(content, way, ODD[at % len(ODD)]))
                path.write_text(text)
                done = runner(*commands[at % len(commands)])
                assert done.code in (0, 2), (path, text, done.err)
                assert "Traceback" not in done.err, (path, text)
                assert "\x1b" not in done.out + done.err, (path, text)
                tried += 1
            path.write_bytes(sound)
    assert tried > 150


# ---- sweeps of a stranger's ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../../victim", "{}/victim", ".", "..", "", "a/b", "-rf", 5, None]
)
@pytest.mark.parametrize("what", ["directory", "batch"])
def test_a_sweep_that_leads_out_of_its_directory(
    runner, swept: Path, tmp_path: Path, name: Any, what: str
) -> None:
    """F42: nothing there is written, and nothing deleted."""
    victim = tmp_path / "victim"
    (victim / directory.CHECKPOINTS).mkdir(parents=True)
    for path in ("metrics.jsonl", "summary.json", "checkpoints/step-1-0123456789abcdef.pt"):
        (victim / path).write_text("precious")
    name = name.format(tmp_path) if isinstance(name, str) else name

    def moved(entries: dict[str, Any]) -> dict[str, Any]:
        if what == "directory":
            return {key: {**job, "directory": name} for key, job in entries.items()}
        return {str(name): batch for batch in entries.values()}

    edit_json(swept / directory.SWEEP, **{"jobs" if what == "directory" else "batches": moved})
    done = runner("resume", str(swept))
    refused(done, 5, "is not what a sweep has there")
    assert (
        sorted(path.read_text() for path in victim.rglob("*") if path.is_file()) == ["precious"] * 3
    )


def test_the_id_of_a_foreign_job(runner, swept: Path) -> None:
    """F42: `scancel --user=me` would be a command of its own."""
    edit_json(swept / directory.SWEEP, batches=lambda batches: {
        key: {**batch, "sent": {"to": "slurm", "as": "--user=me"}}
        for key, batch in batches.items()})  # fmt: skip
    refused(runner("resume", str(swept)), 5, "is not what a sweep has there")


LINKS = {  # a link in a directory, and what it leads to
    "log": ("run.log", "victim"),
    "metrics": ("metrics.jsonl", "victim"),
    "status": ("status.json", "victim.json"),
    "lock": (".lock", "victim"),
    "checkpoints": ("checkpoints", "folder"),
    "events": ("events.out.tfevents.1.x", "victim"),
    "temporary": (f".status.json.{os.getpid()}.tmp", "victim"),
    "dangling": ("error.txt", "nowhere"),
}


@pytest.mark.parametrize("case", LINKS)
def test_links_in_a_run(runner, begun: Path, tmp_path: Path, case: str) -> None:
    """F42: a directory that is written in holds no links: they may lead anywhere."""
    name, target = LINKS[case]
    (tmp_path / "victim").write_text("precious\n" * 1000)
    shutil.copy(begun / "status.json", tmp_path / "victim.json")
    shutil.copytree(begun / "checkpoints", tmp_path / "folder")
    path = begun / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / target)
    before = sorted((each.name, each.read_bytes()) for each in outside(tmp_path))
    done = runner("resume", str(begun))
    assert done.code == (8 if case == "lock" else 2), done.err
    assert str(path) in done.err
    assert "Traceback" not in done.err
    assert sorted((each.name, each.read_bytes()) for each in outside(tmp_path)) == before
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["lr0.2", "batches", "batches/b000", "lr0.2/metrics.jsonl",
                                  "figures"])  # fmt: skip
def test_links_in_a_sweep(runner, swept: Path, tmp_path: Path, name: str) -> None:
    """F42: those of its jobs and batches too, and where a report draws."""
    path, victim = swept / name, tmp_path / "victim"
    victim.mkdir()
    (victim / "metrics.jsonl").write_text("precious")
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(victim / "metrics.jsonl" if name.endswith("jsonl") else victim)
    done = runner("resume", str(swept))
    refused(done, 2, f"{path}: a link")
    refused(runner("report", str(swept), "--figures"), 2, f"{path}: a link")
    assert [each.name for each in victim.iterdir()] == ["metrics.jsonl"]


def test_pipes_are_not_waited_at(runner, begun: Path) -> None:
    """F42: who opens a pipe that nobody writes to waits for ever."""
    for path in checkpoints.listed(begun / directory.CHECKPOINTS):
        path.unlink()
        os.mkfifo(path)
    refused(runner("evaluate", str(begun)), 5, "no usable checkpoint")
    for name in ("status.json", "summary.json", "overrides.yaml", "metrics.jsonl", ".lock"):
        (begun / name).unlink(missing_ok=True)
        os.mkfifo(begun / name)
        for verb in EVERY:
            done = opened(runner, verb, begun)
            assert "Traceback" not in done.err
            assert done.code in (0, 2, 5, 8), done.err


COMMANDS = {  # words of a recorded sweep
    "a target": "+hydra.launcher.x={_target_:os.mkdir,path:marker}",
    "a string that is one": "+hydra.launcher.x=${oc.create:'{_target_: os.mkdir, path: marker}'}",
    "commands": "hydra.launcher.setup=[mkdir marker]",
    "a function": "hydra.sweeper.custom_search_space=os.mkdir",
    "a program": "hydra.launcher.python=./evil.sh",
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_recorded_sweep_that_tells_plugins_of_hydra(runner, swept: Path, case: str) -> None:
    """F42: what the record of a sweep says to a launcher or a sweeper is not done unasked."""
    edit_yaml(swept / directory.OVERRIDES,
              overrides=lambda words: [*words, "hydra/launcher=basic", COMMANDS[case]])  # fmt: skip
    done = runner("resume", str(swept))
    refused(done, 2, COMMANDS[case], "if you trust it, add --trust cluster")


FORMULAS = ["=cmd|' /C calc'!A0", "@SUM(1)", "+x", "-y", "\t=1", "\x1b[31mred"]
NUMBERS = ["-0.5", "+1", "-1e-05", "0.1", "adam", "a=b"]


def test_what_a_spreadsheet_would_take_for_a_formula(runner, swept: Path) -> None:
    """F42: a text in results.csv and in `report --csv` is a text; numbers stay numbers."""
    (swept / "lr0.1" / directory.STATUS).unlink()
    for at, each in enumerate([*FORMULAS, *NUMBERS]):
        edit_json(swept / directory.SWEEP, jobs=lambda jobs, each=each: {
            key: {**job, "swept": {"optimizer.lr": each}, "state": "failed", "message": each}
            for key, job in jobs.items()})  # fmt: skip
        edit_json(swept / "lr0.2" / directory.STATUS, state="failed", message=each)
        done = runner("report", str(swept), "--csv")
        assert done.code == 0, done.err
        assert "\x1b" not in done.out
        expected = f"'{each}" if at < 5 else each
        with (swept / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["optimizer.lr"] for row in rows} == {expected}
        said = " ".join(each.split())
        assert {row["message"] for row in rows} == {f"'{said}" if at < 5 else said}


# ---- the environment ----------------------------------------------------------------------------

CANARY = "canary-5f3a9c-in-a-cage"


def everything(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def uncaged(folder: Path) -> list[Path]:
    """Return the files that hold the canary."""
    return [path for path, content in everything(folder) if CANARY.encode() in content]


@pytest.fixture
def canary(monkeypatch, cache_folder: Path) -> Iterator[Path]:
    """Set variables that hold the canary; return a table whose place and columns do."""
    monkeypatch.setenv("SECRET", f"{CANARY}-column")
    monkeypatch.setenv("WHERE", f"{CANARY}-folder")
    folder = Path(f"{CANARY}-folder")
    folder.mkdir()
    rows = [f"{at / 40},{at % 7},{at * 1.5}" for at in range(40)]
    (folder / "rows.csv").write_text("\n".join([f"a,b,{CANARY}-column", *rows]))
    yield folder / "rows.csv"
    assert not uncaged(cache_folder)


def caged(*more: str) -> list[str]:
    """Return the words of a run that reads the environment wherever a text may stand."""
    return [*QUICK[:3], "trainer.batch_size=8", "dataset=csv", "dataset.task=regression",
            "loss=mse", "dataset.path='${oc.env:WHERE}/rows.csv'",
            "dataset.target='${oc.env:SECRET}'", "dataset.features=[a,b]",
            "trainer.save_every=2steps", *more]  # fmt: skip


def test_a_canary_stays_in_its_cage(runner, canary: Path, monkeypatch) -> None:
    """F43: no file of a run has the value: record, logs, events, environment, messages."""
    with monkeypatch.context() as patch:
        cut(patch)
        assert runner(*caged()).code == 130
    (run,) = directory.runs(Path("outputs"))
    assert uncaged(run) == []
    record = read_yaml(run / directory.CONFIG)["dataset"]
    assert record["path"] == "${oc.env:WHERE}/rows.csv"
    assert record["target"] == "${oc.env:SECRET}"
    assert read_json(run / directory.ENVIRONMENT)["data"]["source"] == "${oc.env:WHERE}/rows.csv"
    monkeypatch.delenv("SECRET")
    for verb in ("resume", "evaluate"):
        refused(runner(verb, str(run)), 2, "environment variable SECRET is not set")
    monkeypatch.setenv("SECRET", f"{CANARY}-column")
    done = runner("resume", str(run))
    assert done.code == 0, done.err
    assert runner("evaluate", str(run)).code == 0
    assert runner("report", str(run)).code == 0
    assert uncaged(run) == []
    assert directory.status(run)["state"] == "finished"


@pytest.mark.parametrize("root", ["output_root='${oc.env:WHERE}/runs'", "output_root=runs"])
def test_a_canary_in_a_failure(runner, canary: Path, monkeypatch, root: str) -> None:
    """F43: not in a message or a traceback either."""

    def fail(self: Recorder, state: Any, row: dict[str, Any]) -> None:
        raise RuntimeError(f"with {os.environ['WHERE']} and {os.environ['SECRET']!r}")

    monkeypatch.setattr(Recorder, "record", fail)
    done = runner(*caged(root))
    assert done.code == 1
    (run,) = directory.runs(canary.parent / "runs" if "WHERE" in root else Path("runs"))
    assert uncaged(run) == []
    assert "with ${oc.env:" in (run / directory.ERROR).read_text()
    assert "with ${oc.env:" in directory.status(run)["message"]


def test_a_canary_in_a_sweep(runner, canary: Path) -> None:
    """F43: nor in what is written of a sweep, its jobs, its tables and its figures."""
    done = runner("-m", *caged("optimizer.lr=0.1,1e30", "name=rates", "sweep.processes=1"))
    assert done.code == 6, done.err
    folder = Path("outputs/default/rates")
    assert runner("report", str(folder), "--figures").code == 0
    assert uncaged(folder) == []


def test_a_canary_in_a_process_that_composed_nothing(canary: Path) -> None:
    """F43: a worker that was spawned is told which variables its jobs use."""
    request = Request({}, {}, [], environment=["SECRET"])
    member = Member("4f", None, request, Path("job"), {})
    run = SimpleNamespace(data=SimpleNamespace(checksum=lambda: "0"), warnings=[], decided={})
    record = Record(Path("b000"), lambda event: None)
    record.open(member, run, afresh=True)
    record.ended(member, RunnerError(f"with {os.environ['SECRET']}"))
    assert directory.status(member.folder)["message"] == "with ${oc.env:SECRET}"
    assert uncaged(member.folder) == []


@pytest.mark.parametrize("value", ["ghp_0123456789abcdef", "plain"])
def test_a_secret_is_no_name(runner, monkeypatch, value: str) -> None:
    """F43: of a directory, were the variable a secret one by its name or its value."""
    monkeypatch.setenv("MY_TOKEN" if value == "plain" else "HARMLESS", value)
    name = "MY_TOKEN" if value == "plain" else "HARMLESS"
    done = runner(*QUICK, f"name=${{oc.env:{name}}}")
    refused(done, 2, "name: ", "a name is no place for a secret", f"${{oc.env:{name}}}")
    assert value not in done.err
    assert not Path("outputs").exists()
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert runner(*QUICK, "name=job${oc.env:SLURM_JOB_ID}").code == 0
    assert re.fullmatch(r"\d{4}-job4711-\w{4}", directory.runs(Path("outputs"))[0].name)


@pytest.mark.parametrize("words", [QUICK, ("resume", "last")], ids=["train", "resume"])
def test_a_secret_that_is_typed_is_warned_of(runner, words) -> None:
    """F43: it is recorded as it was typed."""
    assert runner(*QUICK).code == 0
    done = runner(*words, "name=ghp_0123456789abcdef")
    assert done.code == 0
    assert "warning: name: looks like a secret, and what is typed is recorded" in done.err
    assert runner(*words, "name=harmless").err == ""


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch) -> None:
    for name in ("_hidden", "_names"):
        monkeypatch.setattr(secrets, name, {})
    monkeypatch.setattr(secrets, "_secrets", set())
