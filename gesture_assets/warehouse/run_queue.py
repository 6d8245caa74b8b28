"""Runs under way: who lets whom pass, who builds what somebody else waits for, and whose process is gone.

Belongs here: one file a run, held locked by its process. Does not belong here: the writer's lock (`lock.py`).
The kernel gives the lock back when a process dies, so a file that nobody holds is a run that was killed.
"""

import fcntl
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from gesture_assets.compat.dagster_storage import forget_plans
from gesture_assets.errors import GateClosed, GestureError
from gesture_assets.warehouse.lock import Obstacle, wait_while

KILLED = "The process of this run is gone: it was killed, or the machine went down."


@dataclass(frozen=True)
class QueuedRun:
    """A run under way: its process, its days, and whether backfills let it pass."""

    run_id: str
    pid: int
    what: str
    days: tuple[date, ...]
    goes_first: bool

    @property
    def who(self) -> str:
        """`PID 4711 (nightly for 2026-03-09, run 1a2b3c4d)`."""
        return f"PID {self.pid} ({self.what}, run {self.run_id[:8]})"


@dataclass(frozen=True)
class RunQueue:
    """The runs under way of one warehouse: a folder beside it."""

    folder: Path

    @classmethod
    def beside(cls, warehouse: Path) -> "RunQueue":
        """The runs of the warehouse at this path."""
        return cls(warehouse.with_suffix(".runs"))

    @contextmanager
    def register(self, run_id: str, what: str, days: Collection[date], *, goes_first: bool) -> Iterator[None]:
        """Be known as a run under way. Nothing is done a second time for a run that this process has named before.

        A run that is broken off by an error stays among `killed_runs`: on a full disk Dagster cannot note its end.
        """
        path = self.folder / f"{run_id}.json"
        if any(run.run_id == run_id and run.pid == os.getpid() for run in self._alive()):
            yield
            return
        descriptor = self._write(QueuedRun(run_id, os.getpid(), what, tuple(sorted(days)), goes_first))
        try:
            yield
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    @contextmanager
    def let_backfills_pass(self, run_id: str) -> Iterator[None]:
        """Let backfills pass for a while, though this run goes first otherwise: it waits for one of them."""
        mine = [run for run in self._alive() if run.run_id == run_id and run.goes_first]
        if not mine:
            yield
            return
        # A name beside the run's own: the run itself stays known and held by the descriptor it has.
        aside = self.folder / f"{run_id}.aside"
        aside.touch()
        try:
            yield
        finally:
            aside.unlink(missing_ok=True)

    def other_runs(self) -> list[QueuedRun]:
        """The runs of other processes, in the order of their days."""
        return sorted((run for run in self._alive() if run.pid != os.getpid()), key=lambda run: (run.days, run.pid))

    def who_goes_first(self) -> str | None:
        """Who goes first among the runs of other processes, unless it waits for somebody itself."""
        for run in self.other_runs():
            if run.goes_first and not (self.folder / f"{run.run_id}.aside").exists():
                return run.who
        return None

    def wait_for_builders(
        self, run_id: str, own: Collection[date], refusal: GateClosed, *, waiter: str, timeout_seconds: float
    ) -> bool:
        """Wait until no other run is building the days whose gates `refusal` found closed; whether there was one.

        A run waits for days before its `own` only, so two runs never wait for each other. Raises `refusal` when the
        time is up.
        """
        missing = set(refusal.days).difference(own)

        def obstacle() -> Obstacle | None:
            builders = [run for run in self.other_runs() if missing.intersection(run.days)]
            return Obstacle(builders[0].who) if builders else None

        def give_up(who: str, waited: float) -> GestureError:
            del who, waited
            return refusal

        if not obstacle():
            return False
        days = f"{min(missing)}" + (f" and {len(missing) - 1} days more" if len(missing) > 1 else "")
        with self.let_backfills_pass(run_id):
            wait_while(obstacle, waiter=waiter, waits_for=days, timeout_seconds=timeout_seconds, give_up=give_up)
        return True

    def killed_runs(self) -> list[str]:
        """Run ids of the processes that are gone and have not taken their leave."""
        return sorted(path.stem for path in self.folder.glob("*.json") if not _is_held(path))

    def killed_days(self) -> frozenset[date]:
        """The days of the processes that are gone and have not taken their leave."""
        runs = [run for path in self.folder.glob("*.json") if not _is_held(path) and (run := _read(path))]
        return frozenset(day for run in runs for day in run.days)

    def end_killed_runs(self, instance: Any) -> list[str]:
        """Report runs as failed to Dagster's `instance` whose process is gone, and forget them; returns their ids."""
        ended: list[str] = []
        for run_id in self.killed_runs():
            run = instance.get_run_by_id(run_id)
            if run and not run.is_finished:
                instance.report_run_failed(
                    run, "The process of this run is gone: it was killed, or the machine went down."
                )
                ended.append(run_id)
            forget_plans(instance, run_id)
            self.forget(run_id)
        return ended

    def forget(self, run_id: str) -> None:
        """Nothing more is to be done about a killed run."""
        for suffix in (".json", ".aside"):
            (self.folder / f"{run_id}{suffix}").unlink(missing_ok=True)

    def _write(self, run: QueuedRun) -> int:
        """The file of `run`, locked before it has its name, so that nobody ever sees it without its holder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f".{run.run_id}.{run.pid}"
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        content = {"pid": run.pid, "what": run.what, "days": [str(day) for day in run.days], "first": run.goes_first}
        os.write(descriptor, json.dumps(content).encode())
        beside.replace(self.folder / f"{run.run_id}.json")
        return descriptor

    def _alive(self) -> list[QueuedRun]:
        return [run for path in self.folder.glob("*.json") if _is_held(path) and (run := _read(path))]


def _read(path: Path) -> QueuedRun | None:
    """What `path` says of its run; None where that has ended since."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    days = tuple(date.fromisoformat(day) for day in content["days"])
    return QueuedRun(path.stem, content["pid"], content["what"], days, content["first"])


def _is_held(path: Path) -> bool:
    """Whether the process that wrote `path` still lives."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True  # it has just taken its leave: not killed
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
