"""Optimizers against `torch.optim`, or numpy where torch has none, at every option of `conf/`."""

import functools
import io
from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import optim

from runner.components.optimizer.orthogonal import orthogonal
from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "optimizer"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("optimizer", Node)], kw_only=True)
SHAPES = [(5, 4), (5,), (2, 3, 3, 3), (), (3, 7)]
STEPS = 50

# Options that no lanes can hold, and why; they are tested in test_optimizer_objective.py.
SOLO = {
    "backtracking": "how often it computes the objective depends on its values",
    "lbfgs": "its line search goes by values, and torch keeps its state in an object",
    "newton": "it differentiates the objective row by row",
}


@pytest.fixture(autouse=True)
def one_thread():
    """Keep tensors this small from waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"optimizer": content | changes}, SCHEMA).optimizer


def start(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES
    ]


@functools.cache
def noises(step):
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def gradients(parameters, step):
    """Return those of a bumpy, noisy bowl: a mistake of one step is felt in the next."""
    return [
        0.3 * each.detach() + torch.sin(3 * each.detach()) + 0.1 * noise.to(each.dtype)
        for each, noise in zip(parameters, noises(step), strict=True)
    ]


def factor(step):
    return [1.0, 0.5, 0.0, 2.0, 0.125][step % 5]


def plain(kind, **names):
    """Refer to a class of torch's whose arguments are ours; `names` are its slots by ours."""
    return lambda parameters, given: kind(parameters, **given), names


def rprop_of_torch(parameters, given):
    etas = (given["shrink"], given["grow"])
    sizes = (given["smallest"], given["largest"])
    return optim.Rprop(parameters, lr=given["lr"], etas=etas, step_sizes=sizes)


def decaying(parameters, given):
    given, over = dict(given), given["decay_on"]
    given.pop("decay_on")
    chosen = [each for each in parameters if over == "all" or each.dim() >= 2]
    rest = [each for each in parameters if all(each is not one for one in chosen)]
    return optim.AdamW([{"params": chosen}, {"params": rest, "weight_decay": 0.0}], **given)


def without_eps_inside(kind):
    def make(parameters, given):
        given = dict(given)
        assert not given.pop("eps_inside")
        return kind(parameters, **given)

    return make


# A function that makes torch's optimizer, and our slots by the names of its state.
BY_TORCH = {
    "gd": plain(optim.SGD),
    "sgd": plain(optim.SGD),
    "momentum": plain(optim.SGD, velocity="momentum_buffer"),
    "nesterov": plain(optim.SGD, velocity="momentum_buffer"),
    "rprop_torch": (rprop_of_torch, {"size": "step_size"}),
    "adagrad": (without_eps_inside(optim.Adagrad), {"square": "sum"}),
    "adadelta": plain(optim.Adadelta, square="square_avg", steps="acc_delta"),
    "rmsprop": (without_eps_inside(optim.RMSprop), {"square": "square_avg"}),
    "adam": plain(optim.Adam, mean="exp_avg", square="exp_avg_sq"),
    "adamw": (decaying, {"mean": "exp_avg", "square": "exp_avg_sq"}),
    "adamax": plain(optim.Adamax, mean="exp_avg", largest="exp_inf"),
    "nadam": plain(optim.NAdam, mean="exp_avg", square="exp_avg_sq", product="mu_product"),
    "radam": plain(optim.RAdam, mean="exp_avg", square="exp_avg_sq"),
}


# numpy: (w, g, memory of this tensor, given, lr, t, hidden) -> w; hidden as Muon has it.
def momentum_lecture(w, g, memory, given, lr, t, hidden):
    memory["d"] = given["momentum"] * memory.get("d", 0) - lr * g
    return w + memory["d"]


def adagrad_inside(w, g, memory, given, lr, t, hidden):
    memory["s"] = memory.get("s", 0) + g**2
    return w - lr * g / np.sqrt(memory["s"] + given["eps"])


def rmsprop_inside(w, g, memory, given, lr, t, hidden):
    a = given["alpha"]
    memory["s"] = a * memory.get("s", 0) + (1 - a) * g**2
    memory["m"] = a * memory.get("m", 0) + (1 - a) * g
    spread = memory["s"] - memory["m"] ** 2 if given["centered"] else memory["s"]
    quotient = g / np.sqrt(spread + given["eps"])
    memory["v"] = given["momentum"] * memory.get("v", 0) + quotient
    return w - lr * memory["v"]


def adam_lecture(w, g, memory, given, lr, t, hidden):
    first, second = given["betas"]
    memory["m"] = first * memory.get("m", 0) + (1 - first) * g
    memory["s"] = second * memory.get("s", 0) + (1 - second) * g**2
    return w - lr * memory["m"] / np.sqrt(memory["s"] + given["eps"])


def adam(w, g, memory, given, lr, t):
    first, second = given["betas"]
    memory["m"] = first * memory.get("m", 0) + (1 - first) * g
    memory["s"] = second * memory.get("s", 0) + (1 - second) * g**2
    root = np.sqrt(memory["s"] / (1 - second**t)) + given["eps"]
    return w - lr * memory["m"] / (1 - first**t) / root


def lion(w, g, memory, given, lr, t, hidden):
    first, second = given["betas"]
    before = memory.get("m", 0)
    memory["m"] = second * before + (1 - second) * g
    return w - lr * np.sign(first * before + (1 - first) * g)


def muon(w, g, memory, given, lr, t, hidden):
    if not hidden:
        return adam(w, g, memory, given, lr * given["adam_ratio"], t)
    mu = given["momentum"]
    memory["m"] = mu * memory.get("m", np.zeros_like(w)) + (1 - mu) * g
    ahead = mu * memory["m"] + (1 - mu) * g if given["nesterov"] else memory["m"]
    matrix = ahead.reshape(len(ahead), -1)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(given["rounds"]):  # the polynomial, on singular values alone
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    scale = np.sqrt(max(1, matrix.shape[0] / matrix.shape[1]))
    return w - lr * scale * ((left * values) @ right).reshape(w.shape)


def rprop(w, g, memory, given, lr, t, hidden):
    """Follow the lecture's lines entry by entry, clamped as `clamps` says."""
    if not memory:
        memory.update(previous=np.asarray(np.sign(g)), step=np.asarray(lr * np.sign(g)))
        return w - memory["step"]
    moved, previous, step = np.array(w), memory["previous"], memory["step"]
    for at in np.ndindex(w.shape):
        side = 1.0 if given["clamps"] == "signed" else previous[at]
        if np.sign(g[at]) == previous[at]:
            step[at] = side * min(given["grow"] * step[at] * side, given["largest"])
        else:
            moved[at] += step[at]
            step[at] = side * max(given["shrink"] * step[at] * side, given["smallest"])
        moved[at] -= step[at]
    return moved


BY_NUMPY = {
    "momentum_lecture": momentum_lecture,
    "adagrad": adagrad_inside,
    "rmsprop": rmsprop_inside,
    "adam_lecture": adam_lecture,
    "lion": lion,
    "muon": muon,
    "rprop": rprop,
}
CHANGES = [
    ("gd", {}),
    ("sgd", {}),
    ("sgd", {"lr": 0.001}),
    ("momentum", {}),
    ("momentum", {"nesterov": True}),
    ("momentum", {"momentum": 0.5, "lr": 0.1}),
    ("momentum", {"momentum": 0.0}),
    ("nesterov", {}),
    ("momentum_lecture", {}),
    ("momentum_lecture", {"momentum": 0.0}),
    ("rprop", {}),
    ("rprop", {"grow": 1.5, "shrink": 0.3, "largest": 0.05, "smallest": 0.003}),
    ("rprop", {"clamps": "signed", "largest": 0.05, "smallest": 0.001}),
    ("rprop_torch", {}),
    ("rprop_torch", {"lr": 0.1, "grow": 1.5, "shrink": 0.3, "largest": 0.15, "smallest": 0.03}),
    ("adagrad", {}),
    ("adagrad", {"lr": 0.5, "eps": 0.1}),
    ("adagrad", {"eps": 0.1, "eps_inside": True}),
    ("adadelta", {}),
    ("adadelta", {"lr": 0.5, "rho": 0.5, "eps": 1e-3}),
    ("rmsprop", {}),
    ("rmsprop", {"alpha": 0.9, "centered": True, "momentum": 0.5, "eps": 1e-2}),
    ("rmsprop", {"eps": 1e-2, "eps_inside": True}),
    ("rmsprop", {"eps": 1e-2, "eps_inside": True, "centered": True, "momentum": 0.5}),
    ("adam", {}),
    ("adam", {"lr": 0.05, "betas": [0.8, 0.95]}),
    ("adam", {"betas": [0.0, 0.0], "eps": 1e-3}),
    ("adam_lecture", {}),
    ("adam_lecture", {"eps": 1e-2, "betas": [0.5, 0.9]}),
    ("adamw", {}),
    ("adamw", {"lr": 0.05, "weight_decay": 0.3}),
    ("adamw", {"lr": 0.05, "weight_decay": 0.3, "decay_on": "all"}),
    ("adamax", {}),
    ("adamax", {"lr": 0.05, "betas": [0.5, 0.9], "eps": 1e-2}),
    ("nadam", {}),
    ("nadam", {"lr": 0.05, "momentum_decay": 0.1, "eps": 1e-2}),
    ("radam", {}),
    ("radam", {"lr": 0.05, "betas": [0.8, 0.9]}),
    ("radam", {"betas": [0.5, 0.5]}),  # never past the fifth
    ("lion", {}),
    ("lion", {"lr": 0.01, "betas": [0.5, 0.9]}),
    ("muon", {}),
    ("muon", {"nesterov": False, "rounds": 2, "momentum": 0.5, "adam_ratio": 1.0}),
]


@pytest.fixture
def float64():
    """Let torch keep its own numbers, such as NAdam's product, in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def by_torch(option, given):
    make, names = BY_TORCH[option]
    parameters = [each.requires_grad_() for each in start()]
    reference = make(parameters, given)
    for step in range(STEPS):
        for parameter, gradient in zip(parameters, gradients(parameters, step), strict=True):
            parameter.grad = gradient
        for group in reference.param_groups:
            group["lr"] = given["lr"] * factor(step)
        reference.step()
    names = names if given.get("momentum") != 0 or "velocity" not in names else {}
    slots = {
        ours: [reference.state[each][theirs] for each in parameters]
        for ours, theirs in names.items()
    }  # without momentum torch keeps no buffer
    return [each.detach() for each in parameters], slots


def by_numpy(option, given):
    parameters, memories = [each.numpy() for each in start()], [{} for _ in SHAPES]
    last = max(at for at, shape in enumerate(SHAPES) if len(shape) >= 2)
    for step in range(STEPS):
        slopes = gradients([torch.as_tensor(each) for each in parameters], step)
        lr = given["lr"] * factor(step)
        parameters = [
            BY_NUMPY[option](w, g.numpy(), memory, given, lr, step + 1, w.ndim >= 2 and at != last)
            for at, (w, g, memory) in enumerate(zip(parameters, slopes, memories, strict=True))
        ]
    return [torch.as_tensor(each) for each in parameters], {}


def referred(option, given):
    if option not in BY_TORCH or given.get("eps_inside"):
        return by_numpy(option, given)
    return by_torch(option, given)


def numbers(optimizer, step):
    return {**optimizer.hyper, "lr": optimizer.hyper["lr"] * factor(step)}


def by_update(optimizer):
    parameters, slots = start(), optimizer.init(start())
    for step in range(STEPS):
        slopes, hyper = gradients(parameters, step), numbers(optimizer, step)
        parameters, slots = optimizer.update(parameters, slopes, slots, hyper, step + 1)
    return parameters, slots


def in_place(optimizer):
    parameters = [each.requires_grad_() for each in start()]
    slots = optimizer.init(parameters)
    for step in range(STEPS):
        slopes, hyper = gradients(parameters, step), numbers(optimizer, step)
        optimizer.in_place(parameters, slopes, slots, hyper, step + 1)
    return [each.detach() for each in parameters], slots


def assert_same(result, reference):
    for ours, theirs in zip(result[0], reference[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    for name, tensors in reference[1].items():
        for ours, theirs in zip(result[1][name], tensors, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def copied(slots):
    return {name: [each.clone() for each in tensors] for name, tensors in slots.items()}


def same(slots, others):
    return slots.keys() == others.keys() and all(
        torch.equal(each, other)
        for name in slots
        for each, other in zip(slots[name], others[name], strict=True)
    )


LANES = [option for option in OPTIONS if option not in SOLO]


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(BY_TORCH) | set(BY_NUMPY) | set(SOLO) == set(OPTIONS)
    assert {option for option, changes in CHANGES if not changes} == set(LANES)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("option", "changes"), CHANGES)
def test_update_and_in_place_are_the_reference_over_many_steps(option, changes):
    checked = node(option, **changes)
    reference = referred(option, checked.arguments)
    moved = zip(start(), reference[0], strict=True)
    assert all((before - after).abs().max() > 1e-3 for before, after in moved)
    assert_same(by_update(build(checked)), reference)
    if build(checked).in_place is not None:
        assert_same(in_place(build(checked)), reference)
        assert_same(in_place(build(checked)), by_update(build(checked)))


def test_the_fast_ones_update_in_place():
    fast = {"sgd", "momentum", "nesterov", "adam", "adamw"}
    assert all(build(node(option)).in_place for option in fast)


@pytest.mark.parametrize("option", LANES)
def test_update_changes_nothing_it_is_given(option):
    optimizer = build(node(option))
    parameters, slopes = start(), gradients(start(), 0)
    slots, hyper = optimizer.init(parameters), dict(optimizer.hyper)
    given, kept = copied({"w": parameters, "g": slopes}), copied(slots)
    updated, remembered = optimizer.update(parameters, slopes, slots, hyper, 1)
    assert same({"w": parameters, "g": slopes}, given)
    assert same(slots, kept)
    assert hyper == optimizer.hyper
    assert not any(torch.equal(w, old) for w, old in zip(updated, parameters, strict=True))
    assert {name: [each.shape for each in tensors] for name, tensors in remembered.items()} == {
        name: [each.shape for each in tensors] for name, tensors in slots.items()
    }


@pytest.mark.parametrize("option", LANES)
def test_in_place_keeps_the_storage_of_what_it_updates(option):
    optimizer = build(node(option))
    if optimizer.in_place is None:
        return
    parameters, slots = start(), optimizer.init(start())
    tensors = [*parameters, *[each for lists in slots.values() for each in lists]]
    places = [each.data_ptr() for each in tensors]
    before = [each.clone() for each in tensors]
    optimizer.in_place(parameters, gradients(parameters, 0), slots, optimizer.hyper, 1)
    assert [each.data_ptr() for each in tensors] == places
    assert not any(torch.equal(each, old) for each, old in zip(tensors, before, strict=True))


@pytest.mark.parametrize(
    ("option", "changes"), [(option, changes) for option, changes in CHANGES if option in LANES]
)
def test_lanes_with_numbers_of_their_own_are_their_solo_selves(option, changes):
    optimizer = build(node(option, **changes))
    assert "lr" in optimizer.hyper
    scales = torch.tensor([0.7, 1.0, 1.3], dtype=torch.float64)
    hyper = {name: value * (0.75 + scales / 4) for name, value in optimizer.hyper.items()}
    for name in set(hyper) & {"momentum", "beta1", "beta2", "alpha", "rho"}:
        hyper[name] = hyper[name].clamp(max=0.9995)
    lanes = [{name: float(each[lane]) for name, each in hyper.items()} for lane in range(3)]
    solo = [(start(), optimizer.init(start())) for _ in lanes]
    stacked = [each.expand(3, *each.shape) for each in start()]
    slots = {name: [each.expand(3, *each.shape) for each in tensors]
             for name, tensors in optimizer.init(start()).items()}  # fmt: skip
    for step in range(6):

        def advance(parameters, slots, hyper, step=step):
            slopes = gradients(parameters, step)
            return optimizer.update(parameters, slopes, slots, hyper, step + 1)

        stacked, slots = torch.func.vmap(advance)(stacked, slots, hyper)
        solo = [advance(*pair, numbers) for pair, numbers in zip(solo, lanes, strict=True)]
    for lane, (parameters, kept) in enumerate(solo):
        for together, alone in zip(stacked, parameters, strict=True):
            torch.testing.assert_close(together[lane], alone, rtol=1e-10, atol=1e-12)
        for name, tensors in kept.items():
            for together, alone in zip(slots[name], tensors, strict=True):
                torch.testing.assert_close(together[lane], alone, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(stacked[0][0], stacked[0][2])


@pytest.mark.parametrize("option", LANES)
def test_the_count_of_updates_may_be_a_tensor(option):
    optimizer = build(node(option))
    given = (start(), gradients(start(), 0), optimizer.init(start()), optimizer.hyper)
    count = torch.tensor(3.0, dtype=torch.float64)
    by_number, by_tensor = optimizer.update(*given, 3), optimizer.update(*given, count)
    for ours, theirs in zip(by_tensor[0], by_number[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lanes", [False, True])
@pytest.mark.parametrize("option", LANES)
def test_float32_stays_float32(option, lanes):
    optimizer = build(node(option))
    parameters = start(torch.float32)
    slopes, slots = gradients(parameters, 0), optimizer.init(parameters)
    hyper = optimizer.hyper
    if lanes:
        hyper = {name: torch.full((3,), value) for name, value in hyper.items()}
        update = torch.func.vmap(optimizer.update, (None, None, None, 0, None))
        updated, remembered = update(parameters, slopes, slots, hyper, 1)
    else:
        updated, remembered = optimizer.update(parameters, slopes, slots, hyper, 1)
    tensors = [*updated, *[each for lists in remembered.values() for each in lists]]
    assert {each.dtype for each in tensors} == {torch.float32}


@pytest.mark.parametrize("option", LANES)
def test_slots_survive_a_file_that_holds_no_code(option):
    optimizer = build(node(option))
    _, slots = optimizer.update(
        start(), gradients(start(), 0), optimizer.init(start()), optimizer.hyper, 1
    )
    file = io.BytesIO()
    torch.save(slots, file)
    file.seek(0)
    assert same(torch.load(file, weights_only=True), slots)


def test_what_is_meant_for_full_batches_says_so():
    says = {option for option in OPTIONS if build(node(option)).full_batch}
    assert says == {"gd", "rprop", "rprop_torch", "lbfgs", "newton", "backtracking"}


def test_nesterov_without_momentum_is_refused():
    for option in ("momentum", "nesterov"):
        with pytest.raises(Misconfigured, match="optimizer: nesterov=true needs momentum > 0"):
            build(node(option, nesterov=True, momentum=0.0))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("lr", [0, -0.1, float("nan"), float("inf"), "fast"])
def test_a_learning_rate_that_cannot_be_is_refused(option, lr):
    with pytest.raises(Misconfigured, match=r"optimizer\.lr: expected a number > 0, got"):
        node(option, lr=lr)


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("momentum", {"momentum": 1.5}, r"momentum: expected a number in \[0, 1\), got 1.5"),
        ("momentum_lecture", {"momentum": 1.0}, r"momentum: expected a number in \[0, 1\)"),
        ("adam", {"betas": [0.9]}, r"betas: expected a list of 2, each a number in \[0, 1\)"),
        ("adamw", {"betas": [0.9, 1.0]}, r"betas\[1\]: expected a number in \[0, 1\), got 1.0"),
        ("lion", {"betas": [-0.1, 0.9]}, r"betas\[0\]: expected a number in \[0, 1\)"),
        ("adamw", {"weight_decay": -1}, "weight_decay: expected a number >= 0, got -1"),
        ("adamw", {"decay_on": "weight"}, "decay_on: expected one of weights, all"),
        ("nadam", {"momentum_decay": -1}, "momentum_decay: expected a number >= 0"),
        ("rmsprop", {"alpha": 1.5}, r"alpha: expected a number in \[0, 1\), got 1.5"),
        ("adadelta", {"rho": 1.0}, r"rho: expected a number in \[0, 1\), got 1.0"),
        *[(option, {"eps": 0}, "eps: expected a number > 0, got 0")
          for option in ("adam", "adamax", "adagrad", "adadelta", "rmsprop", "radam", "muon")],
        *[(option, {"shrink": 1.2, "grow": 0.5}, pattern)
          for option in ("rprop", "rprop_torch")
          for pattern in (r"shrink: expected a number in \(0, 1\), got 1.2",
                          r"grow: expected a number > 1, got 0.5")],
        ("muon", {"rounds": 0}, "rounds: expected a whole number >= 1, got 0"),
        ("lbfgs", {"history": 0}, "history: expected a whole number >= 1, got 0"),
        ("newton", {"damping": -1}, "damping: expected a number >= 0, got -1"),
        ("backtracking", {"decrease": 1.0}, r"decrease: expected a number in \(0, 1\), got 1.0"),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(option, changes, message):
    with pytest.raises(Misconfigured, match=f"optimizer\\.{message}"):
        node(option, **changes)


@pytest.mark.parametrize("option", ["rprop", "rprop_torch"])
def test_rprop_refuses_a_smallest_step_above_the_largest(option):
    with pytest.raises(Misconfigured, match="optimizer: needs smallest <= largest, got smallest=2"):
        build(node(option, smallest=2.0, largest=1.0))


def followed(optimizer, w, slope, steps, lr=None):
    """Return the weights of a run on one tensor, the start among them; lr(k) in step k."""
    path, parameters, slots = [w], [w], optimizer.init([w])
    for step in range(steps):
        hyper = {**optimizer.hyper, **({"lr": lr(step)} if lr else {})}
        gradient = [slope(parameters[0], step)]
        parameters, slots = optimizer.update(parameters, gradient, slots, hyper, step + 1)
        path.append(parameters[0])
    return torch.stack(path)


def valley(w, step):
    return torch.tensor([2.0, 8.0], dtype=torch.float64) * w  # of x^2 + 4 y^2


def point(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_both_forms_of_momentum_are_one_until_the_learning_rate_is_cut():
    forms = [build(node(option, lr=0.05)) for option in ("momentum", "momentum_lecture")]
    torch_form, lecture = (followed(form, point(5, 2), valley, 20) for form in forms)
    torch.testing.assert_close(torch_form, lecture, rtol=1e-12, atol=1e-12)
    cut, sums = (
        followed(form, point(5, 2), valley, 20, lambda k: 0.05 if k < 10 else 0.005)
        for form in forms
    )
    torch.testing.assert_close(cut[11] - cut[10], (torch_form[11] - torch_form[10]) / 10)
    went_on = 0.9 * (sums[10] - sums[9]) - 0.005 * valley(sums[10], 10)
    torch.testing.assert_close(sums[11] - sums[10], went_on)


def test_nesterov_holds_the_look_ahead_points():
    lr, beta = 0.03, 0.9
    ours = followed(build(node("nesterov", lr=lr, momentum=beta)), point(5, 2), valley, 30)
    before = now = point(5, 2)
    for k in range(30):
        ahead = now + beta * (now - before)
        torch.testing.assert_close(ours[k], ahead, rtol=1e-12, atol=1e-12)
        before, now = now, ahead - lr * valley(ahead, k)


@pytest.mark.parametrize("corner", [(5, 2), (-5, 2), (5, -2), (-5, -2)])
def test_rprop_with_clamped_magnitudes_works_from_all_sides(corner):
    path = followed(build(node("rprop", lr=0.1, smallest=1e-12)), point(*corner), valley, 200)
    assert path[-1].abs().max() < 1e-6


def test_rprop_as_printed_fails_where_steps_are_below_zero():
    printed = build(node("rprop", lr=0.1, clamps="signed"))
    assert followed(printed, point(5, 2), valley, 200)[-1].abs().max() < 1e-4
    assert followed(printed, point(-5, -2), valley, 200)[-1].abs().max() > 100


def test_rprop_of_the_lecture_never_turns_round_and_that_of_torch_does():
    def moving(w, step):
        return w - (3.0 if step < 100 else -3.0)

    lecture, torch_form = (
        followed(build(node(option, lr=0.1)), point(0.0), moving, 300)[-1]
        for option in ("rprop", "rprop_torch")
    )
    torch.testing.assert_close(lecture, point(3.0), rtol=0, atol=1e-3)
    torch.testing.assert_close(torch_form, point(-3.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("option", ["rprop", "rprop_torch"])
def test_rprop_takes_as_many_steps_at_any_condition(option):
    def steps(condition):
        def slope(w, step):
            return torch.stack([w[0], condition * w[1]])

        path = followed(build(node(option, lr=0.1)), point(5, 2), slope, 100)
        return int((path.abs().amax(1) > 1e-3).nonzero()[-1])

    assert steps(1.0) == steps(1e6)


def test_a_weight_whose_first_derivative_is_zero_may_start_later():
    path = followed(
        build(node("rprop", lr=0.1)), point(1.0), lambda w, k: w if k > 3 else 0 * w, 40
    )
    assert torch.equal(path[4], path[0])
    assert path[-1].abs() < 0.01


def test_adam_without_correction_starts_with_longer_steps():
    def constant(w, step):
        return torch.ones_like(w)

    paths = [
        followed(build(node(option, eps=1e-12)), point(0.0), constant, 1000)
        for option in ("adam_lecture", "adam")
    ]
    ratios = torch.diff(paths[0][:, 0]) / torch.diff(paths[1][:, 0])
    k = torch.arange(1, 1001, dtype=torch.float64)
    torch.testing.assert_close(ratios, (1 - 0.9**k) / (1 - 0.999**k).sqrt(), rtol=1e-6, atol=0)
    assert ratios.argmax() == 11


def test_orthogonal_brings_singular_values_near_one():
    generator = torch.Generator().manual_seed(0)
    for shape in [(8, 8), (20, 6), (6, 20)]:
        matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
        values = torch.linalg.svdvals(orthogonal(matrix, 5))
        assert 0.6 < values.min() <= values.max() < 1.3
    assert not orthogonal(torch.zeros(3, 4), 5).any()


def test_muon_is_adam_where_no_matrix_is_hidden():
    ours, adam = build(node("muon", lr=0.1, adam_ratio=0.01)), build(node("adam", lr=0.001))
    single = [start()[0], start()[1]]  # a layer's weight and bias
    given = single, gradients(start(), 0)[:2]
    updates = [each.update(*given, each.init(single), each.hyper, 1)[0] for each in (ours, adam)]
    for together, reference in zip(*updates, strict=True):
        torch.testing.assert_close(together, reference, rtol=1e-12, atol=1e-14)
