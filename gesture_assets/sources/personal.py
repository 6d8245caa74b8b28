"""Personal data at the door: what is dropped, what becomes a keyed hash, what is masked.

Belongs here: the names and patterns by which personal data is known, and the engine expressions that hash and mask.
Does not belong here: deciding which rows are read (`landing.py`, `crm.py`).
"""

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from gesture_assets.errors import ConfigError
from gesture_assets.settings import Settings
from gesture_assets.vocabulary.personal_data import AT, IP_PATTERN, IPV6_PATTERN, plain_signs_sql
from gesture_assets.vocabulary.sql import literal

# What whole headers of personal data are called. A mapped column of this kind is hashed or judged, never kept.
PERSONAL_HEADERS = ("name", "ua", "context.traits.name")
# What they end with, words parted by "_", whatever stands before: billingFirstName, context.ip, "Customer phone 2".
PERSONAL_WORDS = (
    *("ip", "ip_address", "ipaddress", "remote_addr", "user_agent", "useragent"),
    *("email", "e_mail", "mail", "email_address", "address", "street", "zip_code", "postcode"),
    *("phone", "telephone", "telefon", "telefono", "tel", "handy", "rufnummer", "msisdn", "whatsapp"),
    *(
        f"{kind}_{number}"
        for kind in ("phone", "telephone", "telefon", "mobile", "mobil", "handy", "cell", "contact", "fax")
        for number in ("number", "no", "nr", "nummer")
    ),
    *(
        f"{whose}_name"
        for whose in (
            *("first", "last", "full", "given", "family", "middle", "maiden", "display", "nick", "real", "sur", "user"),
            *("customer", "contact", "person", "recipient", "billing", "shipping", "subscriber"),
        )
    ),
    *("vorname", "nachname", "familienname", "iban", "ssn", "dob", "birthday", "birth_date", "date_of_birth"),
    *("geburtsdatum", "geburtstag", "geburtsort", "strasse", "straße", "anschrift", "adresse", "plz", "postal_code"),
    *("nom", "prenom", "prénom", "apellido", "apellidos", "correo", "passport", "passport_number", "national_id"),
    *("credit_card", "card_number", "cvv", "cvc", "password", "passwd", "pwd", "passwort", "secret", "token"),
    *("api_key", "apikey", "authorization", "cookie", "cookies"),
)


def _field_pattern() -> str:
    """A pattern for the headers of personal data, in the words of Python's patterns and the engine's.

    A word begins where what is before it is no letter, or it has a capital letter and what is before has none.
    """
    words = sorted(PERSONAL_WORDS)
    part = "[_ -]?"
    anywhere = "|".join(part.join(word.split("_")) for word in words)
    capital = "|".join(f"{word[0].upper()}(?i:{part.join(word.split('_'))[1:]})" for word in words)
    whole = "|".join(re.escape(name) for name in PERSONAL_HEADERS)
    before = r"[^\x22\\]*"
    return f"(?i:{whole})|(?:(?:{before}[^A-Za-z\\x22\\\\])?(?i:{anywhere})|{before}[a-z](?:{capital}))[_ -]?[0-9]*"


FIELD = _field_pattern()
EMAIL = r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$"  # document 003's form of an address
BLOCK = 64  # bytes of a SHA-256 block, which HMAC pads its key to


def pseudonym_key(settings: Settings) -> str:
    """The key of the pseudonyms: the setting, or a random one made once and kept beside the warehouse.

    Raises `ConfigError` for a key that is empty or cannot be read: whoever knows it knows all pseudonyms, and another
    one makes strangers of everybody.
    """
    if settings.pseudonym_key is not None:
        if not settings.pseudonym_key.strip():
            raise ConfigError.bad_value(
                "GESTURE_PSEUDONYM_KEY",
                expected="a key that nobody can guess, or no such variable",
                found="an empty value",
                where="the environment variable GESTURE_PSEUDONYM_KEY",
                next_step="unset GESTURE_PSEUDONYM_KEY or set it to the key that was used before, then  gesture run",
            )
        return settings.pseudonym_key
    path = settings.data_dir / "pseudonym.key"
    if not path.exists():
        _make_key(path)
    try:
        if path.stat().st_mode & 0o077 and path.owner() == path.parent.owner():
            path.chmod(0o600)
        found, key = "an empty file", path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, KeyError) as error:
        found, key = getattr(error, "strerror", None) or "no text", ""
    if not key:
        raise ConfigError.bad_value(
            "The key of the pseudonyms",
            expected="the key that the pseudonyms of earlier nights were made with",
            found=found,
            where=str(path),
            next_step=f"restore {path.name} from a backup, or remove it where no night has been run, then  gesture run",
        )
    return key


def _make_key(path: Path) -> None:
    """Write a random key, whole or not at all, for its owner's eyes; of two processes the first one's holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):  # a folder of somebody else's
        path.parent.chmod(path.parent.stat().st_mode & 0o7700)
    handle, written = tempfile.mkstemp(prefix=".key-", dir=path.parent)  # for its owner's eyes from the start
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(written, path)
    finally:
        Path(written).unlink()


def build_word(key: str) -> str:
    """A word that changes with the key of the pseudonyms and does not tell it."""
    return hmac.new(key.encode(), b"what the pseudonyms of a day were made with", hashlib.sha256).hexdigest()[:16]


def keyed_hash_sql(text: str, key: str) -> str:
    """HMAC-SHA256 of the SQL expression `text` under `key`, as 64 hex digits (RFC 2104, from the engine's sha256)."""
    raw = key.encode()
    if len(raw) > BLOCK:
        raw = hashlib.sha256(raw).digest()
    raw = raw.ljust(BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in raw).hex() for pad in (0x36, 0x5C))
    return f"sha256(unhex('{outer}') || unhex(sha256(unhex('{inner}') || encode({text}))))"


def normal_email_sql(text: str) -> str:
    """The SQL expression of an e-mail address as it is compared: lower case, trimmed, each letter written one way."""
    return f"lower(trim(nfc_normalize({plain_signs_sql(text)})))"


def may_be_email_sql(text: str) -> str:
    """Whether the SQL expression `text` may be an e-mail address, whatever letters and signs it is made of.

    Wider than any form of an address: what is hashed and is none is still one text for one person.
    """
    return f"regexp_matches({text}, '(?s).(?:{AT}).')"


def plain_email_sql(text: str) -> str:
    """The SQL expression `text`, an e-mail address, with its sign as it is usually written."""
    return f"regexp_replace({text}, '{AT}', '@')"


def holds_ip(text: str) -> str:
    """Whether the SQL expression `text` holds an IP address."""
    return f"""(case when contains({text}, '.') then regexp_matches({text}, '{IP_PATTERN}') else false end
                    or case when contains({text}, ':') then regexp_matches({text}, '{IPV6_PATTERN}') else false end)"""


def plain_json_sql(text: str) -> str:
    r"""The SQL expression `text`, JSON or meant to be, with signs of ASCII written plainly: `\u0040` hides an address.

    But for quotes and backslashes, which part its values; the signs of East Asian keyboards for an @ become one.
    """
    at = rf"regexp_replace({text}, '\\+u(?:[fF][fF]20|[fF][eE]6[bB])', '@', 'g')"
    ascii_ = "2[013-9A-Fa-f]|[3467][0-9A-Fa-f]|5[0-9ABD-Fabd-f]"
    coded = rf"regexp_replace(replace({at}, '%', '%25'), '\\+u00({ascii_})', '%\1', 'g')"
    return f"if(contains({text}, '\\u'), url_decode({coded}), {text})"


def masked_json_sql(text: str) -> str:
    """The SQL expression `text`, JSON or meant to be, with the values of personal fields replaced by ***.

    Also where it is a text within JSON, whose quotes have backslashes before them.
    """
    # A text, closed or cut off, or a number; of a list or an object the fields inside are looked at.
    value = r'"(?:[^"\\]|\\.)*"?|[^\s",{}\[\]\\]+'
    within = r'\\+"(?:[^"\\]|\\+[^"\\])*(?:\\+")?|[^\s",{}\[\]\\]+'
    masked = plain_json_sql(text)
    for quote, values, shown in (('"', value, r'\1"***"'), (r'\\+"', within, r'\1\\"***\\"')):
        field = literal(rf"({quote}(?:{FIELD}){quote}\s*:\s*)(?:{values})")
        masked = f"regexp_replace({masked}, {field}, {literal(shown)}, 'g')"
    return masked


def is_personal(header: str) -> bool:
    """Whether a header, as it is written, names personal data."""
    return re.fullmatch(FIELD, header.strip()) is not None
