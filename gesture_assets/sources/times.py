"""Times as files write them, in UTC: a zone is applied to what has none, and only to that.

Belongs here: the SQL that reads a time, and which of two readings an hour that a clock shows twice has. Does not belong
here: what makes a time acceptable (`canonical.py`).
"""

import re

from gesture_assets.sources.description import SourceDescription
from gesture_assets.vocabulary.sql import literal

# What nearly every time looks like, and the engine reads: without a zone, in UTC, with an offset.
LOCAL = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:[0-5]\d(\.\d+)?)?)?"
IN_UTC = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:[0-5]\d(\.\d+)?(Z| UTC)"
WITH_OFFSET = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:[0-5]\d(\.\d+)?[+-](?:0\d|1[0-4])(:?\d{2})?"
# Of 14 figures it would be a year from 2286 on, of 12 that begin like a year 1976: they are a day and a time.
EPOCH = r"(?:\d{9,11}|(?:1[0-8]|2[2-9]|[03-9]\d)\d{10}|\d{13}|\d{15,19})(\.\d+)?"
# Any other: parts of the clock may be missing, or the signs between them.
ANY = (
    r"(?i)^(\d{4})[-/](\d{1,2})[-/](\d{1,2})"
    r"(?:[T ]*(\d{1,2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d+))?)?)?)?\s*([^\d\s].*)?$"
)
ZONE = 8  # the group that holds it
OFFSET = r"^([+-](?:0?\d|1[0-4]))(?::?(\d{2}))?$"  # no zone is farther than 14 hours
# The zone of a place, and the words for UTC. An abbreviation (BST, IST, CST) is of several zones, of which the engine
# would take one: it is no zone that can be read.
PLACE = "[A-Za-z_]+/[A-Za-z0-9_+/-]+"
UTC = "(?:Zulu|Z|UTC|GMT|UT)"
# Days that ISO 8601 counts by weeks or through the year, and the second that is put in now and then.
WEEK = r"^(\d{4})-?[Ww](\d{2})(?:-?([1-7]))?(?:([T ].*))?$"
DAY_OF_YEAR = r"^(\d{4})-?(\d{3})(?:([T ].*))?$"
LEAP_SECOND = r"(\d:\d{2}:)60"
# What a format of strptime ends with, in its own letters, where all its times are of one zone.
FIXED_ZONE = re.compile(r"(?i)(?:Z|UTC|GMT|UT|([+-]\d{2}):?(\d{2})?)$")


def time_sql(text: str, plain: str, source: SourceDescription) -> str:
    """A UTC timestamp from text: an offset counts where there is one, else the source's time zone.

    `plain` is the text as a cast takes it: where that reads back as the text, there is nothing else in it.
    """
    if source.timestamp_format:
        return _formatted_sql(text, source)
    digits = f"length(split_part({text}, '.', 1))"
    unit = f"case when {digits} > 17 then 1e9 when {digits} > 14 then 1e6 when {digits} > 11 then 1e3 else 1 end"
    epoch = f"to_timestamp(try_cast({text} as double) / {unit})"
    return (
        f"case when {plain}::varchar = {text} then {utc_sql(plain, source)} "
        f"when regexp_full_match({text}, '{LOCAL}') then {utc_sql(plain, source)} "
        f"when regexp_full_match({text}, '{IN_UTC}') then {plain} "
        f"when regexp_full_match({text}, '{WITH_OFFSET}') then try_cast({text} as timestamptz) at time zone 'UTC' "
        f"when regexp_full_match({text}, '{EPOCH}') then {epoch} at time zone 'UTC' "
        f"when regexp_matches({text}, '{WEEK}|{DAY_OF_YEAR}|{LEAP_SECOND}') or "
        f"regexp_matches({_with_dashes(text)}, '{ANY}') then {_other_sql(text, source)} "
        f"else {utc_sql(plain, source)} end"
    )


def utc_sql(local: str, source: SourceDescription) -> str:
    """The timestamp `local` of the source's time zone in UTC."""
    zone = literal(source.time_zone)
    return local if source.time_zone == "UTC" else f"(({local} at time zone {zone}) at time zone 'UTC')"


def is_local_sql(text: str, source: SourceDescription) -> str:
    """Whether the text of a time says no zone, so that the source's was applied."""
    if source.timestamp_format:
        return str(not _has_zone(source.timestamp_format)).lower()
    return (
        f"not (regexp_full_match({text}, '{IN_UTC}|{WITH_OFFSET}|{EPOCH}') or "
        f"regexp_extract({_with_dashes(text)}, '{ANY}', {ZONE}) <> '')"
    )


def first_reading_sql(moment: str, source: SourceDescription) -> str:
    """The earlier of the two times at which clocks of the source's zone showed what they show at `moment` (UTC).

    `moment` itself where they show it once.
    """
    zone = literal(source.time_zone)
    shown = f"(({{}} at time zone 'UTC') at time zone {zone})"
    local, before = shown.format(moment), f"({moment} - interval 3 hour)"  # clocks are set back by less
    first = f"({local} - ({shown.format(before)} - {before}))"
    return f"if({first} < {moment} and {shown.format(first)} = {local}, {first}, {moment})"


def _has_zone(timestamp_format: str) -> bool:
    """Whether what the format reads says its zone, or is of one by the format's own letters."""
    directives = timestamp_format.replace("%%", "")
    return "%z" in directives or "%Z" in directives or _fixed_zone(timestamp_format) is not None


def _fixed_zone(timestamp_format: str) -> re.Match[str] | None:
    return FIXED_ZONE.search(re.sub("%-?.", "\0", timestamp_format))


def _formatted_sql(text: str, source: SourceDescription) -> str:
    parsed = f"try_strptime({text}, {literal(source.timestamp_format)})"
    if zone := _fixed_zone(source.timestamp_format):
        hours, minutes = zone[1] or "+00", zone[2] or "00"
        ahead = int(hours) * 60 + int(hours[0] + minutes)
        return f"({parsed} - interval '{ahead} minutes')"
    if _has_zone(source.timestamp_format):
        utc = f"({parsed}::timestamptz at time zone 'UTC')"
        return utc if "%z" in source.timestamp_format else f"if({_names_zone_sql(text, source)}, {utc}, null)"
    return utc_sql(parsed, source)


def _names_zone_sql(text: str, source: SourceDescription) -> str:
    """Whether what stands for `%Z` in the source's format is the name of one zone."""
    parts = re.split("(%-?.)", source.timestamp_format)
    read = {"%Z": "([A-Za-z][A-Za-z0-9_/+-]*)", "%%": "%"}
    form = "".join(read.get(part) or (".+?" if part.startswith("%") else re.escape(part)) for part in parts)
    return f"regexp_full_match(regexp_extract({text}, {literal(f'^{form}$')}, 1), '(?i){UTC}|{PLACE}')"


def _with_dashes(text: str) -> str:
    return rf"regexp_replace({text}, '^(\d{{4}})(\d{{2}})(\d{{2}})', '\1-\2-\3')"


def _other_sql(text: str, source: SourceDescription) -> str:
    """The text of a time in a form that fewer write: days by weeks or through the year, a 60th second, any signs."""
    week = rf"rpad(regexp_replace({text}, '{WEEK}', '\1-\2-\3'), 9, '1')"  # without a day it is Monday
    counted = rf"regexp_replace({text}, '{DAY_OF_YEAR}', '\1-\2')"
    by_week = f"{_day_sql(week, '%G-%V-%u')} || regexp_extract({text}, '{WEEK}', 4)"
    by_count = f"{_day_sql(counted, '%Y-%j')} || regexp_extract({text}, '{DAY_OF_YEAR}', 3)"
    usual = (
        f"case when regexp_matches({text}, '{WEEK}') then {by_week} "
        f"when regexp_matches({text}, '{DAY_OF_YEAR}') then {by_count} else {text} end"
    )
    # The 60th second is the one after the 59th.
    known = rf"regexp_replace(usual, '{LEAP_SECOND}', '\159')"
    later = "if(known = usual, interval 0 second, interval 1 second)"
    return _with("usual", usual, _with("known", known, f"{_any_sql('known', source)} + {later}"))


def _with(name: str, value: str, sql: str) -> str:
    """`sql`, which calls `value` by `name`: a statement that says it in each place is as long as it says it often."""
    return f"list_transform([{value}], lambda {name}: {sql})[1]"


def _day_sql(text: str, form: str) -> str:
    """The day that `text` counts in the `form` of strptime, null for one that its year does not have."""
    day = f"try_strptime({text}, '{form}')"
    return f"if(strftime({day}, '{form}') = {text}, strftime({day}, '%Y-%m-%d'), null)"


def _any_sql(text: str, source: SourceDescription) -> str:
    base = rf"regexp_replace(dashed, '{ANY}', '\1-\2-\3 \4:\5:\6.\70')"
    for gap, filled in ((" :", " 00:"), ("::", ":00:"), (":.", ":00.")):
        base = f"replace({base}, '{gap}', '{filled}')"
    written = f"regexp_extract(dashed, '{ANY}', {ZONE})"
    # What a name says beside an offset is no more than that: +0100 CET, +01:00[Europe/Berlin], GMT+0100 (CET).
    zone = r"regexp_replace(written, '([\dZz])\s*(\[.*\]|\(.*\)|\s[A-Za-z]+)$', '\1')"
    # UTC+1 and GMT+01:00 are +01:00.
    zone = rf"regexp_replace({zone}, '(?i)^{UTC}(?:\s*([+-])|$)', '\1')"
    offset = r"regexp_replace(zone, '^([+-])(\d)(\D|$)', '\10\2\3')"
    moment = (
        f"case when written = '' then {utc_sql('try_cast(base as timestamp)', source)} "
        "when zone = '' then try_cast(base as timestamp) "
        f"when regexp_matches(zone, '{OFFSET}') then try_cast(base || {offset} as timestamptz) at time zone 'UTC' "
        f"when regexp_full_match(zone, '{PLACE}') then try_cast(base || ' ' || zone as timestamptz) at time zone 'UTC' "
        "else null end"
    )
    parts = _with("base", base, _with("written", written, _with("zone", zone, moment)))
    return _with("dashed", _with_dashes(text), parts)
