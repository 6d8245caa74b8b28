"""Contracts of rule scores and their parts.

Belongs here: tables that sales and analysts look at. Does not belong here: how a score is worked out
(`scorer.py`).
"""

from gesture_assets.contracts.contract import PARTITION, Column, Contract, between, filled, no_rows
from gesture_assets.contracts.shared import AS_OF, SCORING, USER

TIE_TOLERANCE = 0.95
# How far an edit of the rules may move people without being asked about; as much as a model (`models/churn.py`).
MOST_MOVED, LEAST_CORRELATION = 0.2, 0.8
MOVED_TOO_MANY = "new_rules_leave_most_people_where_they_were"  # the check that holds rules
APPROVED = "approve rules"  # what the audit log says of a version that somebody lets do so


RULE_SETS = Contract(
    name="rule_sets",
    grain="One row per day: the rule set that scored it.",
    description="Every version that ever scored somebody, with its whole content, "
    "so that no score is without its rules.",
    group="scores",
    owner=SCORING,
    upstream=("user_features", "daily_activity", "identity_links"),
    key=("rule_set_version",),
    columns=(
        AS_OF,
        Column("rule_set", "VARCHAR", "Rule set."),
        Column("rule_set_version", "VARCHAR", "Hash of its content."),
        Column("rule_count", "INTEGER", "Rules in it.", unit="count"),
        Column("band_thresholds", "VARCHAR", "The bands' lower ends."),
        Column("content", "VARCHAR", "Bands and rules as JSON."),
    ),
)

RULE_SCORES = Contract(
    name="rule_scores",
    grain="One row per known user and day: how ready they are to buy, by the rules.",
    description="Points out of 100 by the rule set, at least 1; none for suppressed users, with the reason. "
    "What was replaced stays in superseded.rule_scores.",
    group="scores",
    owner=SCORING,
    upstream=("user_features", "daily_activity", "identity_links"),
    key=("user_id",),
    keeps_history=True,
    columns=(
        AS_OF,
        USER,
        Column("score", "DOUBLE", "The points, at least 1 and at most 100; null for suppressed users.", True, "points"),
        Column("points", "DOUBLE", "Sum of the contributions.", unit="points"),
        Column(
            "band",
            "VARCHAR",
            "Band of the rule set that the score falls in, such as high, medium or low; or suppressed.",
        ),
        Column("band_thresholds", "VARCHAR", "The bands' lower ends when this was scored."),
        Column("explanation", "VARCHAR", "The three contributions that count most."),
        Column("fit_points", "DOUBLE", "Points for who somebody is.", unit="points"),
        Column("engagement_points", "DOUBLE", "Points for what somebody does.", unit="points"),
        Column("last_event_at", "TIMESTAMP", "Last event (UTC); null without any.", True),
        Column("rule_set", "VARCHAR", "Rule set."),
        Column("rule_set_version", "VARCHAR", "Hash of its content."),
        Column("suppression_reason", "VARCHAR", "Why the user gets no score; null for everybody else.", True),
    ),
    expectations=(
        no_rows(
            "only_suppressed_users_have_no_score",
            f"select {PARTITION}, user_id, score, suppression_reason from {{batch}} "
            "where (score is null) <> (suppression_reason is not null)",
            recovery="look at data/suppressed.csv and at the rule set's suppressions, then  gesture run --date DAY",
        ),
        between("no_score_leaves_1_to_100", "score", 1, 100, recovery="this is a defect of rules/scorer.py"),
        filled("every_score_has_a_band", "band", recovery="this is a defect of rules/scorer.py"),
        no_rows(
            "every_score_is_its_points_within_1_to_100",
            f"select {PARTITION}, user_id, score, points from {{batch}} "
            "where abs(score - greatest(1, least(100, points))) > 1e-9",
            recovery="this is a defect of rules/scorer.py",
        ),
        no_rows(
            "every_score_names_a_rule_set_version_that_is_kept",
            f"""select {PARTITION}, rule_set_version, count(*) as row_count from {{batch}}
            anti join {{staged}}.rule_sets using ({PARTITION}, rule_set_version) group by all""",
            recovery="gesture run --date DAY",
        ),
        no_rows(
            "every_user_with_features_has_a_score",
            f"""select {PARTITION}, sum(scored) as scored, sum(known) as known from (
                select {PARTITION}, count(*) as scored, 0 as known from {{batch}} group by all
                union all select {PARTITION}, 0, count(*) from {{live}}.user_features
                    semi join {{days}} using ({PARTITION}) group by all
            ) group by all having sum(scored) <> sum(known)""",
            recovery="gesture run --date DAY",
        ),
        no_rows(
            "scores_are_not_all_alike",
            f"""select {PARTITION}, max(share) as share_of_commonest from (
                select {PARTITION}, score, count(*) / sum(count(*)) over (partition by {PARTITION}) as share
                from {{batch}} group by {PARTITION}, score) group by all having max(share) > {TIE_TOLERANCE}""",
            recovery="gesture rules lint, and look at the features that the rules use",
        ),
        no_rows(
            MOVED_TOO_MANY,
            f"""with changed as (
                select staged.{PARTITION}, max(before.{PARTITION}) as day_before
                from (from {{staged}}.rule_sets qualify {PARTITION} = min({PARTITION}) over ()) as staged
                join {{live}}.rule_sets as before on before.{PARTITION} < staged.{PARTITION}
                where before.{PARTITION} not in (select {PARTITION} from {{days}})
                group by staged.{PARTITION}, staged.rule_set_version
                having arg_max(before.rule_set_version, before.{PARTITION}) <> staged.rule_set_version
                    and staged.rule_set_version not in (
                        select object from {{live}}.audit_log where action = '{APPROVED}')
            ),
            pairs as (
                select batch.{PARTITION}, batch.band is distinct from before.band as is_moved,
                    rank() over (partition by batch.{PARTITION} order by batch.score) as place,
                    rank() over (partition by batch.{PARTITION} order by before.score) as place_before
                from {{batch}} as batch join changed using ({PARTITION})
                join {{live}}.rule_scores as before
                    on before.user_id = batch.user_id and before.{PARTITION} = changed.day_before
                where batch.score is not null and before.score is not null
            )
            select {PARTITION}, count(*) as users, avg(is_moved::int) as moved, corr(place, place_before) as correlation
            from pairs group by {PARTITION} having avg(is_moved::int) > {MOST_MOVED}
                or coalesce(corr(place, place_before), 1) < {LEAST_CORRELATION}""",
            recovery="the new rules are held, for people act on bands and ranks; where it is meant:  "
            'gesture rules approve --reason "why", then  gesture run --date DAY',
        ),
    ),
)

RULE_CONTRIBUTIONS = Contract(
    name="rule_contributions",
    grain="One row per user, day and rule that adds or takes points.",
    description="The parts of every rule score; they sum to its points exactly. A rule without a row added nothing.",
    group="scores",
    owner=SCORING,
    upstream=("user_features", "daily_activity", "identity_links"),
    key=("user_id", "rule_id"),
    keeps_history=False,
    may_be_empty=True,
    columns=(
        AS_OF,
        USER,
        Column("rule_id", "VARCHAR", "Rule of the rule set, or one of its caps."),
        Column("feature", "VARCHAR", "Feature it looks at."),
        Column("group_name", "VARCHAR", "fit or engagement; total for the cap on both."),
        Column("value", "DOUBLE", "The feature's value; null where unknown.", True),
        Column("scaled", "DOUBLE", "What counts of the value on the rule's scale, 0 to 1."),
        Column("decay", "DOUBLE", "What age has left of it, 0 to 1."),
        Column("weight", "DOUBLE", "The rule's share of 100 points; below 0 where it takes points away."),
        Column("points", "DOUBLE", "100 × weight × scaled × decay.", unit="points"),
        Column("because", "VARCHAR", "The rule in plain words, with the value."),
        Column("rule_set_version", "VARCHAR", "Hash of the rule set's content."),
        Column("counted", "DOUBLE", "What counts of the value: all of it, or what a cap leaves.", True),
    ),
    expectations=(
        no_rows(
            "contributions_sum_to_the_points",
            f"""select {PARTITION}, user_id, any_value(scores.points) as points, sum(batch.points) as contributions
            from {{batch}} as batch join {{staged}}.rule_scores as scores using ({PARTITION}, user_id)
            group by {PARTITION}, user_id having abs(any_value(scores.points) - sum(batch.points)) > 1e-9""",
            recovery="this is a defect of rules/scorer.py",
        ),
        no_rows(
            "every_score_has_its_contributions",
            f"select {PARTITION}, user_id, points from {{staged}}.rule_scores anti join {{batch}} "
            f"using ({PARTITION}, user_id) where abs(points) > 1e-9",
            recovery="this is a defect of rules/scorer.py",
        ),
        no_rows(
            "contributions_and_scores_come_from_one_rule_set",
            f"""select distinct batch.rule_set_version, scores.rule_set_version as scored_with
            from {{batch}} as batch join {{staged}}.rule_scores as scores using ({PARTITION}, user_id)
            where batch.rule_set_version <> scores.rule_set_version""",
            recovery="gesture run --date DAY",
        ),
    ),
)

TABLES = (RULE_SETS, RULE_SCORES, RULE_CONTRIBUTIONS)
