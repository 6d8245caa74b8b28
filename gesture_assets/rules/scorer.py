"""Scores, their parts and their reasons, from features and a rule set.

Belongs here: functions of lazy frames that give the same bytes on DuckDB and on Polars, for one user or for millions.
Does not belong here: what a rule set may say (`rule_set.py`), reading or writing tables (`defs/`).

Two rules keep the engines alike: a column is multiplied by 1 ÷ c, never divided by the constant c (Polars multiplies in
both cases, one bit off DuckDB), and sums are written out in file order, because a group-by adds in any order it likes.
"""

import math
from collections.abc import Iterable
from functools import reduce
from operator import add

import narwhals as nw
import polars as pl

from gesture_assets.errors import ConfigError
from gesture_assets.frames import Frame, concat
from gesture_assets.rules.rule_set import Rule, RuleSet, Suppression

KEYS = ("as_of_date", "user_id")
REASONS = 3
NO_ACTIVITY = "no scored activity"
SUPPRESSED = "suppressed"  # the band of users who get no score
GROUPS = {"fit": "who somebody is", "engagement": "what somebody does", None: "everything together"}
# A score that is a threshold but for the last bit of a sum belongs to the band: 0.07 × 100 is 7.000000000000001.
BAND_TOLERANCE = 1e-9
# Beyond this the hundredths of a DOUBLE are not exact; texts then show this number.
LARGEST_SHOWN = 1e12
NEVER = 2**62  # place by latest activity of those without any: after everybody


def score(features: Frame, rule_set: RuleSet, suppressed: Frame | None = None) -> tuple[Frame, Frame]:
    """`rule_scores` and `rule_contributions` of every row of `features` (one per user and day), as contracted.

    `points` is the sum of the contributions, `score` the points within 1–100; nothing is rounded. The contributions
    hold a row for every user, day and rule, also for 0 points. A user's rows depend on nobody else's. The contributions
    read `features` once per rule, so that should be a table and not a long query. Where the rule set has `day_caps`,
    `features` holds their columns as well. Users of `suppressed` (`as_of_date`, `user_id`, `reason`) get no score.
    """
    schema = features.collect_schema()
    for rule in rule_set.rules:
        capped = rule_set.day_cap(rule)
        for name in (*rule.needs, *([capped.column] if capped else ())):
            _require_number(schema, name, f"Rule {rule.id!r} of rule set {rule_set.name!r}")
    parts = [
        *(_contribution(features, rule, rule_set) for rule in rule_set.rules),
        *(_cap_contribution(features, cap_id, rule_set) for cap_id in rule_set.caps),
    ]
    return _with_suppressed(_scores(features, rule_set), suppressed), concat(parts)


def suppressions(features: Frame, rules: Iterable[Suppression], listed: Frame | None = None) -> Frame | None:
    """Who of `features` gets no score, one row a user and day with the `reason`; None where nobody could.

    By the rule set's suppressions, or because `listed` (`user_id` or `mailchimp_id`, `reason`, `since`, `until`: days,
    both included, null without end) names the user. Of several reasons the first in the alphabet is kept.
    """
    rules = tuple(rules)
    for rule in rules:
        _require_number(features.collect_schema(), rule.feature, f"The suppression {rule.reason!r}")
    matches = [features.filter(_number(rule.feature) >= 1).select(*KEYS, reason=nw.lit(rule.reason)) for rule in rules]
    for key in ("user_id", "mailchimp_id"):
        if listed is None:
            break
        named = listed.filter(~nw.col(key).is_null()).select(key, "reason", "since", "until")
        both = features.select(*dict.fromkeys((*KEYS, key))).join(named, on=key, how="inner")
        day = nw.col("as_of_date")
        holds = (nw.col("since").is_null() | (nw.col("since") <= day)) & (
            nw.col("until").is_null() | (day <= nw.col("until"))
        )
        matches.append(both.filter(holds).select(*KEYS, "reason"))
    return concat(matches).group_by(*KEYS).agg(nw.col("reason").min()) if matches else None


def rank(scores: Frame, n: int, *, finer: str = "score") -> Frame:
    """The `n` highest scores of each day with `rank` from 1: score, then latest activity, then id.

    Suppressed users, who have no score, are left out. `finer`: a column that tells equal scores apart before activity.
    """
    order = ["score_down", "finer_down", "activity_down", "user_id"]
    return (
        scores.filter(~nw.col("score").is_null())
        .with_columns(
            score_down=-nw.col("score"),
            finer_down=-nw.col(finer).fill_null(0.0),
            activity_down=nw.col("last_event_at").rank("dense", descending=True).over("as_of_date").cast(nw.Int64),
        )
        .with_columns(nw.col("activity_down").fill_null(NEVER))
        .with_columns(rank=nw.col("user_id").cum_count().over("as_of_date", order_by=order).cast(nw.Int32))
        .filter(nw.col("rank") <= n)
        .drop("score_down", "finer_down", "activity_down")
        .sort("as_of_date", "rank")
    )


def global_explanation(contributions: Frame, rule_set: RuleSet, users: int) -> pl.DataFrame:
    """One row per rule and cap, the weightiest first: what it adds on average over `users`, everybody of one day.

    `mean_points`; `share_of_users` with points above 0; `mean_share_of_score`, its mean part of a user's points, over
    the users who have any.
    """
    points, total = nw.col("points"), nw.col("total")
    rows = contributions.with_columns(total=points.sum().over(*KEYS))
    scored_users = rows.filter(total > 0).select(*KEYS).unique().select(nw.len()).collect().item()
    sums = rows.with_columns(share=nw.when(total > 0).then(points / total), has_points=(points > 0).cast(nw.Int64))
    sums_by_rule = sums.group_by("rule_id").agg(nw.col("points", "has_points", "share").sum()).collect().to_polars()
    parts = [(rule.id, rule.feature, rule.group, rule.weight) for rule in rule_set.rules]
    parts += [(cap, "points", group or "total", -1.0) for cap, (group, _) in rule_set.caps.items()]
    return (
        pl.DataFrame(parts, schema=["rule_id", "feature", "group_name", "weight"], orient="row")
        .join(sums_by_rule, on="rule_id", how="left")
        .select(
            "rule_id",
            "feature",
            "group_name",
            "weight",
            mean_points=pl.col("points").fill_null(0.0) / max(users, 1),
            share_of_users=pl.col("has_points").cast(pl.Float64).fill_null(0.0) / max(users, 1),  # no whole numbers
            mean_share_of_score=pl.col("share").fill_null(0.0) / max(scored_users, 1),
        )
        .sort("mean_points", "rule_id", descending=[True, False])
    )


def _require_number(schema: nw.Schema, name: str, reader: str) -> None:
    if name not in schema or not (schema[name].is_numeric() or schema[name] == nw.Boolean):
        raise ConfigError.bad_value(
            reader,
            expected=f"a column {name!r} of numbers or true and false",
            found=schema.get(name, "no such column"),
            where="user_features",
            next_step="let it look at another feature:  gesture rules lint",
        )


def _scores(features: Frame, rule_set: RuleSet) -> Frame:
    rules = [(f"points_{number}", rule) for number, rule in enumerate(rule_set.rules)]
    parts = features.select(*KEYS, "last_event_at", **{name: _points(rule, rule_set) for name, rule in rules})
    sums = parts.with_columns(
        # Cast: where a group is a single rule that counts once, DuckDB's literals make it a decimal.
        points=_sum(name for name, _ in rules).cast(nw.Float64),
        fit_points=_sum(name for name, rule in rules if rule.group == "fit").cast(nw.Float64),
        engagement_points=_sum(name for name, rule in rules if rule.group == "engagement").cast(nw.Float64),
        **{f"place_{name}": _place(number, [name for name, _ in rules]) for number, (name, _) in enumerate(rules)},
    )
    # Groups first, then the total: each cap is a contribution of what is above it.
    for group, most in rule_set.caps.values():
        over = _over(nw.col(f"{group}_points" if group else "points"), most)
        capped = {f"{group}_points": nw.col(f"{group}_points") + over} if group else {}
        sums = sums.with_columns(points=nw.col("points") + over, **capped)
    sums = sums.with_columns(score=nw.col("points").clip(1.0, 100.0))
    reasons = [_reason(place, rules) for place in range(1, REASONS + 1)]
    explanation = nw.concat_str(reasons, separator=" + ", ignore_nulls=True)
    return sums.with_columns(explanation=explanation).select(
        *KEYS,
        "score",
        "points",
        band=_band(rule_set),
        band_thresholds=nw.lit(rule_set.band_thresholds),
        explanation=nw.when(nw.col("explanation") == "").then(nw.lit(NO_ACTIVITY)).otherwise(nw.col("explanation")),
        fit_points="fit_points",
        engagement_points="engagement_points",
        last_event_at="last_event_at",
        rule_set=nw.lit(rule_set.name),
        rule_set_version=nw.lit(rule_set.version),
    )


def _contribution(features: Frame, rule: Rule, rule_set: RuleSet) -> Frame:
    shown = _shown(rule.feature, features.collect_schema()[rule.feature])
    texts = rule.because.split("{value}")
    return features.select(
        *KEYS,
        rule_id=nw.lit(rule.id),
        feature=nw.lit(rule.feature),
        group_name=nw.lit(rule.group),
        value=_number(rule.feature),
        scaled=_scaled(rule, rule_set).cast(nw.Float64),
        decay=_decay(rule).cast(nw.Float64),
        weight=nw.lit(rule.weight, nw.Float64),
        points=_points(rule, rule_set).cast(nw.Float64),
        because=nw.concat_str([nw.lit(texts[0]), *(part for text in texts[1:] for part in (shown, nw.lit(text)))]),
        rule_set_version=nw.lit(rule_set.version),
        counted=_counted(rule, rule_set),
    )


def _cap_contribution(features: Frame, cap_id: str, rule_set: RuleSet) -> Frame:
    """What the cap `cap_id` takes away: a contribution below 0, so that contributions still sum to the points."""
    group, most = rule_set.caps[cap_id]
    names = {f"points_{number}": rule for number, rule in enumerate(rule_set.rules) if group in (None, rule.group)}
    sums = features.select(*KEYS, **{name: _points(rule, rule_set) for name, rule in names.items()})
    sums = sums.with_columns(sum=_sum(names))
    for earlier, cap in rule_set.caps.values() if group is None else ():
        if earlier is not None:  # the total is what the capped groups make
            of_group = _sum(name for name, rule in names.items() if rule.group == earlier)
            sums = sums.with_columns(sum=nw.col("sum") + _over(of_group, cap))
    over = _over(nw.col("sum"), most)
    return sums.select(
        *KEYS,
        rule_id=nw.lit(cap_id),
        feature=nw.lit("points" if group is None else f"{group}_points"),
        group_name=nw.lit(group or "total"),
        value=nw.col("sum"),
        scaled=nw.when(nw.col("sum") > most).then(over * -0.01).otherwise(nw.lit(0.0)),
        decay=nw.lit(1.0, nw.Float64),
        weight=nw.lit(-1.0, nw.Float64),
        points=over,
        because=nw.concat_str(
            [nw.lit(f"At most {most:g} points for {GROUPS[group]}: "), _hundredths(nw.col("sum")), nw.lit(".")]
        ),
        rule_set_version=nw.lit(rule_set.version),
        counted=nw.col("sum") + over,
    )


def _with_suppressed(scores: Frame, suppressed: Frame | None) -> Frame:
    """`scores` with the reason why there is none; points and contributions stay, so that they can be understood."""
    if suppressed is None:
        return scores.with_columns(suppression_reason=nw.lit(None, nw.String))
    reason = nw.col("suppression_reason")
    joined = scores.join(suppressed.rename({"reason": "suppression_reason"}), on=list(KEYS), how="left")
    sentence = nw.concat_str([nw.lit(f"{SUPPRESSED}: "), reason])
    return joined.with_columns(
        score=nw.when(reason.is_null()).then(nw.col("score")),
        band=nw.when(reason.is_null()).then(nw.col("band")).otherwise(nw.lit(SUPPRESSED)),
        explanation=nw.when(reason.is_null()).then(nw.col("explanation")).otherwise(sentence),
    )


def _over(points: nw.Expr, most: float) -> nw.Expr:
    """What is above `most`, below 0; else 0."""
    return nw.when(points > most).then(nw.lit(most) - points).otherwise(nw.lit(0.0))


def _points(rule: Rule, rule_set: RuleSet) -> nw.Expr:
    """100 × weight × scaled × decay."""
    points = _scaled(rule, rule_set) * (100 * rule.weight)
    return points if rule.half_life_days is None else points * _decay(rule)


def _counted(rule: Rule, rule_set: RuleSet) -> nw.Expr:
    """What counts of the rule's feature: all of it, at most so much a day, or the first occurrence only."""
    capped = rule_set.day_cap(rule)
    value = _number(capped.column if capped else rule.feature)
    return value if rule.repeatable else nw.when(value > 1).then(nw.lit(1.0)).otherwise(value)


def _scaled(rule: Rule, rule_set: RuleSet) -> nw.Expr:
    value = _counted(rule, rule_set)
    if rule.scale == "at_least_once":
        scaled = nw.when(value >= 1).then(nw.lit(1.0)).otherwise(nw.lit(0.0))
    elif rule.scale == "count":
        scaled = _share_of(value, _cap(rule))
    elif rule.scale == "log_amount":
        scaled = _share_of(_log1p(value.clip(0.0, _cap(rule))), math.log1p(_cap(rule)))
        scaled = nw.when(value >= _cap(rule)).then(nw.lit(1.0)).otherwise(scaled)
    elif rule.scale == "recency":
        scaled = 1 - _share_of(value.clip(0.0, _cap(rule)), _cap(rule))
    elif rule.recency_bonus is None or rule.recency_days is None:
        scaled = value
    else:
        age = _number("days_since_last_event").fill_null(rule.recency_days)
        scaled = value + (1 - _share_of(age.clip(0.0, rule.recency_days), rule.recency_days)) * rule.recency_bonus
    return scaled.fill_null(0.0).clip(0.0, 1.0)


def _decay(rule: Rule) -> nw.Expr:
    """What age has left: a half for every half-life; 0 where it is not known that anything happened."""
    if rule.half_life_days is None:
        return nw.lit(1.0)
    age = _number(rule.decay_feature)
    factor = nw.lit(0.5) ** (age.fill_null(0.0).clip(0.0) * (1 / rule.half_life_days))
    return nw.when(age.is_null()).then(nw.lit(0.0)).otherwise(factor)


def _cap(rule: Rule) -> float:
    assert rule.cap is not None, f"rule {rule.id} came past parse_rule_set"
    return rule.cap


def _number(name: str) -> nw.Expr:
    """A feature as a number; true is 1, and what is not a number is unknown."""
    number = nw.col(name).cast(nw.Float64)
    return nw.when(~number.is_nan()).then(number)


def _share_of(value: nw.Expr, whole: float) -> nw.Expr:
    """`value` ÷ `whole`, and exactly 1 at `whole` and above."""
    return nw.when(value >= whole).then(nw.lit(1.0)).otherwise(value * (1 / whole))


def _log1p(value: nw.Expr) -> nw.Expr:
    """log(1 + value) for value ≥ 0.

    DuckDB's logarithm (log10 ÷ log10 e, as narwhals writes it) and Polars' differ in the last bit of every fourth
    number; their exponentials do not. So the logarithm only gives a start t, to 1/1024, and the rest is the series
    log x = t + 2 (r + r³/3 + …) with s = exp t and r = (x − s) ÷ (x + s), whose next term is below 1e-18.
    """
    x = value + 1.0
    start = (x.log() * 1024.0 + 0.5).floor() * (1 / 1024)
    s = start.exp()
    r = (x - s) / (x + s)
    return start + (r + r * r * r * (1 / 3)) * 2.0


def _sum(names: Iterable[str]) -> nw.Expr:
    return reduce(add, [nw.col(name) for name in names] or [nw.lit(0.0, nw.Float64)])


def _place(number: int, names: list[str]) -> nw.Expr:
    """1 for the column with the most points, and so on; the earlier rule goes first where points are equal."""
    own = nw.col(names[number])
    ahead = [
        (nw.col(name) >= own if other < number else nw.col(name) > own).cast(nw.Int32)
        for other, name in enumerate(names)
        if other != number
    ]
    return reduce(add, ahead, nw.lit(1, nw.Int32))


def _reason(place: int, rules: list[tuple[str, Rule]]) -> nw.Expr:
    """The contribution in this place, as "signups (+30.0 pts)"; null when it adds nothing."""
    wins = [(nw.col(f"place_{name}") == place) & (nw.col(name) > 0) for name, _ in rules]
    label = nw.coalesce(*(nw.when(win).then(nw.lit(rule.id)) for win, (_, rule) in zip(wins, rules, strict=True)))
    points = nw.coalesce(*(nw.when(win).then(nw.col(name)) for win, (name, _) in zip(wins, rules, strict=True)))
    tenths = (points * 10.0 + 0.5).floor()
    whole, tenth = _split(tenths, 10)
    return nw.concat_str(label, nw.lit(" (+"), _digits(whole), nw.lit("."), _digits(tenth), nw.lit(" pts)"))


def _band(rule_set: RuleSet) -> nw.Expr:
    band = nw.lit("low")
    for name, threshold in reversed(rule_set.bands.items()):
        band = nw.when(nw.col("score") >= threshold - BAND_TOLERANCE).then(nw.lit(name)).otherwise(band)
    return band


def _shown(name: str, dtype: nw.dtypes.DType) -> nw.Expr:
    """A feature as people write it: "yes", "3", "0.5", "186.08"; "unknown" where it is null."""
    if dtype.is_integer():
        text = nw.col(name).cast(nw.String)
    elif dtype == nw.Boolean:
        text = nw.when(nw.col(name)).then(nw.lit("yes")).otherwise(nw.lit("no"))
        text = nw.when(~nw.col(name).is_null()).then(text)
    else:
        text = _hundredths(_number(name))
    return nw.coalesce(text, nw.lit("unknown"))


def _hundredths(value: nw.Expr) -> nw.Expr:
    """At most two decimals, from whole numbers, so that the engines agree; null stays null."""
    hundredths = (value.abs().clip(0.0, LARGEST_SHOWN) * 100.0 + 0.5).floor()
    whole, decimals = _split(hundredths, 100)
    tenth, hundredth = _split(decimals, 10)
    sign = nw.when((value < 0) & (hundredths > 0)).then(nw.lit("-")).otherwise(nw.lit(""))
    last = nw.when(hundredth > 0).then(_digits(hundredth)).otherwise(nw.lit(""))
    text = nw.when(decimals > 0).then(nw.concat_str(nw.lit("."), _digits(tenth), last)).otherwise(nw.lit(""))
    return nw.concat_str(sign, _digits(whole), text)


def _split(number: nw.Expr, base: int) -> tuple[nw.Expr, nw.Expr]:
    """Quotient and rest of a whole DOUBLE up to 1e14, where both are exact. `//` would write a page of SQL."""
    quotient = (number * (1 / base)).floor()
    return quotient, number - quotient * float(base)


def _digits(number: nw.Expr) -> nw.Expr:
    return number.cast(nw.Int64).cast(nw.String)
