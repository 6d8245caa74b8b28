"""Drift of features, scores and outcomes: what moved since the model was trained, by how much, whom it matters to.

Belongs here: the measurements of a day against a reference, and one report of them. Does not belong here: the
statistics themselves (`statistics.py`), the reference (`reference.py`), what a move does to the scores
(`score_effects.py`), what is done about it.

    judged = judge(feature_drift(reference, count(features, reference), day),
                   outcome_drift(judged_then, matured_now, day), importance=importance)
    report = ranked(judged, score_effects(model, people, then, bands))
"""

from collections.abc import Mapping
from datetime import date
from math import isfinite, log, sqrt
from typing import Any

import narwhals as nw
import polars as pl

from gesture_assets.contracts.contract import PARTITION
from gesture_assets.errors import SHOWN
from gesture_assets.frames import Frame, to_polars
from gesture_assets.monitoring.reference import Feature, Reference, Values
from gesture_assets.monitoring.score_effects import POINTS
from gesture_assets.monitoring.statistics import (
    ALARMS,
    EFFECT,
    FEWEST_ROWS,
    VERDICTS,
    benjamini_hochberg,
    chi_square,
    distances,
    jensen_shannon,
    ks_p_value,
    normal_p_value,
    population_stability_index,
    verdict,
)

OFF = 1.25  # a rate, or what is observed of what was expected, that is a quarter too high or as much too low

# What is measured, before there is a verdict: a row per feature (kind number or category), score, and of the outcomes
# label and calibration. `statistic`: KS of numbers and scores, χ² of categories, z of outcomes.
MEASURED = {
    PARTITION: pl.Date,
    "feature": pl.String,
    "kind": pl.String,  # number, category, score, label or calibration
    "n_reference": pl.Int64,  # rows, those without a value included
    "n_current": pl.Int64,
    "missing_reference": pl.Float64,  # shares of rows without a value
    "missing_current": pl.Float64,
    "mean_reference": pl.Float64,  # null of categories; of a label the rate, of calibration observed by expected
    "mean_current": pl.Float64,
    "statistic": pl.Float64,  # null where one side has no value
    "p_value": pl.Float64,  # likewise
    "missing_p_value": pl.Float64,  # of the change of the missing share; null where nothing is missing
    "psi": pl.Float64,  # over the frozen bins, the one of missing values among them
    "jensen_shannon": pl.Float64,  # likewise
    "wasserstein": pl.Float64,  # in the feature's unit; null of categories
    "wasserstein_sd": pl.Float64,  # in sd of the reference, extreme values moved in; null where that is 0
    "new_category_share": pl.Float64,  # of the filled rows; null of numbers
    "new_categories": pl.String,  # the most frequent of them
    "effect": pl.Float64,  # of the values, in multiples of its threshold
    "missing_effect": pl.Float64,  # of the change of the missing share, likewise
}
VERDICT = {
    **MEASURED,
    "q_value": pl.Float64,  # the smaller one of the values' and of the missing share's
    "verdict": pl.String,  # drift, moderate, stable or too_few_rows
    "importance": pl.Float64,  # of the feature to the model; 1 for scores and outcomes
    "impact": pl.Float64,  # importance × the greater effect
    "sentence": pl.String,
}
REPORT = {
    **VERDICT,
    "score_shift": pl.Float64,  # points that the move adds to the mean score; null of outcomes and of what did not move
    "score_moves": pl.Float64,  # points that a score moves for it on average, up or down; likewise, null of the score
    "band_moves": pl.Float64,  # share of people in another band for it; likewise
    "rank": pl.Int64,  # 1: the greatest effect
    "matters": pl.Boolean,  # it moved, and it is a result or scores move with it: somebody is told
}
LEAST_SHIFT = 0.02  # of the mean score: one buyer more or less of fifty that are expected
LEAST_MOVES = 0.1  # or that a score moves on average: what raises some and lowers others leaves the mean where it is
LEAST_BAND_MOVES = 0.01  # or the share of people in another band
RESULTS = ("score", "label", "calibration")


def feature_drift(reference: Reference, found: Mapping[str, Values], day: date) -> pl.DataFrame:
    """The columns `MEASURED` of every feature of `reference` (or score), in its order.

    `found`: what `count` found of them on `day`. Of the reference the rows of `day` itself are left out; if there are
    no others, n_reference is 0.
    """
    others = reference.other_days(day)
    rows = [
        {PARTITION: day, **_compared(feature, feature.sample(others), found[feature.name])}
        for feature in reference.features
    ]
    return pl.DataFrame(rows, schema=MEASURED)


def outcome_drift(
    reference: Frame, current: Frame, day: date, *, probability: str = "probability", label: str = "label"
) -> pl.DataFrame:
    """The columns `MEASURED` of two things: how often it happens (label), and whether as often as said (calibration).

    Both frames hold probabilities and matured outcomes (0 and 1), one row a user: `reference` those the model was
    judged on when it was trained, `current` those that matured up to `day`. Calibration is observed by expected
    buyers, and its statistic asks whether the current ones are as many as the probabilities say (Spiegelhalter, 1986).
    """
    (rows_then, label_then, expected_then, _), (rows, buyers, expected, variance) = (
        _outcomes(frame, probability, label) for frame in (reference, current)
    )
    common = {
        PARTITION: day,
        "n_reference": rows_then,
        "n_current": rows,
        "missing_reference": 0.0,
        "missing_current": 0.0,
    }
    outcomes_then, outcomes = (label_then, rows_then - label_then), (buyers, rows - buyers)
    compared = rows and rows_then
    pooled = (label_then + buyers) / (rows_then + rows) if compared else 0.0
    error = sqrt(pooled * (1 - pooled) * (1 / rows_then + 1 / rows)) if compared else 0.0
    rates = [_ratio(label_then, rows_then), _ratio(buyers, rows)]
    fits = [_ratio(label_then, expected_then), _ratio(buyers, expected)]
    tests = {
        "label": (rates, _ratio((rates[1] or 0.0) - (rates[0] or 0.0), error), _off(rates[1], rates[0])),
        "calibration": (fits, _ratio(buyers - expected, sqrt(variance)), _off(fits[1], 1.0)),
    }
    rows_measured = [
        {
            **common,
            "feature": label if kind == "label" else probability,
            "kind": kind,
            "mean_reference": means[0],
            "mean_current": means[1],
            "statistic": z,
            "p_value": None if z is None else normal_p_value(z),
            "effect": effect,
            "psi": population_stability_index(outcomes_then, outcomes) if compared and kind == "label" else None,
        }
        for kind, (means, z, effect) in tests.items()
    ]
    return pl.DataFrame(rows_measured, schema=MEASURED)


def judge(*measured: pl.DataFrame, importance: Mapping[str, float]) -> pl.DataFrame:
    """The columns `VERDICT` of everything measured on a day.

    Chance is judged over all tests of the report at once, of values and of missing shares (Benjamini–Hochberg): the
    more features a table has, the more of them look odd every night. `importance` is of the model's features; one that
    it does not know is not used.
    """
    rows = pl.concat(measured).to_dicts()
    enough = [min(row["n_reference"], row["n_current"]) >= FEWEST_ROWS for row in rows]
    tests = [row["p_value"] if _filled(row) >= FEWEST_ROWS else None for row in rows]
    tests += [row["missing_p_value"] if is_enough else None for row, is_enough in zip(rows, enough, strict=True)]
    q_values = benjamini_hochberg(tests)
    for place, row in enumerate(rows):
        of_values, of_missing = q_values[place], q_values[place + len(rows)]
        effects = row["effect"] or 0.0, row["missing_effect"] or 0.0
        # A difference that is sure and one that matters must be the same difference.
        verdicts = [
            verdict(effect, q, is_enough=enough[place])
            for effect, q in zip(effects, (of_values, of_missing), strict=True)
        ]
        row["verdict"] = min(verdicts, key=VERDICTS.index)
        row["q_value"] = min((q for q in (of_values, of_missing) if q is not None), default=None)
        is_used = row["kind"] in ("number", "category")
        row["importance"] = float(importance.get(row["feature"], 0.0)) if is_used else 1.0
        row["impact"] = row["importance"] * max(effects)
        row["sentence"] = _sentence(row)
    return pl.DataFrame(rows, schema=VERDICT)


def ranked(judged: pl.DataFrame, effects: pl.DataFrame) -> pl.DataFrame:
    """The columns `REPORT` of what was judged on a day, with what its features do to the scores (`score_effects`).

    First what is itself a result and moved (score, label, calibration); then by the points that a move adds to the mean
    score, those that a score moves, the people in another band, the impact. What the model does not go by comes last,
    however far it moved.
    """
    is_score, is_result = pl.col("kind") == "score", pl.col("kind").is_in(RESULTS)
    of_score = (pl.col("mean_current") - pl.col("mean_reference")) * POINTS
    shift, moves, band_moves = pl.col("score_shift"), pl.col("score_moves"), pl.col("band_moves")
    figures = "sentence", moves.round(2), shift.round(2), (band_moves * 100).round(1)
    told = pl.format("{}; scores move by {} points for it, their mean by {}, {}% of people to another band", *figures)
    rows = judged.join(effects, on="feature", how="left", maintain_order="left").with_columns(
        score_shift=pl.when(is_score).then(of_score).otherwise(shift),
        sentence=pl.coalesce(told, "sentence"),
    )
    order = (
        pl.col("importance") == 0,
        ~(is_result & pl.col("verdict").is_in(ALARMS)),
        -shift.abs().fill_null(0.0),
        -moves.fill_null(0.0),
        -band_moves.fill_null(0.0),
        -pl.col("impact"),
        -pl.max_horizontal("effect", "missing_effect").fill_null(0.0),
        "feature",
    )
    usual = pl.col("mean_reference").filter(is_score).first() * POINTS
    moves_scores = (
        (shift.abs() >= LEAST_SHIFT * usual) | (moves >= LEAST_MOVES * usual) | (band_moves >= LEAST_BAND_MOVES)
    )
    matters = pl.col("verdict").is_in(ALARMS) & (is_result | moves_scores.fill_null(value=False))
    return rows.sort(*order).with_columns(rank=pl.int_range(1, pl.len() + 1), matters=matters).select(*REPORT)


def _compared(feature: Feature, then: Values, now: Values) -> dict[str, Any]:
    """What `feature_drift` says of one feature; what one empty side leaves undefined is null."""
    is_number = feature.kind != "category"
    row: dict[str, Any] = {
        "feature": feature.name,
        "kind": feature.kind,
        "n_reference": then.rows,
        "n_current": now.rows,
        "missing_reference": _ratio(then.missing, then.rows),
        "missing_current": _ratio(now.missing, now.rows),
    }
    if not (then.rows and now.rows):
        return row
    bins = feature.histogram(then), feature.histogram(now)
    row["psi"], row["jensen_shannon"] = population_stability_index(*bins), jensen_shannon(*bins)
    gaps = [(sample.missing, sample.filled) for sample in (then, now)]
    if then.missing or now.missing:
        row["missing_p_value"] = chi_square(*gaps)[1]
        row["missing_effect"] = population_stability_index(*gaps) / EFFECT
    if not (then.filled and now.filled):
        return row
    # Of the values alone: that more are missing is no change of those that are there.
    effect = population_stability_index(bins[0][:-1], bins[1][:-1])
    if is_number:
        deviation, low, high = feature.scale
        gap = distances(then.values, then.counts, now.values, now.counts, low=low, high=high)
        row["mean_reference"], row["mean_current"] = then.mean, now.mean
        row["statistic"], row["p_value"] = gap.ks, ks_p_value(gap.ks, then.filled, now.filled)
        row["wasserstein"], row["wasserstein_sd"] = gap.wasserstein, _ratio(gap.clipped, deviation)
        effect = max(effect, row["wasserstein_sd"] or 0.0)
    else:
        row["statistic"], row["p_value"] = chi_square(bins[0][:-1], bins[1][:-1])
        known_values = set(feature.values.tolist())
        new = sorted(
            (-rows, value)
            for value, rows in zip(now.values, now.counts.tolist(), strict=True)
            if value not in known_values
        )
        row["new_category_share"] = -sum(rows for rows, _ in new) / now.filled
        row["new_categories"] = ", ".join(value for _, value in new[:SHOWN]) or None
    row["effect"] = effect / EFFECT
    return row


def _filled(row: Mapping[str, Any]) -> int:
    """Rows with a value, of the side that has fewer."""
    return min(round(row[f"n_{side}"] * (1 - (row[f"missing_{side}"] or 0.0))) for side in ("reference", "current"))


def _outcomes(frame: Frame, probability: str, label: str) -> tuple[int, int, float, float]:
    """Rows, buyers, buyers expected and the variance of that."""
    p = nw.col(probability).cast(nw.Float64)
    complete = frame.select(p=p, label=nw.col(label).cast(nw.Int64)).filter(
        ~nw.col("p").is_null(), ~nw.col("label").is_null()
    )
    sums = complete.select(
        nw.len().cast(nw.Int64),
        nw.col("label").sum().cast(nw.Int64).alias("buyers"),
        nw.col("p").sum().alias("expected"),
        (nw.col("p") * (1 - nw.col("p"))).sum().alias("variance"),
    )
    rows, buyers, expected, variance = to_polars(sums).row(0)
    return int(rows), int(buyers or 0), float(expected or 0), float(variance or 0)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _off(observed: float | None, expected: float | None) -> float | None:
    """How far a rate is off, in multiples of what is too far; nothing at all counts as ten times too far."""
    if observed is None or not expected:
        return None
    return abs(log(observed / expected)) / log(OFF) if observed else 10.0


def _sentence(row: Mapping[str, Any]) -> str:
    """The row in words, for a reader who has only this."""
    if row["verdict"] == "too_few_rows":
        return (
            f"{row['feature']}: {row['n_reference']} rows of reference and {row['n_current']} tonight; "
            f"a verdict needs {FEWEST_ROWS} each"
        )
    figures: list[str] = []
    if row["kind"] in ("label", "calibration"):
        what = "rate" if row["kind"] == "label" else "observed by expected"
        figures.append(f"{what} {_number(row['mean_reference'])} → {_number(row['mean_current'])}")
    elif row["psi"] is not None:
        figures.append(f"PSI {row['psi']:.2f}")
    if row["wasserstein_sd"] is not None:
        figures.append(
            f"{row['wasserstein_sd']:.2f} sd apart, mean "
            f"{_number(row['mean_reference'])} → {_number(row['mean_current'])}"
        )
    if row["missing_effect"] is not None:
        figures.append(f"missing {row['missing_reference']:.1%} → {row['missing_current']:.1%}")
    if row["new_categories"]:
        figures.append(f"new: {row['new_categories']} ({row['new_category_share']:.1%})")
    if row["q_value"] is not None:
        figures.append(f"q {row['q_value']:.2g}")
    return f"{row['feature']}: {row['verdict']}; " + ", ".join(figures)


def _number(value: float | None) -> str:
    return "none" if value is None or not isfinite(value) else f"{value:.4g}"
