"""Steps as Dagster assets: contracts to specs and checks, and the function that runs a step.

Belongs here: what Dagster is told of a step before it runs. Does not belong here: what it does (`nights/`), what is
told afterwards (`events.py`).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import BaseModel, create_model

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.contracts.contract import PARTITION, PROVENANCE, Contract
from gesture_assets.defs.events import Event
from gesture_assets.nights.steps import Step
from gesture_assets.settings import Settings, default_of
from gesture_assets.vocabulary.severity import Severity, severity_of

# A backfill of many days is one run: the engine sees all days at once, and the warehouse is opened once a step.
ONE_RUN = dg.BackfillPolicy.single_run()


def daily(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Days in UTC, from the first that can be materialised."""
    start = default_of(settings, "partitions_start")
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone="UTC")


def asset_of(step: Step, settings: Settings) -> dg.AssetsDefinition:
    """The asset, or the assets, that `step` makes, for a day or a range in one run."""
    partitions = daily(settings)
    tables = catalogue(default_of(settings, "tags"))
    version = step.code_version(settings)
    specs = [_spec(tables[table.name], step, partitions, version) for table in step.tables]
    # Failures of the machine (memory, disk) may pass; bad data, closed gates and defects do not: they are not retried.
    retries = dg.RetryPolicy(max_retries=default_of(settings, "retry_count"), delay=30, backoff=dg.Backoff.EXPONENTIAL)
    return dg.multi_asset(
        name=step.name,
        specs=specs or [_file_spec(step, partitions)],
        check_specs=[
            *(
                check
                for table in step.tables
                for check in gates(tables[table.name], default_of(settings, "blocking_checks"), partitions)
            ),
            *_own_checks(step, partitions),
        ],
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
        retry_policy=retries,
        required_resource_keys={"warehouse"},
    )(_compute(step))


def gates(
    contract: Contract, blocking: tuple[str, ...], partitions: dg.PartitionsDefinition
) -> list[dg.AssetCheckSpec]:
    """A Dagster check for every expectation of the contract; those that block say so."""
    return [
        dg.AssetCheckSpec(
            name=check.name,
            asset=contract.name,
            description=f"{check.name.replace('_', ' ').capitalize()}. When it fails: {check.recovery}.",
            blocking=severity_of(check.name, blocking) is Severity.ERROR,
            metadata={"severity": severity_of(check.name, blocking).value, "expectation": check.type},
            partitions_def=partitions,
        )
        for check in contract.checks
    ]


def _own_checks(step: Step, partitions: dg.PartitionsDefinition) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            name=check.name,
            asset=step.name,
            description=check.description,
            blocking=check.severity is Severity.ERROR,
            metadata={"severity": check.severity.value},
            partitions_def=partitions,
        )
        for check in step.checks
    ]


def _spec(contract: Contract, step: Step, partitions: dg.PartitionsDefinition, version: str | None) -> dg.AssetSpec:
    """The Dagster face of a contract: description, columns, group, owner, kinds, dependencies."""
    columns = [
        dg.TableColumn(column.name, column.type, column.meaning, dg.TableColumnConstraints(nullable=column.nullable))
        for column in contract.columns
    ] + [dg.TableColumn(name, kind, meaning) for name, (kind, meaning) in PROVENANCE.items()]
    return dg.AssetSpec(
        contract.name,
        deps=contract.upstream,
        description=f"{contract.grain}\n\n{contract.description}",
        metadata={
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/relation_identifier": f"gesture.main.{contract.name}",
            "dagster/partition_expr": PARTITION,
            "grain": contract.grain,
            "key": ", ".join((PARTITION, *contract.key)),
        },
        group_name=contract.group,
        owners=[contract.owner],
        kinds={"duckdb", *step.kinds.get(contract.name, ())},
        tags={"layer": contract.group},
        code_version=version,
        partitions_def=partitions,
    )


def _file_spec(step: Step, partitions: dg.PartitionsDefinition) -> dg.AssetSpec:
    """The Dagster face of a step that makes a file."""
    return dg.AssetSpec(
        step.name,
        deps=step.upstream,
        description=step.about,
        metadata={"path": step.path},
        group_name=step.group,
        owners=[step.owner],
        kinds={"duckdb", *step.kinds.get(step.name, ())},
        tags={"layer": step.group},
        partitions_def=partitions,
    )


def _compute(step: Step) -> Any:
    """The function that Dagster calls, with a configuration where the step has options."""
    if step.options is None:

        def compute(context: dg.AssetExecutionContext) -> Iterator[Event]:
            yield from context.resources.warehouse.run_step(step, context)

        return compute

    def configured(context: dg.AssetExecutionContext, config: Any) -> Iterator[Event]:
        yield from context.resources.warehouse.run_step(step, context, config.model_dump())

    configured.__annotations__["config"] = _config_of(step.options)
    return configured


def _config_of(options: type[BaseModel]) -> type[dg.Config]:
    """The options of a step as Dagster configures them."""
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in options.model_fields.items()}
    return create_model(options.__name__, __base__=dg.Config, __doc__=options.__doc__, **fields)
