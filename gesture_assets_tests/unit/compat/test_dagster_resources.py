"""Resources that are put together once are those that were asked for, of this run and of no other."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.scoped_resources_builder import IContainsGenerator, ScopedResourcesBuilder

from gesture_assets.compat.dagster_resources import keep_resources

keep_resources()


def test_the_same_names_are_put_together_once() -> None:
    builder = ScopedResourcesBuilder({"file": "a file", "clock": "a clock"})
    clock = builder.build({"clock"})
    assert builder.build(frozenset({"clock"})) is clock
    assert clock.original_resource_dict == {"clock": "a clock"}
    assert builder.build(None) is builder.build(set())
    assert not hasattr(builder.build(None), "clock")
    assert builder.build({"file", "clock"})._asdict() == {"file": "a file", "clock": "a clock"}  # pyright: ignore[reportAttributeAccessIssue]


def test_another_run_has_its_own() -> None:
    one, other = (ScopedResourcesBuilder({"run": run}) for run in ("one", "other"))
    assert [builder.build({"run"}).run for builder in (one, other)] == ["one", "other"]


@pytest.mark.parametrize("is_generator", [False, True])
def test_what_is_to_be_closed_still_says_so(is_generator: bool) -> None:
    built = ScopedResourcesBuilder({"file": "a file"}, contains_generator=is_generator).build({"file"})
    assert isinstance(built, IContainsGenerator) is is_generator


def test_each_step_of_a_run_has_the_resources_that_it_asks_for() -> None:
    seen: list[tuple[str, ...]] = []

    @dg.resource
    def opened(_context: dg.InitResourceContext) -> Iterator[str]:
        yield "opened"
        seen.append(("closed",))

    @dg.op(required_resource_keys={"file", "number"})
    def both(context: dg.OpExecutionContext) -> None:
        seen.append((context.resources.file, context.resources.number))

    @dg.op(required_resource_keys={"number"}, ins={"after": dg.In(dg.Nothing)})
    def one(context: dg.OpExecutionContext) -> None:
        seen.append((context.resources.number, str(hasattr(context.resources, "file"))))

    @dg.job(resource_defs={"file": opened, "number": dg.ResourceDefinition.hardcoded_resource("three")})
    def steps() -> None:
        one(both())

    for _ in range(2):
        assert steps.execute_in_process().success
    assert seen == 2 * [("opened", "three"), ("three", "False"), ("closed",)]
