"""Finished rows of a map that is being made, kept so that a killed run can go on."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from mlkit._raster import RasterError
from mlkit.paths import write_whole

HEAD = struct.Struct("<QI")
"""Before each step: its length in bytes and its CRC-32, by which a torn one is known."""


class Part:
    """A folder beside the file to be, with a manifest and the steps finished so far.

    A step is a band of rows. Steps are appended, compressed, to one file, which is cut after the
    last whole one when a run goes on.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out.with_name(f".{out.name}.part")
        self._steps = self.folder / "steps"
        self._lock = FileLock(self.folder / "lock")
        self.done = 0
        self.discarded = False

    def open(self, manifest: dict[str, Any] | None, steps: int) -> None:
        """Take over what a run with the same manifest left, or begin anew; None never goes on."""
        self.folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RasterError(
                f"Another run is writing this map (it holds {self.folder}). Wait for it, or give "
                "another name to write to."
            ) from None
        place = self.folder / "manifest.json"
        text = json.dumps(manifest, indent=1, sort_keys=True)
        left = manifest is not None and place.is_file() and place.read_text("utf-8") == text
        for path in self.folder.iterdir():
            # The lock stays, and of the same run its manifest and steps.
            if path.name != "lock" and not (left and path in (place, self._steps)):
                self.discarded |= path == self._steps
                path.unlink()
        write_whole(text, place)
        self._steps.touch()
        with self._steps.open("rb+") as file:
            whole = 0
            while self.done < steps and _read(file) is not None:
                whole, self.done = file.tell(), self.done + 1
            file.truncate(whole)

    def append(self, values: np.ndarray[Any, Any]) -> None:
        """Keep one more step, for good."""
        body = zlib.compress(values.tobytes(), 1)
        with self._steps.open("ab") as file:
            file.write(HEAD.pack(len(body), zlib.crc32(body)) + body)
        self.done += 1

    def read(self, dtype: str) -> Iterator[np.ndarray[Any, Any]]:
        """Give the steps, flat, in their order."""
        with self._steps.open("rb") as file:
            for step in range(self.done):
                body = _read(file)
                if body is None:
                    raise RasterError(
                        f"Step {step} in {self.folder} is damaged. Delete the folder and run again."
                    )
                yield np.frombuffer(zlib.decompress(body), dtype)

    def close(self) -> None:
        """Let others have it."""
        self._lock.release()

    def remove(self) -> None:
        """Leave nothing."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(file: Any) -> bytes | None:
    """Read the next step, or None if it is not there or not whole."""
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    length, checksum = HEAD.unpack(head)
    body: bytes = file.read(length)
    return body if len(body) == length and zlib.crc32(body) == checksum else None
