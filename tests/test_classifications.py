"""Classifications: looked up against a slow reading of random trees, and fed with faults."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from mlkit.classifications import Classification
from mlkit.datasets import load_soc_index

# A piece of NACE Rev. 2: sections are letters, and one class ends early.
NACE = pd.DataFrame(
    [
        ("A", "", "Agriculture, forestry and fishing"),
        ("01", "A", "Crop and animal production"),
        ("01.1", "01", "Growing of non-perennial crops"),
        ("01.11", "01.1", "Growing of cereals"),
        ("02", "A", "Forestry and logging"),
        ("B", "", "Mining and quarrying"),
        ("05", "B", "Mining of coal and lignite"),
    ],
    columns=["code", "parent", "title"],
)
LEVELS = ["section", "division", "group", "class"]


def make(frame: pd.DataFrame = NACE, **options: object) -> Classification:
    given = {"code": "code", "parent": "parent", "title": "title", "name": "NACE", **options}
    return Classification.from_table(frame, **given)


@pytest.fixture(scope="module")
def nace() -> Classification:
    return make(levels=LEVELS)


@pytest.fixture(scope="module")
def soc() -> Classification:
    return load_soc_index().classification


@pytest.fixture(scope="module")
def isco() -> Classification:
    """Codes of which some are others with zeros before them, as in ISCO-08."""
    return make(
        pd.DataFrame(
            [("0", ""), ("01", "0"), ("011", "01"), ("1", ""), ("11", "1"), ("12", "1")],
            columns=["code", "parent"],
        ).assign(title="Title"),
        name="ISCO",
    )


# --- answers ---------------------------------------------------------------------------------


def test_one_code(nace: Classification) -> None:
    assert nace.at_level("01.11", "section") == "A"
    assert nace.at_level("01.11", "class") == "01.11"
    assert nace.at_level("02", "group") is None
    assert nace.parent("01") == "A"
    assert nace.parent("A") is None
    assert nace.level_of("01.1") == "group"
    assert nace.title("05") == "Mining of coal and lignite"
    assert nace.ancestors("01.11") == ("A", "01", "01.1")
    assert nace.ancestors("B") == ()
    assert nace.children("A") == ("01", "02")
    assert nace.children("02") == ()


def test_collection(nace: Classification) -> None:
    assert len(nace) == 7
    assert list(nace) == NACE["code"].tolist()
    assert "01.1" in nace
    assert "1.1" not in nace
    assert 1.5 not in nace
    assert None not in nace
    assert nace.codes("division").tolist() == ["01", "02", "05"]


def test_many_codes_keep_their_shape_and_index(nace: Classification) -> None:
    array = nace.at_level(np.array([["01.11", "05"], ["B", "02"]]), "section")
    assert array.tolist() == [["A", "B"], ["B", "A"]]
    series = nace.at_level(pd.Series(["02", "05"], index=[7, 3], name="job"), "group")
    assert series.index.tolist() == [7, 3]
    assert series.name == "job"
    assert series.dtype == "str"
    assert series.isna().all()
    assert nace.parent(["A", "01"]).tolist() == [None, "A"]
    assert nace.title([]).tolist() == []


@pytest.mark.parametrize(
    "dtype", ["object", "str", "string[python]", "string[pyarrow]", "category", "int64", "Int64"]
)
@pytest.mark.parametrize("form", [pd.Series, pd.array, pd.Index])
def test_every_type_of_code(soc: Classification, dtype: str, form: type) -> None:
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    codes = ["2121", "8129", "2121"]
    given = form(codes if "int" not in dtype.lower() else [int(c) for c in codes], dtype=dtype)
    answer = soc.at_level(given, "major")
    assert list(answer) == ["2", "8", "2"]
    assert isinstance(answer, pd.Series if form is pd.Series else np.ndarray)


@pytest.mark.parametrize("kind", ["U4", "object", "int16", "uint64"])
def test_every_type_of_array(soc: Classification, kind: str) -> None:
    answer = soc.level_of(np.array(["2121", "8"]).astype(kind))
    assert answer.tolist() == ["unit", "major"]
    assert answer.dtype == object


def test_texts_and_numbers_together(soc: Classification) -> None:
    assert soc.parent(["2121", 2121, np.str_("2121"), np.int8(21)]).tolist() == [
        "212",
        "212",
        "212",
        "2",
    ]


def test_a_million_codes(soc: Classification) -> None:
    codes = np.resize(soc.codes("unit"), 1_000_000)
    expected = np.resize([code[0] for code in soc.codes("unit")], 1_000_000)
    assert (soc.at_level(codes, "major") == expected).all()


@pytest.mark.parametrize("seed", range(20))
def test_random_trees_against_a_slow_reading(seed: int) -> None:
    draw = np.random.default_rng(seed)
    names = [f"{number:03}" for number in draw.permutation(200)]
    parents = {
        name: "" if place == 0 or draw.random() < 0.05 else names[draw.integers(place)]
        for place, name in enumerate(names)
    }
    table = pd.DataFrame({"code": names, "parent": [parents[n] for n in names]})
    table = table.assign(title="Title " + table["code"]).sample(frac=1, random_state=seed)

    tree = make(table)

    def lineage(name: str) -> list[str]:
        above = parents[name]
        return [*(lineage(above) if above else []), name]

    lines = {name: lineage(name) for name in names}
    assert len(tree.levels) == max(map(len, lines.values()))
    for depth, level in enumerate(tree.levels):
        slow = [line[depth] if depth < len(line) else None for line in lines.values()]
        assert tree.at_level(list(lines), level).tolist() == slow
        assert set(tree.codes(level)) == {n for n, line in lines.items() if len(line) == depth + 1}
    assert tree.parent(names).tolist() == [parents[name] or None for name in names]
    assert tree.title(names).tolist() == [f"Title {name}" for name in names]
    for name in names:
        assert tree.ancestors(name) == tuple(lines[name][:-1])
        assert set(tree.children(name)) == {n for n in names if parents[n] == name}
    again = make(tree.to_frame(), levels=tree.levels)
    pd.testing.assert_frame_equal(again.to_frame(), tree.to_frame())


def test_soc_2010(soc: Classification) -> None:
    assert len(soc) == 493
    assert soc.levels == ("major", "submajor", "minor", "unit")
    assert [len(soc.codes(level)) for level in soc.levels] == [9, 25, 90, 369]
    # The one classification here whose parents are prefixes: an independent reading.
    frame = soc.to_frame()
    parents = frame["parent"].fillna("")
    assert (parents == frame["code"].str[:-1]).all()
    assert (frame["code"].str.len() == frame["level"].map(soc.levels.index) + 1).all()
    # Titles stand as they are in the source.
    assert soc.title("1") == "MANAGERS, DIRECTORS AND SENIOR OFFICIALS"
    assert soc.title("2121") == "Civil engineers"


# --- views -----------------------------------------------------------------------------------


def test_views(nace: Classification) -> None:
    assert repr(nace) == "Classification(NACE: 2 section, 3 division, 1 group, 1 class)"
    html = make(NACE.replace("Agriculture, forestry and fishing", "A <b> & c"))._repr_html_()
    assert "A <b>" not in html
    assert "A A &lt;b&gt; &amp; c" in html
    assert nace.to_frame().columns.tolist() == ["code", "level", "parent", "title"]


def test_frozen_and_picklable(nace: Classification) -> None:
    with pytest.raises(AttributeError):
        nace.name = "other"  # type: ignore[misc]
    copy = pickle.loads(pickle.dumps(nace))  # noqa: S301 - our own
    assert copy.at_level("01.11", "section") == "A"


# --- unknown codes ---------------------------------------------------------------------------


def test_unknown_codes_raise_and_are_named(soc: Classification) -> None:
    codes = pd.Series(["2121", "21.21", "21.21", "99999", None])
    with pytest.raises(ValueError, match="4 of 5 codes unknown to SOC 2010") as error:
        soc.at_level(codes, "major")
    message = str(error.value)
    assert "'21.21' (close to '2121' or '212' or '211'), '99999', missing values (1)." in message
    assert "unknown='missing'" in message


def test_many_unknown_codes_are_counted(soc: Classification) -> None:
    with pytest.raises(ValueError, match=r"1,000 of 1,000 codes .* 995 more\."):
        soc.title([f"x{number}" for number in range(1000)])


def test_unknown_codes_can_be_missing(soc: Classification) -> None:
    codes = ["2121", "nonsense", None, float("nan"), "", 9999]
    for method in (soc.parent, soc.level_of, soc.title):
        answer = method(codes, unknown="missing")
        assert answer[0] is not None
        assert answer[1:].tolist() == [None] * 5
    series = soc.at_level(pd.Series(codes[:4]), "major", unknown="missing")
    assert series.isna().tolist() == [False, True, True, True]


@pytest.mark.parametrize("method", ["parent", "level_of", "title", "ancestors", "children"])
def test_every_method_refuses_unknown_codes(soc: Classification, method: str) -> None:
    with pytest.raises(ValueError, match="1 of 1 codes unknown to SOC 2010: 'x'"):
        getattr(soc, method)("x")


def test_a_number_that_lost_its_zeros(nace: Classification, isco: Classification) -> None:
    with pytest.raises(ValueError, match=r"number 1 may stand for '01': numbers lose the leading"):
        nace.title([1])
    with pytest.raises(ValueError, match="number 11 may stand for '011' or '11'"):
        isco.title([12, 11])
    # That is a fault of reading, not an unknown code, so it is never passed over.
    with pytest.raises(ValueError, match="number 1 may stand"):
        isco.title([1], unknown="missing")
    assert isco.title(12) == "Title"
    assert 12 in isco
    assert 11 not in isco


@pytest.mark.parametrize(
    "codes",
    [
        [2121.0],
        pd.Series([2121, None]),
        np.array([True]),
        [b"2121"],
        b"2121",
        pd.Series(pd.to_datetime(["2121-01-01"])),
    ],
    ids=["decimal", "gap", "truth", "bytes", "one bytes", "date"],
)
@pytest.mark.parametrize("unknown", ["raise", "missing"])
def test_other_types_are_refused(soc: Classification, codes: object, unknown: str) -> None:
    with pytest.raises(TypeError, match="A code is text, such as '1', or a whole number; given"):
        soc.parent(codes, unknown=unknown)  # type: ignore[arg-type]


@pytest.mark.parametrize("codes", [{"2121"}, {"2121": 1}, (c for c in ["2121"])])
def test_containers_without_places_are_refused(soc: Classification, codes: object) -> None:
    with pytest.raises(TypeError, match=r"list, array or Series; given a (set|dict|generator)"):
        soc.parent(codes)  # type: ignore[arg-type]


def test_wrong_words(soc: Classification) -> None:
    with pytest.raises(ValueError, match="no level 'Unit'; its levels are 'major', 'submajor'"):
        soc.at_level("2121", "Unit")
    with pytest.raises(ValueError, match="unknown='ignore'; allowed are 'raise' and 'missing'"):
        soc.parent("2121", unknown="ignore")  # type: ignore[arg-type]


# --- tables that are no classification -------------------------------------------------------


def test_all_faults_at_once() -> None:
    table = pd.DataFrame(
        [
            ("1", "", "One"),
            ("1", "", "One again"),
            ("2", "9", "Two"),
            (" 3", "1", "Three"),
            ("4", "1", ""),
            ("", "1", "Five"),
            ("a", "c", "A"),
            ("b", "a", "B"),
            ("c", "b", "C"),
            ("d", "a", "below the circle"),
            ("e", "e", "its own parent"),
        ],
        columns=["code", "parent", "title"],
    )
    with pytest.raises(ValueError, match="The table of 'NACE' is no classification") as error:
        make(table)
    assert str(error.value).splitlines()[1:] == [
        "- 1 rows have no code",
        "- the code '1' stands there 2 times",
        "- the parent of '2' is '9', which is no code of the table",
        "- ' 3' has blanks around it",
        "- '4' has no title",
        "- a circle of parents: 'a' -> 'c' -> 'b' -> 'a'",
        "- a circle of parents: 'e' -> 'e'",
    ]


def test_faults_of_reading() -> None:
    table = NACE.assign(code=[1.0, *NACE["code"][1:]])
    with pytest.raises(ValueError, match=r"1\.0 in column 'code' .*dtype='str'"):
        make(table)
    numbers = pd.DataFrame({"code": [1, 11], "parent": [None, 1.0], "title": ["One", "Eleven"]})
    with pytest.raises(ValueError, match=r"1\.0 in column 'parent'"):
        make(numbers)
    numbers["parent"] = numbers["parent"].astype("Int64")
    assert make(numbers).parent("11") == "1"


def test_faults_of_the_call() -> None:
    with pytest.raises(ValueError, match="no column 'kode'; it has 'code', 'parent', 'title'"):
        make(code="kode")
    with pytest.raises(ValueError, match="2 levels are named, but the codes form 4"):
        make(levels=["section", "division"])
    with pytest.raises(ValueError, match="not all different"):
        make(levels=["a", "b", "b", "c"])
    with pytest.raises(ValueError, match="there are no codes"):
        make(NACE.head(0))


def test_a_long_list_of_faults_is_cut() -> None:
    table = pd.DataFrame({"code": [str(n) for n in range(100)], "parent": "x", "title": "t"})
    with pytest.raises(ValueError, match=r"and 50 more$"):
        make(table)


def indented(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["section", "division", "group"]).assign(title="Title")


def unindent(table: pd.DataFrame) -> Classification:
    return Classification.from_levels(
        table, levels=["section", "division", "group"], title="title", name="NACE"
    )


def test_indented_table_ragged_and_without_prefixes() -> None:
    tree = unindent(
        indented(
            ("A", "", ""), ("", "01", ""), ("", "", "01.1"), ("", "02", ""), ("B", "", "")
        ).replace("", None)
    )
    assert tree.ancestors("01.1") == ("A", "01")
    assert tree.children("A") == ("01", "02")
    assert tree.children("B") == ()


def test_faults_of_an_indented_table() -> None:
    table = indented(
        ("", "01", ""),
        ("A", "", ""),
        ("", "02", "02.1"),
        ("", "", ""),
        ("B", "", ""),
        ("", "", "05.1"),
    )
    with pytest.raises(ValueError, match="no classification") as error:
        unindent(table)
    message = str(error.value)
    assert "'01' has no code of the level 'section' above it" in message
    assert "row 2 has 2 codes instead of one" in message
    assert "row 3 has 0 codes instead of one" in message
    assert "'05.1' has no code of the level 'division' above it" in message
