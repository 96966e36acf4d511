"""What a finished run is most wrong about: rows for the report, pictures for TensorBoard.

mistakes.json holds what split was looked at, how many rows it has and how many were answered
wrongly, the names of the classes or columns, and the worst rows: of classes those with the largest
loss among the wrong ones, of numbers those furthest off. A row's number is that of the whole data
set. Of few classes it holds the confusion matrix too, true classes in rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from runner.assemble.measures import judging
from runner.assemble.run import Run
from runner.config import build
from runner.foundation.errors import Unwritable
from runner.foundation.files import write_json
from runner.recording import directory
from runner.recording.recorder import Recorder
from runner.training.state import Outcome
from runner.training.step import wide

MOST = 16  # rows
CLASSES = 50  # up to which there is a confusion matrix


def looked_at(run: Run) -> str | None:
    """Return the split whose rows are looked at: the test's, else those for validation."""
    return next((each for each in ("test", "valid") if len(run.data.splits[each])), None)


def keep(
    run: Run, split: str, outcomes: Sequence[Outcome], recorder: Recorder, step: int
) -> list[str]:
    """Write mistakes.json and give TensorBoard its pictures of a split that was predicted.

    A job of a sweep leaves none. Returns why it could not be written, if so.
    """
    if recorder.swept is not None:
        return []
    try:
        content = found(run, split, outcomes)
        if run.data.task == "classification":
            recorder.mistaken(content, step)
        write_json(recorder.folder / directory.MISTAKES, content)
    except Unwritable as error:
        return [str(error)]
    except Exception as error:  # a loss of the user's own may give anything
        recorder.terminal.warn(f"no {directory.MISTAKES}: {error!r}")
    return []


def found(run: Run, split: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the content of mistakes.json for what was predicted of a split."""
    judged = judging(run.data, build(run.settings.output), run.prepared.fitted)
    classes = run.data.task == "classification"
    with torch.inference_mode():
        blocks = []
        for _, raw, targets in outcomes:
            outputs = wide(raw)
            said, truth = judged(outputs, targets)
            blocks.append(
                (run.loss(outputs, targets), *(_classes if classes else _far)(said, truth))
            )
        columns = [torch.cat(column).cpu() for column in zip(*blocks, strict=True)]
    content = {"split": split, "task": run.data.task, "labels": list(run.data.labels),
               "count": len(columns[0])}  # fmt: skip
    return content | (_wrong if classes else _furthest)(run, split, columns)


def _classes(scores: Tensor, truth: Tensor) -> tuple[Tensor, ...]:
    """Return the true class, the answer and its probability of each row, (B,)."""
    shares, answers = scores.double().softmax(1).max(1)
    return truth, answers, shares


def _far(said: Tensor, truth: Tensor) -> tuple[Tensor, ...]:
    """Return targets and answers (B, C), and the distance between them (B,)."""
    return truth, said, (said.double() - truth.double()).norm(dim=1)


def _wrong(run: Run, split: str, columns: Sequence[Tensor]) -> dict[str, Any]:
    loss, truth, answers, shares = columns
    wrong = (truth != answers).nonzero().squeeze(1)
    worst = wrong[loss[wrong].topk(min(MOST, len(wrong))).indices]
    rows = [
        {"row": row, "target": int(truth[at]), "answer": int(answers[at]),
         "probability": float(shares[at]), "loss": float(loss[at]), **_picture(run, row)}
        for at, row in zip(worst.tolist(), run.data.splits[split][worst].tolist(), strict=True)
    ]  # fmt: skip
    matrix = {}
    if (classes := run.data.outputs) <= CLASSES:
        cells = torch.bincount(truth * classes + answers, minlength=classes**2)
        matrix["confusion"] = cells.reshape(classes, classes).tolist()
    return {"wrong": len(wrong), **matrix, "rows": rows}


def _furthest(run: Run, split: str, columns: Sequence[Tensor]) -> dict[str, Any]:
    loss, _, answers, errors = columns
    worst = errors.topk(min(MOST, len(errors))).indices
    return {"rows": [
        {"row": row, "target": run.data.y[row].tolist(), "answer": answers[at].tolist(),
         "error": float(errors[at]), "loss": float(loss[at])}
        for at, row in zip(worst.tolist(), run.data.splits[split][worst].tolist(), strict=True)
    ]}  # fmt: skip


def _picture(run: Run, row: int) -> dict[str, str]:
    """Return a sample as it is in the data set, where it is an image."""
    if len(run.data.inputs) != 3 or run.data.inputs[0] not in (1, 3):
        return {}
    from runner.recording import pictures

    return {"image": pictures.inline(pictures.sample(run.data.x[row]))}
