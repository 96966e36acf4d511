"""The proof of speed: what `scripts/bench` measures, part by part."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the runner of this checkout
