"""What a file of ping weights may say, what is refused, and what its version depends on."""

from pathlib import Path

import pytest

from gesture_assets.errors import ConfigError
from gesture_assets.pings.weights import SHIPPED, load_ping_weights, parse_ping_weights, shipped_ping_weights

SCRIPT = (SHIPPED / "script.toml").read_text(encoding="utf-8")


def refusal_of(text: str, name: str = "script") -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        parse_ping_weights(text, name=name, where="script.toml")
    for part in ("expected", "found", "where", "next_step"):
        assert getattr(refused.value, part)
    return refused.value


def test_both_sets_of_document_004_are_shipped_and_one_that_looks_at_recent_days(tmp_path: Path) -> None:
    sets = {name: load_ping_weights(name, user_folder=tmp_path) for name in shipped_ping_weights()}
    recent, script = sets.pop("recent"), sets["script"]
    assert recent.windows.affinity == 30
    assert recent.model_copy(update={"windows": script.windows}).content == script.content
    assert {name: tuple(weights.score.model_dump().values()) for name, weights in sets.items()} == {
        "script": (0.5, 0.25, 0.15, 0.1),
        "aws": (0.5, 0.15, 0.25, 0.1),
    }
    events = {"view": 1.0, "like": 2.0, "comment": 3.0, "share": 4.0, "follow_creator": 2.0, "impression": 0.1}
    assert all(weights.events.model_dump() == events for weights in sets.values())
    assert len({weights.version for weights in sets.values()}) == 2


def test_a_weight_is_exact_in_its_units(tmp_path: Path) -> None:
    units = load_ping_weights("script", user_folder=tmp_path).events.units
    assert units["impression"] == 100_000_000_000
    assert units["share"] == 4 * 10**12


def test_the_version_follows_what_a_list_depends_on_and_nothing_else() -> None:
    def version(text: str, name: str = "script") -> str:
        return parse_ping_weights(text, name=name, where="").version

    assert version(SCRIPT.replace('"script"', '"mine"').replace("Category", "A category") + "\n#", "mine") == version(
        SCRIPT
    )
    for old, new in (
        ("like = 2.0", "like = 2.5"),
        ("new_user = 7", "new_user = 8"),
        ("new_user = 7", "new_user = 7\naffinity = 28"),
        ('seen = "any"', 'seen = "engaged"'),
        ("length = 10", "length = 10\nper_creator = 3"),
        ("length = 10", "length = 10\nexploration = 0.05"),
        ("length = 10", "length = 10\ncandidates = 40"),
    ):
        assert version(SCRIPT.replace(old, new)) != version(SCRIPT)


def test_a_user_s_file_comes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "script.toml").write_text(SCRIPT.replace("like = 2.0", "like = 9.0"), encoding="utf-8")
    assert load_ping_weights("script", user_folder=tmp_path).events.like == 9


@pytest.mark.parametrize(
    ("old", "new", "expected", "found"),
    [
        ("like = 2.0", "lke = 2.0", "a value for 'events.like'", "nothing"),
        ("share = 4.0", "share = 4.0\nsave = 1.0", "comment, follow_creator", "unknown key 'events.save'"),
        ("[lists]", "[list]\n[lists]", "description, events, lists", "unknown key 'list'"),
        ("like = 2.0", "like = -2.0", "events.like: should be greater than or equal to 0", "-2.0"),
        ("popularity = 0.50", "popularity = nan", "score.popularity", "nan"),
        ("popularity = 0.50\n", "", "a value for 'score.popularity'", "nothing"),
        ("new_user = 7", "new_user = 7\nseen = 0", "windows.seen", "0"),
        ("length = 10", 'length = "ten"', "lists.length", "'ten'"),
        ('seen = "any"', 'seen = "all"', "lists.seen: should be 'any', 'engaged' or 'none'", "'all'"),
        ("length = 10", "length = 10\nper_creator = 0", "lists.per_creator", "0"),
        ("length = 10", "length = 10\nexploration = 0.6", "lists.exploration", "0.6"),
        ("length = 10", "length = 10\ncandidates = 10", "lists.candidates above lists.length, 10", "10"),
        (
            "length = 10",
            "length = 10\ncandidates = 15\nexploration = 0.2",
            "lists.candidates of twice lists.length at least, 20",
            "15",
        ),
        ('name = "script"', 'name = "other"', "name = 'script'", "name = 'other'"),
        ("[windows]", "[windows", "TOML", "line"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(old: str, new: str, expected: str, found: str) -> None:
    assert old in SCRIPT
    refused = refusal_of(SCRIPT.replace(old, new))
    assert expected in refused.expected
    assert found in refused.found


def test_weights_that_are_all_zero_are_refused() -> None:
    text = SCRIPT
    for weight in ("0.50", "0.25", "0.15", "0.10"):
        text = text.replace(f"= {weight}", "= 0.0")
    assert refusal_of(text).expected == "a weight above 0 in [score]"


def test_an_unknown_name_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'scrip' are not known") as refused:
        load_ping_weights("scrip", user_folder=tmp_path)
    assert "aws, recent, script" in refused.value.expected


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match="byte 8 is not"):
        load_ping_weights("mine", user_folder=tmp_path)


@pytest.mark.parametrize("window", ["popularity", "affinity", "seen"])
def test_a_window_goes_back_a_century_at_most(window: str) -> None:
    text = SCRIPT.replace("[windows]", f"[windows]\n{window} = 36526 #", 1)
    assert window in refusal_of(text).expected


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "own.toml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="'own' cannot be used") as refused:
        load_ping_weights("own", user_folder=tmp_path)
    assert refused.value.expected == "a file that can be read"
