"""The default run of the runner as a script in plain torch: train, validate, test, write files.

Digits, a perceptron 64-128-128-10, momentum with a cosine, 20 epochs in batches of 64; validation
after each epoch, the best weights kept, curves for TensorBoard, a summary in JSON.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

EPOCHS, BATCH, LR = 20, 64, 0.03
FOLDER = Path("plain")


def load() -> dict[str, tuple[Tensor, Tensor]]:
    """Return standardized training, validation and test rows: 60, 20 and 20 percent."""
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32)
    y = torch.tensor(digits.target)
    fifth = round(0.2 * len(y))
    valid, test, train = torch.randperm(len(y)).split([fifth, fifth, len(y) - 2 * fifth])
    mean, deviation = x[train].mean(0), x[train].std(0, correction=0)
    x = (x - mean) / torch.where(deviation > 0, deviation, 1)
    parts = {"train": train, "valid": valid, "test": test}
    return {name: (x[part], y[part]) for name, part in parts.items()}


@torch.inference_mode()
def measure(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return loss and accuracy."""
    outputs = model.eval()(x)
    model.train()
    correct = (outputs.argmax(1) == y).float().mean()
    return {"loss": F.cross_entropy(outputs, y).item(), "accuracy": correct.item()}


def main() -> None:
    """Train and write everything."""
    torch.manual_seed(0)
    data = load()
    x, y = data["train"]
    first, second, last = nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 10)
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
    for layer in (first, second, last):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9, fused=True)
    writer = SummaryWriter(FOLDER)
    steps = len(y) // BATCH
    step, best, weights = 0, -math.inf, {}
    for _ in range(EPOCHS):
        order = torch.randperm(len(y))
        for rows in order[: steps * BATCH].split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = LR * (1 + math.cos(math.pi * step / (EPOCHS * steps))) / 2
            outputs, targets = model(x.index_select(0, rows)), y.index_select(0, rows)
            loss = F.cross_entropy(outputs, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % 50 == 0:
                writer.add_scalar("train/loss", loss.item(), step)
        valid = measure(model, *data["valid"])
        for name, value in valid.items():
            writer.add_scalar(f"valid/{name}", value, step)
        if valid["accuracy"] > best:
            best, weights = valid["accuracy"], copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    torch.save(weights, FOLDER / "best.pt")
    results = {name: measure(model, *rows) for name, rows in data.items()}
    (FOLDER / "summary.json").write_text(json.dumps(results, indent=2))
    writer.close()
    print(results)


if __name__ == "__main__":
    main()
