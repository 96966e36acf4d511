"""Composition: equal to Hydra's own, every mistake collected, files with mistakes named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from runner import compose
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optimizer=adam", "optimizer.lr=0.01", "seed=3"],
        ["architecture.hidden=[8,4]", "trainer=quick", "name=a1"],
        ["regularizer=l2", "regularizer.l2.strength=1e-3", "~optimizer.nesterov"],
        ["hooks=[weight_norm]", "+hooks.weight_norm.further={a: 1}"],
        ["dataset=fashion_mnist", "dataset.root=/x y", "tensorboard=false", "name=null"],
        ["optimizer.betas=[0.8,0.9]", "optimizer=adam"],
        ["experiment=diabetes", "stopping.patience=3", "regularizer=[l2,l1]"],
        ["optimizer={lr: 2}", "+new={a: {b: [1,{c: 2}]}}", "+new.a.d=null", "++new.e=x"],
        ["seed=${dataset.seed}", "+new.a=${.b}", "+new.b=${trainer}", "name=s${seed}"],
        ["architecture.hidden=[${seed},4]", "objective=${trainer.log_every}"],
        ["~trainer.epochs", "~schedule", "+architecture={wide: true}", "output_root='a b'"],
    ],
)
def test_equals_hydras_own_composition(overrides: list[str]) -> None:
    with initialize_config_dir(str(own_folder()), version_base="1.3"):
        composed = hydra_compose("config", overrides)
        record = OmegaConf.to_container(composed)
        config = OmegaConf.to_container(composed, resolve=True)
    found = compose.compose(overrides, several=["hooks", "regularizer"])
    del record["sweep"], config["sweep"]
    assert found.record == record
    assert found.config == config


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("optimizer=adm", "optimizer=adm: no such option; did you mean 'adam'?"),
        ("optimizer.lr=", "optimizer.lr: missing value after '='"),
        ("optimizer.lr=0.1,0.2", "optimizer.lr: several values, '0.1,0.2'; one run takes one"),
        ("optimizer.lr=range(3)", "optimizer.lr: several values, 'range(3)'; one run takes one"),
        ("seeds=3", "seeds: belongs to a sweep; add -m"),
        ("sweep.zip=[seed]", "sweep.zip: belongs to a sweep; add -m"),
        ("architecture.hidden.7=3", "architecture.hidden.7: unknown key"),
        (
            "architecture.hidden=[${foo}]",
            "architecture.hidden[0]: unknown interpolation ${foo}: there",
        ),
        ("optimizer.lr", "'optimizer.lr': not of the form key=value"),
        ("=3", "'=3': not of the form key=value"),
        ("optimizer.lr={", "optimizer.lr: cannot read '{': character 1 ('{') is never closed"),
        ("name=${foo}", "name: unknown interpolation ${foo}: there is no such key"),
        (
            "dataset=digits,wine",
            "dataset: several values, 'digits,wine'; one run takes one: add -m",
        ),
        ("optimizer=[adam]", "optimizer: choose one option (optimizer has "),
        ("hooks=[]", "hooks: choose one option (hooks has "),
        (
            "+optimizer=adam",
            "+optimizer: each group has its options in one place; write optimizer=",
        ),
        ("optimizer@x=adam", "optimizer@x: each group has its options in one place; write opt"),
        ("name=${oc.env:NOT_SET_HERE}", "name: environment variable NOT_SET_HERE is not set"),
        ("~optimizer.lrr", "optimizer.lrr: unknown key; did you mean 'optimizer.lr'?"),
        ("hydra.run.dir=/tmp", "hydra.run.dir: the runner composes by itself"),
        ("seed.deep.er=1", None),
    ],
)
def test_mistakes_are_named(override: str, problem: str | None) -> None:
    if problem is None:
        assert compose.compose([override]).config["seed"] == {"deep": {"er": 1}}
        return
    with pytest.raises(Misconfigured) as caught:
        compose.compose([override])
    assert caught.value.problems[0].startswith(problem)


def test_an_option_given_twice() -> None:
    with pytest.raises(Misconfigured, match="regularizer: 'l2' given twice"):
        compose.compose(["regularizer=[l2,l1,l2]"], several=["regularizer"])


@pytest.mark.parametrize("overrides", [[], ["experiment=null"]])
def test_no_experiment_is_the_default(overrides: list[str]) -> None:
    assert compose.compose(overrides).experiment is None


def test_a_key_given_twice_in_a_mapping() -> None:
    """B09: be it inside a mapping."""
    with pytest.raises(Misconfigured, match=r"optimizer.lr: given 2 times \(1, 2\)"):
        compose.compose(["optimizer={lr: 1, momentum: 0}", "optimizer.lr=2"])


def test_a_key_given_twice() -> None:
    with pytest.raises(Misconfigured, match=r"seed: given 2 times \(1, 2\)"):
        compose.compose(["seed=1", "seed=2"])


def test_environment_values_stay_out_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")
    composition = compose.compose(["name=${oc.env:CANARY}"])
    assert composition.config["name"] == "secret"
    assert "secret" not in str(composition.record)


def test_machine_defaults_are_used_where_the_key_exists() -> None:
    machine = {"dataset.root": "/data", "output_root": "/runs"}
    digits = compose.compose([], machine=machine).config
    assert digits["output_root"] == "/runs"
    assert "root" not in digits["dataset"]
    mnist = compose.compose(["dataset=mnist", "output_root=own"], machine=machine).config
    assert (mnist["dataset"]["root"], mnist["output_root"]) == ("/data", "own")


def test_options_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer/mine.yaml").write_text("# Mine.\ndefaults: [sgd, _self_]\nlr: 7\n")
    composition = compose.compose(["optimizer=mine"], folders=[tmp_path])
    assert composition.config["optimizer"]["lr"] == 7
    assert composition.choices["optimizer"] == "mine"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"lr: 1\nlr: 2\n", "config.yaml:2: duplicate key 'lr' (first at line 1)"),
        (b"a: !!python/object/apply:os.system [true]\n", "config.yaml:1: the tag !!python/object"),
        (b"# caf\xe9\nlr: 1\n", "config.yaml:1: not UTF-8"),
        (b"a: &a [*a]\n", "config.yaml:1: contains itself"),
        (b"a: ${\n", "config.yaml: a: cannot read '${'"),
        (b"a: ${b}\n", "config.yaml: a: unknown interpolation ${b}: there is no such key"),
        (b"", "config.yaml: the file says nothing"),
    ],
)
def test_a_broken_record_is_named_with_its_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        compose.recorded(tmp_path / "config.yaml")
    assert caught.value.problems[0].startswith(f"{tmp_path}/{reason}")


def test_a_record_is_read_with_its_interpolations(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: ${b}\nb: 1.0e-05\n")
    found = compose.recorded(tmp_path / "config.yaml")
    assert (found.config, found.record) == ({"a": 1e-5, "b": 1e-5}, {"a": "${b}", "b": 1e-5})


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no such folder"):
        compose.compose([], folders=[tmp_path / "absent"])


def test_a_run_knows_nothing_of_sweeps() -> None:
    composition = compose.compose(["seed=1"])
    for content in (composition.config, composition.record, composition.choices):
        assert "sweep" not in content
    assert composition.sweep["max_jobs"] == 1000


def test_an_experiment_that_is_a_sweep_needs_m(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/rates.yaml").write_text(
        "# @package _global_\n# Rates.\nsweep:\n  grids: ['optimizer.lr=0.1,${oc.env:NOPE}']\n"
    )
    with pytest.raises(Misconfigured, match=r"experiment=rates: its sweep.grids .* add -m"):
        compose.compose(["experiment=rates"], folders=[tmp_path])


def test_jobs_of_one_composer_do_not_touch_each_other() -> None:
    composer = compose.Composer()
    plain, _ = composer.compose([])
    composer.compose(["architecture.hidden.0=5", "+trainer.x={a: 1}", "~optimizer.lr"])
    again, problems = composer.compose([])
    assert (again, problems) == (plain, [])
    lists, _ = composer.compose(["architecture.hidden=[1,2]"])
    lists.config["architecture"]["hidden"].append(3)
    assert composer.compose(["architecture.hidden=[1,2]"])[0].config["architecture"]["hidden"] == [
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (["trainer.steps=3"], ["trainer.epochs=null", "trainer.samples=null"]),
        (["trainer.steps=3", "trainer.epochs=null"], ["trainer.samples=null"]),
        (["seed=3"], []),
        (["trainer.steps=null"], []),
    ],
)
def test_a_budget_stands_instead_of_any_other(given: list[str], added: list[str]) -> None:
    assert compose.one_budget(given) == added


def test_two_budgets_are_refused() -> None:
    with pytest.raises(Misconfigured, match=r"trainer\.epochs and trainer\.samples: give one"):
        compose.one_budget(["trainer.samples=3", "trainer.epochs=1"])
