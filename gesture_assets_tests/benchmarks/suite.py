"""The comparisons: each part measures the product beside its baseline, and says which limits hold.

Belongs here: which runs are compared, and the limits with their reasons. Does not belong here: the runs themselves
(`runs.py`), what is printed (`__main__.py`).

Every run is a process of its own, so that its peak memory is its own. Runs that are compared alternate, and of repeated
ones the fastest counts: whatever else the machine does can only add time.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gesture_assets.contracts.contract import PARTITION
from gesture_assets_tests.benchmarks.cost import MORE_TABLES
from gesture_assets_tests.benchmarks.product import GATES
from gesture_assets_tests.benchmarks.world import Size

ROOT = Path(__file__).resolve().parents[2]
Figures = dict[str, Any]
# What only gates look at, and a hash of the whole CRM: no other table depends on it, and the script does not make it.
NOT_COMPARED = (
    "content_hash",
    "found_columns",
    "least_row_count",
    "most_row_count",
    "expected_column_count",
    "odd_product_count",
    "odd_date_count",
    "broken_row_count",
    "repeated_row_count",
    "ignored_count",
    "redacted_count",
    "unreadable_count",
    "description",
    "read_columns",
    "unreadable_values",
    "most_unreadable_count",
    "currency",
    "other_currency_count",
)
NO_ROWS = "None"
DAYS_TO_LEARN_FROM = 60  # of a world, before which a training is refused
# What DuckDB may take of the four GB that the design allows at 100 M events; Python, Polars and Arrow have the rest.
MEMORY_LIMIT = "2500MB"
# Steps whose tables the script does not make: their time is no part of the comparison.
NOT_BY_HAND = ("who_buys", "engagement_outliers", "model_scores", "intent_scores")


@dataclass(frozen=True)
class Limit:
    """A claim of the design: `found` is at most `limit`, or at least where `is_floor`."""

    what: str
    found: float
    limit: float
    is_floor: bool = False

    @property
    def holds(self) -> bool:
        """Whether the claim is true in this run."""
        return self.found >= self.limit if self.is_floor else self.found <= self.limit


@dataclass
class Part:
    """One part's outcome: the size it ran at, its figures, and its limits."""

    name: str
    size: Size
    figures: Figures
    limits: list[Limit] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The part as it is written to the file."""
        limits = [asdict(limit) | {"holds": limit.holds} for limit in self.limits]
        return {"part": self.name, "size": asdict(self.size), "figures": self.figures, "limits": limits}


@dataclass(frozen=True)
class Bench:
    """Where the suite works, and how often a run is repeated; `statements` asks for the longest SQL statements.

    `settings`: what runs have set, beside what is set already.
    """

    folder: Path
    repeat: int = 1
    statements: bool = False
    say: Callable[[str], None] = print
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(self, name: str, size: Size, **arguments: Any) -> Figures:
        """The figures of one run of `runs.py` in a process of its own, `peak_bytes` of memory among them.

        Raises `RuntimeError` with what the process said when it fails.
        """
        given = json.dumps({"folder": str(self.folder), "size": asdict(size)} | arguments)
        command = [sys.executable, "-m", "gesture_assets_tests.benchmarks.runs", name, given]
        self.say(f"{name}: {size.events:,} events, {size.users:,} users, {size.days} days")
        seconds, peak, code, out, err = timed_process(command, {**self.settings, **os.environ})
        if code:
            raise RuntimeError(f"{name} failed after {seconds:.0f} s:\n{err[-4000:]}")
        return json.loads(out.splitlines()[-1]) | {"peak_bytes": peak}

    def fastest(self, size: Size, **runs: dict[str, Any]) -> dict[str, Figures]:
        """Each of `runs` (name -> arguments) as often as is wished for, in turn; the fastest of each."""
        best: dict[str, Figures] = {}
        for _ in range(self.repeat):
            for name, arguments in runs.items():
                found = self.run(name, size, **arguments)
                if name not in best or found["seconds"] < best[name]["seconds"]:
                    best[name] = found
        return best


def timed_process(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, int, int, str, str]:
    """Run `command` from the checkout: seconds, peak bytes of memory, exit code, what it printed and complained of."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit, process.returncode, texts[0], texts[1]


def night(bench: Bench, size: Size) -> Part:
    """One night with its history behind it, against the same tables by hand."""
    history = bench.run("history", size)
    found = bench.fastest(size, night={"statements": bench.statements}, night_by_hand={})
    ours, by_hand = found["night"], found["night_by_hand"]
    contents, made = ours.pop("contents"), by_hand.pop("contents")
    del made["top_users"]  # the script's list goes by points, the product's by the champion
    unequal, left_out = differences(contents, made), _left_out(contents, made)
    gates = sum(ours["parts"].get(name, 0.0) for name in GATES) / ours["seconds"]
    compared = ours["seconds"] - sum(ours["steps"].get(step, 0.0) for step in NOT_BY_HAND)
    return Part(
        "night",
        size,
        {"history": history, "night": ours, "by_hand": by_hand, "differences": unequal, "not_by_hand": left_out},
        [
            Limit("night ÷ the same tables by hand, without gates", compared / by_hand["seconds"], 1.5),
            Limit("whole night with a champion ÷ by hand without one", ours["seconds"] / by_hand["seconds"], 1.8),
            Limit("share of all gates in the night", gates, 0.35),
        ],
    )


def differences(ours: dict[str, dict[str, str]], theirs: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """Table -> columns made by both whose values of the night are not the same; empty: what is compared is equal."""
    found = {
        table: sorted({name for name, _ in ours[table].items() - made.items()} - set(NOT_COMPARED))
        for table, made in theirs.items()
        if table not in _left_out(ours, theirs)
    }
    return {table: columns for table, columns in found.items() if columns}


def _left_out(ours: dict[str, dict[str, str]], theirs: dict[str, dict[str, str]]) -> list[str]:
    """Tables that only the product fills: their time is in its figure and not in the script's."""
    return sorted(
        table
        for table, columns in ours.items()
        if columns[PARTITION] != NO_ROWS and theirs.get(table, {}).get(PARTITION, NO_ROWS) == NO_ROWS
    )


def long_history(bench: Bench, size: Size) -> Part:
    """The night with three times the history, as many events a day."""
    long = Size(size.events * 3, size.users, size.days * 3)
    for one in (size, long):
        bench.run("history", one)
    short_night, long_night = bench.fastest(size, night={})["night"], bench.fastest(long, night={})["night"]
    for found in (short_night, long_night):
        del found["contents"]
    ratio = long_night["seconds"] / short_night["seconds"]
    return Part(
        "long_history",
        size,
        {"night": short_night, "night_with_3_times_the_history": long_night},
        [Limit(f"night with {long.days} days ÷ with {size.days} days", ratio, 1.2)],
    )


def pandas(bench: Bench, size: Size) -> Part:
    """All events from one file to scores, against a plain pandas script and SQL by hand."""
    size = Size(size.events, size.users, 1, keeps_sessions=True)
    form = {"form": "csv"}
    from_csv = bench.fastest(size, from_files=form, from_files_by_hand=form, by_pandas={})
    ours, by_hand, theirs = from_csv["from_files"], from_csv["from_files_by_hand"], from_csv["by_pandas"]
    form = {"form": "parquet"}
    from_parquet = bench.fastest(size, from_files=form, from_files_by_hand=form)
    parquet, parquet_by_hand = from_parquet["from_files"], from_parquet["from_files_by_hand"]
    return Part(
        "pandas",
        size,
        {
            "from_csv": ours,
            "from_csv_by_hand": by_hand,
            "from_parquet": parquet,
            "from_parquet_by_hand": parquet_by_hand,
            "pandas": theirs,
        },
        [
            Limit("whole night from CSV ÷ SQL by hand", ours["seconds"] / by_hand["seconds"], 1.8),
            Limit("whole night from Parquet ÷ SQL by hand", parquet["seconds"] / parquet_by_hand["seconds"], 1.6),
            Limit(
                "times faster than plain pandas, both from CSV", theirs["seconds"] / ours["seconds"], 3, is_floor=True
            ),
            Limit(
                "times faster from Parquet than plain pandas from CSV",
                theirs["seconds"] / parquet["seconds"],
                3,
                is_floor=True,
            ),
            Limit("GB at most, from CSV", ours["peak_bytes"] / 1e9, 2.5),
        ],
    )


def landing(bench: Bench, size: Size) -> Part:
    """CSV files, one a day, to canonical rows, counted, against one statement without lines."""
    found = bench.run("landing", size)
    ours, by_hand = found["landing"], found["by_hand"]
    ratio = ours["processor_seconds"] / by_hand["processor_seconds"]
    each = 2_000_000 / size.events * ours["processor_seconds"]
    return Part(
        "landing",
        size,
        {"landing": ours, "by_hand": by_hand},
        [Limit("CPU seconds for 2 M rows", each, 7), Limit("CPU seconds ÷ one statement by hand", ratio, 1.6)],
    )


def backfill(bench: Bench, size: Size) -> Part:
    """All days as one range, against a single day. A range is no slower than its days: it plans and opens once."""
    found = bench.run("backfill", size)
    ratio = found["per_day"] / found["single_day"]
    return Part("backfill", size, found, [Limit("a day of the range ÷ a day alone", ratio, 1.0)])


def memory(bench: Bench, size: Size) -> Part:
    """Peak memory of loading the history and of the night on top of it, where DuckDB may take `MEMORY_LIMIT`."""
    bench = replace(bench, settings={"GESTURE_DUCKDB_MEMORY_LIMIT": MEMORY_LIMIT})
    shutil.rmtree(bench.folder / size.name, ignore_errors=True)  # a history that is there already was not loaded here
    history, ours = bench.run("history", size), bench.run("night", size)
    del ours["contents"]
    return Part(
        "memory",
        size,
        {"history": history, "night": ours},
        [
            Limit("GB at most while the history loads", history["peak_bytes"] / 1e9, 4),
            Limit("GB at most during the night", ours["peak_bytes"] / 1e9, 4),
        ],
    )


def fixed(bench: Bench, size: Size) -> Part:
    """What a command costs before it does anything, imports included; the same at every size."""
    gesture = [sys.executable, "-m", "gesture_assets.cli"]
    with tempfile.TemporaryDirectory(dir=bench.folder) as own:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("GESTURE_", "DAGSTER"))
        }
        environment["GESTURE_DATA_DIR"] = own
        # A command, its limit, and how often it can be asked: a day is live once it was run.
        commands: dict[str, tuple[list[str], float | None, int]] = {
            "gesture --help": ([*gesture, "--help"], 0.5, 3),
            "definitions load": ([sys.executable, "-c", "import gesture_assets.definitions"], 2.5, 3),
            "gesture demo-data, 20 users, 1 day": ([*gesture, "demo-data", "--users", "20", "--days", "1"], None, 1),
            "gesture run, 20 users, 1 day": ([*gesture, "run"], 20, 1),
        }
        figures, limits = {}, []
        for name, (command, limit, times) in commands.items():
            bench.say(name)
            seconds, peak, code, out, err = min(timed_process(command, environment) for _ in range(times))
            if code:
                raise RuntimeError(f"{name} failed:\n{out[-2000:]}\n{err[-2000:]}")
            figures[name] = {"seconds": seconds, "peak_bytes": peak}
            if limit is not None:
                limits.append(Limit(f"seconds of {name}", seconds, limit))
    return Part("fixed", size, figures, limits)


def cost(bench: Bench, size: Size) -> Part:
    """CPU seconds of a small company's nights, beside the least that Dagster and the libraries take."""
    names = ["nights_in_one_run", "floor", "cold_night", "cold_night_of_new_code"]
    names += ["warm_nights", "warm_nights_of_more_tables"]
    if size.days >= DAYS_TO_LEARN_FROM:
        names.append("a_training")
    found = {name: bench.run(name, size) for name in names}
    found["nothing_changed"] = found["warm_nights"].pop("nothing_changed")
    del found["warm_nights_of_more_tables"]["nothing_changed"]
    spent = {name: run["processor_seconds"] for name, run in found.items()}
    one_more = (spent["warm_nights_of_more_tables"] - spent["warm_nights"]) / MORE_TABLES
    return Part(
        "cost",
        size,
        found,
        [
            Limit("a cold night ÷ the floor", spent["cold_night"] / spent["floor"], 1.6),
            Limit("CPU seconds of a warm night of 60 users", spent["warm_nights"], 4),
            Limit("CPU seconds of a warm night in which nothing changed", spent["nothing_changed"], 1.5),
            Limit("CPU seconds of one more table of ten columns and eleven checks, warm", one_more, 0.08),
            Limit(f"CPU seconds of {size.days} nights in one run", spent["nights_in_one_run"], 0.8 * size.days),
            Limit(f"GB at most during {size.days} nights", found["nights_in_one_run"]["peak_bytes"] / 1e9, 1.2),
            Limit("MB of run storage", found["nights_in_one_run"]["run_storage_bytes"] / 1e6, 25),
            *(Limit("CPU seconds of a training", spent[name], 15) for name in names if name == "a_training"),
        ],
    )


def models(bench: Bench, size: Size) -> Part:
    """Training, scoring and reasons of sixty features, against XGBoost's own calls on a ready matrix."""
    runs = {name: bench.run(name, size) for name in ("model_training", "model_scoring", "model_reasons")}
    most = {"model_training": 1.2, "model_scoring": 1.3, "model_reasons": 1.3}
    return Part(
        "models",
        size,
        runs,
        [
            Limit(f"{name} ÷ XGBoost's own", runs[name]["seconds"] / runs[name]["xgboost_seconds"], limit)
            for name, limit in most.items()
        ]
        + [Limit(f"GB at most during {name}", runs[name]["peak_bytes"] / 1e9, 4) for name in most],
    )


def demo_model(bench: Bench, size: Size) -> Part:
    """What is acted on in demo worlds beside rules, trees and the oracle, by what is true of people elsewhere."""
    found = bench.run("demo_model", size)
    mean, oracle, worlds = found["mean"], found["oracle"], found["worlds"]
    area = {name: figures["roc_auc"] for name, figures in mean.items()}
    short = min(world["blend"]["roc_auc"] - world["rules"]["roc_auc"] for world in worlds)
    best = max(area["rules"], area["document_001"])
    limits = [
        Limit("ROC AUC of the blend less the better of rules and trees", area["blend"] - best, -0.003, is_floor=True),
        Limit("the same less the rules', in the worst world", short, 0, is_floor=True),
        Limit("ROC AUC acted on less the rules'", area["acted_on"] - area["rules"], 0, is_floor=True),
        Limit("distance of probabilities ÷ buyers from 1", max(abs(world["sum_ratio"] - 1) for world in worlds), 0.25),
    ]
    if size.users >= 8_000 and size.days >= 120:  # with fewer there is too little to learn
        share = area["blend"] / oracle["roc_auc"]
        called = mean["acted_on"]["called"] / oracle["called"]
        limits += [
            Limit("ROC AUC of the blend ÷ the oracle's", share, 0.95, is_floor=True),
            Limit("expected buyers of the first hundred ÷ the oracle's", called, 0.75, is_floor=True),
        ]
    return Part("demo_model", size, found, limits)


def drift(bench: Bench, size: Size) -> Part:
    """A drift report of sixty features, beside SciPy's own functions and, in a Python that has it, Evidently's preset.

    Evidently is no dependency of ours: `EVIDENTLY_PYTHON` names a Python with it.
    """
    found = bench.run("drift_report", size, python=os.environ.get("EVIDENTLY_PYTHON", sys.executable))
    limits = [Limit("seconds of a drift report", found["seconds"], 5)]
    if theirs := found["evidently_seconds"]:
        limits.append(Limit("times faster than Evidently's preset", theirs / found["seconds"], 10, is_floor=True))
    return Part("drift", size, found, limits)


def pings(bench: Bench, size: Size) -> Part:
    """Lists for everybody, from raw events to reasons, beside document 004's loop over users, from ready items on.

    The loop has everything but the scoring of a user done beforehand, and only the events of the users it scores; ours
    has all of its stages counted, and is compared per user all the same.
    """
    world = bench.run("ping_world", size)
    ours, loop = bench.run("ping_lists", size), bench.run("ping_lists_by_loop", size)
    each = [run["seconds"] / run["users"] for run in (loop, ours)]
    return Part(
        "pings",
        size,
        {"world": world, "lists": ours, "loop_of_document_004": loop},
        [
            Limit("users whose lists are not the loop's", loop["unequal_users"], 0),
            Limit("times faster per user than the loop", each[0] / each[1], 100, is_floor=True),
            Limit("CPU seconds for 10 M events", 10_000_000 / max(size.events, 1) * ours["processor_seconds"], 30),
            Limit("GB at most", ours["peak_bytes"] / 1e9, 2),
        ],
    )


def kuairand(bench: Bench, size: Size) -> Part:
    """The second stage for pings on KuaiRand's log: both tables, the test days' and those of the fold before.

    The log is not ours to copy: `GESTURE_REFERENCE_DATA` names the folder it is in, beside the checkout otherwise.
    Its users are `size.users`, all where these are 0.
    """
    reference = os.environ.get("GESTURE_REFERENCE_DATA", str(ROOT.parent / "shared" / "reference"))
    if not (Path(reference) / "short_video").is_dir():
        bench.say(f"kuairand: not run, there is no short_video in {reference}; set GESTURE_REFERENCE_DATA")
        return Part("kuairand", size, {})
    found = bench.run("kuairand", size, reference=reference)
    test = found["test_reranking"]["table"]["ranker"]
    limits = [
        Limit("NDCG@10 of re-ranked impressions", test["ndcg"]["value"], 0.770, is_floor=True),
        Limit("AUC per user of re-ranked impressions", test["auc"]["value"], 0.725, is_floor=True),
    ]
    for fold in ("earlier", "test"):
        less = found[f"{fold}_reranking"]["ranker_less"]
        constant = found[f"{fold}_reranking"]["table"]["constant"]["auc"]["value"]
        limits.append(Limit(f"{fold} days: distance of a constant's AUC from 0.5", abs(constant - 0.5), 0.01))
        for name, least in (("heuristic", 0.07), ("hit_rate", 0.008), ("shortest", 0.008)):
            for measure in ("ndcg", "auc"):
                said = f"{fold} days: {measure} of the ranker less that of {name}"
                limits.append(Limit(said, less[name][measure]["value"], least, is_floor=True))
                limits.append(Limit(f"{said}, lower bound", less[name][measure]["low"], 0, is_floor=True))
    lists = found["test_catalogue"]["ranker_less"]
    for name, least in (("heuristic", 0.010), ("recent_hits", 0.0)):
        said = f"full catalogue: NDCG@10 less that of {name}"
        limits.append(Limit(said, lists[name]["ndcg"]["value"], least, is_floor=True))
        limits.append(Limit(f"{said}, lower bound", lists[name]["ndcg"]["low"], 0, is_floor=True))
    limits += [
        Limit(
            "NDCG@10 refreshed nightly less once, lower bound",
            found["refreshed_nightly"]["ndcg"]["low"],
            0,
            is_floor=True,
        ),
        Limit("GB at most", found["peak_bytes"] / 1e9, 2),
    ]
    return Part("kuairand", size, found, limits)


PARTS: dict[str, Callable[[Bench, Size], Part]] = {
    part.__name__: part
    for part in (
        fixed,
        cost,
        night,
        long_history,
        landing,
        pandas,
        backfill,
        memory,
        models,
        demo_model,
        drift,
        pings,
        kuairand,
    )
}
# The sizes for which the design makes its claims. Hours and 60 GB of disk; only worth it on a quiet machine.
FULL = {
    "fixed": [Size(0, 0, 0)],
    "cost": [Size(0, 2_000, 60)],
    "night": [Size(50_000_000, 500_000, 120)],
    "long_history": [Size(50_000_000, 500_000, 120)],
    "landing": [Size(2_000_000, 50_000, 30)],
    "pandas": [Size(5_000_000, 50_000, 1)],
    "backfill": [Size(90_000_000, 100_000, 90)],
    "memory": [Size(100_000_000, 500_000, 120)],
    "models": [Size(0, 1_000_000, 0)],
    "demo_model": [Size(0, users, days) for users in (500, 2_000, 8_000, 40_000) for days in (60, 130)],
    "drift": [Size(0, 1_000_000, 0)],
    "pings": [Size(10_000_000, 100_000, 28)],
    "kuairand": [Size(0, 0, 0)],
}
