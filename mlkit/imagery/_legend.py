"""Legends of class maps: codes, names and colours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from mlkit import style

COLOURS = (
    style.GREEN,
    style.ORANGE,
    style.BLUE,
    style.VERMILION,
    style.SKY,
    style.PINK,
    style.BLACK,
    style.GREY,
)


def read_legend(legend: Mapping[int, str] | Sequence[int], highest: int = 65_535) -> dict[int, str]:
    """Read codes and names of classes, in ascending order of codes.

    Raises
    ------
    ValueError
        If there are none, a code is no whole number from 0 to the highest, or names repeat.
    """
    pairs = dict(legend) if isinstance(legend, Mapping) else {code: str(code) for code in legend}
    if not pairs:
        raise ValueError("The legend is empty: give codes and names, such as {1: 'forest'}.")
    wrong = [code for code in pairs if not _is_code(code, highest)]
    if wrong:
        raise ValueError(
            f"The legend has the codes {wrong[:5]!r}: codes are whole numbers from 0 to "
            f"{highest:,}."
        )
    names = [str(name) for name in pairs.values()]
    if len(set(names)) < len(names):
        raise ValueError(f"Names repeat in the legend: {names}. Give each class a name of its own.")
    return {int(code): str(pairs[code]) for code in sorted(pairs)}


def read_colours(
    colours: Mapping[int, str] | None, codes: Sequence[int]
) -> dict[int, tuple[int, int, int]]:
    """Give each code a colour, by default of the kit's palette, paler in each further round.

    Raises
    ------
    ValueError
        If colours are missing for a code, or are not written as #RRGGBB.
    """
    if colours is None:
        return {code: _pale(*divmod(place, len(COLOURS))) for place, code in enumerate(codes)}
    missing = [code for code in codes if code not in colours]
    if missing:
        raise ValueError(f"The codes {missing} have no colour: give one for each class.")
    wrong = [
        colours[code] for code in codes if not re.fullmatch("#[0-9A-Fa-f]{6}", str(colours[code]))
    ]
    if wrong:
        raise ValueError(f"The colours {wrong} are not written like #0072B2 (red, green, blue).")
    return {code: _rgb(colours[code]) for code in codes}


def _is_code(code: object, highest: int) -> bool:
    if isinstance(code, bool) or not isinstance(code, int | np.integer):
        return False
    return bool(0 <= code <= highest)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _pale(turn: int, place: int) -> tuple[int, int, int]:
    red, green, blue = (int(255 - (255 - part) * 0.6**turn) for part in _rgb(COLOURS[place]))
    return red, green, blue
