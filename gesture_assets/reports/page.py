"""One HTML file that needs nothing else: sections of numbers, tables and figures, each with the SQL behind it.

Belongs here: the form of a page. Does not belong here: what a page says (`model_report.py`, `night_report.py`), drawing
(`plots.py`, `charts.py`).

A page loads nothing: style and pictures are inside, and its policy forbids the browser to fetch anything.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

# Light or dark, as the reader's browser is set. Old browsers that do not know light-dark() show plain colours.
STYLE = """
:root{color-scheme:light dark;--quiet:light-dark(#555,#aaa);--line:light-dark(#ccc,#444)}
body{font:15px/1.5 system-ui,sans-serif;color:CanvasText;background:Canvas;max-width:64rem;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2.5rem 0 .5rem;border-bottom:1px solid var(--line)}
dl{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0}
dl>div{border:1px solid var(--line);border-radius:4px;padding:.5rem .8rem}
dt{color:var(--quiet)}dd{margin:0}dd strong{font-size:1.3rem}table{border-collapse:collapse;margin:1rem 0}
caption{text-align:left;font-weight:600}th,td{border:1px solid var(--line);padding:.2rem .6rem;text-align:left}
td.number{text-align:right;font-variant-numeric:tabular-nums}figure{display:inline-block;margin:1rem 1rem 1rem 0}
figure img{max-width:100%}
figcaption{max-width:34rem;color:var(--quiet)}details{font-size:.85rem}summary{color:var(--quiet);cursor:pointer}
pre{white-space:pre-wrap;background:light-dark(#f4f4f4,#262626);padding:.5rem;margin:.2rem 0}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Picture:
    """A drawing as SVG, for pages, the Dagster UI and MLflow; `alt` says in words what can be seen."""

    name: str
    title: str
    alt: str
    svg: bytes = field(repr=False)

    @property
    def markdown(self) -> str:
        """The picture as Markdown that holds it, which is what the Dagster UI can show."""
        return f"![{self.alt}](data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()})"


@dataclass(frozen=True)
class Number:
    """A figure with its name, what is to be known about it, and the SQL that gives it where a table does."""

    name: str
    value: str
    note: str = ""
    sql: str = ""


@dataclass
class Page:
    """A page that is filled from top to bottom. Whatever it is given is text, and shown as such."""

    title: str
    subtitle: str = ""
    parts: list[str] = field(default_factory=list)

    def section(self, title: str, text: str = "") -> None:
        """A heading, and a paragraph below it."""
        self.parts.append(f"<h2>{escape(title)}</h2>" + (f"<p>{escape(text)}</p>" if text else ""))

    def numbers(self, *numbers: Number) -> None:
        """Figures side by side."""
        boxes = [
            f"<div><dt>{escape(number.name)}</dt><dd><strong>{escape(number.value)}</strong> {escape(number.note)}"
            f"{_sql(number.sql)}</dd></div>"
            for number in numbers
        ]
        self.parts.append(f"<dl>{''.join(boxes)}</dl>")

    def table(self, caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], sql: str = "") -> None:
        """A table; numbers are set to the right."""
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        self.parts.append(
            f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            + _sql(sql)
        )

    def note(self, text: str, sql: str = "") -> None:
        """A paragraph, such as what is missing and why."""
        self.parts.append(f"<p>{escape(text)}</p>{_sql(sql)}")

    def figure(self, picture: Picture, sql: str = "") -> None:
        """A picture with its title, and in words for whoever cannot see it."""
        source = base64.b64encode(picture.svg).decode()
        self.parts.append(
            f'<figure><img alt="{escape(picture.alt)}" src="data:image/svg+xml;base64,{source}">'
            f"<figcaption>{escape(picture.title)}</figcaption>{_sql(sql)}</figure>"
        )

    def html(self) -> str:
        """The whole file. Equal pages give equal bytes."""
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(self.title)}</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n<body><main>'
            f"<h1>{escape(self.title)}</h1><p>{escape(self.subtitle)}</p>\n"
            + "\n".join(self.parts)
            + "\n</main></body></html>\n"
        )


def ask(con: "duckdb.DuckDBPyConnection", sql: str) -> list[dict[str, Any]]:
    """The rows that `sql` gives, by column name: the statement that a page shows is the one that was run."""
    answer = con.execute(sql)
    names = [name for name, *_ in answer.description or ()]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def table_of(page: Page, con: "duckdb.DuckDBPyConnection", caption: str, sql: str, missing: str = "") -> None:
    """Put the rows that `sql` gives on `page` as a table; where there are none, what is `missing`, if anything."""
    rows = ask(con, sql)
    if rows:
        page.table(caption, list(rows[0]), [tuple(row.values()) for row in rows], sql)
    elif missing:
        page.note(f"{caption}: {missing}", sql)


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """`rows`, one at least, as a table of Markdown."""
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in header) + " |" for row in rows]
    return "\n".join(lines)


def _sql(sql: str) -> str:
    return f"<details><summary>SQL</summary><pre>{escape(sql)}</pre></details>" if sql else ""


def _cell(value: Any) -> str:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f'<td class="number">{value:{"," if isinstance(value, int) else ".4g"}}</td>'
    return f"<td>{escape('' if value is None else str(value))}</td>"
