"""What a user gets for a mistake: one clear message, the right code, nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

# words on the command line, exit code, what the message must hold
MISTAKES = [
    ("lrr=0.1", 2, "lrr: unknown key; did you mean 'optimizer.lr'?"),
    ("+optimizer.lrr=0.1", 2, "optimizer.lrr: unknown key; did you mean 'optimizer.lr'?"),
    ("++unknown=1", 2, "unknown: unknown key"),
    ("optimizer.lr=abc", 2, "optimizer.lr: expected a number > 0, got 'abc'"),
    ("optimizer.lr=-1", 2, "optimizer.lr: expected a number > 0, got -1"),
    ("optimizer.lr=nan", 2, "optimizer.lr: expected a number > 0, got nan"),
    ("optimizer.lr=inf", 2, "optimizer.lr: expected a number > 0, got inf"),
    ("optimizer.lr=true", 2, "optimizer.lr: expected a number > 0, got true"),
    ("optimizer.lr=0.1,0.2", 2, "several values"),
    ("optimizer.lr=0.1 optimizer.lr=0.2", 2, "optimizer.lr: given 2 times (0.1, 0.2)"),
    ("optimizer.lr=", 2, "optimizer.lr: missing value"),
    ("trainer.epochs=2.5", 2, "trainer.epochs: expected a whole number >= 1"),
    ("trainer.epochs=0", 2, "trainer.epochs: expected a whole number >= 1"),
    ("optimizer.momentum=1.5", 2, "optimizer.momentum: expected a number in [0, 1), got 1.5"),
    ("optimizer.nesterov=true optimizer.momentum=0", 2, "nesterov=true needs momentum > 0"),
    ("optimizer=adam optimizer.betas=[0.9]", 2, "optimizer.betas: expected a list of 2"),
    ("optimizer=adam optimizer.betas=[0.9,1.0]", 2, "optimizer.betas[1]: expected a number in"),
    ("optimizer=adam optimizer.eps=0", 2, "optimizer.eps: expected a number > 0"),
    ("regularizer=l2 regularizer.l2.strength=-1", 2, "regularizer.l2.strength: expected"),
    ("schedule=step schedule.every=0steps", 2, "schedule.every: expected a duration"),
    ("schedule=step schedule.factor=-1", 2, "schedule.factor: expected a number in (0, 1]"),
    ("schedule.warmup=500steps trainer.steps=200", 2, "schedule: warmup 500 >= total 200 steps"),
    ("activation=rellu", 2, "activation=rellu: no such option; did you mean 'relu'?"),
    ("normalization=batch trainer.batch_size=1", 2, "the smallest batch has 1 sample"),
    ("normalization=batch trainer.batch_size=154 trainer.drop_last=false", 2, "1 sample"),
    ("normalization=batch normalization.momentum=2", 2, "normalization.momentum: expected"),
    ("architecture.hidden=[-5]", 2, "architecture.hidden[0]: expected a whole number >= 1"),
    ("architecture.hidden=64", 2, "architecture.hidden: expected a list"),
    ("architecture.hidden=[64,a]", 2, "architecture.hidden[1]: expected a whole number"),
    ("dropout=inverted dropout.keep=1.5", 2, "dropout.keep: expected a number in (0, 1]"),
    ("dropout=inverted dropout.keep=0", 2, "dropout.keep: expected a number in (0, 1]"),
    ("dataset=wine architecture=cnn", 2, "architecture: cnn needs images"),
    ("dataset=wine augmentation=flip_crop", 2, "flip_crop needs images"),
    ("dataset=wine preprocessing.per=channel", 2, "per=channel needs images"),
    ("loss=mse", 2, "loss 'mse' needs float targets"),
    ("dataset=diabetes", 2, "loss 'cross_entropy' needs class labels"),
    ("trainer.batch_size=0", 2, "trainer.batch_size: expected a whole number >= 1"),
    ("trainer.batch_size=5000", 2, "trainer.batch_size: 5000 is more than the 1079"),
    ("dataset.valid=0.9", 2, "0.9 + 0.2 = 1.1"),
    ("dataset=wine dataset.valid=0.001", 2, "dataset.valid: a share of 0.001 of 178 rows is"),
    ("dataset.test=null", 2, "dataset.test: expected a share of the rows"),
    ("dataset=mnistt", 2, "dataset=mnistt: no such option; did you mean 'mnist'?"),
    ("dataset=mnist dataset.root=nowhere", 3, "no data files in nowhere"),
    ("dataset=cifar10 dataset.root=nowhere", 3, "no data files in nowhere"),
    ("device=gpu", 2, "device: expected a text: auto, cpu, cuda or cuda:N, got 'gpu'"),
    ("device=cuda:77", 2, "device: 'cuda:77' is not available"),
    ("seed=-1", 2, "seed: expected a whole number in [0, 4294967295], got -1"),
    ("seed=1.5", 2, "seed: expected a whole number"),
    ("seed=4294967296", 2, "seed: expected a whole number"),
    ("seed=true", 2, "seed: expected a whole number"),
    ("clipping=norm clipping.norm.limit=-1", 2, "clipping.norm.limit: expected a number > 0"),
    ("objective=valid/acc", 2, "objective: no metric 'valid/acc'; did you mean 'valid/accuracy'?"),
    ("stopping=early stopping.patience=0", 2, "stopping.patience: expected a whole number >= 1"),
    ("name=../x", 2, "name: expected a text of up to 80 letters"),
    ("name=/tmp/x", 2, "name: expected a text"),
    ("name='[/red]'", 2, "name: expected a text"),
    (f"name={'x' * 300}", 2, "name: expected a text"),
    ("name=''", 2, "name: expected a text"),
    ("optimizer.lr=???", 2, "optimizer.lr: missing value"),
    ("name=${foo}", 2, "name: Interpolation key 'foo' not found"),
    ("optimizer.lr=${oc.env:NOPE}", 2, "optimizer.lr: environment variable NOPE is not set"),
    ("~optimizer", 2, "optimizer: required key was removed"),
    ("~optimizer.lr", 2, "optimizer.lr: required key was removed"),
    ("optimizer._target_=os.system", 2, "optimizer._target_: 'os.system' is not trusted"),
    ("optimizer._target_=torch.load", 2, "optimizer._target_: 'torch.load' is not trusted"),
    ("threads=0", 2, "threads: expected a whole number in [1, 1024] or one of auto"),
    ("precision=float16", 2, "precision: expected one of float32, float64, bfloat16"),
    ("trainer.epochs=null", 2, "trainer: one of epochs, steps and minutes must be set"),
    ("stopping=early dataset.valid=0", 2, "stopping: needs validation rows"),
    ("threads=100000", 2, "threads: expected a whole number in [1, 1024]"),
    ("hooks=null", 2, "hooks: choose one option"),
    ("dataset=[digits,wine]", 2, "dataset: choose one option"),
    ("optimizer=[[1]]", 2, "optimizer: choose one option"),
    ("hooks=[weight_norm,nope]", 2, "hooks=nope: no such option"),
    ("optimizer._target_=runner.components.activation.relu", 2, "is no optimizer"),
    ("loss._target_=runner.components.activation.relu", 2, "is no loss"),
    ("activation._target_=torch.nn.LeakyReLU +activation.negative_slope=abc", 2, "a number, got"),
    ("activation._target_=torch.nn.init.zeros_", 2, "is no class"),
    ("trainer.epochs=1 trainer.steps=40", 2, "give one of them, not both"),
    ("trainer.epochs=null trainer.minutes=1", 2, "schedule: cosine needs an end"),
    ("architecture.hidden=[100000000000]", 2, "architecture: "),
    ("trainer.batch_size=1 loss=mse", 2, "loss 'mse' needs float targets"),
    ("hooks=nope", 2, "hooks=nope: no such option"),
    ("experiment=nope", 2, "experiment=nope: no such option"),
    ("optimizer.lr=1e30", 4, "the training loss became"),
    ("studies", 2, "unknown command 'studies'"),
    ("resum last", 2, "unknown command 'resum'; did you mean 'resume'?"),
    ("--trsut x", 2, "unknown flag '--trsut'; did you mean '--trust'?"),
    ("-m seed=0,1", 2, "sweeps (-m) are not here yet"),
    ("--seed=3", 2, "configuration has no dashes: write seed=3"),
    ("optimizer adam", 2, "'optimizer' is configuration: write optimizer=adam"),
    ("list a b", 2, "'b' is one word too many; see runner list --help"),
    ("train --nope", 2, "unknown flag '--nope'"),
    ("list optimzer", 2, "no group 'optimzer'; did you mean 'optimizer'?"),
    ("resume last", 2, "no run 'last' (no runs in outputs)"),
    ("evaluate 1432", 2, "no run '1432'"),
    ("diff a b", 2, "no run 'a'"),
    ("show optimizer=adm", 2, "did you mean 'adam'?"),
    ("--config-dir nowhere", 2, "nowhere: no such folder"),
]


@pytest.mark.parametrize(("line", "code", "message"), MISTAKES, ids=[m[0][:60] for m in MISTAKES])
def test_a_mistake(runner, line: str, code: int, message: str) -> None:
    done = runner(*line.split(" "))
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err + done.out
    if code != 4:
        assert not Path("outputs").exists(), "nothing is made before everything is right"


def test_all_mistakes_at_once(runner) -> None:
    done = runner("optimizer.lrr=1", "optimizer.momentum=2", "activation=rellu")
    assert done.code == 2
    assert "3 mistakes, nothing was run:" in done.err
    assert "optimizer.lrr: unknown key; did you mean 'optimizer.lr'?" in done.err
    assert "optimizer.momentum: expected a number in [0, 1), got 2" in done.err
    assert "activation=rellu: no such option; did you mean 'relu'?" in done.err


def test_a_defaults_file_may_set_machine_things_only(
    runner, tmp_path: Path, defaults_file: Path
) -> None:
    defaults_file.write_text("optimizer: {lr: 3}\nthreads: 1\n")
    done = runner("trainer=quick")
    assert done.code == 2
    assert "'optimizer.lr' cannot be set here" in done.err
    defaults_file.write_text(f"output_root: {tmp_path}/elsewhere\nthreads: 1\n")
    assert runner("trainer=quick").code == 0
    assert len(list((tmp_path / "elsewhere/default").iterdir())) == 1
    assert "1 threads" in runner("trainer=quick").out
    assert "elsewhere" in runner("env").out


def test_diverging_keeps_the_record(runner) -> None:
    done = runner("optimizer.lr=1e30", "name=far")
    assert done.code == 4
    (run,) = Path("outputs/default").iterdir()
    status = (run / "status.json").read_text()
    assert '"state": "diverged"' in status
    assert "at step 2" in status
    assert list((run / "checkpoints").glob("step-0-*.pt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1\n", "not a mapping of keys"),
        ("- 1\n", "not a mapping of keys"),
        ("output_root: 5\n", "output_root: expected a text, got 5"),
        ("trust: 5\n", "trust: expected a text, got 5"),
        ("threads: 0\n", "threads: expected a whole number >= 1 or one of auto, got 0"),
    ],
)
def test_a_broken_defaults_file_is_named(runner, defaults_file, content: str, message: str) -> None:
    defaults_file.write_text(content)
    done = runner("trainer=quick")
    assert (done.code, done.out) == (2, "")
    assert f"{defaults_file}: " in done.err
    assert message in done.err


def test_a_working_directory_stands_in_for_nothing(runner, defaults_file: Path) -> None:
    defaults_file.write_text("threads: 1\ntrust: [mine]\n")
    Path("sklearn.py").write_text("raise SystemExit('a stranger ran')\n")
    assert runner("trainer=quick").code == 0
    assert runner("trainer=quick", "--trust", "mine").code == 0


def test_nothing_that_is_not_finite_is_saved(runner) -> None:
    import torch

    done = runner("optimizer.lr=1e30", "trainer.save_every=1steps", "trainer.log_every=50steps",
                  "trainer.evaluate_every=100steps")  # fmt: skip
    assert done.code == 4
    (run,) = Path("outputs/default").iterdir()
    found = list((run / "checkpoints").glob("*.pt"))
    assert found
    for path in found:
        model = torch.load(path, weights_only=True)["state"]["model"]
        assert all(tensor.isfinite().all() for tensor in model.values())


def test_data_that_changed_is_noticed(runner) -> None:
    assert runner("trainer=quick", "optimizer.lr=1e30").code == 4
    (run,) = Path("outputs/default").iterdir()
    recorded = json.loads((run / "environment.json").read_text())
    recorded["data"]["checksum"] = "0" * 16
    (run / "environment.json").write_text(json.dumps(recorded))
    done = runner("resume", "last")
    assert done.code == 3
    assert "data hash differs: recorded 0000" in done.err


def test_recorded_runs_take_machine_keys_only(runner, tmp_path: Path) -> None:
    root = f"output_root={tmp_path / 'there'}"
    assert runner("trainer=quick", root).code == 0
    assert "finished" in runner("runs", root).out
    assert runner("evaluate", "last", root, "device=cpu").code == 0
    done = runner("evaluate", "last", root, "optimizer.lr=1")
    assert done.code == 2
    assert "optimizer.lr: a recorded run takes only output_root, dataset.root, device" in done.err
