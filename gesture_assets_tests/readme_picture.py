"""Draws the README's picture of a night from the steps and what their tables are made of.

    python -m gesture_assets_tests.readme_picture

Belongs here: the picture and where it stands. Does not belong here: what follows from what (the tables' contracts).
"""

import re
from pathlib import Path

from gesture_assets.nights.all_steps import all_steps

README = Path(__file__).resolve().parents[1] / "README.md"
REFRESH = "python -m gesture_assets_tests.readme_picture"
BLOCK = re.compile(r"(?<=```mermaid\n).*?(?=```)", re.S)


def picture() -> str:
    """The steps in the order of a night, a frame around tables that are built together, and an arrow a source."""
    shared = [step for step in all_steps() if len(step.tables) > 1]
    together = {f"step_{step.name}": [table.name for table in step.tables] for step in shared}
    tables = {table.name: set(table.upstream) for step in all_steps() for table in step.tables}
    read = set().union(*tables.values())
    nightly = {table.name for step in all_steps() for table in step.tables if table.is_nightly}
    last = {step.name: nightly - read for step in all_steps() if not step.tables}
    lines = ["flowchart LR"]
    for group, names in together.items():
        title = group.removeprefix("step_").replace("_", " ")
        lines += [f"  subgraph {group} [{title}]", *(f"    {name}" for name in names), "  end"]
    framed = {name: group for group, names in together.items() for name in names}
    drawn: set[str] = set()
    for name, upstream in (tables | last).items():
        group = framed.get(name, name)
        is_alike = group == name or all(tables[other] == upstream for other in together[group])
        target = group if is_alike else name
        if upstream and target not in drawn:
            lines.append(f"  {' & '.join(_sources(upstream, together))} --> {target}")
            drawn.add(target)
    return "\n".join(lines) + "\n"


def _sources(upstream: set[str], together: dict[str, list[str]]) -> list[str]:
    """`upstream`, with the frame in the place of tables that are all there."""
    whole = [group for group, names in together.items() if upstream.issuperset(names)]
    inside = {name for group in whole for name in together[group]}
    return [*whole, *sorted(upstream - inside)]


def refresh() -> None:
    """Write the picture into the README."""
    README.write_text(BLOCK.sub(lambda _: picture(), README.read_text(encoding="utf-8"), count=1), encoding="utf-8")


if __name__ == "__main__":
    refresh()
