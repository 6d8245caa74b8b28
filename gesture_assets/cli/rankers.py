"""Commands about rankers of short videos: train one, list them, let one order lists or none.

Belongs here: starting a training, and what people decide about its outcome. Does not belong here: how one is trained
and judged (`pings/ranker_training.py`), lists (`recs.py`).
"""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from gesture_assets.cli.console import AsJson, console, now, published, run_info, shown
from gesture_assets.cli.recs import day_of_lists
from gesture_assets.cli.run import days_between, note, require_reason, run_range, saying_what_readers_have
from gesture_assets.errors import ConfigError
from gesture_assets.settings import Settings, load_settings, settings_as_far_as_usable

NO_RANKER = "Lists are in the order of their scores."
WHEN = "The night makes them. At once:  gesture recs refresh"
LISTED = ("ranker_version", "as_of_date", "objective", "decision", "because")


def recs_train(
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Day of the training; default: the newest.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let it order lists although it is not better.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for --force; it is kept.")] = "",
) -> None:
    """Train a ranker on the impressions up to a day; it orders lists from the next day on if it is better."""
    require_reason(reason, asked={"--force": force}, command="gesture recs train")
    settings = load_settings()
    when = day.date() if day else _newest_day(settings)
    days_between(when, when, settings, now().date())
    run_id = note(settings, action="train ranker", what="ping_rankers", days=[when], reason=reason)
    config = {"ping_rankers": {"force_reason": reason if force else ""}}
    with saying_what_readers_have(settings) as outcome:
        outcome.done = run_range(settings, when, when, run_id=run_id, job_name="train_ranker", config=config)
    if not outcome.done:
        raise typer.Exit(1)
    newest = _cards(settings)[-1]
    console().print(f"{newest['ranker_version']}: {newest['decision']}, {newest['because']}", highlight=False)
    said = "Next:  lists stay as they are; its judgement:  gesture recs rankers"
    if newest["decision"] == "promoted":
        since = _activations(settings)[-1].effective_from
        said = f"It orders the lists of {since} and later. {WHEN}"
    console().print(said, highlight=False, soft_wrap=True)


def recs_rankers(as_json: AsJson = False) -> None:
    """Every ranker that was trained, how it was judged, and which one orders lists from when on."""
    settings = settings_as_far_as_usable()
    cards, history = _cards(settings), _activations(settings)
    since = {activation.model_version: activation.effective_from for activation in history}
    rows = [(*(card[name] for name in LISTED), since.get(card["ranker_version"])) for card in cards]
    if as_json:
        print(
            json.dumps([dict(zip((*LISTED, "orders_from"), row, strict=True)) for row in rows], indent=1, default=str)
        )
        return
    if not rows:
        console().print(f"No ranker has been trained. {NO_RANKER} Next:  gesture recs train")
        return
    shown("Rankers of short videos", (*LISTED, "orders_from"), rows)
    last = history[-1:]
    now_by = f"From {last[0].effective_from} on lists are ordered by {last[0].model_version}." if last else NO_RANKER
    console().print(now_by, highlight=False)


def recs_activate(
    version: Annotated[
        str, typer.Argument(help="A version of  gesture recs rankers,  or heuristic: the scores alone.")
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
) -> None:
    """Let a ranker, or the scores alone, order lists from the next day on; earlier lists stay."""
    from gesture_assets.pings.ranker_files import load_ranker
    from gesture_assets.records import activations
    from gesture_assets.records.opening import warehouse_of

    if not reason.strip():
        raise ConfigError.bad_value(
            "--reason",
            expected="why",
            found="nothing",
            where="the command line",
            next_step=f'gesture recs activate {version} --reason "why"',
        )
    settings = settings_as_far_as_usable()
    known = [card["ranker_version"] for card in _cards(settings)]
    if version not in (activations.HEURISTIC, *known):
        raise ConfigError.unknown_name(
            "The ranker",
            version,
            [activations.HEURISTIC, *known],
            where=str(_folder(settings)),
            next_step="gesture recs rankers",
        )
    if version != activations.HEURISTIC:
        load_ranker(_folder(settings), version)
    first = _newest_day(settings) + timedelta(days=1)
    with warehouse_of(settings).open(run_info("gesture recs activate", first)) as session:
        activations.activate(
            session.connection,
            version,
            since=first,
            now=now(),
            action="activated",
            reason=reason,
            table=activations.RANKERS,
        )
    console().print(f"Lists of {first} and later are ordered by {version}. {WHEN}", highlight=False)


def _folder(settings: Settings) -> Path:
    from gesture_assets.nights.ping_lists import rankers_folder

    return rankers_folder(settings)


def _newest_day(settings: Settings) -> date:
    """The newest whole day with lists: those of today are a refresh's, and are made again."""
    with closing(published(settings)) as con:
        newest = day_of_lists(con, None, settings)
        (whole,) = con.execute(
            "select max(as_of_date) from ping_recommendations where as_of_date < ?", [now().date()]
        ).fetchone()
        return whole or newest


def _cards(settings: Settings) -> list[dict[str, Any]]:
    """Every training that ended, oldest first."""
    from gesture_assets.warehouse.schemas import LIVE

    def cards(con: Any) -> list[dict[str, Any]]:
        rows = con.execute(f"select {', '.join(LISTED)} from {LIVE}.ping_rankers order by ranker_version").fetchall()
        return [dict(zip(LISTED, row, strict=True)) for row in rows]

    return _asked(settings, f"{LIVE}.ping_rankers", cards)


def _activations(settings: Settings) -> list[Any]:
    from gesture_assets.records import activations

    return _asked(settings, activations.RANKERS, lambda con: activations.activations(con, activations.RANKERS))


def _asked(settings: Settings, table: str, ask: Callable[[Any], list[Any]]) -> list[Any]:
    """What `ask` finds in the private file; nothing where there is no `table` yet."""
    from gesture_assets.publication.reading import private_ledger
    from gesture_assets.warehouse.relations import has_table

    if not settings.warehouse.exists():
        return []
    with private_ledger(settings) as con:
        return ask(con) if has_table(con, table) else []
