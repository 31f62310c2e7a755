"""Reading and writing rules in tables and YAML."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd

from mlkit.editing._grammar import (
    Line,
    Place,
    RuleLine,
    RuleSyntaxError,
    VariableLine,
    did_you_mean,
    read_line,
    read_properties,
    write_name,
)

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node

    from mlkit.editing._rules import EditRules

COLUMNS = ("name", "rule", "soft", "tolerance", "label")


def read_frame(frame: pd.DataFrame) -> Iterator[Line]:
    """Read one line per row."""
    _check_columns(frame)
    for number, row in enumerate(frame.to_dict("records"), start=1):
        text = row["rule"]
        place = Place("the data frame of rules", number, str(text), unit="row")
        if not isinstance(text, str) or not text.strip():
            raise RuleSyntaxError(f"the rule is {text!r}; give it as text.", place, 1)
        line = read_line(text, place)
        given = {k: v for k, v in row.items() if k != "rule" and not _is_empty(v)}
        if isinstance(line, RuleLine):
            _add_options(line, given)
        elif given:
            line.fail("the declaration of a variable takes no name, soft, tolerance nor label.")
        yield line


def _check_columns(frame: pd.DataFrame) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"rules come as a {type(frame).__name__}; give a data frame.")
    unknown = [column for column in frame.columns if column not in COLUMNS]
    if unknown or "rule" not in frame.columns:
        raise ValueError(
            f"The data frame of rules has the columns {list(frame.columns)}; allowed are "
            f"{', '.join(COLUMNS)}, of which rule is needed."
        )
    if not frame.columns.is_unique:
        raise ValueError(f"The data frame of rules names a column twice: {list(frame.columns)}.")


def _is_empty(value: Any) -> bool:
    return value is None or value is pd.NA or value == "" or value != value  # NaN


def _add_options(line: RuleLine, given: dict[Any, Any]) -> None:
    """Add what columns or keys say of a rule to what its own line says."""
    if "name" in given:
        name = given["name"]
        if line.name is not None:
            line.fail(f"the rule is named twice, {write_name(line.name)} and {name!r}.")
        if not isinstance(name, str):
            line.fail(f"the name is {name!r}; give it as text.")
        line.name = name
    if "soft" in given and given["soft"] is not False:
        if not math.isinf(line.penalty):
            line.fail("that the rule is soft is said twice, in its line and beside it.")
        line.penalty = _amount(line, "soft", given["soft"], 1.0)
        if line.penalty <= 0:
            line.fail(f"soft is {given['soft']!r}; allowed are penalties above 0, True and False.")
    if "tolerance" in given:
        if line.tolerance is not None:
            line.fail("the tolerance is given twice, in the line of the rule and beside it.")
        line.tolerance = _amount(line, "tolerance", given["tolerance"], None)
    if "label" in given:
        if line.label:
            line.fail("the label is given twice, in the line of the rule and beside it.")
        line.label = str(given["label"])


def _amount(line: RuleLine, what: str, value: Any, if_true: float | None) -> float:
    if value is True and if_true is not None:
        return if_true
    try:
        amount = float(value)
    except (TypeError, ValueError):
        amount = math.nan
    if isinstance(value, bool) or not (math.isfinite(amount) and amount >= 0):
        line.fail(f"{what} is {value!r}; give a number of 0 or more.")
    return amount


# --- YAML ------------------------------------------------------------------------------------
# The nodes of PyYAML are read rather than its objects: they know their lines and columns.


def read_yaml(text: str, source: str) -> list[Line]:
    """Read rules and declarations from YAML."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at, column = (mark.line, mark.column) if mark else (0, 0)
        shown = [*text.splitlines(), ""][at] if at < len(text.splitlines()) else ""
        raise RuleSyntaxError(
            f"this is not YAML: {error.problem}. Put a rule in quotes if it begins with a "
            "backtick, quote or brace, or has a colon with a blank behind it.",
            Place(source, at + 1, shown),
            column + 1,
        ) from error
    except yaml.YAMLError as error:  # signs that YAML does not allow, which have no mark
        raise ValueError(f"{source} is not YAML: {error}") from error
    return _Yaml(text.splitlines(), source).lines(root)


class _Yaml:
    def __init__(self, shown: list[str], source: str) -> None:
        self.shown, self.source = shown, source

    def lines(self, root: Node | None) -> list[Line]:
        import yaml

        if root is None:
            return []
        if not isinstance(root, yaml.MappingNode):
            self.fail(root, "expected a mapping with the keys rules and variables.")
        parts = self.mapping(root, ("rules", "variables"))
        found: list[Line] = []
        if "variables" in parts:
            found += self.declarations(parts["variables"])
        if "rules" in parts:
            if not isinstance(parts["rules"], yaml.SequenceNode):
                self.fail(parts["rules"], 'expected a list: one rule per line, after "- ".')
            found += [self.line(node) for node in parts["rules"].value]
        return found

    def declarations(self, node: Node) -> Iterator[Line]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            self.fail(node, "expected a mapping such as turnover: unit 1.")
        for name, value in self.mapping(node, None).items():
            text, place = self.scalar(value, f"of the variable {name}")
            yield VariableLine(place, ((name, 1),), read_properties(text, place))

    def line(self, node: Node) -> Line:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            return self.read(node)
        given = self.mapping(node, None)
        if len(given) == 1 and not set(given) & set(
            COLUMNS
        ):  # "- balance: a + b == c" is a mapping
            ((name, value),) = given.items()
            line = self.read(value)
            if isinstance(line, VariableLine):
                self.fail(value, "a declaration has no name; use the key variables.")
            _add_options(line, {"name": name})
            return line
        given = self.mapping(node, COLUMNS)
        if "rule" not in given:
            self.fail(node, 'the key "rule" is missing.')
        line = self.read(given["rule"])
        if isinstance(line, VariableLine):
            self.fail(given["rule"], "a declaration has no options; use the key variables.")
        options = {key: self.value(key, one) for key, one in given.items() if key != "rule"}
        _add_options(line, {key: one for key, one in options.items() if one is not None})
        return line

    def read(self, node: Node) -> Line:
        text, place = self.scalar(node, "of the rule")
        if not text.strip():
            self.fail(node, "the rule is empty.")
        return read_line(text, place)

    def value(self, key: str, node: Node) -> Any:
        import yaml

        text, _ = self.scalar(node, f"of {key}")
        if key in ("name", "label"):
            return text
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError):  # a tag that is not YAML's own, a false date
            return text

    def scalar(self, node: Node, what: str) -> tuple[str, Place]:
        """Give the text of a node, and where it stands."""
        import yaml

        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, f"expected the text {what}; put it in quotes.")
        text = str(node.value).strip()
        row = node.start_mark.line
        shown = self.shown[row] if row < len(self.shown) else ""
        # Folded or escaped text does not stand in the file as it reads: then it is shown itself.
        at = shown.find(text, node.start_mark.column)
        if text and at >= 0:
            return text, Place(self.source, row + 1, shown, at)
        return text, Place(self.source, row + 1, text)

    def mapping(self, node: MappingNode, known: tuple[str, ...] | None) -> dict[str, Node]:
        """Read the keys of a mapping; PyYAML itself takes the last of equal keys."""
        import yaml

        found: dict[str, Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.fail(key, "a key is a text; put a rule that begins with a brace in quotes.")
            name = str(key.value)
            if name in found:
                self.fail(key, f'the key "{name}" comes twice.')
            if known is not None and name not in known:
                self.fail(
                    key,
                    f'the key "{name}" is unknown; allowed are {", ".join(known)}.'
                    f"{did_you_mean(name, known)}",
                )
            found[name] = value
        return found

    def fail(self, node: Node, reason: str) -> NoReturn:
        row = node.start_mark.line
        shown = self.shown[row] if row < len(self.shown) else ""
        raise RuleSyntaxError(
            reason, Place(self.source, row + 1, shown), node.start_mark.column + 1
        )


def write_yaml(rules: EditRules) -> str:
    """Write rules and declarations as YAML."""
    import yaml

    whole: dict[str, Any] = {}
    declared = {v.name: str(v).split(": ", 1)[1] for v in rules.variables if str(v)}
    if declared:
        whole["variables"] = declared
    whole["rules"] = []
    for rule in rules:
        entry: dict[str, Any] = {"name": rule.name, "rule": rule.text}
        if not rule.hard:
            entry["soft"] = rule.penalty
        if rule.tolerance is not None:
            entry["tolerance"] = rule.tolerance
        if rule.label:
            entry["label"] = rule.label
        whole["rules"].append(entry)
    text: str = yaml.safe_dump(whole, allow_unicode=True, sort_keys=False, width=10_000)
    return text
