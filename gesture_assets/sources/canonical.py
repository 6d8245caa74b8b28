"""The canonicaliser: the rows of any described file in our words, each with the reason against it or none.

Belongs here: the SQL from a source's columns to ours, what makes a row acceptable, what the quarantine may show of
one. Does not belong here: reading files (`readers.py`), deduplication and bots (`events/`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gesture_assets.events.tables import IGNORED, MINUTES_AHEAD, OLDEST_DAYS
from gesture_assets.sources.columns import ODD_SIGNS, SAID_BY_CONDITION
from gesture_assets.sources.description import (
    BETWEEN_WORDS,
    LEAVE_OUT,
    SourceDescription,
    alike,
)
from gesture_assets.sources.ids import fault_sql, id_sql, is_structure_sql
from gesture_assets.sources.kinds import FAULTY_ID, Kind
from gesture_assets.sources.numbers import finite_sql, number_sql, possible_sql
from gesture_assets.sources.personal import (
    keyed_hash_sql,
    may_be_email_sql,
    normal_email_sql,
    plain_email_sql,
)
from gesture_assets.sources.readers import Reading
from gesture_assets.sources.times import first_reading_sql, is_local_sql, time_sql
from gesture_assets.vocabulary.countries import COUNTRY_CODES
from gesture_assets.vocabulary.flags import FALSE, TRUE
from gesture_assets.vocabulary.missing_values import is_missing_sql, one_spaced_sql, unpadded_sql
from gesture_assets.vocabulary.personal_data import masked_sql, plain_signs_sql
from gesture_assets.vocabulary.sql import identifier, literal

SHOWN = ("country", "device")  # beside the words of a kind: texts that are one where they look alike
FILE = '" file"'  # a column beside those of the file, whose headers begin with no space
# A time outside is a sender's "never" or a wrong unit, and some of them cannot even be added to.
FIRST_TIME, LAST_TIME = "1970-01-02", "2200-01-01"
AHEAD = f"interval {MINUTES_AHEAD} minute"

BOT_AGENTS = "bot|crawl|spider|slurp|headless|python-requests|curl/|wget|scrapy|phantomjs|monitoring"
AGENT_FAMILIES = (
    (BOT_AGENTS, "bot"),
    ("edg(e|a|ios)?/", "Edge"),
    ("opr/|opera", "Opera"),
    ("firefox|fxios", "Firefox"),
    ("samsungbrowser", "Samsung Internet"),
    ("chrome|crios", "Chrome"),
    ("safari", "Safari"),
)
# A word of the name, in the order in which they are looked for: "Apple iPhone" is a mobile, "Android TV" is none.
DEVICES = {
    "other": "tv|console|watch",
    "tablet": "tablet|ipad|galaxy tab|kindle",
    "mobile": "mobile|phone|smartphone|iphone|ios|android|galaxy|pixel",
    "desktop": "desktop|web|pc|laptop|computer|windows|mac|macintosh|linux|chrome ?os|chromebook",
}

# One text of names and codes, for a statement is read anew for each shape of file: cases for each took a quarter of it.
COUNTRIES = literal("\n".join(["", *(f"{name}={code}" for name, code in COUNTRY_CODES.items())]))
NAMED = "chr(10) || word || '='"


@dataclass(frozen=True)
class Fields:
    """Our columns as SQL over the rows of a file. `expressions` give a column as it stands there; none: it has none."""

    source: SourceDescription
    expressions: Mapping[str, str | None]
    opened: Mapping[str, str] = field(default_factory=dict[str, str])  # columns of JSON -> the text that is none
    texts: Mapping[str, str] = field(default_factory=dict[str, str])  # columns whose `text` has a name already

    def named_once(self) -> tuple["Fields", str, str]:
        """The same over rows in which each column and its text has a name, and what is to be selected for them.

        What a column is made of may be long, and what is made of it names it often: the statement is read anew for each
        shape of file, and takes as long as it is.
        """
        cells = {name: identifier(f" {name}") for name, expression in self.expressions.items() if expression}
        texts = {name: identifier(f" {name} text") for name in cells}
        named = Fields(self.source, cells, self.opened)
        return (
            Fields(self.source, cells, self.opened, texts),
            ", ".join(f"{self.expressions[name]} as {cell}" for name, cell in cells.items()),
            ", ".join(f"{named.text(name)} as {text}" for name, text in texts.items()),
        )

    def says(self, name: str) -> bool:
        """Whether anything can stand in the column: what never does needs no reading."""
        return self.expressions.get(name) is not None or name in self.source.constants

    def text(self, name: str) -> str:
        """The column as text without white space around it; null where empty, or the source's constant.

        Of a column that people read white space within is one blank, and what nobody sees is gone.
        """
        if name in self.texts:
            return self.texts[name]
        if not self.says(name):
            return "null::varchar"
        return self._cleaned(name, f"({self.expressions.get(name) or 'null'})::varchar")

    def _cleaned(self, name: str, written: str) -> str:
        cleaned = one_spaced_sql(written) if name in (*SHOWN, *self.source.row_kind.worded) else unpadded_sql(written)
        cleaned, constant = f"nullif({cleaned}, '')", self.source.constants.get(name)
        return f"coalesce({cleaned}, {literal(constant)})" if constant is not None else cleaned

    def written(self, name: str) -> str:
        """The column as it is written; empty where there is nothing."""
        return f"coalesce(({self.expressions.get(name) or 'null'})::varchar, '')"

    def meanings(self, rows: str) -> list[str]:
        """Named queries, one for each of `MEANINGS`: what each value that is written in the column stands for.

        A column has few values and many rows: what is dear to find out is asked once a value.
        """
        return [
            f"""{name}_meanings as (
            select written, {meaning(self)} from (
                select written, {change.format(self._cleaned(name, "written"))} as word
                from (select {self.written(name)} as written from {rows} union select '')))"""
            for name, (change, meaning, _) in MEANINGS.items()
            if name in self.source.row_kind.meanings and self.says(name)
        ]

    def flag(self, name: str) -> str:
        """The column as true or false, from the words people write for them; null for any other."""
        if not self.says(name):
            return "null::boolean"
        word = f"lower({self.text(name)})"
        return (
            f"case when {word} in ({', '.join(map(literal, TRUE))}) then true "
            f"when {word} in ({', '.join(map(literal, FALSE))}) then false end"
        )

    def written_time(self, name: str) -> str:
        """The column as it is written, its text, and what a plain cast takes that for, as the columns `time` reads."""
        written, text = self.expressions.get(name) or "null::timestamp", self.text(name)
        return f"{written} as written_{name}, {text} as text_{name}, try_cast({text} as timestamp) as plain_{name}"

    def time(self, name: str) -> str:
        """The column as a UTC timestamp, from the columns of `written_time`."""
        if not self.says(name):
            return f"null::timestamp as {name}"
        # Parquet keeps its types: a timestamp there needs no parsing.
        parsed = time_sql(f"text_{name}", f"plain_{name}", self.source)
        return f"if(typeof(written_{name}) = 'TIMESTAMP', try_cast(written_{name} as timestamp), {parsed}) as {name}"

    def id(self, name: str, key: str) -> str:
        """The column as an id, null where it is missing; one that is an e-mail address is hashed with the `key`."""
        constant, found = self.source.constants.get(name), self.expressions.get(name)
        read = id_sql(f"({found})::varchar", missing=self.source.missing, key=key) if found else "null::varchar"
        return f"coalesce({read}, {literal(constant)})" if constant is not None else read

    def id_fault(self) -> str:
        """The reason against the ids of an event, null where there is none."""
        faults = [
            fault_sql(f"({text})::varchar", is_person=name in self.source.row_kind.people)
            for name in self.source.row_kind.ids
            if (text := self.expressions.get(name))
        ]
        return f"coalesce({', '.join(faults)}, null)" if faults else "null"

    def email_key(self, key: str) -> str:
        """The hash with `key` of the e-mail address, null where it is none."""
        if not self.says("email"):
            return "null::varchar"
        email = self.text("email")
        keyed = keyed_hash_sql(normal_email_sql(plain_email_sql(email)), key)
        return f"if({may_be_email_sql(email)}, {keyed}, null)"

    def event_type(self) -> str:
        """The event's type in the source's words, and our name for it, null for a type that nothing is mapped to.

        A type may be left out on purpose.
        """
        if self.source.happened:
            return "nullif(word, '') as event_name, false as is_link, false as is_ignored, event_name as event_type"
        names = self.source.event_types or {name: name for name in self.source.row_kind.event_types}
        mapped = " ".join(f"when {literal(alike(name))} then '{ours}'" for name, ours in names.items())
        links = [name.lower() for name in self.source.links.types] if self.source.links else []
        left_out = [alike(name) for name in self.source.ignore]
        name, said = (f"split_part(word, '{SAID_BY_CONDITION}', {place})" for place in (1, 2))
        known_by = f"regexp_replace({name}, '{BETWEEN_WORDS}', '_', 'g')"
        is_link = f"coalesce({_in_sql(name, links)}, false)" if links else "false"
        by_name = f" or {_in_sql(known_by, left_out)}" if left_out else ""
        return (
            f"{masked_sql(plain_signs_sql(name))} as event_name, {is_link} as is_link, "
            f"{is_link} or coalesce({said} = '{LEAVE_OUT}'{by_name}, false) as is_ignored, "
            f"case when {said} = '{LEAVE_OUT}' then null when {said} <> '' then {said} "
            f"else case {known_by} {mapped} end end as event_type"
        )

    def named(self, name: str) -> str:
        """The column as text, null for a word that names nothing."""
        return _unless_missing(self.text(name)) if self.says(name) else "null::varchar"

    def translated(self, name: str) -> str:
        """The column in lower case, in our words where the description has some; null for what names nothing."""
        if not self.says(name):
            return "null::varchar"
        text, words = f"lower({self.text(name)})", self._words(name, str.lower)
        return f"case {text} {words} else {_unless_missing(text)} end" if words else _unless_missing(text)

    def _words(self, name: str, change: Callable[[str], str]) -> str:
        """What stands for values of the column, as the cases of an expression."""
        words = self.source.values.get(name, {})
        spaced = {" ".join(theirs.split()): ours for theirs, ours in words.items()}
        return " ".join(f"when {literal(change(theirs))} then {literal(ours)}" for theirs, ours in spaced.items())

    def device(self) -> str:
        """Our name for the device; null where nothing is said of it, "other" for any other word."""
        families = " ".join(
            f"when regexp_matches(word, '\\b({words})\\b') then '{name}'" for name, words in DEVICES.items()
        )
        words = self._words("device", str.lower)
        own = f"case word {words} end" if words else "null"
        nothing = f"coalesce({is_missing_sql('word')}, true)"
        unreadable = f"device is null and {_is_no_word('word')}"
        return (
            f"coalesce({own}, case when {nothing} or {is_structure_sql('word')} then null {families} else 'other' end) "
            f"as device, if({unreadable}, 'device', null) as unreadable_device"
        )

    def country(self) -> str:
        """The country by ISO 3166 alpha-2, null for what is none, and the column's name where it is another word."""
        words = self._words("country", str.upper)
        unknown = "when 'XX' then null when 'ZZ' then null"  # what stands for no country among the codes
        return (
            f"case word {words} when 'UK' then 'GB' {unknown} else "
            "case when regexp_full_match(word, '[A-Z][A-Z]') then word "
            f"when contains({COUNTRIES}, {NAMED}) "
            f"then substr({COUNTRIES}, strpos({COUNTRIES}, {NAMED}) + length(word) + 2, 2) "
            "end end as country, "
            f"if(country is null and word not in ('XX', 'ZZ') and not {is_missing_sql('word')}, 'country', null) "
            "as unreadable_country"
        )

    def user_agent(self) -> str:
        """What a user agent tells; it is read and never kept. Its family is "bot" for one that says so."""
        families = " ".join(f"when regexp_matches(word, '{pattern}') then '{name}'" for pattern, name in AGENT_FAMILIES)
        return f"""coalesce(regexp_matches(word, '{BOT_AGENTS}'), false) as is_bot_agent,
                case when word is null then null {families} else 'other' end as user_agent_family"""

    def number(self, name: str) -> str:
        """The column as a finite double."""
        if not self.says(name):
            return "null::double"
        expression = self.expressions.get(name) or "null::varchar"
        # Parquet keeps its types here too.
        parsed = number_sql(self.text(name), self.source)
        number = finite_sql(f"if(typeof({expression}) = 'DOUBLE', try_cast({expression} as double), {parsed})")
        if name in self.source.units:
            number = f"({number} / 1000)"
        return possible_sql(number, name)

    def integer(self, name: str) -> str:
        """The column as a whole number; what has a fraction is none."""
        if not self.says(name):
            return "null::integer"
        number = number_sql(self.text(name), self.source)
        return possible_sql(f"if({number} = trunc({number}), try_cast({number} as integer), null)", name)

    def unreadable(self) -> str:
        """The columns that are filled and cannot be read, their names in one text; null where there is none."""
        kind = self.source.row_kind
        cells = [
            f"case when {name} is null and (lower({self.text(name)}) in ('true', 'false') "
            f"or not {is_missing_sql(self.text(name))}) then '{name}' end"
            for name in (*kind.flags, *kind.numbers, *kind.integers)
            if self.expressions.get(name)
        ]
        cells += [
            f"case when not {is_missing_sql(text)} then {literal(name.replace(' ', '_'))} end"
            for name, text in self.opened.items()
        ]
        cells += [
            f"case when {name} is null and {_is_no_word(self.text(name))} then '{name}' end"
            for name in kind.worded
            if self.expressions.get(name)
        ]
        cells += [self.text(name) for name in (ODD_SIGNS,) if self.expressions.get(name)]
        return f"nullif(concat_ws(' ', {', '.join(cells)}), '')" if cells else "null::varchar"


# Column -> how its text is brought to one case, what is read from the `word` that this gives, and what stands there
# where a file has no such column.
MEANINGS: Mapping[str, tuple[str, Callable[[Fields], str], str]] = {
    "event_type": (
        "lower({})",
        Fields.event_type,
        "null::varchar as event_name, false as is_ignored, false as is_link, null::varchar as event_type",
    ),
    "device": ("lower({})", Fields.device, "null::varchar as device, null::varchar as unreadable_device"),
    "country": ("upper({})", Fields.country, "null::varchar as country, null::varchar as unreadable_country"),
    "user_agent": ("lower({})", Fields.user_agent, "false as is_bot_agent, null::varchar as user_agent_family"),
}


@dataclass(frozen=True)
class Shape:
    """All that the rows of a file depend on, beside the rows themselves: files of one shape are read by one query.

    `columns` are those of their `Reading`, `expressions` give our columns in terms of them, `opened` what stands in
    those of JSON and is none. `local_times` are those of our columns of time that carry no zone by their type,
    `personal` the headers of personal data. `key` makes the pseudonyms, `indexed_at` is the arrival of rows where there
    is no clock of arrival, `imputed_dwell` (seconds) stands for a missing time on a page.
    """

    source: SourceDescription
    format: str
    columns: Mapping[str, str]
    types: Mapping[str, str | None]
    expressions: Mapping[str, str | None]
    opened: Mapping[str, str]
    key: str
    local_times: frozenset[str]
    indexed_at: datetime | None
    personal: frozenset[str]
    lacks_ids: bool
    imputed_dwell: float | None


def canonical_sql(shape: Shape, readings: Mapping[str, Reading]) -> str:
    """A query for the rows of files of one shape (name -> rows) in our columns.

    Each has a `reason` against it or none, `filing_day`, and where there is a reason `masked_row`: as it stands, to be
    masked by `redaction.mask_refused_rows` before anybody sees it. The patterns are dear, and most files have no such
    row.
    """
    source, key, kind = shape.source, shape.key, shape.source.row_kind
    of_files = Fields(source, shape.expressions, shape.opened)
    fields, cells, texts = of_files.named_once()
    # The columns are carried along, and only refused rows are written out.
    is_text = shape.format != "jsonl"
    carried = {header: f"raw_{number}" for number, header in enumerate(shape.columns)} if is_text else {}
    raw = ", ".join(f"{shape.columns[header]} as {name}" for header, name in carried.items()) or "document"
    refused = f"coalesce(broken, {_document(shape, carried)})"
    has_arrival = shape.indexed_at is None
    arrival = "received_at" if has_arrival else f"timestamp '{shape.indexed_at:%Y-%m-%d %H:%M:%S}'"
    whose = ""
    if source.has_shared_ids:  # the id of a visitor stands for a user as well, where nobody has signed in
        is_visitor = "known_user_id = anonymous_id or ends_with(known_user_id, ':' || anonymous_id)"
        whose = f", case when {is_visitor} then null else known_user_id end as known_user_id"
    unreadable = ", ".join(("unreadable", *(f"unreadable_{name}" for name in SHOWN if name in kind.meanings)))
    bounded = ", ".join(
        f"if({name} between timestamp '{FIRST_TIME}' and timestamp '{LAST_TIME}', {name}, null) as {name}"
        for name in kind.times
    )
    joined = " ".join(
        f"left join {name}_meanings on written_{name} = {name}_meanings.written"
        for name in kind.meanings
        if fields.says(name)
    )
    meant = [
        f"{fields.written(name)} as written_{name}" if fields.says(name) else MEANINGS[name][2]
        for name in kind.meanings
    ]
    read = ", ".join(
        [
            *(f"{_id(shape, fields, name)} as {kind.name_of(name)}" for name in kind.ids),
            *meant,
            *map(fields.written_time, kind.times),
            *(f"{fields.named(name)} as {name}" for name in kind.names),
            *(f"{fields.translated(name)} as {name}" for name in kind.words),
            *(f"{fields.email_key(key)} as {name}_key" for name in kind.addresses),
            *(f"{fields.flag(name)} as {name}" for name in kind.flags),
            *(f"{fields.number(name)} as {name}" for name in kind.numbers),
            *(f"{fields.integer(name)} as {name}" for name in kind.integers),
        ]
    )
    rows = _union(f"select {literal(name)} as {FILE}, * from {reading.rows}" for name, reading in readings.items())
    unnumbered = _union(f"select * from {reading.unnumbered}" for reading in readings.values())
    user = ", coalesce(known_user_id, 'anon:' || anonymous_id) as user_id" if kind.has_visitors else ""
    return f"""(
    with cells as not materialized (select *, {cells} from {rows}),
    texts as not materialized (select *, {texts} from cells),
    read as not materialized (
        select {FILE} as landing_file, line, broken, {fields.id_fault()} as id_fault, {read},
            {fields.unreadable()} as unreadable,
            {fields.expressions.get("properties") or "null::varchar"} as properties, {raw}
        from texts
    ), {"".join(f"{meaning}, " for meaning in of_files.meanings(unnumbered))}fields as (
        select * replace (nullif(concat_ws(' ', {unreadable}), '') as unreadable{whose}),
            {", ".join(map(fields.time, kind.times))} from read {joined}
    ), bounded as (select * replace ({bounded}) from fields), timed as (
        select * {_replaced_hours(shape)} from bounded
    ), judged as (
        select *{user}, {_reason(kind, arrival, has_arrival=has_arrival)} as reason from timed
    )
    select landing_file, {literal(source.name)} as source, line::bigint as landing_line, reason,
        {_filing_day(shape, arrival)} as filing_day, {_canonical_columns(shape, fields)},
        null::varchar as redacted, case when reason <> '{IGNORED}' then {refused} end as masked_row
    from judged)"""


def _canonical_columns(shape: Shape, fields: Fields) -> str:
    """What is selected of a judged row, beside its place and what the quarantine may show of it."""
    kind = shape.source.row_kind
    numbers = [*kind.numbers, *kind.integers]
    unreadable = f"case when reason is null or reason <> '{IGNORED}' then unreadable end as unreadable"
    if kind.is_catalogue:
        times = [f"{_date(name, shape)} as {name}" if name in kind.dates else name for name in kind.times]
        odd = [
            f"case when {name} is null and not {is_missing_sql(f'text_{name}')} then '{name}' end"
            for name in kind.times
            if fields.says(name)
        ]
        unreadable = f"nullif(concat_ws(' ', {', '.join(('unreadable', *odd))}), '') as unreadable"
        return ", ".join((*kind.ids, *kind.meanings, *kind.names, *times, *numbers, unreadable))
    happened = ["event_type", "event_name", "event_at", "coalesce(received_at, event_at) as received_at"]
    if not kind.has_visitors:
        return ", ".join((*kind.ids, *happened, *numbers, unreadable))
    dwell, is_imputed = "dwell_seconds", "false"
    if shape.imputed_dwell is not None:
        dwell, is_imputed = f"coalesce(dwell_seconds, {shape.imputed_dwell!r}::double)", "dwell_seconds is null"
    return f"""event_id, user_id, known_user_id, anonymous_id, {", ".join(happened)},
        source_session_id, device, country, city, {", ".join(kind.words)}, is_link,
        email_key, {", ".join(kind.flags)}, is_bot_agent, user_agent_family,
        {dwell} as dwell_seconds, {is_imputed} as is_dwell_imputed,
        {", ".join(name for name in numbers if name != "dwell_seconds")}, properties, {unreadable}"""


def _date(name: str, shape: Shape) -> str:
    """The day that clocks of the source's zone showed at the time `name`."""
    zone = literal(shape.source.time_zone)
    return f"(({name} at time zone 'UTC') at time zone {zone})::date"


def _filing_day(shape: Shape, arrival: str) -> str:
    """The day under which a row is filed; a catalogue stands from the day on that had just ended when it was seen."""
    if shape.source.row_kind.is_catalogue and shape.indexed_at:
        return f"date '{shape.indexed_at.date() - timedelta(days=1)}'"
    return f"""case when reason is null then greatest(event_at::date, coalesce(received_at, event_at)::date)
            when received_at is not null then received_at::date
            when event_at is not null and not coalesce(event_at > {arrival} + {AHEAD}, false) then event_at::date
            end"""


def _union(selects: Iterable[str]) -> str:
    return f"({' union all '.join(selects)})"


def _id(shape: Shape, fields: Fields, name: str) -> str:
    """An id of the row; of an event without one its content stands for it."""
    read = fields.id(name, shape.key)
    if name != "event_id" or not shape.lacks_ids:
        return read
    columns = ", ".join(f"{identifier(header)} := ({value})::varchar" for header, value in shape.columns.items())
    document = "document" if shape.format == "jsonl" else f"to_json(struct_pack({columns}))::varchar"
    if shape.source.event_list:  # what else its record holds may grow until the next export
        whose = [text for name in ("anonymous_id", "user_id") if (text := fields.expressions.get(name))]
        document = f"concat_ws(' ', {', '.join(whose)}, entry)"
    content = f"md5({document})"
    if not shape.source.row_kind.repeats_count:
        return f"coalesce({read}, {content})"
    # Identical rows of one file are separate events; the n-th copy in another file is the same event.
    copy = f"row_number() over (partition by {FILE}, {content} order by line)"
    return f"coalesce({read}, {content} || '-' || {copy})"


def _replaced_hours(shape: Shape) -> str:
    """An hour that clocks showed twice is the first of the two where the second would be after its arrival."""
    written = shape.expressions.get("event_at")
    if shape.source.time_zone == "UTC" or shape.indexed_at is not None or written is None:
        return ""
    is_local = "true" if "event_at" in shape.local_times else is_local_sql("text_event_at", shape.source)
    first = first_reading_sql("event_at", shape.source)
    return f"replace (case when event_at > received_at and {is_local} then {first} else event_at end as event_at)"


def _reason(kind: Kind, arrival: str, *, has_arrival: bool) -> str:
    """Why a row of the `kind` is set aside; null where it is not."""
    nobody = "coalesce(known_user_id, anonymous_id)" if kind.has_visitors else "user_id"
    is_old = f"event_at < received_at - interval {OLDEST_DAYS} day"
    conditions = {
        "unreadable_row": "broken is not null",
        IGNORED: "is_ignored",
        "missing_user_id": f"{nobody} is null",
        "missing_ping_id": "ping_id is null",
        FAULTY_ID: "id_fault is not null",
        "missing_event_type": "event_name is null",
        "unknown_event_type": "event_type is null",
        "unparsable_timestamp": "event_at is null",
        "unparsable_received_at": "received_at is null" if has_arrival else "false",
        "future_ts": f"event_at > {arrival} + {AHEAD}",
        "too_old": is_old if has_arrival else "false",
        "negative_watch_time": "watch_time_sec < 0",
    }
    reasons = [
        f"when {conditions[name]} then {'id_fault' if name == FAULTY_ID else literal(name)}" for name in kind.reasons
    ]
    return f"case {' '.join(reasons)} end"


def _unless_missing(text: str) -> str:
    """The SQL expression `text`, null for a word that names nothing, and for what is no word."""
    return f"case when not ({is_missing_sql(text)} or coalesce({is_structure_sql(text)}, false)) then {text} end"


def _is_no_word(text: str) -> str:
    """Whether the SQL expression `text` is an object or a list that holds something."""
    return f"({is_structure_sql(text)} and not {is_missing_sql(text)})"


def _in_sql(expression: str, words: Sequence[str]) -> str:
    return f"{expression} in ({', '.join(literal(word) for word in words)})"


def _document(shape: Shape, columns: Mapping[str, str]) -> str:
    """The row as JSON, personal columns as ***, for the quarantine."""
    if shape.format == "jsonl":
        return "document::varchar"
    fields = ", ".join(
        f"{identifier(header)} := "
        + (f"if({expression} is null, null, '***')" if header in shape.personal else f"({expression})::varchar")
        for header, expression in columns.items()
    )
    return f"to_json(struct_pack({fields}))::varchar"
