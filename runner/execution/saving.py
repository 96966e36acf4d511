"""Save checkpoints beside training, which waits for the copy of its state alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from runner.foundation.errors import Interrupted, Unwritable
from runner.foundation.files import unwritable
from runner.training import checkpoints


class Saving:
    """Writes checkpoints into a folder, one after the other, in a thread of its own.

    A save that fails loses nothing: those before it stay, and the next one tries again. `warn`
    is told of it; whoever has to know waits. Where the folder itself is gone, no save can help.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]):
        self.folder, self.warn = folder, warn
        self.step, self.time = -1, time.monotonic()  # of the newest
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Saving:
        return self

    def __exit__(self, *raised: object) -> None:
        """Let what was begun come to its end."""
        self._thread.shutdown()

    def save(
        self,
        content: dict[str, Any],
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to write a checkpoint, once the one before it is done.

        Nobody changes `content` any more: its tensors are copies. `before` and `after` the write
        the thread calls what belongs to it. Raises `Unwritable` once the folder is gone.
        """
        self.succeeds()

        def write() -> None:
            try:
                before()
                checkpoints.save(self.folder, content["step"], content)
                after()
            except OSError as error:
                raise unwritable(self.folder, error) from error

        self.step = content["step"]
        self._pending = self._thread.submit(write)
        self.time = time.monotonic()

    def wait(self) -> None:
        """Wait until what was begun is written; raises `Unwritable` if it could not be."""
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                pending.result()
            except Unwritable:
                self.step = -1
                raise

    def succeeds(self) -> bool:
        """Wait; return whether what was begun is written, and warn if not.

        Raises `Unwritable` once the folder is gone.
        """
        try:
            self.wait()
        except Unwritable as error:
            if not self.folder.is_dir():
                raise
            self.warn(f"{error}; training goes on, and tries again with the next checkpoint")
            return False
        return True

    def leave(self, number: int, step: int, save: Callable[[], None]) -> NoReturn:
        """Save a step and raise `Interrupted`, which says what is kept where that could not be."""
        try:
            save()
            self.wait()
        except Unwritable as error:
            kept = checkpoints.newest(self.folder)
            rest = "nothing is kept" if kept is None else f"step {kept} is kept"
            raise Interrupted(number, f"step {step} could not be saved: {error}; {rest}") from error
        raise Interrupted(number, f"saved step {step}")

    def unsaved(self) -> list[str]:
        """Wait; return why what was begun could not be written, if so."""
        try:
            self.wait()
        except Unwritable as error:
            return [str(error)]
        return []
