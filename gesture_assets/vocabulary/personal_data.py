"""How addresses of people and machines are known, in text of any kind.

Belongs here: the patterns, and the SQL that masks what they find. Does not belong here: what is dropped or hashed at
the door (`sources/personal.py`), the gate that looks for leaks (`contracts/contract.py`).
"""

import re

# Dotted quads and e-mail addresses, anchored at word ends so that version numbers with three parts do not match.
IP_PATTERN = r"(^|[^0-9.])((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])([^0-9.]|$)"


# Four groups at least, or two around a "::", so that times of day such as 10:05:33 are none.
IPV6_PATTERN = (
    r"(^|[^0-9A-Fa-f:])(([0-9A-Fa-f]{1,4}:){4,7}(:?[0-9A-Fa-f]{1,4})"
    r"|([0-9A-Fa-f]{1,4}:){1,6}(:[0-9A-Fa-f]{1,4}){1,6})([^0-9A-Fa-f:]|$)"
)


# Letters are those of every script, a name may hold an apostrophe (\x27, which needs no quoting in SQL), and keyboards
# of East Asia have signs of their own for the one in the middle.
LETTERS = "A-Za-z\u0080-\U0010ffff"
EMAIL_PATTERN = (
    rf"[{LETTERS}0-9._%+!#$*^~`\x27-]+"
    "[@\uff20\ufe6b]"
    rf"[{LETTERS}0-9.-]+\.(?:xn--[a-z0-9-]+|[{LETTERS}]{{2,}})"
)


def masked_sql(text: str) -> str:
    """The SQL expression `text` with addresses of any kind replaced by ***."""
    masked = f"regexp_replace({text}, '{EMAIL_PATTERN}', '***', 'g')"
    for pattern in (IPV6_PATTERN, IP_PATTERN):
        # Without the group that looks at what follows: it would swallow what the next address begins with.
        head = pattern[: pattern.rindex("([^")]
        masked = rf"regexp_replace({masked}, '{head}', '\1***', 'g')"
    return masked


# HMAC in SQL: the key, mixed with a constant, as hex digits.
KEY_IN_SQL = re.compile(r"unhex\('[0-9a-f]+'\)")


def without_keys(sql: str) -> str:
    """`sql` as it may be shown: without the digits that the key of the pseudonyms can be worked out of."""
    return KEY_IN_SQL.sub("unhex('…')", sql)
