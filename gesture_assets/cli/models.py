"""Commands about models: train one, see what there is, say which one scores.

Belongs here: arguments and what a person sees. Does not belong here: training (`nights/training.py`), which version
serves a day (`records/activations.py`).
"""

import json
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from gesture_assets.cli.console import AsJson, as_of, console, now, published, run_info, shown
from gesture_assets.cli.run import days_between, not_refused, note, require_reason, run_range, saying_what_readers_have
from gesture_assets.cli.screen import where_to_look
from gesture_assets.errors import ConfigError, ContractBreach, GateClosed, ModelMismatch, listing
from gesture_assets.models.tables import DAYS_APART
from gesture_assets.settings import Settings, load_settings, settings_as_far_as_usable

SAMPLERS = ("tpe", "random")
NEVER_SERVED = "cut off, or did not pass, before it served"
VALIDATION_SPLIT = 0.2  # documents 001 and 003
FIGURES = ("roc_auc", "pr_auc", "f1", "precision", "recall")  # of the test part, in the list of versions
Version = Annotated[str, typer.Argument(help="Model version, from  gesture models list.")]


def train(
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Day of the training; default: the newest.")
    ] = None,
    params: Annotated[list[str] | None, typer.Option(help="A training parameter, such as max_depth=4.")] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Search for parameters first.")] = False,
    trials: Annotated[int, typer.Option(help="Trials of the search.")] = 24,
    sampler: Annotated[str, typer.Option(help="tpe or random.")] = "tpe",
    validation_split: Annotated[
        float,
        typer.Option(
            min=0.05,
            max=0.6,
            help="Share of persons that the random split reported beside the judgement calibrates on. What serves is "
            "calibrated on everybody, each by models of others: a share has no meaning there.",
        ),
    ] = VALIDATION_SPLIT,
    from_version: Annotated[str, typer.Option(help="Train this version once more, and say whether it is equal.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Let it serve although it is not better.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for --force; it is kept.")] = "",
) -> None:
    """Train a model on the days whose outcomes are known; it serves from the next night on if it is better.

    One that takes over from the rules scores the newest day anew at once.
    """
    require_reason(reason, asked={"--force": force}, command="gesture train")
    settings = load_settings()  # all of them: a search of an hour is not to fail at a setting that its last step reads
    parameters = dict(_parameter(text) for text in params or ())
    _require_usable(settings, parameters, trials, sampler)
    if from_version and (parameters or tune or day or force or validation_split != VALIDATION_SPLIT):
        raise ConfigError.bad_value(
            "--from-version",
            expected="it alone: the version brings its day, data and parameters",
            found="it with another option",
            where="the command line",
            next_step=f"gesture train --from-version {from_version}",
        )
    when = date.fromisoformat(_cards(settings, from_version)[0]["as_of_date"]) if from_version else None
    when = when or (day.date() if day else _newest_day(settings))
    days_between(when, when, settings, now().date())
    config = {
        "training_set": {"from_version": from_version, "validation_split": validation_split},
        "candidate_model": {
            "from_version": from_version,
            "validation_split": validation_split,
            "parameters": parameters,
            "tune": tune,
            "trials": trials,
            "sampler": sampler,
            "force_reason": reason if force else "",
        },
    }
    run_id = note(settings, action="train", what=from_version or "candidate_model", days=[when], reason=reason)
    with saying_what_readers_have(settings) as outcome:
        outcome.done = run_range(settings, when, when, run_id=run_id, job_name="train", config=config)
    if not outcome.done:
        raise typer.Exit(1)
    if from_version:
        from gesture_assets.records.tracking import Tracking

        outcome = Tracking(settings.mlflow_database, settings.mlflow_artifacts).reproduced(from_version)
        console().print(f"{from_version} was trained once more: {outcome}", highlight=False, soft_wrap=True)
        return
    newest, last = _cards(settings)[-1], _activations(settings)[-1:]
    is_promoted = newest["decision"] == "promoted"
    say_outcome(settings, newest)
    if is_promoted and last[0].effective_from <= when:
        # One that follows the rules scores the day that it was trained on, so that there is something to look at.
        with saying_what_readers_have(settings) as outcome:
            outcome.done = run_range(settings, when, when, "model_scores+")
        if not outcome.done:
            raise typer.Exit(1)
        where_to_look(settings)
    say_next(newest["model_version"], None if is_promoted else when + timedelta(days=DAYS_APART))


def say_outcome(settings: Settings, card: dict[str, Any]) -> None:
    """What became of a training, whether its data can tell, and what a person should judge."""
    for line in (
        f"{card['model_version']}: {card['decision']}, {card['because']}",
        f"Is there enough data? {card['data_verdict']}: {card['data_because']}.",
        _strong_alone(settings, card["model_version"]),
    ):
        console().print(line, highlight=False, soft_wrap=True)


def say_next(version: str, later: date | None) -> None:
    """Where to look after a training; `later`: the day by which more is known, for a version that does not serve."""
    if later:
        console().print(
            f"To try again with the outcomes of {DAYS_APART} more days:  gesture train --date {later}  once it is live",
            highlight=False,
            soft_wrap=True,
        )
    console().print(
        f"Next:  gesture models show {version}  |  gesture publish, then  gesture report model --version {version}",
        highlight=False,
        soft_wrap=True,
    )


def models_list(as_json: AsJson = False) -> None:
    """Every version, oldest first, with its figures on its test part."""
    from gesture_assets.models.versions import figures_of, known_versions
    from gesture_assets.publication.reading import how_to_train

    settings = settings_as_far_as_usable()
    if not known_versions(settings.models):
        next_step = not_refused(how_to_train(settings), settings)
        print("[]" if as_json else f"There is no model yet. Next:  {next_step}")
        return
    serving = {activation.model_version: activation.effective_from for activation in _activations(settings)}
    champion = _activations(settings)[-1].model_version if serving else None
    rows = [
        {
            "model_version": card["model_version"],
            "as_of_date": card["as_of_date"],
            "decision": _outcome(card, serving),
            "training_samples": card["training_samples"],
            "base_rate": card["base_rate"],
            "is_champion": card["model_version"] == champion,
            "scores_from": str(serving.get(card["model_version"], "")),
            **{name: _readable(figures_of, settings, card["model_version"])["test"].get(name) for name in FIGURES},
        }
        for card in _cards(settings)
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    cells = [[f"{value:.4f}" if isinstance(value, float) else value for value in row.values()] for row in rows]
    shown("Models", list(rows[0]), cells)


def _outcome(card: dict[str, Any], serving: Collection[str]) -> str:
    """What became of a version: a training that ended after its decision and before it passed let nothing serve."""
    if card["decision"] == "promoted" and card["model_version"] not in serving:
        return NEVER_SERVED
    return card["decision"]


def models_show(version: Version, as_json: AsJson = False) -> None:
    """Everything that a version resolves to."""
    settings = settings_as_far_as_usable()
    card = _cards(settings, version)[0]
    card |= {"decision": _outcome(card, {activation.model_version for activation in _activations(settings)})}
    if as_json:
        print(json.dumps(card, indent=1))
        return
    shown(version, ["what", "value"], sorted(card.items()))
    console().print(_strong_alone(settings, version), highlight=False, soft_wrap=True)


def _strong_alone(settings: Settings, version: str) -> str:
    """What no sentinel can judge and a person should: features that tell the outcome well by themselves."""
    from gesture_assets.models.leakage import STRONG_AUC
    from gesture_assets.models.versions import figures_of

    strong = _readable(figures_of, settings, version).get("strong_alone", {})
    listed = ", ".join(f"{name} {auc:.3f}" for name, auc in strong.items())
    hint = f"{listed}. Is each known before the outcome? If not, GESTURE_EXCLUDED_FEATURES leaves it out"
    return f"Features that rank the outcome alone with an AUC from {STRONG_AUC:.2f}: {hint if strong else 'none'}."


def models_compare(
    version: Annotated[str, typer.Argument(help="A version, from  gesture models list.")],
    other: Annotated[str, typer.Argument(help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Two versions on the test part of the newer one: figures, differences with intervals, features, parameters."""
    from gesture_assets.models.comparing import compare_versions

    settings = settings_as_far_as_usable()
    cards = [_cards(settings, name)[0] for name in (version, other)]
    comparison = compare_versions(settings.models, *cards)
    if as_json:
        print(json.dumps(comparison, indent=1))
        return
    shown(
        f"{comparison['older']} and {comparison['newer']}, {comparison['rows']:,} test rows of the latter, "
        f"{comparison['buyers']:,} buyers",
        ("metric", "older", "newer", "difference", "95 %", "beyond chance"),
        [
            (
                name,
                f"{row['older']:.4f}",
                f"{row['newer']:.4f}",
                f"{row['difference']:+.4f}",
                f"{row['low']:+.4f} to {row['high']:+.4f}",
                "yes" if row["low"] > 0 or row["high"] < 0 else "no",
            )
            for name, row in comparison["metrics"].items()
        ],
    )
    apart = [(f"parameter {name}", *values) for name, values in comparison["parameters"].items()]
    apart += [("feature", name, "") for name in comparison["features_of_older_only"]]
    apart += [("feature", "", name) for name in comparison["features_of_newer_only"]]
    shown("What differs", ("what", "older", "newer"), apart or [("nothing", "", "")])


def models_verify(
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Default: the newest day of a model.")
    ] = None,
) -> None:
    """Score everybody of a day once more from the features that are published, and compare with what was published."""
    import narwhals as nw
    import polars as pl

    from gesture_assets.models.scoring import USERS_AT_ONCE, differing, score_users, scored_columns
    from gesture_assets.models.training_set import with_rule_score
    from gesture_assets.models.versions import load_version
    from gesture_assets.publication.reading import how_to_train
    from gesture_assets.warehouse.staging import in_parts

    settings = settings_as_far_as_usable()
    con = published(settings)
    (newest,) = con.sql("select max(as_of_date) from model_scores").fetchone()
    when = day.date() if day else newest
    said = con.execute(
        "select user_id, model_version, feature_hash, probability from model_scores where as_of_date = ? order by all",
        [when],
    ).pl()
    if said.is_empty():
        raise ConfigError.bad_value(
            "The day whose scores are made again",
            expected=f"a day that a model scored{f', the newest of them {newest}' if newest else ''}",
            found=str(when or "none"),
            where=f"model_scores of {settings.published}",
            next_step=f"gesture models verify --date {newest}" if newest else how_to_train(settings),
        )
    version = said["model_version"][0]
    model = load_version(settings.models, version)
    features, rules, scored = (
        nw.from_native(con.sql(f"from {name} where as_of_date = date '{when}'"))
        for name in ("user_features", "rule_scores", "model_scores")
    )
    rows = with_rule_score(features, rules).join(scored.select("user_id"), on="user_id", how="semi")
    parts = in_parts(rows.select(*scored_columns(model)), by="user_id", rows=USERS_AT_ONCE)
    again = [
        score_users(model, part).select("user_id", "probability", pl.Series("feature_hash", part["row_hash"]))
        for part in parts
    ]
    con.close()
    others = differing(said, pl.concat(again))
    if len(others):
        kinds = [f"{count} with {why}" for why, count in others["because"].value_counts().sort("because").iter_rows()]
        raise ContractBreach(
            f"Scores of {when} are not what {version} says of the features that stand beside them.",
            expected=f"{len(said):,} scores as they were published",
            found=f"{listing(kinds)}, {others['user_id'][0]} among them",
            where=str(settings.published),
            next_step=f'gesture run --date {when} --rebuild --restate --reason "scores of other features"',
        )
    console().print(
        f"{len(said):,} scores of {when} were made again by {version} from the published features: all are equal.",
        highlight=False,
        soft_wrap=True,
    )


def models_activate(
    version: Version,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day it scores; default: the next night's."),
    ] = None,
) -> None:
    """Let a version score from a day on, or the rules alone (the version called rules)."""
    from gesture_assets.models.judgement import PASSED_OVER
    from gesture_assets.records.activations import RULES, serves_already

    settings = settings_as_far_as_usable()
    card = _cards(settings, version)[0] if version != RULES else {"decision": ""}
    first = since.date() if since else _newest_day(settings) + timedelta(days=1)
    history = _activations(settings)
    if serves_already(history, version, first):
        console().print(
            f"{_who(version)} from {first} on already: nothing was changed.", highlight=False, soft_wrap=True
        )
        return
    because = card.get("because") or ""
    passed_over = because if card["decision"] == "kept" else because.partition(PASSED_OVER)[2]
    if passed_over:
        console().print(f"Passed over: {passed_over}", style="yellow", highlight=False, soft_wrap=True)
        reason += PASSED_OVER + passed_over
    if version != RULES and _outcome(card, {activation.model_version for activation in history}) == NEVER_SERVED:
        console().print(f"Its training was {NEVER_SERVED}. Why:  gesture gates", style="yellow", highlight=False)
    _activate(settings, version, first, "activated", reason)


def models_rollback(reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "rolled back by hand") -> None:
    """Let the version before the present one score again, from the next night on."""
    from gesture_assets.records import activations as registry
    from gesture_assets.records.opening import warehouse_of

    settings = settings_as_far_as_usable()
    with warehouse_of(settings).open(run_info("gesture models rollback", now().date())) as session:
        version = registry.previous(session.connection)
    _activate(settings, version, _newest_day(settings) + timedelta(days=1), registry.ROLLED_BACK, reason)


def models_cleanup(keep: Annotated[int, typer.Option(min=1, help="Newest versions that stay.")] = 5) -> None:
    """Remove the files of old versions; never those of one that served."""
    import shutil

    from gesture_assets.models.versions import known_versions

    settings = settings_as_far_as_usable()
    served = {activation.model_version for activation in _activations(settings)}
    old = [version for version in known_versions(settings.models)[:-keep] if version not in served]
    for version in old:
        shutil.rmtree(settings.models / version)
    if old:
        note(settings, action="remove models", what=", ".join(old))
    console().print(f"Removed {len(old)} of {len(old) + len(known_versions(settings.models))} versions.")


def _require_usable(settings: Settings, parameters: dict[str, str], trials: int, sampler: str) -> None:
    """Refuse what the training would refuse once it has begun."""
    from gesture_assets.models.parameters import RECIPES

    RECIPES[settings.model_recipe].overridden(parameters)
    if trials < 1:
        raise ConfigError.bad_value(
            "--trials",
            expected="at least one trial",
            found=trials,
            where="the command line",
            next_step="gesture train --tune --trials 24",
        )
    if sampler not in SAMPLERS:
        raise ConfigError.unknown_name(
            "The sampler",
            sampler,
            SAMPLERS,
            where="the command line",
            next_step="gesture train --tune --sampler random",
        )


def _parameter(text: str) -> tuple[str, str]:
    name, is_set, value = text.partition("=")
    if not is_set:
        raise ConfigError.bad_value(
            "--params",
            expected="NAME=VALUE",
            found=text,
            where="the command line",
            next_step="gesture train --params max_depth=4",
        )
    return name.strip(), value.strip()


def _newest_day(settings: Settings) -> date:
    with closing(published(settings)) as con:
        (day,) = con.execute("select max(as_of_date) from user_features").fetchone()
        return day or as_of(con, None, settings)  # which refuses, in words


def _activations(settings: Settings) -> Any:
    from gesture_assets.publication.reading import private_ledger
    from gesture_assets.records import activations as registry
    from gesture_assets.warehouse.relations import has_table

    if not settings.warehouse.exists():
        return []
    with private_ledger(settings) as con:
        return registry.activations(con) if has_table(con, registry.TABLE) else []


def _activate(settings: Settings, version: str, first: date, action: str, reason: str) -> None:
    """Note the activation, and let MLflow's alias follow."""
    from gesture_assets.models.versions import load_version
    from gesture_assets.records import activations as registry
    from gesture_assets.records.opening import warehouse_of
    from gesture_assets.records.tracking import CHAMPION, Tracking

    if version != registry.RULES:
        load_version(settings.models, version)
    with warehouse_of(settings).open(run_info(f"gesture models {action}", first)) as session:
        done = registry.activate(session.connection, version, since=first, now=now(), action=action, reason=reason)
    served = None if version == registry.RULES else version
    try:
        Tracking(settings.mlflow_database, settings.mlflow_artifacts).alias(CHAMPION, served)
    except Exception as error:  # whatever MLflow says of a store that it cannot use: what scores is noted already
        raise ConfigError(
            f"{version} scores from {first} on, and MLflow does not know: its store cannot be used.",
            expected="what MLflow has written there",
            found=str(error).strip().partition("\n")[0],
            where=str(settings.mlflow_database),
            next_step=f"mv {settings.mlflow_database} {settings.mlflow_database}.damaged, then  gesture train",
        ) from error
    before = "the rules" if done.previous_version in (None, registry.RULES) else done.previous_version
    console().print(f"{_who(version)} from {first} on, after {before}.", highlight=False, soft_wrap=True)


def _who(version: str) -> str:
    """Who scores, and that they do."""
    from gesture_assets.records.activations import RULES

    return "The rules alone score" if version == RULES else f"{version} scores"


def _cards(settings: Settings, version: str = "") -> list[dict[str, Any]]:
    """What the versions whose files are there resolve to, oldest first; of one version only, where it is named."""
    from gesture_assets.models.versions import card_of, known_versions
    from gesture_assets.publication.reading import how_to_train

    versions = known_versions(settings.models)
    if not versions:
        raise (ConfigError if version else GateClosed)(
            "There is no model yet.",
            expected="a trained model",
            found="none",
            where=str(settings.models),
            next_step="gesture models list" if version else how_to_train(settings),
        )
    if version and version not in versions:
        raise ConfigError.unknown_name(
            "The model version", version, versions, where=str(settings.models), next_step="gesture models list"
        )
    return [_readable(card_of, settings, name) for name in ([version] if version else versions)]


def _readable(read: Callable[[Path, str], dict[str, Any]], settings: Settings, version: str) -> dict[str, Any]:
    """What `read` finds in the folder of a version. Raises `ModelMismatch` where a file is gone or damaged."""
    try:
        return read(settings.models, version)
    except (OSError, ValueError) as error:
        raise ModelMismatch(
            f"The files of the model {version} cannot be read.",
            expected="JSON as the training wrote it",
            found=str(error),
            where=str(settings.models / version),
            next_step=f"put them back from a copy, or move {settings.models / version} away, then  gesture models list",
        ) from error
