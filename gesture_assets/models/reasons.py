"""Why a model scored somebody as it did: the weightiest features up and down, with a code and a sentence each.

Belongs here: reasons of model scores from XGBoost's contributions (SHAP). Does not belong here: reasons of rule scores
(`rules/scorer.py`), importance over all users (`evaluation.py`).

A user's rows of reasons, the rest among them, add up to the user's margin. Rows depend on that user only.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gesture_assets.errors import ConfigError
from gesture_assets.models.matrix import Matrix, with_flags
from gesture_assets.models.tables import GLOBAL
from gesture_assets.models.training import Model

PLACES = 5  # each way, by document 001
CHUNK = 65_536  # users at once: matrix, contributions and texts of 60 features stay under 200 MB
REST = "rest"
DIRECTIONS = ("up", "down", REST)
REST_CODE = "R-000000"
RULE = "rule:"  # and its id: the feature of what a rule adds
SAID = "_said"  # column of what a rule says of somebody
FIGURES = 3  # of what the odds are multiplied by
DECIMALS = 4  # of a number in a text; what is shown is what is stored

SCHEMA = {
    "user_id": pl.String,
    "place": pl.Int8,
    "direction": pl.String,
    "feature": pl.String,
    "value": pl.String,
    "contribution": pl.Float64,
    "odds_factor": pl.Float64,
    "code": pl.String,
    "scope": pl.String,
}


def reason_code(feature: str) -> str:
    """The stable code of a feature as a reason, such as R-3FA91C: the same in every model, list and language."""
    return f"R-{hashlib.sha256(feature.encode()).hexdigest()[:6].upper()}"


def reason_codes(features: Iterable[str]) -> dict[str, str]:
    """Feature -> code, for the data dictionary. Raises `ConfigError` should two features have one code."""
    codes = {feature: reason_code(feature) for feature in features}
    owner: dict[str, str] = {REST_CODE: "what is not listed"}
    for feature, code in codes.items():
        if owner.setdefault(code, feature) != feature:
            raise ConfigError.bad_value(
                f"The feature {feature!r}",
                expected="a reason code of its own",
                found=f"{code}, which is the code of {owner[code]}",
                where="the reason codes of the features",
                next_step="give one of the two another name",
            )
    return codes


def reasons(
    model: Model,
    frame: pl.DataFrame,
    by_rule: pl.DataFrame | None = None,
    *,
    user: str = "user_id",
    places: int = PLACES,
    chunk: int = CHUNK,
) -> Iterator[pl.DataFrame]:
    """The reasons of everybody in `frame`, in frames of `chunk` users, so that memory does not grow with their number.

    For each user at most `places` rows up (contribution above 0, weightiest first, place from 1), as many down, and one
    row `rest` (place 0, no feature): where every score starts and what all else adds. `value` is the feature's value as
    text, null where it was missing; `contribution` is in log odds and sums to the margin over a user's rows;
    `odds_factor` is what it multiplies the odds by before calibration, rounded; `code` is `reason_code`; `scope` says
    which model it is of, by `Model.scopes`. Ties go to the model's first input.

    `by_rule`: `user_id`, `rule_id`, `points`, `value` and `because` of every rule that adds or takes points. Of a model
    that stands on the rules, what the rule score adds is then told by rule (feature `rule:<id>`), by its share of the
    points; not for who has none, nor where what is taken is half of what is given: shares would say too much.
    """
    split = by_rule if model.blend is not None and by_rule is not None and len(by_rule) else None
    rules = [] if split is None else split["rule_id"].unique().sort().to_list()
    codes = reason_codes([*model.encoding.names, *(RULE + rule for rule in rules)])
    parts = (frame[start : start + chunk] for start in range(0, len(frame), chunk))
    if split is None:
        yield from (_reasons(model.contributions(part), part, model, user, places, codes) for part in parts)
        return
    said = split.select("user_id", feature=RULE + pl.col("rule_id"), **{SAID: "because"}, of_rule="value")
    for part in parts:
        contributions = model.contributions(part)
        shares = _shares_of_rules(part, split, rules, user)
        place = model.place_of_points
        of_rules = contributions[:, [place]] * shares
        contributions[:, place] *= 1 - shares.any(axis=1)
        both = np.hstack([contributions[:, :-1], of_rules, contributions[:, -1:]])
        table = _reasons(both, part, model, user, places, codes, rules)
        table = table.join(said, on=["user_id", "feature"], how="left", maintain_order="left")
        value = pl.coalesce(_shown_number(pl.col("of_rule")), "value")
        yield table.with_columns(value=value).drop("of_rule")


def _shares_of_rules(part: pl.DataFrame, by_rule: pl.DataFrame, rules: Sequence[str], user: str) -> Matrix:
    """What share of each row's points each of `rules` gave; 0 throughout where they are not to be told apart."""
    ids = part.select(pl.col(user).cast(pl.String).alias("user_id")).with_row_index("row")
    places = pl.DataFrame({"rule_id": rules}).with_row_index("place")
    points = ids.join(by_rule.select("user_id", "rule_id", "points"), on="user_id").join(places, on="rule_id")
    table = np.zeros((len(part), len(rules)))
    table[points["row"].to_numpy(), points["place"].to_numpy()] = points["points"].to_numpy()
    total = table.sum(axis=1)
    is_told = total > 0.5 * np.maximum(np.abs(table).sum(axis=1), 1e-9)
    return np.where(is_told[:, None], table / np.where(is_told, total, 1.0)[:, None], 0.0).astype(np.float32)


def sentences(rows: pl.DataFrame, names: Mapping[str, str] | None = None) -> pl.DataFrame:
    """`rows` with a column `sentence`, whose every number is in its row: "Visits in 30 days: 6 (odds × 2.31)".

    `names`: feature -> what people call it; a feature without a name is called by its own.
    """
    name = pl.col("feature").cast(pl.String)
    if names:
        name = name.replace(dict(names))
    listed = pl.format(
        "{}: {} (odds × {})", name, pl.col("value").fill_null("unknown"), pl.col("odds_factor").cast(pl.String)
    )
    if SAID in rows.columns:
        rule = pl.format("{} (odds × {})", pl.col(SAID).str.strip_suffix("."), pl.col("odds_factor").cast(pl.String))
        listed = pl.when(pl.col(SAID).is_not_null()).then(rule).otherwise(listed)
    start = pl.when(pl.col("scope") == GLOBAL).then(pl.lit("Start")).otherwise(pl.format("Start for {}", "scope"))
    rest = pl.format("{} and everything else (odds × {})", start, pl.col("odds_factor").cast(pl.String))
    sentence = pl.when(pl.col("feature").is_null()).then(rest).otherwise(listed)
    return rows.with_columns(sentence=sentence).drop(SAID, strict=False)


def _reasons(
    contributions: Matrix,
    part: pl.DataFrame,
    model: Model,
    user: str,
    places: int,
    codes: Mapping[str, str],
    rules: Sequence[str] = (),
) -> pl.DataFrame:
    part = with_flags(part, model.encoding)
    names = (*model.encoding.names, *(RULE + rule for rule in rules))
    rows, inputs = len(part), len(names)
    own = contributions[:, :inputs]
    width = min(places, inputs)
    up = np.argsort(-own, axis=1, kind="stable")[:, :width]
    down = np.argsort(own, axis=1, kind="stable")[:, :width]
    feature = np.hstack([up, down, np.full((rows, 1), inputs)])
    amount = np.take_along_axis(contributions, feature, axis=1).astype(np.float64)
    place = np.array([*range(1, width + 1), *range(1, width + 1), 0], dtype=np.int8)
    direction = np.array([0] * width + [1] * width + [2], dtype=np.uint8)
    is_listed = np.where(direction == 0, amount > 0, np.where(direction == 1, amount < 0, True))
    shown = np.where(is_listed[:, :-1], amount[:, :-1], 0.0).sum(axis=1)
    amount[:, -1] = contributions.sum(axis=1, dtype=np.float64) - shown
    who, slot = np.nonzero(is_listed)
    feature, amount = feature[who, slot], amount[who, slot]
    table = pl.DataFrame(
        {
            "user_id": part[user].cast(pl.String).gather(who),
            "place": place[slot],
            "direction": _named(direction[slot], DIRECTIONS),
            "feature": _named(feature, [*names, None]),
            "value": _texts(feature, who, part, names),
            "contribution": amount,
            "odds_factor": pl.Series(np.exp(amount)).round_sig_figs(FIGURES),
            "code": _named(feature, [*(codes[name] for name in names), REST_CODE]),
            "scope": model.scopes(part).gather(who),
        }
    )
    return table.cast(SCHEMA)  # pyright: ignore[reportArgumentType]


def _named(places: NDArray[np.integer[Any]], names: Sequence[str | None]) -> pl.Series:
    return pl.Series(list(names), dtype=pl.String).gather(places)


def _texts(feature: NDArray[np.intp], who: NDArray[np.intp], part: pl.DataFrame, names: tuple[str, ...]) -> pl.Series:
    """The value of each row's feature as text: gathered feature by feature, then brought back into the rows' order."""
    order = np.argsort(feature, kind="stable")
    ends = np.searchsorted(feature[order], np.arange(len(names) + 1), side="right")
    starts = np.append(0, ends[:-1])
    texts = [
        _text(part[name].gather(who[order[start:end]]))
        if name in part.columns
        else pl.Series([None], dtype=pl.String).new_from_index(0, int(end - start))  # a rule's own is put in later
        for name, start, end in zip(names, starts[:-1], ends[:-1], strict=True)
    ]
    rest = pl.Series([None], dtype=pl.String).new_from_index(0, int(ends[-1] - starts[-1]))
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return pl.concat([*texts, rest]).gather(back)


def _text(values: pl.Series) -> pl.Series:
    if values.dtype.is_float():
        # Rounded, and whole numbers without a point; nothing that is not finite is a value.
        rounded = values.set(~values.is_finite(), None).cast(pl.Float64)
        return rounded.to_frame("value").select(_shown_number(pl.col("value"))).to_series()
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int8).cast(pl.String).replace({"0": "no", "1": "yes"}).alias("value")
    return values.cast(pl.String).alias("value")


def _shown_number(number: pl.Expr) -> pl.Expr:
    return number.round(DECIMALS).cast(pl.String).str.strip_suffix(".0")
