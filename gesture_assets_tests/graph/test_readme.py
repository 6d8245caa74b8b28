"""What the README claims about the tree is true."""

import re
from pathlib import Path

import pytest

from gesture_assets.contracts.catalogue import catalogue
from gesture_assets.publication.published_schema import kept_schema
from gesture_assets.sources.crm_description import SHIPPED as SHIPPED_CRM
from gesture_assets.sources.description import SHIPPED
from gesture_assets_tests.readme_picture import BLOCK, REFRESH, picture

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_picture_is_drawn_from_the_steps() -> None:
    drawn = BLOCK.search(README)
    assert drawn
    assert drawn[0] == picture(), f"the tables have changed since the picture was drawn:  {REFRESH}"


def test_the_picture_shows_every_table_and_how_they_follow_each_other() -> None:
    groups = {
        name: set(re.findall(r"^\s{4,}(\w+)$", body, re.M))
        for name, body in re.findall(r"subgraph (\w+)[^\n]*\n(.*?)\n\s*end", picture(), re.S)
    }
    drawn = set()
    for sources, target in re.findall(r"^\s*([\w &]+?) --> (\w+)$", picture(), re.M):
        for source in sources.split(" & "):
            drawn |= {(table, to) for table in groups.get(source, {source}) for to in groups.get(target, {target})}
    edges = {(source, contract.name) for contract in catalogue().tables for source in contract.upstream}
    assert {edge for edge in drawn if edge[1] not in ("published_warehouse", "validation_results")} == edges
    assert {"published_warehouse", "validation_results"} <= {target for _, target in drawn}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_every_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_shipped_source_is_listed() -> None:
    shipped = {path.stem for folder in (SHIPPED, SHIPPED_CRM) for path in folder.glob("*.toml")}
    assert shipped == set(re.findall(r"^   \| `(\w+)` \| ", README, re.M))


@pytest.mark.parametrize("command", sorted(set(re.findall(r"gesture ([a-z][a-z-]+)", README)) - {"assets", "duckdb"}))
def test_every_command_exists(command: str) -> None:
    from typer.main import get_command

    from gesture_assets.cli import app

    assert command in get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]


PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_names_tables_settings_and_commands_that_exist(page: Path) -> None:
    from typer.main import get_command

    from gesture_assets.cli import app
    from gesture_assets.settings import Settings

    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / path).exists()
    settings = {f"GESTURE_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"GESTURE_[A-Z_]+", text)) <= settings
    commands = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    for command, second in re.findall(r"gesture ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", text):
        assert command in commands
        assert not second or second in getattr(commands[command], "commands", {})


def test_the_monitoring_page_names_tables_that_are_published() -> None:
    relations = {name.split(".")[1] for name in kept_schema()[1]}
    rows = re.findall(r"^\| .* \| (`.*`) \|$", (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8"), re.M)
    named = {name.split(".")[-1] for row in rows for name in re.findall(r"`([a-z_.]+)`", row)}
    assert "drift_reports" in named
    assert named <= relations
