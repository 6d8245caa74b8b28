"""Commands around the published file: publish again, go back to the file before.

Belongs here: the two commands. Does not belong here: how a file is published (`publication/publish.py`).
"""

from typing import Annotated

import typer

from gesture_assets.cli.console import console, now, run_info
from gesture_assets.cli.run import publish_day, require_reason
from gesture_assets.cli.screen import where_to_look
from gesture_assets.errors import GateClosed
from gesture_assets.settings import settings_as_far_as_usable


def publish(
    context: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="Also an older state than readers have; the --reason is kept.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for --force; it is kept.")] = "",
) -> None:
    """Publish what is live again; after a rollback this goes forward."""
    if context.invoked_subcommand:
        return
    require_reason(reason, asked={"--force": force}, command="gesture publish")
    settings = settings_as_far_as_usable()
    from gesture_assets.contracts.catalogue import catalogue
    from gesture_assets.publication.order import note_published, rolled_back, snapshots_before
    from gesture_assets.publication.reading import live_days
    from gesture_assets.records.opening import warehouse_of

    with warehouse_of(settings).open(run_info("gesture publish", now().date())) as session:
        live = live_days(session, catalogue(settings.tags).nightly)
        folder, link = settings.published_files, settings.published
        if live and rolled_back(folder, link):
            note_published(link, snapshots_before(folder, link))
    if not live:
        raise GateClosed(
            "Nothing can be published.",
            expected="a day on which every table has passed",
            found="none",
            where=str(settings.warehouse),
            next_step="gesture run",
        )
    if not publish_day(settings, max(live), force_reason=reason):
        raise typer.Exit(1)
    where_to_look(settings)


def publish_rollback() -> None:
    """Let readers have the file that was published before the current one."""
    from gesture_assets.contracts.catalogue import catalogue
    from gesture_assets.publication.order import snapshot_of
    from gesture_assets.publication.publish import rollback
    from gesture_assets.records import audit_log
    from gesture_assets.records.opening import warehouse_of

    settings = settings_as_far_as_usable()
    with warehouse_of(settings).open(run_info("gesture publish rollback", now().date())) as session:
        path = rollback(settings.published_files, settings.published, catalogue(settings.tags).tables)
        audit_log.note(session.connection, now=now(), action="roll back", what=snapshot_of(path))
    console().print(f"{settings.published} is {snapshot_of(path)} again", highlight=False, soft_wrap=True)
    console().print(
        "No run publishes what was taken back. When it is mended:  gesture publish", highlight=False, soft_wrap=True
    )
