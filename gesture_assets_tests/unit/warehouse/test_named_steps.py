"""Parts of a query are named and written once, and give the rows that the query gives without that."""

from collections.abc import Callable
from datetime import date
from typing import Any

import duckdb
import narwhals as nw
import pytest

from gesture_assets.frames import Frame
from gesture_assets.warehouse import queries
from gesture_assets.warehouse.session import Session

D9 = date(2026, 3, 9)


def test_named_steps_of_a_query_give_what_the_query_gives_and_are_written_once(open_session: Callable) -> None:
    with open_session(D9) as session:
        numbers = nw.from_native(session.connection.sql("select range as n, range % 3 as part from range(30)"))

        def query(name_step: Callable[[str, nw.LazyFrame[Any]], nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
            even = name_step("even", numbers.filter(nw.col("n") % 2 == 0))
            sums = name_step("sums", even.group_by("part").agg(nw.col("n").sum().alias("sum")))
            return even.join(sums, on="part", how="left").select("n", "sum").sort("n")

        plain = session.set_aside("plain", query(lambda _, frame: frame)).collect().rows()
        named = session.set_aside("named", query(session.name_step)).collect().rows()
        assert named == plain
        assert named[:2] == [(0, 60), (2, 70)]
        sql = session._steps.with_steps(query(session.name_step).to_native().sql_query())
        assert sql.startswith("with even_3 as (")
        assert sql.count('"range"(30)') == 1
        assert "even_1 as" not in sql


def numbers_of(session: Session, columns: str = "range as n, range % 3 as part") -> Frame:
    return nw.from_native(session.connection.sql(f"select {columns} from range(30)"))


def largest(numbers: Frame, least: int, *, name_step: Callable[[str, Frame], Frame]) -> tuple[Frame, Frame]:
    """The largest number of each part, and all from `least` on beside it."""
    of_parts = name_step("of_parts", numbers.group_by("part").agg(nw.col("n").max().alias("largest")))
    return of_parts, numbers.filter(nw.col("n") >= least).join(of_parts, on="part").drop("part")


def rows(session: Session, frames: tuple[Frame, ...]) -> list[list[tuple[Any, ...]]]:
    return [sorted(session.set_aside(f"rows_{n}", frame).collect().rows()) for n, frame in enumerate(frames)]


def test_what_is_written_once_gives_what_the_function_gives(open_session: Callable) -> None:
    with open_session(D9) as session:
        numbers = numbers_of(session).filter(nw.col("n") < 20)
        plain = rows(session, largest(numbers, 17, name_step=lambda _, frame: frame))
        known = len(queries.kept)
        for _ in range(2):
            assert rows(session, session.query(largest, numbers, 17, name_step=session.name_step)) == plain
            assert len(queries.kept) == known + 1
        assert plain[1] == [(17, 17), (18, 18), (19, 19)]
        # Other rows are asked by the same SQL; another argument or other columns are not.
        more = rows(session, session.query(largest, numbers_of(session), 17, name_step=session.name_step))
        assert (len(more[1]), len(queries.kept)) == (13, known + 1)
        least = rows(session, session.query(largest, numbers, 19, name_step=session.name_step))
        assert (least[1], len(queries.kept)) == ([(19, 19)], known + 2)
        texts = numbers_of(session, "range as n, (range % 3)::varchar as part")
        of_texts, _ = rows(session, session.query(largest, texts, 17, name_step=session.name_step))
        assert (of_texts, len(queries.kept)) == ([("0", 27), ("1", 28), ("2", 29)], known + 3)


def test_a_function_that_looks_at_rows_is_not_written_once(open_session: Callable) -> None:
    def looks(numbers: Frame) -> Frame:
        return numbers.filter(nw.col("n") > numbers.select(nw.col("n").min()).collect().item())

    with open_session(D9) as session, pytest.raises(duckdb.InvalidInputException, match="has no rows before"):
        session.query(looks, numbers_of(session))


def test_a_named_step_is_not_taken_for_an_empty_table(open_session: Callable) -> None:
    with open_session(D9) as session:
        step = session.name_step("step", numbers_of(session))
        with pytest.raises(duckdb.InvalidInputException, match="has no rows before"):
            step.select(nw.len()).collect()
        assert len(session.set_aside("rows", step).collect()) == 30


def test_what_an_earlier_process_wrote_is_read(open_session: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "OURS", "gesture_assets_tests.")
    monkeypatch.setattr(queries, "kept", {})
    with open_session(D9) as session:
        numbers = numbers_of(session)
        written = rows(session, session.query(largest, numbers, 17, name_step=session.name_step))
        (anew,) = queries.kept.values()
    monkeypatch.setattr(queries, "kept", {})
    monkeypatch.setattr(queries, "_write", lambda *_: pytest.fail("written again"))
    with open_session(D9) as session:
        assert rows(session, session.query(largest, numbers_of(session), 17, name_step=session.name_step)) == written
    assert list(queries.kept.values()) == [anew]
