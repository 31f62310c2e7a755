"""Compare what a cell shows with what it showed when the notebook was built.

Two outputs are the same when their text is the same and each number is within one unit of
its last printed digit. What follows from this rule, and what counts as a number:

- White space is folded: tables are aligned and arrays are wrapped anew when a width changes.
- ``0.902`` and ``0.903`` are the same, ``0.902`` and ``0.897`` are not; ``17099`` and ``17100``
  are the same, ``17099`` and ``17101`` are not.
- Both are written with the same number of decimals. Only dropped zeros excuse fewer: ``0.9``
  may become ``0.899``, which is ``0.900`` less one unit, but neither ``0.902`` nor ``0.90``.
- A whole number stays whole: ``17`` and ``17.0`` differ (often a missing value crept in).
- A floating-point number holds 15 decimal digits, so digits beyond the 15th do not count as
  printed: ``0.30000000000000004`` is ``0.3``.
- Digits that hang on a word, or on each other by ``- / . : + ^``, are names and not numbers:
  ``v2``, ``sub_3``, ``UTF-8``, ``#123456``, ``0x1f``, ``1.9.1``, ``2019-01-05``, ``25-34``,
  ``12:30``. So are digits that begin with a superfluous zero (``0111``). Names are text.
- ``nan`` and ``inf`` are text.
- In HTML, tags with their attributes are text. In JSON, keys and the kinds of values are
  compared exactly, numbers and strings as above.

What the rule cannot see: a year, or a code without a leading zero, looks like a count, so it
may be off by one. Show a code with its title.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "PICTURE_TOLERANCE",
    "compare_outputs",
    "html_difference",
    "json_difference",
    "picture_difference",
    "relative_tolerance",
    "text_difference",
]

PICTURE_TOLERANCE = 0.002
"""Largest root mean square difference of two equal pictures; colours run from 0 to 1.

Measured with matplotlib 3.11 on figures of 640 x 480 to 1200 x 800 pixels. The same figure
drawn again: 0. All points of a scatter or line plot shifted by a ten-thousandth, where only
the smoothing of edges changes: .0003 to .0006. One bar of 90 higher by one per cent: .0031
to .0039; one bar of three: .018. One digit of one label: .0033 to .0053.
"""

_RELIABLE_DIGITS = 15

_NUMBER = re.compile(
    r"""
    (?<![\w#]) (?<!\w[-+−/.^]) (?<![0-9]:)            # hangs on nothing before it
    [-+−]?
    (?: [1-9][0-9]{0,2} (?:[,\u00a0\u202f][0-9]{3})+  # 28,521
      | 0 | [1-9][0-9]*                               # 0111 is a code
      | (?=\.[0-9])                                   # .52
    )
    (?: \.[0-9]* )?
    (?: [eE][-+]?[0-9]{1,3} )?
    (?! \w | [-+−/.^]\w | :[0-9] )                    # and on nothing behind it
    """,
    re.VERBOSE,
)

_TAG = re.compile(r"<!--.*?-->|<[^<>]*>", re.DOTALL)


class _Number(str):
    """A number as it is printed."""

    __slots__ = ()

    @property
    def value(self) -> Decimal:
        return Decimal(re.sub(r"[,\u00a0\u202f]", "", self).replace("−", "-"))

    @property
    def whole(self) -> bool:
        return not re.search(r"[.eE]", self)


def compare_outputs(
    stored: Iterable[Mapping[str, Any]],
    fresh: Iterable[Mapping[str, Any]],
    *,
    tolerance: Mapping[str, Any] | None = None,
) -> list[str]:
    """Compare the outputs of one cell with those stored in its notebook.

    Parameters
    ----------
    stored, fresh : iterable of NotebookNode
        The outputs of a cell as nbformat gives them. The pieces of a stream are merged;
        execution counts and the metadata of outputs are ignored.
    tolerance : mapping, optional
        The cell's key ``tolerance``: ``{"relative": 0.02, "reason": "..."}``. With it,
        the number of decimals may change as well.

    Returns
    -------
    list of str
        The first difference of each output; empty when all is the same.

    Raises
    ------
    ValueError
        If the tolerance has no reason or is no share.

    Examples
    --------
    >>> was = [{"output_type": "stream", "name": "stdout", "text": "accuracy 0.902"}]
    >>> now = [{"output_type": "stream", "name": "stdout", "text": "accuracy 0.897"}]
    >>> compare_outputs(was, now)
    ["stdout: stored '0.902', now '0.897' after 'accuracy': 0.005 apart, allowed is 0.001"]
    >>> compare_outputs(was, now, tolerance={"relative": 0.01, "reason": "depends on the machine"})
    []
    """
    relative = relative_tolerance(tolerance)
    differences = []
    nothing: dict[str, Any] = {}
    for old, new in zip_longest(_bundles(stored), _bundles(fresh), fillvalue=nothing):
        if old.keys() != new.keys():
            differences.append(f"stored {_describe(old)}, now {_describe(new)}")
            continue
        for kind, content in old.items():
            what = _difference(kind, content, new[kind], relative)
            if what:
                differences.append(f"{kind}: {what}")
                break  # the other formats of this output say the same thing
    return differences


def relative_tolerance(tolerance: object) -> float | None:
    """Read the key ``tolerance`` of a cell.

    Parameters
    ----------
    tolerance : object
        What the metadata of the cell holds; None when it has no such key.

    Returns
    -------
    float or None
        The share by which a number may differ.

    Raises
    ------
    ValueError
        If a key is missing or unknown, the share is not between 0 and 1, or there is no reason.

    Examples
    --------
    >>> relative_tolerance({"relative": 0.02, "reason": "the clock"})
    0.02
    >>> relative_tolerance({"relative": 0.02})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: the tolerance {'relative': 0.02} needs two keys: relative, ...
    """
    if tolerance is None:
        return None
    if isinstance(tolerance, Mapping) and set(tolerance) == {"relative", "reason"}:
        relative, reason = tolerance["relative"], tolerance["reason"]
        share = isinstance(relative, (int, float)) and 0 < relative < 1
        if share and isinstance(reason, str) and reason.strip():
            return float(relative)
    raise ValueError(
        f"the tolerance {tolerance!r} needs two keys: relative, a share between 0 and 1, "
        "and reason, in words."
    )


def text_difference(stored: str, fresh: str, *, relative: float | None = None) -> str | None:
    """Find the first difference between two texts; numbers may be one last digit apart.

    Parameters
    ----------
    stored, fresh : str
        The texts.
    relative : float, optional
        The share of the stored number by which the fresh one may differ, if that is more.

    Returns
    -------
    str or None
        The first difference, or None when the texts count as the same.

    Examples
    --------
    >>> text_difference("coded 52 % of 28,521", "coded 53 %  of 28,520")
    >>> text_difference("level-3 codes", "level-4 codes")
    "stored 'level-3', now 'level-4'"
    """
    return _first_difference(_tokens(stored), _tokens(fresh), relative)


def html_difference(stored: str, fresh: str, *, relative: float | None = None) -> str | None:
    r"""Find the first difference between two pieces of HTML; tags must be equal.

    Parameters
    ----------
    stored, fresh : str
        The HTML.
    relative : float, optional
        As for `text_difference`.

    Returns
    -------
    str or None
        The first difference, or None.

    Examples
    --------
    >>> html_difference('<td width="5">0.52</td>', '<td width="5">0.53</td>')
    >>> html_difference('<td width="5">0.52</td>', '<td width="6">0.52</td>')
    'stored \'<td width="5">\', now \'<td width="6">\''
    """
    return _first_difference(_html_tokens(stored), _html_tokens(fresh), relative)


def json_difference(stored: object, fresh: object, *, relative: float | None = None) -> str | None:
    """Find the first difference between two JSON values.

    Parameters
    ----------
    stored, fresh : object
        As `json.loads` gives them. The last printed digit of a number is that of its `repr`.
    relative : float, optional
        As for `text_difference`.

    Returns
    -------
    str or None
        The first difference and its place, or None.

    Examples
    --------
    >>> json_difference({"value": 0.902}, {"value": 0.897})
    "value: stored '0.902', now '0.897': 0.005 apart, allowed is 0.001"
    """
    return next(_json_differences(stored, fresh, relative, ()), None)


def picture_difference(stored: str, fresh: str) -> str | None:
    """Compare two pictures.

    Parameters
    ----------
    stored, fresh : str
        PNG files in base64, as in notebooks.

    Returns
    -------
    str or None
        What differs, or None when the pictures have the same size and differ by no more
        than `PICTURE_TOLERANCE`.
    """
    if stored.strip() == fresh.strip():
        return None
    try:
        old, new = _pixels(stored), _pixels(fresh)
    except (OSError, SyntaxError, ValueError) as error:
        return f"one of the two pictures is no PNG file: {error}"
    if old.shape != new.shape:
        return f"stored {_size(old)}, now {_size(new)}"
    distance = float(np.sqrt(np.mean((old - new) ** 2)))
    if distance <= PICTURE_TOLERANCE:
        return None
    return (
        f"the pictures differ by {distance:.4f} (root mean square), allowed is {PICTURE_TOLERANCE}"
    )


# ------------------------------------------------------------------------------------------
# Outputs
# ------------------------------------------------------------------------------------------


def _bundles(outputs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give each output as contents by format, with the pieces of a stream merged."""
    bundles: list[dict[str, Any]] = []
    streams: dict[str, dict[str, Any]] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            name = output["name"]
            if name not in streams:
                streams[name] = {name: ""}
                bundles.append(streams[name])
            streams[name][name] += output["text"]
        elif output["output_type"] == "error":
            bundles.append({"error": f"{output['ename']}: {output['evalue']}"})
        else:
            bundles.append(dict(output["data"]))
    return bundles


def _describe(bundle: Mapping[str, Any]) -> str:
    if not bundle:
        return "nothing"
    text = next(
        (str(bundle[k]) for k in ("stderr", "stdout", "error", "text/plain") if k in bundle), ""
    )
    return f"{' and '.join(bundle)} {_short(text)!r}" if text else " and ".join(bundle)


def _difference(kind: str, stored: Any, fresh: Any, relative: float | None) -> str | None:
    if kind == "image/png":
        return picture_difference(stored, fresh)
    if kind == "application/json" or kind.endswith("+json"):
        return json_difference(_parsed(stored), _parsed(fresh), relative=relative)
    if not (isinstance(stored, str) and isinstance(fresh, str)):
        return None if stored == fresh else f"stored {_short(stored)!r}, now {_short(fresh)!r}"
    if kind == "text/html":
        return html_difference(stored, fresh, relative=relative)
    return text_difference(stored, fresh, relative=relative)


def _parsed(content: Any) -> Any:
    try:
        return json.loads(content) if isinstance(content, str) else content
    except ValueError:
        return content


def _short(content: object) -> str:
    text = str(content)
    return text if len(text) <= 300 else f"{text[:300]}..."


# ------------------------------------------------------------------------------------------
# Text and numbers
# ------------------------------------------------------------------------------------------


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    end = 0
    for number in _NUMBER.finditer(text):
        tokens += text[end : number.start()].split()
        tokens.append(_Number(number[0]))
        end = number.end()
    return tokens + text[end:].split()


def _html_tokens(html: str) -> list[str]:
    tokens: list[str] = []
    end = 0
    for tag in _TAG.finditer(html):
        tokens += [*_tokens(html[end : tag.start()]), " ".join(tag[0].split())]
        end = tag.end()
    return tokens + _tokens(html[end:])


def _first_difference(
    stored: Sequence[str], fresh: Sequence[str], relative: float | None
) -> str | None:
    for i, (old, new) in enumerate(zip_longest(stored, fresh)):
        why = None
        if isinstance(old, _Number) and isinstance(new, _Number):
            why = _number_difference(old, new, relative)
        elif old != new:
            why = ""
        if why is not None:
            words = [token for token in stored[:i] if not _TAG.fullmatch(token)]
            place = f" after {' '.join(words[-3:])!r}" if words else ""
            return f"stored {_quoted(old)}, now {_quoted(new)}{place}{why}"
    return None


def _number_difference(stored: _Number, fresh: _Number, relative: float | None) -> str | None:
    """Tell why two numbers count as different, in words to go behind both; None if they do not."""
    gap = abs(stored.value - fresh.value)
    if relative is not None:
        allowed = max(_unit(stored, fresh), Decimal(str(relative)) * abs(stored.value))
        return None if gap <= allowed else f": {gap} apart, allowed is {allowed:.2g}"
    if stored.whole != fresh.whole:
        return ": one is a whole number and one is not"
    if _pads_with_zeros(stored, fresh):
        return ": written with different numbers of decimals"
    allowed = _unit(stored, fresh)
    return None if gap <= allowed else f": {gap} apart, allowed is {allowed}"


def _unit(stored: _Number, fresh: _Number) -> Decimal:
    """Give one unit of the last digit: of the longer number if one had its zeros dropped."""
    last = min(_last_place(stored.value), _last_place(fresh.value))
    if not stored.whole:
        first = max(stored.value.adjusted(), fresh.value.adjusted())
        last = max(last, first + 1 - _RELIABLE_DIGITS)
    return Decimal(1).scaleb(last)


def _pads_with_zeros(stored: _Number, fresh: _Number) -> bool:
    """Tell whether the longer of two numbers ends in a zero, so that zeros are not dropped."""
    if _last_place(stored.value) == _last_place(fresh.value):
        return False
    longer = min(stored.value, fresh.value, key=_last_place)
    return longer.as_tuple().digits[-1] == 0


def _last_place(value: Decimal) -> int:
    """Give the power of ten of the last printed digit: -3 for 0.902."""
    return int(value.as_tuple().exponent)


def _quoted(token: str | None) -> str:
    return "nothing" if token is None else repr(str(token))


# ------------------------------------------------------------------------------------------
# JSON and pictures
# ------------------------------------------------------------------------------------------


def _json_differences(
    stored: Any, fresh: Any, relative: float | None, path: tuple[str, ...]
) -> Iterator[str]:
    place = f"{'.'.join(path)}: " if path else ""
    if isinstance(stored, Mapping) and isinstance(fresh, Mapping):
        if stored.keys() != fresh.keys():
            yield f"{place}stored the keys {sorted(stored)}, now {sorted(fresh)}"
            return
        for key, value in stored.items():
            yield from _json_differences(value, fresh[key], relative, (*path, str(key)))
    elif isinstance(stored, list) and isinstance(fresh, list):
        if len(stored) != len(fresh):
            yield f"{place}stored {len(stored)} values, now {len(fresh)}"
            return
        for i, (old, new) in enumerate(zip(stored, fresh, strict=True)):
            yield from _json_differences(old, new, relative, (*path, str(i)))
    else:
        what = _leaf_difference(stored, fresh, relative)
        if what:
            yield place + what


def _leaf_difference(stored: Any, fresh: Any, relative: float | None) -> str | None:
    if type(stored) is type(fresh) and isinstance(stored, (str, int, float)):
        return text_difference(str(stored), str(fresh), relative=relative)
    return None if stored is fresh else f"stored {_short(stored)!r}, now {_short(fresh)!r}"


def _pixels(png: str) -> NDArray[np.float32]:
    from matplotlib.image import imread

    pixels: NDArray[np.float32] = imread(io.BytesIO(base64.b64decode(png)), format="png")
    return pixels


def _size(pixels: NDArray[np.float32]) -> str:
    height, width, *channels = pixels.shape
    return f"{width} x {height} pixels in {channels[0] if channels else 1} channels"
