"""Scoring as a plain pandas script does it: one file of events in memory, features, weights, a ranked list.

Belongs here: a script of the kind of document 000's project, whole. Does not belong here: running it against the
product (`runs.py`).

Its steps are those of that project: features are counted per event type, every session gets its commonest device by a
`mode` of its own (which is what takes that project's time), each user the commonest of their sessions; the score is a
weighted sum with caps taken from the batch, the explanation the three largest parts, written row by row.
"""

import time
from pathlib import Path
from typing import Any

COUNTED = {
    "page_view": "page_views",
    "pricing_page_view": "pricing_page_views",
    "search": "search_events",
    "chat_message": "chat_messages",
    "doc_download": "doc_downloads",
    "demo_request_click": "demo_request_clicks",
    "signup": "signups",
    "calendar_booking": "calendar_bookings",
}
WEIGHTS = {
    "signups": 0.30,
    "calendar_bookings": 0.30,
    "demo_request_clicks": 0.15,
    "pricing_page_views": 0.08,
    "page_views": 0.05,
    "doc_downloads": 0.02,
    "repeat_session_rate": 0.05,
    "account_balance_usd": 0.05,
}


def score_file(path: Path, folder: Path) -> dict[str, float]:
    """Read the events of `path` (CSV), write features, scores and the top 20 to `folder`.

    Seconds per step, and the number of `users` that were scored.
    """
    spent: dict[str, float] = {}
    started = time.perf_counter()

    def lap(name: str) -> None:
        spent[name] = time.perf_counter() - started - sum(spent.values())

    events = _read(path)
    lap("read")
    features = _featurize(events)
    lap("features")
    features.to_csv(folder / "user_features.csv")
    lap("write features")
    scores = _score(features)
    scores.to_csv(folder / "user_scores.csv")
    scores.sort_values(["score", "last_event_ts"], ascending=False).head(20).to_csv(folder / "top_users.csv")
    lap("scores")
    return {"whole": sum(spent.values()), "users": len(scores)} | spent


def _read(path: Path) -> Any:
    import pandas as pd

    events = pd.read_csv(path)
    events["user_id"] = events["user_id"].fillna("anon:" + events["anonymous_id"].astype(str))
    events["event_at"] = pd.to_datetime(events["event_at"], format="ISO8601")
    return events.dropna(subset=["event_at", "event_type"]).drop_duplicates("event_id")


def _featurize(events: Any) -> Any:
    import pandas as pd

    sessions = events.groupby(["user_id", "session_id"]).agg(
        event_count=("event_id", "size"),
        started=("event_at", "min"),
        device=("device", lambda values: values.mode().iloc[0]),
    )
    sessions["bounced"] = sessions["event_count"] == 1
    by_user = sessions.groupby("user_id")
    features = by_user.agg(total_sessions=("event_count", "size"), bounces=("bounced", "sum"))
    features["primary_device"] = by_user["device"].agg(lambda values: values.mode().iloc[0])
    features["repeat_sessions"] = features["total_sessions"] - 1
    features["repeat_session_rate"] = features["repeat_sessions"] / features["total_sessions"]
    features["bounce_rate"] = features["bounces"] / features["total_sessions"]
    counts = events.groupby(["user_id", "event_type"]).size().unstack(fill_value=0)
    for event_type, column in COUNTED.items():
        features[column] = counts.get(event_type, 0)
    latest = events.sort_values("event_at").groupby("user_id")[["country", "city", "gender", "account_balance_usd"]]
    features = features.join(latest.last())
    features["total_events"] = events.groupby("user_id").size()
    features["last_event_ts"] = events.groupby("user_id")["event_at"].max()
    until = events["event_at"].max()
    features["days_since_last_event"] = (until - features["last_event_ts"]) / pd.Timedelta(days=1)
    features["converted"] = ((features["signups"] > 0) & (features["calendar_bookings"] > 0)).astype(int)
    return features


def _score(features: Any) -> Any:
    import numpy as np
    import pandas as pd

    recency = (1 - features["days_since_last_event"] / 30).clip(0, 1)
    parts = pd.DataFrame(index=features.index)
    for name, weight in WEIGHTS.items():
        value = features[name].fillna(0)
        if name in ("signups", "calendar_bookings"):
            share = (value > 0).astype(float)
        elif name == "repeat_session_rate":
            share = (value + 0.25 * recency).clip(0, 1)
        elif name == "account_balance_usd":
            share = np.log1p(value) / np.log1p(max(value.max(), 1))
        else:
            share = value / max(value.max(), 1)
        parts[name] = 100 * weight * share
    scores = features[["last_event_ts", "converted"]].copy()
    scores["score"] = parts.sum(axis=1).clip(1, 100).round(2)
    scores["score_label"] = np.where(scores["score"] >= 70, "high", np.where(scores["score"] >= 40, "medium", "low"))
    scores["explanation"] = parts.apply(_explained, axis=1)
    return scores


def _explained(row: Any) -> str:
    return " + ".join(f"{name} (+{points:.1f} pts)" for name, points in row.nlargest(3).items())
