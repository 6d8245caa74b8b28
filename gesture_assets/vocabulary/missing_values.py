"""The words that software writes where it has no value, and the SQL that knows them.

Belongs here: words that name nothing in any export. Does not belong here: words that a sender chose (`missing` in a
source's description), and what follows where a value is missing (`sources/`).
"""

import re
from collections.abc import Collection
from functools import cache

from gesture_assets.vocabulary.sql import literal

# In lower case, without the signs around them: (null), <NA>, "undefined" and -inf are such words too.
MISSING_WORDS = (
    "undefined",
    "null",
    "none",
    "nil",
    "nan",
    "na",
    "n/a",
    "#n/a",
    *("#null!", "#ref!", "#value!", "#name?", "#num!", "#div/0!"),  # of a spreadsheet
    *("1.#qnan", "1.#ind", "1.#inf"),
    "n.a.",
    r"\n",  # what MySQL and PostgreSQL write for NULL
    "nat",
    "inf",
    "infinity",
    "not set",
    "unset",
    "unknown",
    "true",
    "false",  # of a script that wrote `user && user.id`
    "object object",
    "00000000-0000-0000-0000-000000000000",
    "0" * 32,
)
# What is written and not seen, at the ends of a value: blanks of every script, and signs that only control something.
WHITE_SPACE = "".join(
    map(
        chr,
        (
            *range(0x21),
            *range(0x7F, 0xA1),
            *(0xAD, 0x1680, *range(0x2000, 0x2010), *range(0x2028, 0x2030)),
            *(*range(0x205F, 0x2070), 0x3000, 0xFEFF),
        ),
    )
)
# Of these what parts words, what joins letters of some scripts, and the rest, which is none of a text.
PARTING = "".join(sign for sign in WHITE_SPACE if sign.isspace())
JOINING = "\u200c\u200d"
UNSEEN = "".join(sign for sign in WHITE_SPACE if sign not in PARTING + JOINING)
# Quotes, brackets and signs around a word, or around nothing, change nothing.
AROUND = WHITE_SPACE + "\"'`´“”„‘’«»()[]{}<>+-"


def is_missing_sql(text: str, further: Collection[str] = ()) -> str:
    """Whether the SQL expression `text` is one of the words, or one of `further`, or empty; null where it is null."""
    around = f"{_any_of(AROUND)}*"
    words = (*MISSING_WORDS, *(word.strip(AROUND).lower() for word in further))
    any_word = "|".join(map(re.escape, dict.fromkeys(words)))
    twice = f"(?:{any_word})(?:@(?:{any_word}))?"  # an address that was put together from two of them
    return f"regexp_full_match({text}, {literal(f'(?i){around}(?:{twice})?{around}')})"


def unpadded_sql(text: str, signs: str = WHITE_SPACE) -> str:
    """The SQL expression `text` without `signs`, white space of any kind, at its ends; without any it is not touched.

    The engine's own trim makes a set of the signs for each row: that takes thirty times as long.
    """
    space = _any_of(signs)
    trimmed = f"regexp_replace({text}, '^{space}+|{space}+$', '', 'g')"
    return f"if(regexp_matches({text}, '^{space}|{space}$'), {trimmed}, {text})"


def without_unseen_sql(text: str) -> str:
    """The SQL expression `text` without signs that nobody sees: two texts that look alike are one."""
    return f"regexp_replace({text}, '{_any_of(UNSEEN)}', '', 'g')"


def one_spaced_sql(text: str) -> str:
    """The SQL expression `text` as it is seen: without unseen signs, with one blank where words part, none at its ends.

    What is so already is not touched.
    """
    parted = f"regexp_replace({without_unseen_sql(text)}, '{_any_of(PARTING)}+', ' ', 'g')"
    ends = _any_of(" " + JOINING)
    is_odd = f"regexp_matches({text}, '{_any_of(WHITE_SPACE.replace(' ', ''))}|  |^ | $')"
    return f"if({is_odd}, regexp_replace({parted}, '^{ends}+|{ends}+$', '', 'g'), {text})"


@cache
def _any_of(signs: str) -> str:
    """A pattern for one of `signs`, by their numbers: a statement may hold no zero byte, and is read anew each time."""
    codes = sorted(set(map(ord, signs)))
    firsts = [code for code in codes if code - 1 not in codes]
    lasts = [code for code in codes if code + 1 not in codes]
    runs = (rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in zip(firsts, lasts, strict=True))
    return f"[{''.join(runs)}]"
