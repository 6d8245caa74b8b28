"""Every step there is, in the order of a night.

Belongs here: the list of modules that have steps. Does not belong here: a step (those modules), running
one (`steps.py`).
"""

from functools import cache
from graphlib import TopologicalSorter

from gesture_assets.nights import (
    alerts,
    drift,
    events,
    features,
    model_scores,
    performance,
    ping_lists,
    ping_rankers,
    pings,
    publishing,
    rules,
    score_changes,
    subscribers,
    training,
)
from gesture_assets.nights.steps import Step

MODULES = (
    events,
    subscribers,
    features,
    rules,
    training,
    model_scores,
    drift,
    performance,
    score_changes,
    pings,
    ping_lists,
    ping_rankers,
    alerts,
    publishing,
)


@cache
def all_steps() -> tuple[Step, ...]:
    """Every step, each after the steps that fill what it is built from."""
    steps = [step for module in MODULES for step in module.STEPS]
    maker = {table.name: step.name for step in steps for table in step.tables}
    by_name = {step.name: step for step in steps}
    before = {step.name: [maker[table] for table in step.upstream] for step in steps}
    return tuple(by_name[name] for name in TopologicalSorter(before).static_order())


def nightly_steps() -> tuple[Step, ...]:
    """The steps of a night, the publication last."""
    return tuple(step for step in all_steps() if step.is_nightly)


def training_steps() -> tuple[Step, ...]:
    """The steps of a training."""
    return tuple(step for step in all_steps() if step.tables and step.tables[0].group == "models")
