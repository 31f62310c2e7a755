"""What every room stands on: errors for users, the checkout, and files written whole."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["KitError", "NoCheckoutError", "find_checkout", "write_whole"]


class KitError(Exception):
    """An error that a user can mend: its message says what is wrong and what to do."""


class NoCheckoutError(KitError):
    """The folder is not inside a checkout of the kit."""


def find_checkout(start: Path | None = None) -> Path:
    """Find the checkout of the kit that holds a folder.

    A checkout is a folder with ``tutorials`` and the kit's ``pyproject.toml``.

    Parameters
    ----------
    start : Path, optional
        Where to begin looking; the current folder by default. Its parents are
        searched too.

    Returns
    -------
    Path
        The root of the checkout.

    Raises
    ------
    NoCheckoutError
        When neither the folder nor any of its parents is a checkout.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        project = folder / "pyproject.toml"
        if (
            (folder / "tutorials").is_dir()
            and project.is_file()
            and "mlkit-official-statistics" in project.read_text(encoding="utf-8")
        ):
            return folder
    raise NoCheckoutError(
        f"{start} is not inside a checkout of the kit (a folder with tutorials/ and the kit's "
        "pyproject.toml). This command needs one: an installed package holds the library and its "
        "data, not the lessons. Clone the repository and run the command there."
    )


def write_whole(text: str, place: Path) -> None:
    """Write a file beside and move it into place, so that it is never half written.

    Parameters
    ----------
    text : str
        What it shall hold.
    place : Path
        The file; its folder is made if need be. An older file is replaced.

    Raises
    ------
    OSError
        If it cannot be written; an older file is then as it was.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
