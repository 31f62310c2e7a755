"""The cheapest sets that have a member in each of some sets, as bits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

MOST_STEPS = 100_000  # of a search
MOST_COVERS = 1_000  # that are kept side by side
TIED = 1e-9  # costs that differ by no more than this part are equal: .1 + .2 and .3


class TooManyCovers(RuntimeError):  # noqa: N818 - says what happened
    """The search was given up: nothing is known, and nothing is guessed."""


def bits(mask: int) -> Iterator[int]:
    """Give the places of the bits that are set, from the lowest on."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def smallest_only(sets: Iterable[int]) -> tuple[int, ...]:
    """Leave out sets that contain another one."""
    kept: list[int] = []
    for one in sorted(set(sets), key=lambda mask: (mask.bit_count(), mask)):
        if not any(other & one == other for other in kept):
            kept.append(one)
    return tuple(kept)


def components(sets: Iterable[int]) -> list[tuple[int, ...]]:
    """Part sets that share no member, directly or by way of others."""
    parts: list[tuple[int, list[int]]] = []
    for one in sets:
        joined, members = one, [one]
        apart = []
        for union, part in parts:
            if union & joined:
                joined |= union
                members = part + members
            else:
                apart.append((union, part))
        parts = [*apart, (joined, members)]
    return [tuple(sorted(members)) for _, members in parts]


def cheapest_covers(sets: Sequence[int], costs: Sequence[float], allowed: int) -> list[int]:
    """Give all cheapest sets of allowed members that meet each set; none if there are none.

    Branch and bound: the set with the fewest members left is met by each of them in turn, without
    those tried before; sets that share no member give the lower bound.
    """
    best, steps = math.inf, 0
    found: list[tuple[float, int]] = []
    waiting = [(0, 0.0, allowed)]
    while waiting:
        steps += 1
        if steps > MOST_STEPS or len(found) > MOST_COVERS:
            raise TooManyCovers
        chosen, cost, left = waiting.pop()
        unmet = _unmet(sets, chosen, left)
        if unmet is None or cost + _at_least(unmet, costs) > best * (1 + TIED):
            continue
        if unmet:
            waiting += _children(unmet[0], chosen, cost, left, costs)
            continue
        if cost < best * (1 - TIED):
            found = []
        found.append((cost, chosen))
        best = min(best, cost)
    return sorted({chosen for cost, chosen in found if cost <= best * (1 + TIED)})


def first_of_cheapest(
    sets: Sequence[int], costs: Sequence[float], order: Sequence[float], allowed: int
) -> int | None:
    """Give the one of the cheapest covers with the smallest sum of `order`, without listing all."""
    best, least, found = math.inf, math.inf, None
    by_rank = [costs[member] + 1e-6 * order[member] for member in range(len(costs))]
    steps = 0
    waiting = [(0, 0.0, allowed)]
    while waiting:
        steps += 1
        if steps > MOST_STEPS:
            raise TooManyCovers
        chosen, cost, left = waiting.pop()
        unmet = _unmet(sets, chosen, left)
        if unmet is None:
            continue
        bound = cost + _at_least(unmet, costs)
        if bound > best * (1 + TIED):
            continue
        rank = sum(order[member] for member in bits(chosen))
        if bound >= best * (1 - TIED) and rank + _at_least(unmet, order) >= least:
            continue
        if unmet:
            waiting += _children(unmet[0], chosen, cost, left, costs, by_rank)
            continue
        best, least, found = min(best, cost), rank, chosen
    return found


def _unmet(sets: Sequence[int], chosen: int, left: int) -> list[int] | None:
    """Give what is left of the sets that are not met, the smallest first; None if one is empty."""
    unmet = [one & left for one in sets if not one & chosen]
    unmet.sort(key=int.bit_count)
    return None if unmet and not unmet[0] else unmet


def _children(
    one: int,
    chosen: int,
    cost: float,
    left: int,
    costs: Sequence[float],
    order: Sequence[float] | None = None,
) -> list[tuple[int, float, int]]:
    """Meet a set by each of its members, the cheapest last: it is taken up first."""
    children = []
    for member in sorted(bits(one), key=(order or costs).__getitem__):
        children.append((chosen | 1 << member, cost + costs[member], left))
        left &= ~(1 << member)
    return children[::-1]


def _at_least(sets: Iterable[int], costs: Sequence[float]) -> float:
    """Add up the cheapest members of sets of which no two share one."""
    used, total = 0, 0.0
    for one in sets:
        if not one & used:
            used |= one
            total += min(costs[place] for place in bits(one))
    return total


def smallest_covers(sets: Sequence[int]) -> list[int]:
    """Give all sets that meet each set and of which no member can be left out (Berge)."""
    covers = [0]
    for one in sorted(sets, key=int.bit_count):
        met = [cover for cover in covers if cover & one]
        more = [cover | 1 << member for cover in covers if not cover & one for member in bits(one)]
        if len(more) > 20 * MOST_COVERS:
            raise TooManyCovers
        covers = list(smallest_only([*met, *more]))
        if len(covers) > MOST_COVERS:
            raise TooManyCovers
    return covers
