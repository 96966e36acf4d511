"""check, build and maker: every mistake at once, and only trusted code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from runner import config
from runner.config import Node
from runner.foundation.durations import Clock, PeriodText
from runner.foundation.errors import Misconfigured
from runner.foundation.ranges import Count, Positive, Range

SGD = {"_target_": "runner.components.optimizer.sgd", "lr": 0.1}


@dataclass(frozen=True, kw_only=True)
class Section:
    size: Count
    every: PeriodText = "1epochs"


@dataclass(frozen=True, kw_only=True)
class Schema:
    rate: Positive
    flag: bool
    kind: Literal["left", "right"]
    widths: list[Count]
    pair: tuple[Annotated[float, Range(0, 1, high_open=True)], float]
    section: Section
    node: Node
    many: dict[str, Node]
    limit: Count | None
    text: str


GOOD = {
    "rate": 1,
    "flag": True,
    "kind": "left",
    "widths": [3, 4.0],
    "pair": [0.5, 2],
    "section": {"size": 1e3},
    "node": SGD,
    "many": {"a": SGD},
    "limit": None,
    "text": "x",
}


def problems(**changes: object) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        config.check({**GOOD, **changes}, Schema)
    return caught.value.problems


def test_good_values_come_back_as_the_schema_wants_them() -> None:
    filled = config.check(GOOD, Schema)
    assert filled.rate == 1.0
    assert isinstance(filled.rate, float)
    assert filled.widths == [3, 4]
    assert filled.section == Section(size=1000)
    assert filled.node.arguments == {"lr": 0.1}
    assert filled.node.key == "node"
    assert filled.many["a"].key == "many.a"


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"rate": 0}, "rate", "expected a number > 0, got 0"),
        ({"rate": "abc"}, "rate", "expected a number > 0, got 'abc'"),
        ({"rate": True}, "rate", "expected a number > 0, got true"),
        ({"rate": float("nan")}, "rate", "expected a number > 0, got nan"),
        ({"rate": float("inf")}, "rate", "expected a number > 0, got inf"),
        ({"rate": None}, "rate", "expected a number > 0, got null"),
        ({"rate": "???"}, "rate", "missing value"),
        ({"flag": 1}, "flag", "expected true or false, got 1"),
        ({"kind": "lefft"}, "kind", "did you mean 'left'?"),
        ({"widths": []}, None, None),
        ({"widths": 64}, "widths", "expected a list, each a whole number >= 1, got 64"),
        ({"widths": [64, "a"]}, "widths[1]", "expected a whole number >= 1, got 'a'"),
        ({"widths": [64, 0]}, "widths[1]", "expected a whole number >= 1, got 0"),
        ({"widths": [2.5]}, "widths[0]", "expected a whole number >= 1, got 2.5"),
        ({"pair": [0.9]}, "pair", "expected a list of 2"),
        ({"pair": [1.0, 2]}, "pair[0]", "expected a number in [0, 1), got 1.0"),
        ({"section": 3}, "section", "expected a section, got 3"),
        ({"section": {"size": 1, "every": 3}}, "section.every", "expected a duration such as"),
        ({"section": {"size": 1, "every": "0steps"}}, "section.every", "longer than nothing"),
        ({"section": {"sise": 1}}, "section.sise", "did you mean 'section.size'?"),
        ({"section": {}}, "section.size", "required key is missing"),
        ({"node": {"lr": 1}}, "node", "expected a node with _target_"),
        ({"node": {**SGD, "lrr": 1}}, "node.lrr", "did you mean 'node.lr'?"),
        ({"node": {**SGD, "zzzz": 1}}, "node.zzzz", "unknown key; sgd has lr"),
        ({"node": {"_target_": SGD["_target_"]}}, "node.lr", "required key is missing"),
        ({"node": {"_target_": "os.system"}}, "node._target_", "add --trust os"),
        ({"node": {"_target_": 3}}, "node._target_", "expected a text, got 3"),
        ({"node": {"_target_": "torch..x"}}, "node._target_", "expected a dotted name such as"),
        ({"node": {"_target_": "\x1b"}}, "node._target_", "got '\\x1b'"),
        ({"a\nb": 1}, "'a\\nb'", "unknown key"),
        ({"flag": {"flag": 1}, "fla": {"g": 2}}, "fla", "did you mean 'flag'?"),
        ({"node": {"_target_": "runner.components.optimizer.nope"}}, "node._target_", "no such"),
        ({"node": {"_target_": "runner.components.nope.x"}}, "node._target_", "no such target"),
        ({"many": {"b": {**SGD, "lr": -1}}}, "many.b.lr", "expected a number > 0, got -1"),
        ({"limit": "x"}, "limit", "expected a whole number >= 1 or null, got 'x'"),
        ({"text": 12}, "text", "write \"'12'\""),
        ({"ratte": 1}, "ratte", "did you mean 'rate'?"),
        ({"lr": 1}, "lr", "did you mean 'node.lr'?"),
    ],
)
def test_each_mistake_names_key_expected_and_got(changes, key, expected) -> None:
    if key is None:
        assert config.check({**GOOD, **changes}, Schema).widths == []
        return
    found = [line for line in problems(**changes) if line.startswith(f"{key}:")]
    assert len(found) == 1, problems(**changes)
    assert expected in found[0]


def test_a_group_is_named_where_its_option_is_missing() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Groups:
        one: Annotated[Node, "optimizer"]
        many: dict[str, Annotated[Node, "loss"]]

    with pytest.raises(Misconfigured) as caught:
        config.check({}, Groups)
    assert caught.value.problems == [
        "one: required key is missing; expected an option of optimizer",
        "many: required key is missing; expected options of loss",
    ]


def test_all_mistakes_come_at_once() -> None:
    assert len(problems(rate=-1, flag="x", ratte=2, node={**SGD, "lr": "a"})) == 4


@pytest.mark.parametrize(
    "target",
    ["runner.components.os", "torch.nn.modules.os.system", "torch.optim.os.system",
     "runner.foundation.errors.nearest", "torch.load", "runner.components.dataset.images.Path",
     "runner.components.dataset.images._missing", "builtins.eval",
     "runner.components.dataset.images.gzip.open", "runner.components.hooks.torch.load"],
)  # fmt: skip
def test_only_factories_can_be_targets(target: str) -> None:
    assert problems(node={"_target_": target, "command": "true"})[0].startswith("node._target_")


def test_a_package_of_the_users_own_needs_trust(tmp_path, monkeypatch) -> None:
    (tmp_path / "mine_to_trust.py").write_text("def rule(*, lr: float):\n    return lr\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = {"_target_": "mine_to_trust.rule", "lr": 2}
    assert "--trust mine_to_trust" in problems(node=own)[0]
    filled = config.check({**GOOD, "node": own}, Schema, trust=["mine_to_trust"])
    assert config.build(filled.node) == 2.0


def test_torch_classes_by_name() -> None:
    node = {"_target_": "torch.nn.Hardtanh", "min_val": -2.0}
    filled = config.check({**GOOD, "node": node}, Schema)
    assert config.build(filled.node).min_val == -2.0
    assert "did you mean 'node.min_val'?" in problems(node={**node, "min_va": 1})[0]


def test_durations_become_steps_and_makers_are_called_later() -> None:
    node = {"_target_": "runner.components.schedule.staircase", "every": "2epochs",
            "factor": 0.5, "warmup": "0steps"}  # fmt: skip
    filled = config.check({**GOOD, "node": node}, Schema)
    schedule = config.build(filled.node, 100, clock=Clock(steps_per_epoch=10, total=100))
    assert [schedule.at(step, {}) for step in (0, 19, 20, 40)] == [1, 1, 0.5, 0.25]
    made = config.maker(config.check(GOOD, Schema).node)
    assert made().hyper == {"lr": 0.1}


def test_a_factorys_own_complaint_carries_its_key() -> None:
    node = {"_target_": "runner.components.optimizer.classical.momentum", "lr": 1,
            "momentum": 0, "nesterov": True}  # fmt: skip
    filled = config.check({**GOOD, "node": node}, Schema)
    with pytest.raises(Misconfigured, match=r"^node: nesterov=true needs momentum > 0"):
        config.build(filled.node)
