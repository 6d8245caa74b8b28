"""Landing files of short videos, in the columns of document 004's.

Belongs here: writing them. Does not belong here: frames of pings (`ping_worlds.py`), running nights (`running.py`).
"""

from pathlib import Path


def land(data_dir: Path, name: str, header: str, *rows: str) -> None:
    """Write a CSV file below the landing folder."""
    path = data_dir / "landing" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")


def land_videos(data_dir: Path, name: str, *rows: str) -> None:
    """The catalogue."""
    land(data_dir, f"pings/{name}", "ping_id,creator_id,main_hashtag,category,duration_sec,created_at", *rows)


def land_users(data_dir: Path, *rows: str) -> None:
    """The users."""
    land(data_dir, "ping_users/1.csv", "user_id,country,signup_date,age", *rows)


def land_watched(data_dir: Path, name: str, *rows: str) -> None:
    """Interactions."""
    land(data_dir, f"ping_interactions/{name}", "user_id,ping_id,event_type,watch_time_sec,event_timestamp", *rows)
