"""What `auto` makes of speed: decided once, remembered, taken by whoever comes later."""

import os
from dataclasses import replace

import pytest
import torch

from runner.assemble import calibrate, speed
from runner.assemble.machine import speed_key, threads_key
from runner.assemble.run import assemble
from runner.assemble.settings import Settings
from runner.compose import compose
from runner.config import check
from runner.foundation import remembered
from runner.foundation.errors import Misconfigured
from runner.training import ready
from runner.training.ready import Compiled, Traced

SMALL = ["device=cpu", "architecture.hidden=[16]", "trainer.steps=20", "trainer.epochs=null"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Give each test a memory of its own, short steps, and the threads back."""
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(speed, "LONG", 60.0)  # however busy the machine is
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def settings(*overrides) -> Settings:
    return check(compose([*SMALL, *overrides]).config, Settings)


def silent(text):
    pytest.fail(f"nothing took long, yet: {text}")


def weights(run, state):
    return [each.detach().clone() for each in state.tensors().values()]


def test_what_is_decided_is_remembered_and_not_decided_again(monkeypatch):
    first = speed.settled(settings(), silent)
    assert set(first.decided) == {"threads", "compile", "device"} - {"device"}
    decisions = {each["what"]: each for each in remembered.listed().values()}
    assert set(decisions) == {"threads", "compile"}
    for what, (value, reason) in first.decided.items():
        assert (decisions[what]["value"], decisions[what]["reason"]) == (value, reason)
    whom = "mlp, 1,210 parameters, batches of 64, momentum, float32"
    assert decisions["threads"]["for"] == whom
    count = first.decided["threads"][0]
    threads = "1 thread" if count == 1 else f"{count} threads"
    assert decisions["compile"]["for"] == f"{whom}, cpu with {threads}, 20 steps"

    def decide(*given):
        pytest.fail("it was decided already")

    monkeypatch.setattr(calibrate, "threads", decide)
    monkeypatch.setattr(speed, "_chosen", decide)
    again = speed.settled(settings("seed=3", "optimizer.lr=0.3"), silent)
    assert again.decided == first.decided


def test_where_nothing_can_be_remembered_that_is_said(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "taken"))
    run = speed.settled(settings("threads=1"), silent)
    assert run.decided["compile"][0] == "trace"
    (warning,) = run.warnings
    assert warning.endswith("for the same bits again set compile to what config.yaml says")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_warning_outlives_assembling_anew(tmp_path, monkeypatch, threads):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "taken"))
    monkeypatch.setattr(calibrate, "threads", lambda *given: (threads, "so it is said"))
    run = speed.settled(settings("compile=trace"), silent)
    (warning,) = run.warnings
    assert warning.endswith("for the same bits again set threads to what config.yaml says")


def test_more_threads_than_processors_are_odd(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    asked = {count: speed.settled(settings(f"threads={count}", "compile=false"), silent)
             for count in (2, 3)}  # fmt: skip
    assert asked[2].warnings == []
    (warning,) = asked[3].warnings
    assert "threads: 3 are asked for, but this process may use 2 processors" in warning


LENGTHS = {"20 steps": (20, None), "0.5 minutes": (None, 0.5), "20 steps, 0.5 minutes": (20, 0.5)}


@pytest.mark.parametrize(("said", "length"), LENGTHS.items())
def test_decisions_can_be_told_apart(said, length):
    asked = settings("threads=1", "precision=float64", "optimizer=adam", "schedule=constant")
    trainer = replace(asked.trainer, **dict(zip(("steps", "minutes"), length, strict=True)))
    speed.settled(replace(asked, trainer=trainer), lambda text: None)
    (decision,) = remembered.listed().values()
    assert decision["for"].endswith(f"64, adam, float64, cpu with 1 thread, {said}")


@pytest.mark.parametrize("threads", [1, 2])
def test_data_and_weights_are_made_with_the_threads_that_train(monkeypatch, threads):
    monkeypatch.setattr(calibrate, "threads", lambda *given: (threads, "so it is said"))
    run = speed.settled(settings(), silent)
    assert run.decided["threads"] == (threads, "so it is said")
    assert torch.get_num_threads() == threads
    assert run.settings.threads == "auto"
    explicit = assemble(settings(f"threads={threads}"))
    for one, other in zip(run.model.parameters(), explicit.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(run.prepared.splits["train"][0], explicit.prepared.splits["train"][0])


def test_a_settled_run_is_as_it_was_assembled():
    run = speed.settled(settings("threads=1", "normalization=batch"), silent)
    fresh = assemble(settings("threads=1", "normalization=batch"))
    state, _, way = run.begun
    assert way == "traced"
    assert (state.step, state.seen, state.gradient_norm, state.window) == (0, 0, None, [])
    for one, other in zip(weights(run, state), weights(fresh, fresh.state()), strict=True):
        assert torch.equal(one, other)


WAYS = {  # overrides, what auto chooses, part of the reason
    "a small run": ([], "trace", "compiling would take"),
    "a search": (["optimizer=lbfgs", "sampler=full_batch"], False, "searches along a line"),
    "a class of torch": (["optimizer._target_=torch.optim.SGD", "~optimizer.momentum",
                          "~optimizer.nesterov"], False, "a state of its own"),
}  # fmt: skip


@pytest.mark.parametrize(("overrides", "way", "reason"), WAYS.values(), ids=WAYS)
def test_auto_chooses_and_says_why(overrides, way, reason):
    run = speed.settled(settings("threads=1", *overrides), silent)
    value, why = run.decided["compile"]
    assert value == way
    assert reason in why


def test_a_long_step_is_left_alone(monkeypatch):
    monkeypatch.setattr(speed, "LONG", 0.0)
    run = speed.settled(settings("threads=1"), silent)
    assert run.decided["compile"][0] is False
    assert "next to which nothing is saved" in run.decided["compile"][1]


def test_a_step_that_cannot_be_traced_runs_plainly_and_says_why(monkeypatch):
    monkeypatch.setattr(Traced, "_compare", lambda *given: 1 / 0)
    run = speed.settled(settings("threads=1"), silent)
    assert run.decided["compile"] == (False, "the step cannot be traced: division by zero")
    asked = speed.settled(settings("threads=1", "compile=trace"), silent)
    assert asked.decided.get("compile") is None
    assert asked.warnings[-1] == "compile: the step is plain: division by zero"


def test_a_long_run_is_compiled_where_that_turns_out_faster(monkeypatch):
    said = []
    monkeypatch.setattr(speed, "COMPILING", (0.0, 0.0))
    monkeypatch.setattr(speed, "compile_seconds", lambda run: 0.0)
    monkeypatch.setattr(Compiled, "__call__", lambda self, function, inputs: function)
    for ratio, chosen, times in ((1.5, True, "1.5"), (0.91, "trace", "0.91")):
        remembered.forget()
        ways = {"true": ratio}
        monkeypatch.setattr(calibrate, "faster", lambda *given, ways=ways: ("?", ways))
        run = speed.settled(settings("threads=1"), said.append)
        reason = f"the compiled step is {times} times as fast as the traced one"
        assert run.decided["compile"] == (chosen, reason)
    assert said == 2 * ["compiling the step, which may take 0 s or more"]


def test_what_cannot_be_compiled_is_traced_and_says_why(monkeypatch):
    def failing(program, inputs, cache):
        raise RuntimeError("g++ is broken\nand more")

    monkeypatch.setattr(ready, "compiled", failing)
    run = speed.settled(settings("threads=1", "compile=true"), [].append)
    assert run.begun.way == "traced"
    assert run.warnings[-1] == "compile: the step is traced: it cannot be compiled: g++ is broken"
    monkeypatch.setattr(speed, "compile_seconds", lambda run: 0.0)
    run = speed.settled(settings("threads=1"), [].append)
    assert run.decided["compile"] == ("trace", "it cannot be compiled: g++ is broken")


@pytest.mark.parametrize("mode", ["trace", "true"])
def test_a_step_that_goes_by_values_is_plain_whatever_was_asked_for(mode):
    chosen = ["threads=1", "optimizer=lbfgs", "sampler=full_batch", f"compile={mode}"]
    run = speed.settled(settings(*chosen), silent)
    assert run.begun.way == "plain"
    assert "compile: the step is plain: this optimizer searches along a line" in run.warnings[-1]


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(speed, "COMPILERS", ("no-such-compiler",))
    with pytest.raises(Misconfigured, match=r"compile: no C\+\+ compiler was found"):
        speed.settled(settings("threads=1", "compile=true"), silent)


SAME = ["seed=1", "optimizer.lr=0.5", "schedule=constant", "name=x", "tensorboard=false"]
OTHER = ["architecture.bias=false", "trainer.batch_size=65", "optimizer=adam", "precision=float64",
         "normalization=batch", "dataset=wine"]  # fmt: skip


def test_a_speed_key_is_what_a_step_costs():
    base = speed_key(settings(), "cpu")
    assert {speed_key(settings(each), "cpu") for each in SAME} == {base}
    assert len({base, *(speed_key(settings(each), "cpu") for each in OTHER)}) == 1 + len(OTHER)
    assert speed_key(settings(), "cpu", 1, 100) != speed_key(settings(), "cpu", 1, 200)
    adam, quicker = (["optimizer=adam", f"optimizer.betas=[{beta},0.999]"] for beta in (0.9, 0.8))
    assert speed_key(settings(*adam), "cpu") == speed_key(settings(*quicker), "cpu")


def test_threads_are_those_of_every_way_to_run_the_step(monkeypatch):
    keys = {threads_key(settings(f"compile={way}"), "cpu")
            for way in ("auto", "trace", "true", "false")}  # fmt: skip
    assert len(keys) == 1
    found = iter([(2, "found first"), (1, "found later")])
    monkeypatch.setattr(calibrate, "threads", lambda *given: next(found))
    for way in ("trace", "false"):
        run = speed.settled(settings(f"compile={way}"), silent)
        assert run.decided["threads"] == (2, "found first")


def test_a_resumed_run_takes_what_was_recorded():
    run = speed.settled(settings(), silent)
    known = {name: value for name, (value, _) in run.decided.items() if name != "device"}
    recorded = replace(settings(), **known)
    remembered.forget()
    again = speed.settled(recorded, silent)
    assert "threads" not in again.decided
    assert "compile" not in again.decided
    assert torch.get_num_threads() == known["threads"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of torch's compiler
def test_a_compiled_step_is_the_plain_step_up_to_rounding():
    ends = []
    for way in ("false", "true"):
        chosen = ["threads=1", "precision=float64", "optimizer=adam", "normalization=layer",
                  "dropout=inverted", "clipping=norm", f"compile={way}"]  # fmt: skip
        said = []
        run = speed.settled(settings(*chosen), said.append)
        assert bool(said) == (way == "true")
        (state, step, _), batch = run.begun, run.batches()
        for at in range(5):
            step(*batch(at), 1.0, at == 4)
        ends.append([state.gradient_norm, *weights(run, state)])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
