"""Carry out a plan: one notebook after another on an executor, and a record of each."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

import mlkit
from mlkit.lessons import solved_copy
from mlkit.paths import write_whole
from mlkit.runs.plan import Plan
from mlkit.runs.store import Batch, NewRun, Run, Store

if TYPE_CHECKING:
    from mlkit.runs.notebook import Outcome

__all__ = ["Progress", "run_plan"]

Progress = Callable[[Run], None]
"""Called whenever a run changes its state."""


def run_plan(
    plan: Plan,
    *,
    out: Path,
    executor: Executor | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Batch:
    """Run every lesson of a plan and record how each run ended.

    Every call begins a new batch in the record; nothing that an earlier one left is changed
    or overwritten. After Ctrl-C the runs under way are stopped and recorded as cancelled, and
    the batch is returned as far as it got.

    Parameters
    ----------
    plan : Plan
        A checked plan.
    out : Path
        The folder of the record, of the executed notebooks and of the report.
    executor : concurrent.futures.Executor, optional
        Where the notebooks run; threads of this process by default. Not shut down here.
        It never gets more than `plan.limits.workers` notebooks at a time.
    resume : bool, default=False
        Whether to keep the runs that succeeded before with the same lesson, parameters, data
        and version of the kit, and to run only the others.
    progress : callable, optional
        Called with a run whenever its state changes.

    Returns
    -------
    Batch
        All runs of the plan, in its order.

    Raises
    ------
    StoreError
        If the record cannot be used; nothing has run then.

    Examples
    --------
    >>> batch = run_plan(plan, out=Path("runs"))  # doctest: +SKIP
    >>> [run.state for run in batch.runs]  # doctest: +SKIP
    ['succeeded', 'succeeded']
    """
    jobs = list(_prepare(plan))
    with Store(out) as store:
        store.find_interrupted()
        number = store.begin(plan.name, plan.text, [job.run for job in jobs], resume=resume)
        batch = store.batch(number)
        say = progress or (lambda run: None)
        workers = plan.limits.workers
        waiting = []
        for job, run in zip(jobs, batch.runs, strict=True):
            if run.number in batch.kept:
                say(run)
            else:
                waiting.append((run.number, job))
        with nullcontext(executor) if executor else ThreadPoolExecutor(workers) as pool:
            _Batch(store, batch, plan, pool, say).carry_out(waiting)
        store.end(number)
        return store.batch(number)


@dataclass(frozen=True)
class _Job:
    """A run and the notebook that it runs."""

    run: NewRun
    notebook: str


def _prepare(plan: Plan) -> Iterator[_Job]:
    notebooks = {lesson: solved_copy(master) for lesson, master in plan.masters.items()}
    texts = {lesson: nbformat.writes(notebook) for lesson, notebook in notebooks.items()}
    for planned in plan.runs:
        made_from = notebooks[planned.lesson].metadata["mlkit"]["built_from"]
        identity = (planned.lesson, planned.parameters, made_from, mlkit.__version__)
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
        run = NewRun(
            run_id=f"{planned.lesson.replace('/', '-')}-{digest}",
            lesson=planned.lesson,
            title=plan.masters[planned.lesson].front.title,
            parameters=planned.parameters,
            repeat=planned.repeat,
            notebook_hash=made_from["copy"],
            dataset_hashes=made_from["datasets"],
        )
        yield _Job(run, texts[planned.lesson])


class _Batch:
    """The runs of one batch while they are carried out."""

    def __init__(
        self, store: Store, batch: Batch, plan: Plan, executor: Executor, say: Progress
    ) -> None:
        self.store = store
        self.batch = batch
        self.limits = plan.limits
        # Not at the top of the file: papermill takes a second to import, and whoever only reads
        # a plan or a record never needs it.
        from mlkit.runs.notebook import run_notebook, stop_notebooks

        self.run_notebook = run_notebook
        self.stop_notebooks = stop_notebooks
        self.executor = executor
        self.say = say
        self.under_way: dict[Future[Outcome], tuple[int, _Job]] = {}

    def carry_out(self, jobs: list[tuple[int, _Job]]) -> None:
        waiting = deque(jobs)
        try:
            while waiting or self.under_way:
                while waiting and len(self.under_way) < self.limits.workers:
                    self._start(*waiting.popleft())
                self._wait()
        except KeyboardInterrupt:
            self._stop()
        except BaseException:
            self.stop_notebooks()  # or the threads would go on until their lessons end
            raise

    def _start(self, number: int, job: _Job) -> None:
        self.store.start(number)
        try:
            future = self.executor.submit(
                self.run_notebook,
                job.notebook,
                dict(job.run.parameters),
                seconds_per_cell=self.limits.seconds_per_cell,
                seconds_per_run=self.limits.seconds_per_run,
            )
        except Exception as error:  # an executor may refuse work for reasons of its own
            future = Future()
            future.set_exception(error)
        self.under_way[future] = number, job
        self._say(number)

    def _wait(self, seconds: float = 1) -> None:
        # With a time limit, because on Windows Ctrl-C does not end a wait without one.
        done, _ = wait(self.under_way, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            self._finish(future)
            del self.under_way[future]

    def _finish(self, future: Future[Outcome]) -> None:
        number, job = self.under_way[future]
        try:
            outcome = future.result()
        except CancelledError:
            self.store.finish(number, "cancelled")
            self._say(number)
            return
        except Exception as error:  # such as a worker that went away
            self.store.finish(number, "broken", error=(type(error).__name__, str(error), None))
            self._say(number)
            return
        output = self.batch.folder / f"{job.run.run_id}.ipynb"
        write_whole(outcome["notebook"], output)
        self.store.finish(
            number,
            outcome["state"],
            error=(outcome["error_name"], outcome["error_message"], outcome["error_cell"]),
            seconds=outcome["seconds"],
            versions=outcome["versions"],
            output=output.relative_to(self.store.folder).as_posix(),
            metrics=outcome["metrics"],
        )
        self._say(number)

    def _stop(self) -> None:
        for future in self.under_way:
            future.cancel()
        while self.under_way:
            # Again and again: a kernel may only just be starting.
            self.stop_notebooks()
            self._wait(0.5)

    def _say(self, number: int) -> None:
        self.say(self.store.run(number))
