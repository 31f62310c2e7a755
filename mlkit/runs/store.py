"""The record of all runs: one SQLite file beside the executed notebooks.

A row in ``runs`` is one execution of one lesson. It is written before the execution starts
and completed, together with its results, in one transaction after it ended; after that it
never changes. A row in ``batches`` is one ``mlkit run``: ``batch_runs`` lists its runs, and
a resumed batch lists the runs that it kept from earlier ones.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mlkit.paths import KitError

__all__ = ["STATES", "Batch", "Metric", "NewRun", "Run", "State", "Store", "StoreError"]

State = Literal[
    "not_started",
    "running",
    "succeeded",
    "failed",
    "timed_out",
    "kernel_died",
    "broken",
    "skipped",
    "cancelled",
    "interrupted",
]

STATES: Mapping[State, str] = {
    "not_started": "its turn never came",
    "running": "it is under way",
    "succeeded": "every cell ran, and its results are in the record",
    "failed": "a cell raised an error",
    "timed_out": "it took longer than the plan allows",
    "kernel_died": "the process that ran the lesson died, for example for want of memory",
    "broken": "the kit could not run it, for reasons outside the lesson",
    "skipped": "the lesson needs a package that is not installed",
    "cancelled": "somebody pressed Ctrl-C",
    "interrupted": "the program that ran it was killed",
}
"""Every state of a run, and what it means. Only "succeeded" has results."""

SCHEMA_VERSION = 1

# No write-ahead log: it needs shared memory, which the network drives of offices lack, and
# it would put recent runs into a second file that a copy of the first one misses.
_SCHEMA = """
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    plan TEXT NOT NULL,         -- name of the plan's file, without its ending
    plan_text TEXT NOT NULL,    -- the plan as it was
    folder TEXT NOT NULL,       -- where its notebooks and report are, beside this file
    started TEXT NOT NULL,      -- UTC
    finished TEXT               -- UTC; null while it is under way and when it was killed
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,       -- the same for the same lesson, parameters, data and kit
    lesson TEXT NOT NULL,
    title TEXT NOT NULL,
    parameters TEXT NOT NULL,   -- JSON: every parameter, also those left at their default
    repeat INTEGER NOT NULL,    -- counts from 0; each repeat has the next SEED
    notebook_hash TEXT NOT NULL,   -- of the solved copy, before it ran
    dataset_hashes TEXT NOT NULL,  -- JSON: from data set to hash
    state TEXT NOT NULL,
    error_name TEXT,
    error_message TEXT,
    error_cell INTEGER,         -- counts code cells from 1, as Jupyter numbers them
    started TEXT,               -- UTC
    finished TEXT,              -- UTC
    seconds REAL,
    versions TEXT,              -- JSON: from package to version
    output TEXT,                -- the executed notebook, relative to this file's folder
    CHECK ((state IN ('not_started', 'running', 'interrupted')) = (finished IS NULL))
);
CREATE INDEX runs_by_run_id ON runs (run_id, state);
CREATE TABLE batch_runs (
    batch INTEGER NOT NULL REFERENCES batches (id),
    position INTEGER NOT NULL,
    run INTEGER NOT NULL REFERENCES runs (id),
    PRIMARY KEY (batch, position)
);
CREATE TABLE metrics (
    run INTEGER NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    value,                      -- number, text or null; true and false as 1 and 0
    type TEXT NOT NULL,         -- number, text, boolean or none
    unit TEXT NOT NULL,
    data TEXT NOT NULL CHECK (data IN ('real', 'simulated')),
    standard_error REAL,
    interval_low REAL,          -- an open end is infinite
    interval_high REAL,
    confidence REAL,
    note TEXT NOT NULL,
    PRIMARY KEY (run, name)
);
"""


class StoreError(KitError):
    """The record cannot be read or written."""


@dataclass(frozen=True)
class Metric:
    """A result that a lesson recorded; see :func:`mlkit.exercises.record`.

    Parameters
    ----------
    name : str
        The result's name.
    value : float, int, str, bool or None
        The result.
    unit : str
        Its unit; may be empty.
    data : {"real", "simulated"}
        What it was computed from.
    standard_error : float or None
        In the unit of the value.
    interval : tuple of two floats or None
        An open end is infinite.
    confidence : float or None
        The confidence of the interval.
    note : str
        What a reader must know; may be empty.
    """

    name: str
    value: float | int | str | bool | None
    unit: str
    data: str
    standard_error: float | None
    interval: tuple[float, float] | None
    confidence: float | None
    note: str


@dataclass(frozen=True)
class NewRun:
    """A run before it starts.

    Parameters
    ----------
    run_id : str
        The same for the same lesson, parameters, data and version of the kit.
    lesson, title : str
        The lesson's key and title.
    parameters : dict
        Every parameter of the lesson.
    repeat : int
        Counts from 0.
    notebook_hash : str
        Of the solved copy.
    dataset_hashes : dict
        From the name of a data set to its hash.
    """

    run_id: str
    lesson: str
    title: str
    parameters: Mapping[str, Any]
    repeat: int
    notebook_hash: str
    dataset_hashes: Mapping[str, str]


@dataclass(frozen=True)
class Run(NewRun):
    """A run as the record has it.

    Parameters
    ----------
    number : int
        Its number in the record.
    state : str
        One of :data:`STATES`.
    error_name, error_message : str or None
        What went wrong.
    error_cell : int or None
        Where: code cells are counted from 1.
    started, finished : str or None
        UTC.
    seconds : float or None
        How long it took.
    versions : dict
        From package to version.
    output : str or None
        The executed notebook, relative to the record's folder.
    metrics : tuple of Metric
        Its results, in the order in which the lesson recorded them.
    """

    number: int
    state: State
    error_name: str | None = None
    error_message: str | None = None
    error_cell: int | None = None
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    versions: Mapping[str, str] | None = None
    output: str | None = None
    metrics: tuple[Metric, ...] = ()

    @property
    def good(self) -> bool:
        """Whether nothing is wrong: it succeeded, or was skipped for want of a package."""
        return self.state in ("succeeded", "skipped")


@dataclass(frozen=True)
class Batch:
    """The runs of one ``mlkit run``.

    Parameters
    ----------
    number : int
        Its number in the record.
    plan, plan_text : str
        Name and text of the plan.
    folder : Path
        Where its notebooks and its report are.
    started : str
        UTC.
    finished : str or None
        UTC.
    runs : tuple of Run
        In the order of the plan.
    kept : frozenset of int
        Numbers of the runs that an earlier batch executed.
    """

    number: int
    plan: str
    plan_text: str
    folder: Path
    started: str
    finished: str | None
    runs: tuple[Run, ...]
    kept: frozenset[int]


class Store:
    """The record in a folder; made when it does not exist.

    Several programs may use one record at the same time.

    Parameters
    ----------
    folder : Path
        Gets the file ``runs.sqlite``.

    Raises
    ------
    StoreError
        If the folder cannot be written, or the file is no record or one of a newer kit.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Store(Path(folder.name)) as store:
    ...     batch = store.begin("my-plan", "runs: []", [])
    ...     store.end(batch)
    ...     store.batch(batch).plan
    'my-plan'
    >>> folder.cleanup()
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._locks: dict[int, sqlite3.Connection] = {}
        file = self.folder / "runs.sqlite"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Autocommit: each transaction below is begun by name. Another program's is waited for.
            self._connection = sqlite3.connect(file, timeout=60, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{file}: cannot be written ({error}). Name another --out.") from None
        try:
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._make_tables(file)
        except sqlite3.Error as error:
            self._connection.close()
            raise StoreError(
                f"{file}: cannot be used as a record of runs ({error}). Name another --out, or "
                "move the file away."
            ) from None
        except StoreError:
            self._connection.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        for lock in self._locks.values():
            lock.close()
        self._connection.close()

    def begin(
        self, plan: str, plan_text: str, runs: Sequence[NewRun], *, resume: bool = False
    ) -> int:
        """Begin a batch.

        Parameters
        ----------
        plan, plan_text : str
            Name and text of the plan.
        runs : sequence of NewRun
            In the order of the plan.
        resume : bool, default=False
            Whether to keep runs that succeeded before, in any batch of this record.

        Returns
        -------
        int
            The batch's number. Until :meth:`end` this program holds the batch: when it dies,
            others can tell.
        """
        with self._transaction() as sql:
            batch = sql.execute(
                "INSERT INTO batches (plan, plan_text, folder, started) VALUES (?, ?, '', ?)",
                (plan, plan_text, _now()),
            ).lastrowid
            assert batch is not None  # noqa: S101 - sqlite3 gives None only after other statements
            folder = self._make_folder(f"{plan}-{batch}")
            sql.execute("UPDATE batches SET folder = ? WHERE id = ?", (folder.name, batch))
            self._locks[batch] = _lock(folder)
            for position, run in enumerate(runs):
                number = self._succeeded(run.run_id) if resume else None
                sql.execute(
                    "INSERT INTO batch_runs VALUES (?, ?, ?)",
                    (batch, position, number or self._insert(run)),
                )
        return batch

    def start(self, number: int) -> None:
        """Note that a run starts now.

        Parameters
        ----------
        number : int
            The run's number.
        """
        with self._transaction() as sql:
            sql.execute(
                "UPDATE runs SET state = 'running', started = ? WHERE id = ?", (_now(), number)
            )

    def finish(
        self,
        number: int,
        state: State,
        *,
        error: tuple[str | None, str | None, int | None] = (None, None, None),
        seconds: float | None = None,
        versions: Mapping[str, str] | None = None,
        output: str | None = None,
        metrics: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Complete the record of a run, all at once; a completed record stays as it is.

        Parameters
        ----------
        number : int
            The run's number.
        state : str
            How it ended.
        error : tuple
            Name, message and cell of what went wrong.
        seconds : float, optional
            How long it took.
        versions : dict, optional
            From package to version.
        output : str, optional
            The executed notebook, relative to the record's folder.
        metrics : iterable of dict, optional
            Results in the form of :func:`mlkit.exercises.record`.
        """
        with self._transaction() as sql:
            changed = sql.execute(
                "UPDATE runs SET state = ?, error_name = ?, error_message = ?, error_cell = ?, "
                "finished = ?, seconds = ?, versions = ?, output = ? "
                "WHERE id = ? AND finished IS NULL",
                (state, *error, _now(), seconds, json.dumps(versions or {}), output, number),
            ).rowcount
            if changed:
                sql.executemany(
                    f"INSERT INTO metrics VALUES ({', '.join('?' * 12)})",  # noqa: S608 - no data
                    [
                        (number, position, *_to_row(metric))
                        for position, metric in enumerate(metrics)
                    ],
                )

    def end(self, batch: int) -> None:
        """End a batch that :meth:`begin` began here.

        Parameters
        ----------
        batch : int
            The batch's number.
        """
        with self._transaction() as sql:
            # Ctrl-C may strike between the start of a run and the first look at it.
            self._interrupt(batch)
            sql.execute("UPDATE batches SET finished = ? WHERE id = ?", (_now(), batch))
        self._locks.pop(batch).close()

    def find_interrupted(self) -> int:
        """Mark the runs whose program is gone as interrupted.

        Returns
        -------
        int
            How many there were.
        """
        found = 0
        with self._transaction() as sql:
            under_way = sql.execute(
                "SELECT DISTINCT batches.id, folder FROM batches "
                "JOIN batch_runs ON batch_runs.batch = batches.id "
                "JOIN runs ON runs.id = batch_runs.run WHERE state = 'running'"
            ).fetchall()
            for batch, folder in under_way:
                try:
                    (self.folder / folder).mkdir(exist_ok=True)
                    _lock(self.folder / folder).close()
                except sqlite3.OperationalError:
                    continue  # held: its program is alive
                found += self._interrupt(batch)
        return found

    def batch(self, number: int) -> Batch:
        """Read a batch with its runs and their results.

        Parameters
        ----------
        number : int
            The batch's number.

        Returns
        -------
        Batch
            As the record has it now.
        """
        row = self._connection.execute("SELECT * FROM batches WHERE id = ?", (number,)).fetchone()
        runs = self._connection.execute(
            "SELECT run, (SELECT min(batch) FROM batch_runs AS others "
            "WHERE others.run = batch_runs.run) AS first_batch "
            "FROM batch_runs WHERE batch = ? ORDER BY position",
            (number,),
        ).fetchall()
        return Batch(
            number=row["id"],
            plan=row["plan"],
            plan_text=row["plan_text"],
            folder=self.folder / row["folder"],
            started=row["started"],
            finished=row["finished"],
            runs=tuple(self.run(run["run"]) for run in runs),
            kept=frozenset(run["run"] for run in runs if run["first_batch"] != number),
        )

    def run(self, number: int) -> Run:
        """Read a run with its results.

        Parameters
        ----------
        number : int
            The run's number.

        Returns
        -------
        Run
            As the record has it now.
        """
        row = self._connection.execute("SELECT * FROM runs WHERE id = ?", (number,)).fetchone()
        metrics = self._connection.execute(
            "SELECT * FROM metrics WHERE run = ? ORDER BY position", (number,)
        ).fetchall()
        fields = dict(row)
        for key in ("parameters", "dataset_hashes", "versions"):
            fields[key] = json.loads(fields[key] or "{}")
        return Run(number=fields.pop("id"), metrics=tuple(_to_metric(m) for m in metrics), **fields)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # IMMEDIATE: two programs that both mean to write wait for each other at the start,
        # where waiting works, not in the middle, where SQLite would refuse one of them.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            if self._connection.in_transaction:  # a full disk ends it by itself
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _make_tables(self, file: Path) -> None:
        with self._transaction() as sql:
            version = sql.execute("PRAGMA user_version").fetchone()[0]
            if version == SCHEMA_VERSION:
                return
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{file}: written by a newer version of the kit (its schema is {version}, "
                    f"this kit knows {SCHEMA_VERSION}). Update the kit or name another --out."
                )
            if sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise StoreError(f"{file}: a database, but no record of runs. Name another --out.")
            for statement in _SCHEMA.split(";\n"):
                sql.execute(statement)
            sql.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _interrupt(self, batch: int) -> int:
        return self._connection.execute(
            "UPDATE runs SET state = 'interrupted' WHERE state = 'running' "
            "AND id IN (SELECT run FROM batch_runs WHERE batch = ?)",
            (batch,),
        ).rowcount

    def _make_folder(self, name: str) -> Path:
        # The record may have been removed and the folders of its batches left behind.
        folder = self.folder / name
        while folder.exists():
            folder = folder.with_name(folder.name + "-new")
        folder.mkdir()
        return folder

    def _succeeded(self, run_id: str) -> int | None:
        rows = self._connection.execute(
            "SELECT id, output FROM runs WHERE run_id = ? AND state = 'succeeded' ORDER BY id DESC",
            (run_id,),
        ).fetchall()
        # A run whose notebook somebody removed is worth running again.
        return next((row["id"] for row in rows if (self.folder / row["output"]).is_file()), None)

    def _insert(self, run: NewRun) -> int | None:
        return self._connection.execute(
            "INSERT INTO runs (run_id, lesson, title, parameters, repeat, notebook_hash, "
            "dataset_hashes, state) VALUES (?, ?, ?, ?, ?, ?, ?, 'not_started')",
            (
                run.run_id,
                run.lesson,
                run.title,
                json.dumps(run.parameters),
                run.repeat,
                run.notebook_hash,
                json.dumps(run.dataset_hashes),
            ),
        ).lastrowid


def _lock(folder: Path) -> sqlite3.Connection:
    """Take a batch's lock, or raise sqlite3.OperationalError when another program holds it.

    The operating system lets go of it when the program dies, however it dies. SQLite's locks
    serve because they work everywhere that the record itself works.
    """
    lock = sqlite3.connect(folder / "batch.lock", timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        lock.close()
        raise
    return lock


def _to_row(metric: Mapping[str, Any]) -> tuple[Any, ...]:
    value = metric["value"]
    low, high = metric["interval"] or (None, None)
    if metric["interval"] is not None:
        # JSON has no infinity, SQLite has.
        low, high = -math.inf if low is None else low, math.inf if high is None else high
    if isinstance(value, int) and abs(value) >= 2**63:
        value = float(value)  # SQLite's whole numbers have 64 bits
    return (
        metric["name"],
        value,
        _type(value),
        metric["unit"],
        metric["data"],
        metric["standard_error"],
        low,
        high,
        metric["confidence"],
        metric["note"],
    )


def _to_metric(row: sqlite3.Row) -> Metric:
    low, high = row["interval_low"], row["interval_high"]
    return Metric(
        name=row["name"],
        value=bool(row["value"]) if row["type"] == "boolean" else row["value"],
        unit=row["unit"],
        data=row["data"],
        standard_error=row["standard_error"],
        interval=None if low is None else (low, high),
        confidence=row["confidence"],
        note=row["note"],
    )


def _type(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
