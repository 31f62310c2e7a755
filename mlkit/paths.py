"""Where the checkout is, for the few things that need one."""

from __future__ import annotations

from pathlib import Path

__all__ = ["NoCheckoutError", "find_checkout"]


class NoCheckoutError(Exception):
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
