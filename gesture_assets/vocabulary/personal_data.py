"""How addresses of people and machines, numbers of phones, cards and accounts are known, in text of any kind.

Belongs here: the patterns, and the SQL that masks what they find. Does not belong here: what is dropped or hashed at
the door (`sources/personal.py`), the gate that looks for leaks (`contracts/contract.py`).
"""

import re

from gesture_assets.vocabulary.sql import literal

# Dotted quads and e-mail addresses, anchored at word ends so that version numbers with three parts do not match.
QUAD = r"((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
IP_PATTERN = rf"(^|[^0-9.]){QUAD}([^0-9.]|$)"


# Four groups at least, or a "::" beside one, so that times of day (10:05:33) are none. The last two may be a quad,
# and the interface may stand behind. A word of other letters on either side of a "::" is a name: page::view.
GROUP = "[0-9A-Fa-f]{1,4}"
IPV6_PATTERN = (
    rf"(^|[^0-9A-Za-z:])((?:[0-9A-Fa-f]{{0,4}}:[0-9A-Fa-f:]*{QUAD}\b|({GROUP}:){{4,7}}:?{GROUP}\b"
    rf"|({GROUP}:){{1,6}}(:{GROUP}){{1,6}}\b|::({GROUP}:){{0,6}}{GROUP}\b|({GROUP}:){{1,7}}:\B)"
    r"(%[0-9A-Za-z._-]+)?)([^0-9A-Za-z:]|$)"
)


# Letters are those of every script, a name may hold an apostrophe (\x27, which needs no quoting in SQL), and keyboards
# of East Asia have signs of their own for the one in the middle.
LETTERS = "A-Za-z\u0080-\U0010ffff"
# The sign in the middle: also as web addresses write it, however often, keyboards of East Asia, people who hide it from
# machines, pages and JSON.
AT = "@|%(?:25)*40|\uff20|\ufe6b" r"| ?[(\[] ?(?i:at) ?[)\]] ?|&(?:#0*64|(?i:#x0*40|commat));|\\u0040"
EMAIL_PATTERN = (
    rf"[{LETTERS}0-9._%+!#$*^~`\x27-]+"
    f"(?:{AT})"
    rf"(?:[{LETTERS}0-9.-]+\.(?:xn--[a-z0-9-]+|[{LETTERS}]{{2,}})|localhost)"
)

# Signs of full width, figures of other scripts, and the dashes and narrow blanks of typesetters -> the plain ones.
ODD_SIGNS = (
    {chr(0xFF01 + place): chr(0x21 + place) for place in range(94)}
    | {chr(zero + figure): str(figure) for zero in (0x660, 0x6F0, 0x966) for figure in range(10)}
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
    | dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")
    | dict.fromkeys("\u3002\uff61", ".")
)
# A phone number is known by its "+" or 00, by brackets around its area, by the 0 and the gap that national ones have,
# by the form of North American ones, or by the word before it; that of a card by its groups or the word. Figures alone
# are an id. What precedes a number is kept when it is masked.
GAP = "(?:[ ().\u00a0/-]|%20|%2[89])"
NORTH_AMERICAN = "[2-9][0-9]{2}[ .-][2-9][0-9]{2}[ .-][0-9]{4}"
FROM_ABROAD = "00[1-9][0-9]{0,2}(?:[ ./-]|%20)"
# National numbers of other forms: the French one of pairs, Japanese and British ones, German ones of mobile phones.
IN_PAIRS = "0[1-9](?:(?: |%20)[0-9]{2}){4}"
WITH_DASHES = "(?:0[1-9][0-9]{1,2}-[0-9]{3,4}-[0-9]{4}|01[5-7][0-9]{1,2}-[0-9]{6,8})"
# What cards of the large networks begin with.
CARD = "(?:[45][0-9]{3}|22[2-9][0-9]|2[3-7][0-9]{2}|6011|65[0-9]{2}|35[2-8][0-9])"
CARD_WORD = "(?i:card|cc|pan|karte)(?i:[ _-]?(?:number|num|no|nr))?"
# Figures alone, with or without signs between them, that a card may have where no id stands.
CARD_FIGURES = "[0-9](?:[ ._-]?[0-9]){12,18}"
CARD_FORM = (
    "4[0-9]{12}(?:[0-9]{3}){0,2}|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    "|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35[0-9]{14,17}|6[0-9]{12,18}|5[0678][0-9]{11,17}"
)
NUMBER_PATTERNS = (
    rf"(^|[^0-9A-Za-z+])(?:\+|%2[Bb]){GAP}*[1-9](?:{GAP}*[0-9]){{7,14}}",
    r"(^|[^0-9A-Za-z])\(0?[1-9][0-9]{1,4}\)[ -]?[0-9]{3,4}[ -]?[0-9]{3,8}",
    r"(^|[^0-9A-Za-z.,:/-])0[1-9][0-9]{1,4}(?: ?/ ?| |%20)[0-9]{3,}(?:[ -]?[0-9]{2,})+",
    r"((?:^|[^A-Za-z])(?i:tel|telefon|phone|mobile|handy|msisdn|whatsapp)[\x22\s:=.]{1,5})"
    r"(?:%2[Bb]|\+)?[0-9][0-9 ()/-]{5,}[0-9]",
    rf"(^|[^0-9A-Za-z.,:/-]){FROM_ABROAD}[0-9](?:{GAP}*[0-9]){{5,12}}",
    rf"(^|[^0-9A-Za-z.-])(?:1[ .-])?{NORTH_AMERICAN}",
    rf"(^|[^0-9A-Za-z.,:/-])(?:{IN_PAIRS}|{WITH_DASHES})",
    rf"(^|[^0-9A-Za-z.-]){CARD}(?:[ -][0-9]{{4}}){{3}}",
    r"(^|[^0-9A-Za-z.-])3[47][0-9]{2}[ -][0-9]{6}[ -][0-9]{5}",
    rf"((?:^|[^A-Za-z]){CARD_WORD}[\x22\s:=.]{{1,5}})[0-9](?:[ -]?[0-9]){{12,18}}",
)
# The place of a house: number, name and the word for a street, or that word and the number; in German at the end of the
# name. Places have numbers, too (6th of October City, 25 de Mayo, 100 Mile House), and no such word beside them.
STREET = "street|avenue|ave|road|lane|boulevard|blvd|drive|court|terrace|crescent|square|highway"
STREET_NAME = (
    "[^0-9,]+(?:stra(?:ss|\u00df)e|str\\.|gasse|allee|platz|weg|damm|ufer|straat|laan|gatan|v\u00e4gen)"
    rf"|{STREET}|(?:rue|calle|via|viale|piazza|rua) [^0-9,]+"
)
HOUSE = (
    rf"(?i)(?:^|[^0-9a-z])(?:[0-9]{{1,5}}[a-z]?,? (?:[^0-9,]+ |[0-9]+(?:st|nd|rd|th) )"
    rf"(?:(?:{STREET})\b|(?:st|rd|ln|dr)\.?(?:,|$))"
    r"|[0-9]{1,5},? (?:bis |ter )?(?:rue|boulevard|avenue|chemin|impasse) [^0-9]"
    rf"|(?:{STREET_NAME}),? ?[0-9]{{1,5}} ?[a-z]?(?:,|$))"
)
# The national part of account numbers (IBAN registry): so many figures (n), letters (a), or either (c).
IBAN_FORMS = (
    "AD8n12c AE19n AL8n16c AT16n AZ4a20c BA16n BE12n BG4a6n8c BH4a14c BI23n BR23n1a1c BY4c4n16c CH5n12c CR18n CY8n16c "
    "CZ20n DE18n DJ23n DK14n DO4c20n EE16n EG25n ES20n FI14n FK2a12n FO14n FR10n11c2n GB4a14n GE2a16n GI4a15c GL14n "
    "GR7n16c GT24c HN4a20n HR17n HU24n IE4a14n IL19n IQ4a15n IS22n IT1a10n12c JO4a4n18c KW4a22c KZ3n13c LB4n20c "
    "LC4a24c LI5n12c LT16n LU3n13c LV4a13c LY21n MC10n11c2n MD20c ME18n MK3n10c2n MN16n MR23n MT4a5n18c MU4a19n3a "
    "NI4a20n NL4a10n NO11n OM3n16c PK4a16c PL24n PS4a21c PT21n QA4a21c RO4a16c RS18n RU14n15c SA2n18c SC4a20n3a SD14n "
    "SE20n SI15n SK20n SM1a10n12c SO19n ST21n SV4a20n TL19n TN20n TR6n16c UA6n19c VA18n VG4a16n XK16n YE4a4n18c"
)
KINDS = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}
IBAN = "|".join(
    form[:2] + "[0-9]{2}" + "".join(f"{KINDS[kind]}{{{count}}}" for count, kind in re.findall(r"(\d+)(\w)", form[2:]))
    for form in IBAN_FORMS.split()
)
# In one piece, or in fours; what comes behind may look like a part of it.
MAY_BE_IBAN = (
    r"(?i)(?:^|[^A-Z0-9])([A-Z]{2}[0-9]{2}(?:[A-Z0-9]{11,30}"
    r"|(?:(?: |-|%20)[A-Z0-9]{4}){2,7}(?:(?: |-|%20)[A-Z0-9]{1,4})?))"
)
# What each number of a phone, a card or an account holds: whatever lacks it is not looked at closely.
SHORTEST_NUMBER = 12  # signs of one without blanks, brackets or +: a North American phone number
MAY_BE_NUMBER = (
    r"[+(]|%2[Bb]|(?i:tel|phone|mobile|handy|msisdn|whatsapp)|0[1-9][0-9]{0,4}(?: |/|%20)"
    r"|[A-Za-z]{2}[0-9]{2}(?: |-|%20)?[A-Za-z0-9]{4}(?: |-|%20)?[A-Za-z0-9]{4}"
    rf"|{WITH_DASHES}|{NORTH_AMERICAN}|{FROM_ABROAD}|[2-6][0-9]{{3}}[ -][0-9]{{4}}|{CARD_WORD}[\x22\s:=.]"
)


def holds_number_sql(text: str) -> str:
    """Whether the SQL expression `text` holds the number of a phone, a card, or an account with right check figures."""
    phone = " or ".join(f"regexp_matches({text}, '{pattern}(?:[^0-9]|$)')" for pattern in NUMBER_PATTERNS)
    compact = "regexp_replace(upper(candidate), ' |-|%20', '', 'g')"
    # ISO 7064: the country and the check figures go to the end, letters are 10 to 35, the remainder by 97 is 1.
    places = "string_split(substr(iban, 5) || left(iban, 4), '')"
    value = "if(place between '0' and '9', ascii(place) - 48, ascii(place) - 55)"
    remainder = (
        f"list_reduce(list_transform({places}, lambda place: {value}), "
        "lambda rest, digit: (rest * if(digit > 9, 100, 10) + digit) % 97)"
    )
    ibans = (
        f"list_transform(regexp_extract_all({text}, '{MAY_BE_IBAN}', 1), "
        f"lambda candidate: regexp_extract({compact}, '^(?:{IBAN})'))"
    )
    is_account = f"len(list_filter({ibans}, lambda iban: iban <> '' and {remainder} = 1)) > 0"
    return f"case when not regexp_matches({text}, '{MAY_BE_NUMBER}') then false else {phone} or {is_account} end"


def holds_card_sql(text: str) -> str:
    """Whether the SQL expression `text` holds figures that may be a card's, whose last one is right."""
    figures = "regexp_replace(run, '[^0-9]', '', 'g')"
    # Luhn: from the right each second figure counts twice, its own figures added up; the sum ends in 0.
    twice = "(figure::int * 2 - if(figure > '4', 9, 0))"
    counted = f"lambda figure, place: if(place % 2 = 0, {twice}, figure::int)"
    total = f"list_sum(list_transform(list_reverse(string_split({figures}, '')), {counted}))"
    is_card = f"regexp_full_match({figures}, '{CARD_FORM}') and {total} % 10 = 0"
    runs = f"regexp_extract_all({text}, '(?:^|[^0-9])({CARD_FIGURES})(?:[^0-9]|$)', 1)"
    return f"(coalesce(len(list_filter({runs}, lambda run: {is_card})), 0) > 0)"


def holds_street_sql(text: str) -> str:
    """Whether the SQL expression `text`, a place, is that of a house: a word for a street with a number beside it."""
    return f"regexp_matches({text}, '{HOUSE}')"


def plain_signs_sql(text: str) -> str:
    """The SQL expression `text` with `ODD_SIGNS` written plainly, as what is looked for is written.

    To translate is dear, for its table of signs is made for each row, and to look for them less so: in ASCII there are
    none.
    """
    odd, plain = "".join(ODD_SIGNS), "".join(ODD_SIGNS.values())
    has_odd = f"strlen({text}) <> length({text}) and regexp_matches({text}, '[{odd}]')"
    return f"if({has_odd}, translate({text}, '{odd}', {literal(plain)}), {text})"


def holds_address_sql(text: str) -> str:
    """Whether the SQL expression `text` holds the address of a person or a machine."""
    return f"regexp_matches({text}, '{IP_PATTERN}|{IPV6_PATTERN}|{EMAIL_PATTERN}')"


def masked_sql(text: str) -> str:
    """The SQL expression `text` with addresses and numbers of any kind replaced by ***."""
    cards = rf"regexp_replace({text}, '(^|[^0-9]){CARD_FIGURES}', '\1***', 'g')"
    masked = f"regexp_replace(if({holds_card_sql(text)}, {cards}, {text}), '{EMAIL_PATTERN}', '***', 'g')"
    for pattern in (IPV6_PATTERN, IP_PATTERN):
        # Without the group that looks at what follows: it would swallow what the next address begins with.
        head = pattern[: pattern.rindex("([^")]
        masked = rf"regexp_replace({masked}, '{head}', '\1***', 'g')"
    spaced = "[A-Z]{2}[0-9]{2}(?:(?: |%20)[A-Z0-9]{4}){2,7}(?:(?: |%20)[A-Z0-9]{1,4})?"
    # Behind a dash are the groups of an id.
    dashed = "(?i)(^|[^A-Z0-9-])[A-Z]{2}[0-9]{2}(?:-[A-Z0-9]{4}){2,7}(?:-[A-Z0-9]{1,4})?"
    for pattern in (*NUMBER_PATTERNS, f"(?i)(^|[^A-Z0-9])(?:{IBAN}|{spaced})", dashed):
        masked = rf"regexp_replace({masked}, '{pattern}', '\1***', 'g')"
    return masked


def may_be_address_sql(text: str) -> str:
    """Whether the SQL expression `text` holds the signs that an address has: cheaper to ask than to look.

    A number of IPv6 has two colons, one of IPv4 three dots, an e-mail address one, behind a sign in the middle.
    """
    dots = rf"contains({text}, '.') and regexp_matches({text}, '[%(\[&\\]|\..*\..*\.')"
    colons = f"contains({text}, ':') and {text} like '%:%:%'"
    return f"(contains({text}, '@') or {dots} or {colons} or strlen({text}) <> length({text}))"


def may_be_number_sql(text: str) -> str:
    """Whether the SQL expression `text`, an id or a short text, may hold a number: cheaper to ask than to look."""
    return (
        f"(contains({text}, '+') or contains({text}, ' ') or contains({text}, '%') or contains({text}, '(') "
        f"or strlen({text}) <> length({text}) "
        f"or (length({text}) >= {SHORTEST_NUMBER} and regexp_matches({text}, '{MAY_BE_NUMBER}')))"
    )


def may_be_personal_sql(text: str) -> str:
    """Whether the SQL expression `text` holds a sign of what `masked_sql` masks: cheaper to ask than to mask."""
    return f"(strlen({text}) <> length({text}) or regexp_matches({text}, '[@.:%;]|{MAY_BE_NUMBER}|{CARD_FIGURES}'))"


# HMAC in SQL: the key, mixed with a constant, as hex digits.
KEY_IN_SQL = re.compile(r"unhex\('[0-9a-f]+'\)")
# A part of it, where an error of the engine shows a piece of the statement.
DIGITS_OF_KEY = re.compile(r"[0-9a-f]{16,}")


def without_keys(sql: str) -> str:
    """`sql` as it may be shown: without the digits that the key of the pseudonyms can be worked out of."""
    return KEY_IN_SQL.sub("unhex('…')", sql)


def hide_keys(error: BaseException) -> None:
    """Take the digits of keys out of the pieces of SQL that `error`, and those that it came of, show."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        waiting += [found.__cause__, found.__context__]
        if "LINE " in str(found) or "unhex(" in str(found):
            found.args = tuple(DIGITS_OF_KEY.sub("…", part) if isinstance(part, str) else part for part in found.args)
