"""Import torchvision, also where only a GPU build of it exists beside a CPU build of torch.

Such a torchvision stops at its import with `operator torchvision::nms does not exist`: its
compiled library, which defines the operators, cannot load, and a fake kernel is registered for
them all the same. Declaring the two operators first lets the import pass. Data sets, transforms
and models then work; `torchvision.ops.nms` and the compiled image decoders do not. Declaring them
blindly would break a torchvision that matches, so this happens only after the import failed.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_libraries: list[Any] = []  # declared operators live as long as the object that declared them


def torchvision() -> ModuleType:
    """Return the torchvision module, with `datasets` and `models` imported."""
    try:
        return _import()
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    import torch

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    _libraries.append(library)
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return _import()


def _import() -> ModuleType:
    importlib.import_module("torchvision.datasets")
    return importlib.import_module("torchvision")
