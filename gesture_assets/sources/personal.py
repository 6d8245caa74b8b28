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
from gesture_assets.vocabulary.personal_data import AT, IP_PATTERN, IPV6_PATTERN

# Headers that hold personal data in the exports we know. A mapped column of this kind is hashed or judged, never kept.
PERSONAL_HEADERS = frozenset(
    [
        "ip",
        "ip_address",
        "ipaddress",
        "client_ip",
        "remote_addr",
        "remote_ip",
        "user_ip",
        "email",
        "e_mail",
        "email_address",
        "user_email",
        "mail",
        "name",
        "username",
        "user_name",
        "full_name",
        "user_full_name",
        "first_name",
        "last_name",
        "surname",
        "phone",
        "phone_number",
        "mobile_number",
        "street",
        "address",
        "postal_address",
        "zip_code",
        "postcode",
        "birthday",
        "date_of_birth",
        "useragent",
        "user_agent",
        "ua",
        "context.ip",
        "context.useragent",
        "context.traits.email",
        "context.traits.name",
    ]
)
# Words that end a header of personal data, whatever stands before them or how it counts them: phone2, billing_phone.
PERSONAL_WORDS = (
    "phone|telephone|telefon|telefono|tel|handy|rufnummer|msisdn|whatsapp|email|mail|iban|firstname|lastname|surname|vorname|"
    "nachname|birthday|birthdate|geburtsdatum|geburtstag|ssn"
)
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
    return f"lower(trim(nfc_normalize({text})))"


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


def masked_json_sql(text: str) -> str:
    """The SQL expression `text`, JSON or meant to be, with the values of personal fields replaced by ***."""
    names = "|".join(sorted(name.replace("_", "[_ -]?") for name in PERSONAL_HEADERS if "." not in name))
    names += rf"|(?:[^\x22]*[^\x22a-z])?(?:{PERSONAL_WORDS})[0-9]*"
    # A text, closed or cut off, or a number; of a list or an object the fields inside are looked at.
    value = r'"(?:[^"\\]|\\.)*"?|[^\s",{}\[\]]+'
    return rf"""regexp_replace({text}, '(?i)("(?:{names})"\s*:\s*)(?:{value})', '\1"***"', 'g')"""


def is_personal(header: str) -> bool:
    """Whether a header (any case) names personal data."""
    name = re.sub(r"[\s-]+", "_", header.strip().lower())
    return name in PERSONAL_HEADERS or re.fullmatch(rf"(?:.*[^a-z])?(?:{PERSONAL_WORDS})[0-9]*", name) is not None
