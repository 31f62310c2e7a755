"""What counts as the same output: tables of pairs that are accepted and refused."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_output

from mlkit.lessons.compare import (
    compare_outputs,
    html_difference,
    json_difference,
    picture_difference,
    relative_tolerance,
    text_difference,
)

# fmt: off
SAME = [
    # within one unit of the last printed digit
    ("accuracy .902", "accuracy .903"),
    ("accuracy 0.902", "accuracy 0.903"),
    ("17099 titles", "17100 titles"),
    ("28,521 titles", "28,520 titles"),
    ("999 titles", "1,000 titles"),
    ("52 %", "53 %"),
    ("52%", "53%"),
    ("**52%** of them", "**53%** of them"),
    ("-0.31", "-0.30"),
    ("-0.00", "0.00"),
    ("bias of −0.31", "bias of −0.32"),
    ("p = 1e-05", "p = 2e-05"),
    ("p = 1.52e-05", "p = 1.53e-05"),
    ("1.5e+16", "1.6e+16"),
    ("0.51 to 0.54", "0.52 to 0.53"),
    ("0.51–0.54", "0.52–0.54"),
    ("0.51 ± 0.02", "0.52 ± 0.01"),
    ("(0.51, 0.54)", "(0.52, 0.55)"),
    ("[1,2,3]", "[1,3,3]"),
    ("accuracy=0.51", "accuracy=0.52"),
    ("accuracy:0.51", "accuracy:0.52"),
    ("{'a': 0.51}", "{'a': 0.52}"),
    ("EUR 5", "EUR 6"),
    ("It is 0.52.", "It is 0.53."),
    # dropped zeros: 0.9 stands for 0.900
    ("0.9", "0.899"),
    ("0.899", "0.9"),
    ("12.0", "11.999"),
    ("[12. 11.5]", "[11.9 11.5]"),
    ("9.9999e-05", "0.0001"),
    ("0.50", "0.500001"),
    # digits beyond the 15th are no digits
    ("0.30000000000000004", "0.3"),
    ("0.1234567890123456", "0.1234567890123461"),
    # white space is folded
    ("a  b\n\n c ", "a b c"),
    ("[ 9.9 10.1]", "[10.0 10.1]"),
    ("[0.5\n 0.6]", "[0.5 0.6]"),
    ("nan inf", "nan inf"),
]

DIFFERENT = [
    # more than one unit
    ("accuracy .902", "accuracy .897"),
    ("accuracy 0.902", "accuracy 0.897"),
    ("accuracy 0.902", "accuracy 0.904"),
    ("17099 titles", "17101 titles"),
    ("28,521 titles", "29,521 titles"),
    ("28\u00a0521 titles", "29\u00a0521 titles"),
    ("52 %", "54 %"),
    ("0.31", "-0.31"),
    ("1e-05", "1e-04"),
    ("1.52e-05", "1.54e-05"),
    ("0.123456789", "0.123456791"),
    ("100,200", "101,200"),
    # another number of decimals, and no zeros were dropped
    ("0.9", "0.902"),
    ("0.9", "0.90"),
    ("0.90", "0.9"),
    ("17", "17.0"),
    ("1", "0.9999"),
    # text around the numbers
    ("accuracy 0.902", "recall 0.902"),
    ("0.902", "0.902 0.903"),
    ("0.902 0.903", "0.902"),
    ("", "0"),
    ("1 2", "12"),
    ("nan", "0.5"),
    ("inf", "nan"),
    ("right", "wrong"),
    # names
    ("v2", "v3"),
    ("sub_3", "sub_4"),
    ("x.1", "x.2"),
    ("10-fold", "11-fold"),
    ("top-10", "top-11"),
    ("UTF-8", "UTF-9"),
    ("3rd", "4rd"),
    ("int64", "int65"),
    ("R^2", "R^3"),
    ("#123456", "#123457"),
    ("#3", "#4"),
    ("0x1f", "0x2f"),
    ("1.9.1", "1.9.2"),
    ("2.9.1", "1.9.1"),
    ("2019-01-05", "2019-01-06"),
    ("2019-01-05", "2020-01-05"),
    ("25-34", "25-35"),
    ("12:30", "12:31"),
    ("12:30", "13:30"),
    ("127.0.0.1:8888", "127.0.0.1:8889"),
    ("lesson/3", "lesson/4"),
    ("0111", "0112"),
    ("01.11", "01.12"),
    ("5ms", "6ms"),
    ("In[3]: x3a9", "In[3]: x4a9"),
]
# fmt: on

# The price of the rule: nothing in the text tells a count from these.
KNOWN_LIMITS = [("year 2019", "year 2020"), ("code 2136", "code 2137")]


@pytest.mark.parametrize(("stored", "fresh"), SAME + KNOWN_LIMITS)
def test_same_text(stored: str, fresh: str) -> None:
    assert text_difference(stored, fresh) is None
    assert text_difference(fresh, stored) is None


@pytest.mark.parametrize(("stored", "fresh"), DIFFERENT)
def test_different_text(stored: str, fresh: str) -> None:
    assert text_difference(stored, fresh)
    assert text_difference(fresh, stored)


def test_the_message_names_both_numbers_and_the_place() -> None:
    stored = "The model codes 52 % of titles with accuracy 0.902 in all"
    assert text_difference(stored, stored.replace("0.902", "0.897")) == (
        "stored '0.902', now '0.897' after 'titles with accuracy': 0.005 apart, allowed is 0.001"
    )
    assert text_difference("5 of 17 titles", "5 of 17.0 titles") == (
        "stored '17', now '17.0' after '5 of': one is a whole number and one is not"
    )
    assert text_difference("0.9", "0.90") == (
        "stored '0.9', now '0.90': written with different numbers of decimals"
    )
    assert text_difference("a b", "a") == "stored 'b', now nothing after 'a'"


def test_a_tolerance_widens_numbers_and_nothing_else() -> None:
    assert text_difference("100 MB in 9.9 s", "102 MB in 10 s", relative=0.02) is None
    assert text_difference("100 MB", "103 MB", relative=0.02)
    assert text_difference("3 MB", "4 MB", relative=0.02) is None  # never below one unit
    assert text_difference("100 MB", "100 GB", relative=0.02)
    assert text_difference("v100", "v101", relative=0.02)


@pytest.mark.parametrize(
    "tolerance",
    [
        {},
        {"relative": 0.02},
        {"relative": 0.02, "reason": " "},
        {"relative": 0.02, "reason": None},
        {"reason": "the clock"},
        {"relative": 0, "reason": "the clock"},
        {"relative": 1, "reason": "the clock"},
        {"relative": -0.1, "reason": "the clock"},
        {"relative": float("nan"), "reason": "the clock"},
        {"relative": "0.02", "reason": "the clock"},
        {"relative": True, "reason": "the clock"},
        {"relative": 0.02, "reason": "the clock", "absolute": 1},
        0.02,
    ],
)
def test_a_tolerance_without_reason_or_share_is_refused(tolerance: object) -> None:
    with pytest.raises(ValueError, match="needs two keys"):
        relative_tolerance(tolerance)


# ------------------------------------------------------------------------------------------
# What libraries print
# ------------------------------------------------------------------------------------------

FIGURES = np.array([[0.12345, 1234.5], [99.94999, 0.5]])


@pytest.mark.parametrize(
    "show",
    [
        lambda a: repr(a),
        lambda a: str(a.tolist()),
        lambda a: str(pd.DataFrame(a, columns=["x1", "x2"])),
        lambda a: pd.DataFrame(a).to_html(),
        lambda a: pd.DataFrame(a).describe().to_html(),
    ],
)
def test_noise_of_machines_is_accepted_and_a_changed_figure_is_not(
    show: Callable[[np.ndarray], str],
) -> None:
    difference = html_difference if "<table" in show(FIGURES) else text_difference
    assert difference(show(FIGURES), show(FIGURES * (1 + 2e-16))) is None
    assert difference(show(FIGURES), show(FIGURES * 1.001))
    assert difference(show(FIGURES), show(FIGURES[:1]))


@pytest.mark.parametrize(
    ("stored", "fresh", "same"),
    [
        ("<td>0.902</td>", "<td>0.903</td>", True),
        ("<td>0.902</td>", "<td>0.897</td>", False),
        ("<td>0.902</td>", "<td>  0.902\n</td>", True),
        ("<td>0.902</td>", "<th>0.902</th>", False),
        ('<td width="5">0.902</td>', '<td width="6">0.902</td>', False),
        ('<td\n  width="5">0.902</td>', '<td width="5">0.902</td>', True),
        ('<b style="color: #123456">', '<b style="color: #123457">', False),
        ("<!-- 5 -->", "<!-- 6 -->", False),
        ("1<td>2</td>", "12<td></td>", False),
    ],
)
def test_html(stored: str, fresh: str, same: bool) -> None:
    assert (html_difference(stored, fresh) is None) == same


@pytest.mark.parametrize(
    ("stored", "fresh", "same"),
    [
        ({"value": 0.902}, {"value": 0.903}, True),
        ({"value": 0.902}, {"value": 0.897}, False),
        ({"value": 0.9}, {"value": 0.8999999999}, True),
        ({"value": 17099}, {"value": 17100}, True),
        ({"value": 17099}, {"value": 17101}, False),
        ({"value": 17}, {"value": 17.0}, False),
        ({"value": 0}, {"value": False}, False),
        ({"value": True}, {"value": False}, False),
        ({"value": None}, {"value": 0}, False),
        ({"value": 0.5}, {"value": "0.5"}, False),
        ({"value": 0.5}, {"Value": 0.5}, False),
        ({"value": 0.5}, {"value": 0.5, "note": ""}, False),
        ({"a": {"b": [1.5, 2.5]}}, {"a": {"b": [1.5, 2.6]}}, True),
        ({"a": {"b": [1.5, 2.5]}}, {"a": {"b": [1.5, 2.7]}}, False),
        ([1, 2], [1, 2, 3], False),
        ([1, 2], {"0": 1, "1": 2}, False),
        ("accuracy 0.52", "accuracy 0.53", True),
        ("accuracy 0.52", "recall 0.52", False),
        (float("nan"), float("nan"), True),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}, True),
    ],
)
def test_json(stored: object, fresh: object, same: bool) -> None:
    assert (json_difference(stored, fresh) is None) == same


def test_json_names_the_place() -> None:
    difference = json_difference({"a": [{"b": 0.5}]}, {"a": [{"b": 0.9}]})
    assert difference == "a.0.b: stored '0.5', now '0.9': 0.4 apart, allowed is 0.1"


# ------------------------------------------------------------------------------------------
# Outputs of a cell
# ------------------------------------------------------------------------------------------


def stream(text: str, name: str = "stdout") -> dict[str, str]:
    return new_output("stream", name=name, text=text)


def shown(**data: object) -> dict[str, object]:
    kinds = {"text": "text/plain", "html": "text/html", "json": "application/vnd.x+json"}
    kinds["png"] = "image/png"
    return new_output("display_data", {kinds[kind]: content for kind, content in data.items()})


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        ([], []),
        ([stream("a 1\n"), stream("b 2\n")], [stream("a 1\nb "), stream("2\n")]),
        ([shown(text="0.52")], [new_output("execute_result", {"text/plain": "0.53"})]),
        ([shown(text="f", png="AAAA")], [shown(text="f", png="AAAA")]),
        ([shown(json={"v": 0.5})], [shown(json='{"v": 0.6}')]),
    ],
)
def test_same_outputs(stored: list[dict[str, object]], fresh: list[dict[str, object]]) -> None:
    assert compare_outputs(stored, fresh) == []


@pytest.mark.parametrize(
    ("stored", "fresh", "message"),
    [
        ([stream("0.902")], [stream("0.897")], "stdout: stored '0.902', now '0.897'"),
        ([shown(html="<b>5</b>")], [shown(html="<b>7</b>")], "text/html: stored '5', now '7'"),
        ([shown(json={"v": 0.5})], [shown(json={"v": 0.9})], "json: v: stored '0.5', now '0.9'"),
        ([], [stream("careful", "stderr")], "stored nothing, now stderr 'careful'"),
        ([stream("a")], [], "stored stdout 'a', now nothing"),
        ([stream("a")], [stream("a", "stderr")], "stored stdout 'a', now stderr 'a'"),
        ([shown(text="f", png="A")], [shown(text="f")], "stored text/plain and image/png 'f', now"),
        ([shown(text="a"), stream("b")], [stream("b"), shown(text="a")], "now stdout 'b'"),
        ([], [new_output("error", ename="E", evalue="why")], "now error 'E: why'"),
    ],
)
def test_different_outputs(
    stored: list[dict[str, object]], fresh: list[dict[str, object]], message: str
) -> None:
    assert message in "\n".join(compare_outputs(stored, fresh))


def test_every_output_is_compared() -> None:
    stored = [shown(text="5", html="5"), shown(text="a"), shown(text="7")]
    fresh = [shown(text="9", html="9"), shown(text="a"), shown(text="9")]
    assert len(compare_outputs(stored, fresh)) == 2


def test_the_tolerance_of_a_cell_reaches_every_format() -> None:
    tolerance = {"relative": 0.1, "reason": "depends on the machine"}
    stored = [stream("100 MB"), shown(html="<b>100</b>"), shown(json={"v": 100})]
    fresh = [stream("109 MB"), shown(html="<b>109</b>"), shown(json={"v": 109})]
    assert len(compare_outputs(stored, fresh)) == 3
    assert compare_outputs(stored, fresh, tolerance=tolerance) == []


# ------------------------------------------------------------------------------------------
# Pictures
# ------------------------------------------------------------------------------------------


def drawn(draw: Callable[[Figure], None], size: tuple[float, float] = (6.4, 4.8)) -> str:
    with matplotlib.rc_context({"savefig.dpi": 100}):
        figure = Figure(figsize=size)
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def bars(count: int, raised: float = 1.0) -> Callable[[Figure], None]:
    heights = np.linspace(0.3, 1, count)
    heights[count // 2] *= raised

    def draw(figure: Figure) -> None:
        figure.subplots().bar(range(count), heights)

    return draw


def curve(stretched: float = 1.0) -> Callable[[Figure], None]:
    x = np.linspace(0, 10, 200)

    def draw(figure: Figure) -> None:
        figure.subplots().plot(x, np.sin(x) * stretched)

    return draw


def label(text: str) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        figure.subplots().text(0.5, 0.5, text)

    return draw


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        (curve(), curve()),
        (curve(), curve(1 + 1e-9)),
        (curve(), curve(1 + 1e-4)),  # the smoothing of edges changes, nothing else
        (bars(10), bars(10, 1 + 1e-4)),
    ],
)
def test_same_picture(stored: Callable[[Figure], None], fresh: Callable[[Figure], None]) -> None:
    assert picture_difference(drawn(stored), drawn(fresh)) is None


@pytest.mark.parametrize("size", [(6.4, 4.8), (12, 8)])
@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        (bars(3), bars(3, 1.01)),
        (bars(90), bars(90, 1.01)),
        (curve(), curve(1.01)),
        (label("0.52"), label("0.57")),
    ],
)
def test_different_picture(
    stored: Callable[[Figure], None], fresh: Callable[[Figure], None], size: tuple[float, float]
) -> None:
    assert "differ by" in (picture_difference(drawn(stored, size), drawn(fresh, size)) or "")


def test_pictures_of_other_sizes_or_formats_differ() -> None:
    small, large = drawn(curve()), drawn(curve(), (7, 4.8))
    expected = "stored 640 x 480 pixels in 4 channels, now 700 x 480 pixels in 4 channels"
    assert picture_difference(small, large) == expected
    assert "no PNG file" in (picture_difference(small, "bm90IGEgcGljdHVyZQ==") or "")
    assert "no PNG file" in (picture_difference(small, small[: len(small) // 2]) or "")


def test_outputs_compare_pictures() -> None:
    stored, fresh = [shown(png=drawn(bars(3)))], [shown(png=drawn(bars(3, 1.01)))]
    assert compare_outputs(stored, stored) == []
    assert "image/png: the pictures differ" in compare_outputs(stored, fresh)[0]
