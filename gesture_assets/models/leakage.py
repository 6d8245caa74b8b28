"""The leakage sentinel: features that know what happened after the moment they stand for.

Belongs here: what speaks against a feature, with its figure. Does not belong here: refusing to train with it (the gate
of `feature_screening`), how good a model is (`evaluation.py`), what a feature is (`features/`).

Two degrees. A `leak` stops the training: it ranks the outcome all but perfectly alone, is dated after its own as-of
day, or has other values than what was known by then gives. A `suspect` is named and somebody should look when it
becomes known; it may be honest. The thresholds were held against three data sets: no feature of the demo world (the
best alone 0.84) nor column of the subscribers' (0.71) is accused; of X Education's 36 columns `Tags` (0.92) and
`Lead Quality` are, which sales fills in after the talk, and of the others none. What ranks well alone and is not
accused is listed for a person to judge (`strong_alone`).
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import ConfigError
from gesture_assets.models.tables import FINE, LEAK, SUSPECT

LEAK_AUC = 0.98
SUSPECT_AUC = 0.90  # reached even two standard errors lower, so that few rows accuse nobody
STRONG_AUC = 0.80  # no reason to suspect a feature, and reason enough to ask when it becomes known
FEWEST_OF_AN_OUTCOME = 10  # below this many buyers a perfect ranking is chance

# A value decides where nine of ten have its outcome and the odds are ten times (or a tenth of) everybody's. Honest
# features have such values on one side at most; verdicts passed afterwards ("lost", "closed") have them on both.
SURE, SURE_ODDS = 0.9, 10.0
DECIDED_SHARE = 0.05  # of the buyers by values that say yes, and of the others by values that say no
FEWEST_OF_A_VALUE, EXPECTED_OF_A_VALUE = 30, 10  # rows; rows that would have the other outcome if it meant nothing
FEW_VALUES = 50  # numbers with at most so many different values are looked at as categories too

# A feature that carried the training and carries nothing on later days knew something that ran out.
CARRIES, COLLAPSES = 0.10, 0.2  # share of all importance in training; what is left of it on test rows
FOLDS = 5
PRIOR = 10  # rows with everybody's share that each category is mixed with

SCHEMA = {"feature": pl.String, "auc": pl.Float64, "verdict": pl.String, "because": pl.String}


def screen(
    frame: pl.DataFrame,
    label: str,
    features: Sequence[str],
    *,
    leaks: Mapping[str, str] | None = None,
    suspects: Mapping[str, str] | None = None,
    seed: int = 42,
) -> pl.DataFrame:
    """A row per feature, in order: `feature`, `auc`, `verdict` (`leak`, `suspect`, `fine`) and `because`.

    `auc` is how well the feature ranks the outcome alone, whichever way round: 0.5 to 1, null where it is constant.
    Numbers by rank, missing ones before or after all others, whichever tells more; texts by the share of positives of
    their value in other folds. What is dated after its row's as-of day is a leak (`known_too_early`). `leaks` and
    `suspects` (feature -> why) come from other looks, such as `differs_from_its_past`.
    """
    _require(frame, label, features)
    outcome = frame[label].cast(pl.Int64)
    table = frame.select(features)
    kinds = {name: _kind(table.schema[name]) for name in features}
    numbers = [name for name in features if kinds[name] == "number"]
    ranked, distinct = _rank_aucs(table, numbers, outcome)
    areas: dict[str, float | None] = dict.fromkeys(features)
    areas |= ranked
    decisive: dict[str, str] = {}
    fold = pl.Series("fold", np.random.default_rng(seed).permutation(frame.height) % FOLDS)
    for name in features:
        if kinds[name] == "text":
            areas[name] = _category_auc(table[name], outcome, fold)
        has_values = kinds[name] == "text" or 2 < distinct.get(name, 0) <= FEW_VALUES
        if has_values and (contradiction := _decides_both_ways(table[name], outcome)):
            decisive[name] = contradiction
    too_early = known_too_early(frame, features) if PARTITION in frame.columns else {}
    proven = {**too_early, **(leaks or {})}
    positives = int(outcome.sum())
    enough = min(positives, frame.height - positives) >= FEWEST_OF_AN_OUTCOME
    rows: list[tuple[str, float | None, str, str]] = []
    for name in features:
        auc = areas[name]
        stops: list[str] = []
        warns: list[str] = []
        if auc is not None and enough and auc > LEAK_AUC:
            stops.append(f"alone it ranks the outcome with an AUC of {auc:.3f} (above {LEAK_AUC})")
        elif auc is not None and enough and auc - 2 * auc_error(auc, positives, frame.height) >= SUSPECT_AUC:
            warns.append(f"alone it ranks the outcome with an AUC of {auc:.3f} (from {SUSPECT_AUC:.2f})")
        if name in decisive:
            warns.append(decisive[name])
        if name in proven:
            stops.append(proven[name])
        if name in (suspects or {}):
            warns.append((suspects or {})[name])
        rows.append((name, auc, LEAK if stops else SUSPECT if warns else FINE, "; ".join(stops + warns)))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def known_too_early(frame: pl.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    """The dates and timestamps among `columns` that lie after their row's as-of day, with how many rows have them.

    Numbers called days_since_… say the same where they are below 0.
    """
    end = pl.col(PARTITION).cast(pl.Datetime("us")) + timedelta(days=1)
    late = {
        name: pl.col(name).cast(pl.Datetime("us")) >= end
        if _kind(frame.schema[name]) == "date"
        else pl.col(name).cast(pl.Float64, strict=False) < 0
        for name in columns
        if _kind(frame.schema[name]) == "date" or name.startswith("days_since_")
    }
    if not late:
        return {}
    counts = frame.select(flag.sum().alias(name) for name, flag in late.items()).row(0, named=True)
    return {name: f"{count} rows are dated after their as-of day" for name, count in counts.items() if count}


def differs_from_its_past(rows: pl.DataFrame, recounted: pl.DataFrame, features: Sequence[str]) -> dict[str, str]:
    """The features that `recounted` gives other values, with how many of `rows`.

    Both hold features of one day by `user_id`; `recounted` is made of nothing that arrived after that day, and holds
    everybody of `rows`, else who is missing counts. A feature that it has no column of is not judged.
    """
    names = [name for name in features if name in recounted.columns]
    both = rows.select("user_id", *names).join(recounted, on="user_id", how="left", suffix=" recounted")
    differing = both.select(pl.col(name).ne_missing(pl.col(f"{name} recounted")).sum() for name in names)
    return {
        name: f"{count} of {len(rows)} rows hold another value than what was known by the end of their day gives"
        for name, count in zip(names, differing.row(0), strict=True)
        if count
    }


def importance_drops(train: Mapping[str, float], test: Mapping[str, float]) -> dict[str, str]:
    """The features that carry the model on the rows it was trained with and next to nothing on later ones.

    Both map feature -> importance of one kind, such as the loss when its values are shuffled. They are made shares.
    """
    in_train, in_test = _shares(train), _shares(test)
    return {
        name: f"{share:.0%} of the importance in training, {in_test.get(name, 0.0):.0%} on test rows"
        for name, share in in_train.items()
        if share >= CARRIES and in_test.get(name, 0.0) < COLLAPSES * share
    }


def strong_alone(screening: pl.DataFrame) -> dict[str, float]:
    """Feature -> AUC of those that rank the outcome well alone (`STRONG_AUC`), the strongest first."""
    strong = screening.filter(pl.col("auc") >= STRONG_AUC).sort("auc", "feature", descending=[True, False])
    return dict(strong.select("feature", "auc").iter_rows())


def rank_auc(outcome: pl.Series, values: pl.Series) -> float:
    """The ROC AUC of `values` (no nulls) for an outcome of 0 and 1, ties half; NaN where there is one outcome only."""
    positives = int(outcome.sum())
    negatives = len(outcome) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = values.rank("average").filter(outcome.cast(pl.Boolean))
    return (float(ranks.sum()) - positives * (positives + 1) / 2) / (positives * negatives)


def auc_error(auc: float, positives: int, rows: int) -> float:
    """The standard error of an AUC, by Hanley and McNeil (1982). Each outcome occurs."""
    negatives = rows - positives
    two_positives, two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (two_positives - auc**2) + (negatives - 1) * (two_negatives - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (positives * negatives)))


def _rank_aucs(
    table: pl.DataFrame, numbers: Sequence[str], outcome: pl.Series
) -> tuple[dict[str, float | None], dict[str, int]]:
    """Each number's AUC, the better of missing values first and last, and how many different values it has."""
    if not numbers or not table.height:
        return dict.fromkeys(numbers), {}
    is_positive = outcome.cast(pl.Boolean)
    places = range(len(numbers))
    values = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in numbers]
    counts = table.select(
        *(values[n].rank("average").filter(is_positive).sum().cast(pl.Float64).alias(f"ranks_{n}") for n in places),
        *(values[n].filter(is_positive).count().alias(f"positives_{n}") for n in places),
        *(values[n].count().alias(f"filled_{n}") for n in places),
        *(values[n].n_unique().alias(f"distinct_{n}") for n in places),
    ).row(0, named=True)
    rows, positives = table.height, int(outcome.sum())
    pairs = positives * (rows - positives)
    areas: dict[str, float | None] = {}
    for n, name in enumerate(numbers):
        if counts[f"distinct_{n}"] < 2 or not pairs:
            areas[name] = None
            continue
        missing = rows - counts[f"filled_{n}"]
        missing_positives = positives - counts[f"positives_{n}"]
        least = positives * (positives + 1) / 2
        among = missing_positives * (missing + 1) / 2
        first = counts[f"ranks_{n}"] + counts[f"positives_{n}"] * missing + among - least
        last = counts[f"ranks_{n}"] + missing_positives * counts[f"filled_{n}"] + among - least
        areas[name] = max(max(area, 1 - area) for area in (first / pairs, last / pairs))
    return areas, {name: counts[f"distinct_{n}"] for n, name in enumerate(numbers)}


def _category_auc(column: pl.Series, outcome: pl.Series, fold: pl.Series) -> float | None:
    """The AUC of each value's share of positives in the other folds; a missing value is a value."""
    if column.n_unique() < 2 or outcome.n_unique() < 2:
        return None
    counts = (
        pl.DataFrame({"value": column.cast(pl.String), "fold": fold, "outcome": outcome})
        .group_by("value", "fold")
        .agg(rows=pl.len().cast(pl.Int64), positives=pl.col("outcome").sum())
    )
    # Everybody's share in the other folds, not in all: else a value of its own row would know the row's outcome.
    rest_rows, rest_positives = (pl.col(name).sum() - pl.col(name).sum().over("fold") for name in ("rows", "positives"))
    others, their_positives = (pl.col(name).sum().over("value") - pl.col(name) for name in ("rows", "positives"))
    rate = (their_positives + PRIOR * rest_positives / rest_rows) / (others + PRIOR)
    # Within a fold only: between folds the shares differ by what the fold itself holds.
    scored = counts.with_columns(rate=rate).group_by("fold", "rate").agg(pl.col("rows", "positives").sum())
    scored = scored.sort("fold", "rate").with_columns(negatives=pl.col("rows") - pl.col("positives"))
    below = pl.col("negatives").cum_sum().over("fold") - pl.col("negatives") * 0.5
    won = scored.select((pl.col("positives") * below).sum()).item()
    pairs = (
        scored.group_by("fold")
        .agg(pl.col("positives", "negatives").sum())
        .select((pl.col("positives") * pl.col("negatives")).sum())
        .item()
    )
    # A value whose share of other folds says nothing may rank a little below a coin; that tells nothing either.
    return max(0.5, won / pairs) if pairs else None


def _decides_both_ways(column: pl.Series, outcome: pl.Series) -> str:
    """What speaks against a column of few values: some of them all but decide for, others against; else nothing."""
    rows, positives = len(outcome), int(outcome.sum())
    negatives = rows - positives
    if not positives or not negatives:
        return ""
    base, base_odds = positives / rows, positives / negatives
    values = (
        pl.DataFrame({"value": column, "outcome": outcome})
        .group_by("value")
        .agg(rows=pl.len(), positives=pl.col("outcome").sum())
        .filter(pl.col("rows") >= FEWEST_OF_A_VALUE)
        .with_columns(rate=pl.col("positives") / pl.col("rows"))
    )
    odds = pl.col("rate") / (1 - pl.col("rate"))
    yes = (pl.col("rate") >= SURE) & (odds >= SURE_ODDS * base_odds)
    no = (pl.col("rate") <= 1 - SURE) & (odds <= base_odds / SURE_ODDS)
    sure = values.filter(yes & (pl.col("rows") * (1 - base) >= EXPECTED_OF_A_VALUE))
    never = values.filter(no & (pl.col("rows") * base >= EXPECTED_OF_A_VALUE))
    share_of_yes = sure["positives"].sum() / positives
    share_of_no = never.select((pl.col("rows") - pl.col("positives")).sum()).item() / negatives
    if min(share_of_yes, share_of_no) < DECIDED_SHARE:
        return ""
    return (
        f"single values decide the outcome both ways: {sure.height} of them for {share_of_yes:.0%} of the positives, "
        f"{never.height} for {share_of_no:.0%} of the others"
    )


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_numeric() or dtype == pl.Boolean:
        return "number"
    return "date" if dtype == pl.Date or isinstance(dtype, pl.Datetime) else "text"


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    positive = {name: max(value, 0.0) for name, value in values.items()}
    total = sum(positive.values())
    return {name: value / total if total else 0.0 for name, value in positive.items()}


def _require(frame: pl.DataFrame, label: str, features: Sequence[str]) -> None:
    absent = [name for name in (label, *features) if name not in frame.columns]
    if absent or label in features or frame[label].null_count():
        problem = f"no column {absent[0]!r}" if absent else "it is one of them" if label in features else "nulls"
        raise ConfigError.bad_value(
            "What the leakage sentinel is to look at",
            expected=f"features, and the outcome {label!r} in every row beside them",
            found=problem,
            where="the training set",
            next_step="take eligible rows only, and the features of the model",
        )
