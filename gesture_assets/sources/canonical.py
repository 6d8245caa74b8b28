"""The canonicaliser: the rows of any described file in our words, each with the reason against it or none.

Belongs here: the SQL from a source's columns to ours, what makes a row acceptable, what the quarantine may show of
one. Does not belong here: reading files (`readers.py`), deduplication and bots (`events/`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gesture_assets.events.tables import MINUTES_AHEAD, OLDEST_DAYS
from gesture_assets.sources.description import (
    FLAG_COLUMNS,
    INTEGER_COLUMNS,
    NUMBER_COLUMNS,
    TIME_COLUMNS,
    SourceDescription,
)
from gesture_assets.sources.landing_file import QUARANTINED_TEXT
from gesture_assets.sources.personal import EMAIL, is_personal, keyed_hash_sql, masked_json_sql, normal_email_sql
from gesture_assets.sources.readers import Reading
from gesture_assets.vocabulary.event_types import EVENT_TYPE_NAMES
from gesture_assets.vocabulary.personal_data import IP_PATTERN, IPV6_PATTERN, masked_sql
from gesture_assets.vocabulary.sql import identifier, literal

FILE = '" file"'  # a column beside those of the file, whose headers begin with no space
# A time outside is a sender's "never" or a wrong unit, and some of them cannot even be added to.
FIRST_TIME, LAST_TIME = "1970-01-02", "2200-01-01"
LARGEST_NUMBER = 1e15  # more seconds, percent or dollars than there are, and whole numbers are exact up to here

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
DEVICES = {
    "desktop": ("desktop", "web", "pc", "laptop", "computer"),
    "mobile": ("mobile", "phone", "smartphone", "ios", "android"),
    "tablet": ("tablet", "ipad"),
}


@dataclass(frozen=True)
class Fields:
    """Our columns as SQL over the rows of a file. `expressions` give a column as it stands there; none: it has none."""

    source: SourceDescription
    expressions: Mapping[str, str | None]

    def text(self, name: str) -> str:
        """The column as text, trimmed; null where empty, or the source's constant."""
        return self._cleaned(name, f"({self.expressions.get(name) or 'null'})::varchar")

    def _cleaned(self, name: str, written: str) -> str:
        cleaned, constant = f"nullif(trim({written}), '')", self.source.constants.get(name)
        return f"coalesce({cleaned}, {literal(constant)})" if constant is not None else cleaned

    def written(self, name: str) -> str:
        """The column as it is written; empty where there is nothing."""
        return f"coalesce(({self.expressions.get(name) or 'null'})::varchar, '')"

    def meanings(self, rows: str) -> str:
        """Named queries, one for each of `MEANINGS`: what each value that is written in the column stands for.

        A column has few values and many rows: what is dear to find out is asked once a value.
        """
        return ", ".join(
            f"""{name}_meanings as (
            select written, {meaning(self)} from (
                select written, {change.format(self._cleaned(name, "written"))} as word
                from (select {self.written(name)} as written from {rows} union select '')))"""
            for name, (change, meaning) in MEANINGS.items()
        )

    def flag(self, name: str) -> str:
        """The column as true or false, from the words people write for them; null for any other."""
        word = f"lower({self.text(name)})"
        return (
            f"case when {word} in ('1', 'true', 't', 'yes', 'y', '1.0') then true "
            f"when {word} in ('0', 'false', 'f', 'no', 'n', '0.0') then false end"
        )

    def written_time(self, name: str) -> str:
        """The column as it is written, and what a plain cast takes it for, as the two columns that `time` reads."""
        expression = self.expressions.get(name) or "null::timestamp"
        return f"{expression} as written_{name}, try_cast(({expression})::varchar as timestamp) as plain_{name}"

    def time(self, name: str) -> str:
        """The column as a UTC timestamp, from the columns of `written_time`."""
        # Parquet keeps its types: a timestamp there needs no parsing.
        parsed = _time_sql(f"written_{name}", f"plain_{name}", self.source)
        return f"if(typeof(written_{name}) = 'TIMESTAMP', try_cast(written_{name} as timestamp), {parsed}) as {name}"

    def pseudonym(self, name: str, key: str) -> str:
        """The column as an id; one that is an e-mail address is hashed with `key`."""
        plain = self.text(name)
        is_email = f"regexp_full_match({plain}, '{EMAIL.strip('^$')}')"
        hashed = f"'email:' || left({keyed_hash_sql(normal_email_sql(plain), key)}, 32)"
        return f"if(contains({plain}, '@') and {is_email}, {hashed}, {plain})"

    def email_key(self, key: str) -> str:
        """The hash with `key` of the e-mail address, null where it is none."""
        email = normal_email_sql(self.text("email"))
        is_email = f"regexp_full_match({email}, '{EMAIL.strip('^$')}')"
        return f"if(contains({self.text('email')}, '@') and {is_email}, {keyed_hash_sql(email, key)}, null)"

    def event_type(self) -> str:
        """The event's type in the source's words, and our name for it, null for a type that nothing is mapped to."""
        names = {name.lower(): ours for name, ours in self.source.event_types.items()}
        names = names or {name: name for name in EVENT_TYPE_NAMES}
        mapped = " ".join(f"when {literal(name)} then '{ours}'" for name, ours in names.items())
        return f"word as event_name, case word {mapped} end as event_type"

    def device(self) -> str:
        """Our name for the device; null where nothing is said of it, "other" for any other word."""
        families = " ".join(f"when {_in_sql('word', words)} then '{name}'" for name, words in DEVICES.items())
        return f"case when word is null then null {families} else 'other' end as device"

    def country(self) -> str:
        """The country by ISO 3166 alpha-2; null for what is no such code."""
        return "case when word = 'UK' then 'GB' when regexp_full_match(word, '[A-Z][A-Z]') then word end as country"

    def user_agent(self) -> str:
        """What a user agent tells; it is read and never kept. Its family is "bot" for one that says so."""
        families = " ".join(f"when regexp_matches(word, '{pattern}') then '{name}'" for pattern, name in AGENT_FAMILIES)
        return f"""coalesce(regexp_matches(word, '{BOT_AGENTS}'), false) as is_bot_agent,
                case when word is null then null {families} else 'other' end as user_agent_family"""

    def number(self, name: str) -> str:
        """The column as a finite double."""
        expression = self.expressions.get(name) or "null::varchar"
        # Parquet keeps its types here too.
        parsed = f"try_cast({self.text(name)} as double)"
        return finite_sql(f"if(typeof({expression}) = 'DOUBLE', try_cast({expression} as double), {parsed})")

    def integer(self, name: str) -> str:
        """The column as a whole number."""
        return f"try_cast(try_cast({self.text(name)} as double) as integer)"


# Column -> how its text is brought to one case, and what is read from the `word` that this gives.
MEANINGS: Mapping[str, tuple[str, Callable[[Fields], str]]] = {
    "event_type": ("lower({})", Fields.event_type),
    "device": ("lower({})", Fields.device),
    "country": ("upper({})", Fields.country),
    "user_agent": ("lower({})", Fields.user_agent),
}


@dataclass(frozen=True)
class Shape:
    """All that the rows of a file depend on, beside the rows themselves: files of one shape are read by one query.

    `columns` are those of their `Reading`, `expressions` give our columns in terms of them. `key` makes the pseudonyms,
    `indexed_at` is the arrival of rows where there is no clock of arrival, `imputed_dwell` (seconds) stands for a
    missing time on a page.
    """

    source: SourceDescription
    format: str
    columns: Mapping[str, str]
    types: Mapping[str, str | None]
    expressions: Mapping[str, str | None]
    key: str
    indexed_at: datetime | None
    lacks_ids: bool
    imputed_dwell: float | None


def canonical_sql(shape: Shape, readings: Mapping[str, Reading]) -> str:
    """A query for the rows of files of one shape (name -> rows) in our columns.

    Each has a `reason` against it or none, `filing_day`, and where there is a reason `masked_row`.
    """
    source, key = shape.source, shape.key
    fields = Fields(source, shape.expressions)
    # Masking is dear: the columns are carried along, and only refused rows are written out.
    is_text = shape.format != "jsonl"
    carried = {header: f"raw_{number}" for number, header in enumerate(shape.columns)} if is_text else {}
    raw = ", ".join(f"{shape.columns[header]} as {name}" for header, name in carried.items()) or "document"
    broken = "broken" if is_text else masked_json_sql("broken")
    masked_row = f"left(coalesce({broken}, {masked_sql(_masked_document(shape, carried))}), {QUARANTINED_TEXT})"
    has_arrival = shape.indexed_at is None
    arrival = "received_at" if has_arrival else f"timestamp '{shape.indexed_at:%Y-%m-%d %H:%M:%S}'"
    dwell, is_imputed = "dwell_seconds", "false"
    if shape.imputed_dwell is not None:
        dwell, is_imputed = f"coalesce(dwell_seconds, {shape.imputed_dwell!r}::double)", "dwell_seconds is null"
    bounded = ", ".join(
        f"if({name} between timestamp '{FIRST_TIME}' and timestamp '{LAST_TIME}', {name}, null) as {name}"
        for name in TIME_COLUMNS
    )
    joined = " ".join(f"left join {name}_meanings on written_{name} = {name}_meanings.written" for name in MEANINGS)
    rows = _union(f"select {literal(name)} as {FILE}, * from {reading.rows}" for name, reading in readings.items())
    unnumbered = _union(f"select * from {reading.unnumbered}" for reading in readings.values())
    return f"""(
    with read as not materialized (
        select {FILE} as landing_file, line, broken, {_event_id(shape, fields)} as event_id,
            {fields.pseudonym("user_id", key)} as known_user_id,
            {fields.pseudonym("anonymous_id", key)} as anonymous_id,
            {", ".join(f"{fields.written(name)} as written_{name}" for name in MEANINGS)},
            {", ".join(map(fields.written_time, TIME_COLUMNS))},
            {fields.text("source_session_id")} as source_session_id,
            {fields.text("city")} as city, lower({fields.text("gender")}) as gender,
            lower({fields.text("channel")}) as channel, lower({fields.text("lifecycle")}) as lifecycle,
            {fields.email_key(key)} as email_key,
            {", ".join(f"{fields.flag(name)} as {name}" for name in FLAG_COLUMNS)},
            {", ".join(f"{fields.number(name)} as {name}" for name in NUMBER_COLUMNS)},
            {", ".join(f"{fields.integer(name)} as {name}" for name in INTEGER_COLUMNS)},
            {_properties(shape)} as properties, {raw}
        from {rows}
    ), {fields.meanings(unnumbered)}, fields as (
        select *, {", ".join(map(fields.time, TIME_COLUMNS))} from read {joined}
    ), timed as (select * replace ({bounded}) from fields), judged as (
        select *, coalesce(known_user_id, 'anon:' || anonymous_id) as user_id,
            {_reason(arrival, has_arrival=has_arrival)} as reason
        from timed
    )
    select landing_file, {literal(source.name)} as source, line::bigint as landing_line, reason,
        case when reason is null then greatest(event_at::date, coalesce(received_at, event_at)::date)
            when received_at is not null then received_at::date
            when event_at is not null and reason <> 'future_ts' then event_at::date end as filing_day,
        event_id, user_id, known_user_id, anonymous_id, event_type, event_name, event_at,
        coalesce(received_at, event_at) as received_at, source_session_id, device, country, city, gender, channel,
        lifecycle, email_key, is_repeat_session, is_bounce, is_spam, is_bot_agent, user_agent_family,
        {dwell} as dwell_seconds, {is_imputed} as is_dwell_imputed,
        {", ".join(name for name in (*NUMBER_COLUMNS, *INTEGER_COLUMNS) if name != "dwell_seconds")}, properties,
        case when reason is not null then {masked_sql(masked_row)} end as masked_row
    from judged)"""


def finite_sql(number: str) -> str:
    """The SQL expression `number` where it is one. Not a number is more than any, so it fails as the infinite does.

    Zero has no sign: of two zeros that are equal, which one is the greatest would depend on the order of rows.
    """
    return f"case when abs({number}) <= {LARGEST_NUMBER} then if({number} = 0, 0::double, {number}) end"


def holds_ip(text: str) -> str:
    """Whether the SQL expression `text` holds an IP address."""
    return f"""(case when contains({text}, '.') then regexp_matches({text}, '{IP_PATTERN}') else false end
                    or case when contains({text}, ':') then regexp_matches({text}, '{IPV6_PATTERN}') else false end)"""


def _union(selects: Iterable[str]) -> str:
    return f"({' union all '.join(selects)})"


def _event_id(shape: Shape, fields: Fields) -> str:
    event_id = fields.text("event_id")
    if not shape.lacks_ids:
        return event_id
    # Identical rows of one file are separate events; the n-th copy in another file is the same event.
    columns = ", ".join(f"{identifier(header)} := ({value})::varchar" for header, value in shape.columns.items())
    document = "document" if shape.format == "jsonl" else f"to_json(struct_pack({columns}))::varchar"
    content = f"md5({document})"
    copy = f"row_number() over (partition by {FILE}, {content} order by line)"
    return f"coalesce({event_id}, {content} || '-' || {copy})"


def _reason(arrival: str, *, has_arrival: bool) -> str:
    """Why a row is no event; null where it is one."""
    ahead, oldest = f"interval {MINUTES_AHEAD} minute", f"interval {OLDEST_DAYS} day"
    return f"""case when broken is not null then 'unreadable_row'
                when coalesce(known_user_id, anonymous_id) is null then 'missing_user_id'
                when {holds_ip("known_user_id")} or {holds_ip("anonymous_id")} then 'personal_id'
                when event_name is null then 'missing_event_type'
                when event_type is null then 'unknown_event_type'
                when event_at is null then 'unparsable_timestamp'
                when {"received_at is null" if has_arrival else "false"} then 'unparsable_received_at'
                when event_at > {arrival} + {ahead} then 'future_ts'
                when {f"event_at < received_at - {oldest}" if has_arrival else "false"} then 'too_old'
            end"""


def _properties(shape: Shape) -> str:
    pairs = ", ".join(
        f"{literal(name)}, ({shape.columns[name]})::varchar"
        for name in shape.source.properties
        if name in shape.columns
    )
    return f"json_object({pairs})::varchar" if pairs else "null::varchar"


def _time_sql(written: str, plain: str, source: SourceDescription) -> str:
    """A UTC timestamp from text: an offset counts where there is one, else the source's time zone.

    `plain` is the text as a cast takes it: where that reads back as what is `written`, there is nothing else in it.
    """
    text = f"trim({written}::varchar)"
    local = (
        f"try_strptime({text}, {literal(source.timestamp_format)})"
        if source.timestamp_format
        else f"try_cast({text} as timestamp)"
    )
    naive = _utc_sql(local, source)
    if source.timestamp_format:
        return naive
    offset = r"\d{2}:?\d{2}.*(Z|z|[+-]\d{2}(:?\d{2})?)$"
    digits = f"length(split_part({text}, '.', 1))"
    unit = f"case when {digits} > 17 then 1e9 when {digits} > 14 then 1e6 when {digits} > 11 then 1e3 else 1 end"
    epoch = f"to_timestamp(try_cast({text} as double) / {unit})"
    return (
        f"case when {plain}::varchar = {written}::varchar then {_utc_sql(plain, source)} "
        f"when regexp_matches({text}, '{offset}') then try_cast({text} as timestamptz) at time zone 'UTC' "
        rf"when regexp_full_match({text}, '\d{{9,19}}(\.\d+)?') then {epoch} at time zone 'UTC' else {naive} end"
    )


def _utc_sql(local: str, source: SourceDescription) -> str:
    zone = literal(source.time_zone)
    return local if source.time_zone == "UTC" else f"(({local} at time zone {zone}) at time zone 'UTC')"


def _in_sql(expression: str, words: Sequence[str]) -> str:
    return f"{expression} in ({', '.join(literal(word) for word in words)})"


def _masked_document(shape: Shape, columns: Mapping[str, str]) -> str:
    """The row as JSON, personal columns as ***, for the quarantine."""
    if shape.format == "jsonl":
        return masked_json_sql("document")
    fields = ", ".join(
        f"{identifier(header)} := "
        + (f"if({expression} is null, null, '***')" if is_personal(header) else f"({expression})::varchar")
        for header, expression in columns.items()
    )
    return f"to_json(struct_pack({fields}))::varchar"
