"""The container that loaders return."""

from __future__ import annotations

from typing import Any

__all__ = ["Bunch"]


class Bunch(dict[str, Any]):
    """A dictionary whose keys are attributes too, as in scikit-learn.

    It is not scikit-learn's own, because importing that takes longer than reading the data.

    Examples
    --------
    >>> bunch = Bunch(name="soc_index", kind="real")
    >>> bunch.kind
    'real'
    >>> bunch["kind"]
    'real'
    >>> bunch
    Bunch
      name  'soc_index'
      kind  'real'
    """

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"No {key!r} here; there are: {', '.join(self)}.") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n  ".join(["Bunch", *(f"{key:{width}}  {_short(self[key])}" for key in self)])


def _short(value: Any) -> str:
    """Describe a value in one line of at most 80 characters."""
    if hasattr(value, "columns") and hasattr(value, "shape"):
        rows, columns = value.shape
        text = (
            f"DataFrame of {rows:,} rows, {columns} columns: {', '.join(map(str, value.columns))}"
        )
    else:
        text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
