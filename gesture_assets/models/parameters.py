"""The parameters of a training: their defaults, the ranges that make sense, and values given by name.

Belongs here: what XGBoost is told. Does not belong here: training (`training.py`), the search for better ones
(`tuning.py`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

from gesture_assets.errors import ConfigError

# Name -> type, lowest and highest value that makes sense.
RANGES: dict[str, tuple[type[int] | type[float], float, float]] = {
    "max_depth": (int, 1, 16),
    "learning_rate": (float, 0.001, 1),
    "n_estimators": (int, 1, 5000),
    "subsample": (float, 0.1, 1),
    "colsample_bytree": (float, 0.1, 1),
    "min_child_weight": (float, 0, 1e6),
    "gamma": (float, 0, 1e6),
    "reg_alpha": (float, 0, 1e6),
    "reg_lambda": (float, 0, 1e6),
    "max_bin": (int, 2, 4096),
    "seed": (int, 0, 2**31 - 1),
}


@dataclass(frozen=True)
class Parameters:
    """What XGBoost is told: document 001's values unless overridden, XGBoost's own defaults for the rest.

    `RECIPES` names what trainings begin with.
    """

    objective: Literal["binary:logistic"] = "binary:logistic"
    eval_metric: Literal["logloss"] = "logloss"
    max_depth: int = 6
    learning_rate: float = 0.1
    n_estimators: int = 100
    subsample: float = 0.8
    colsample_bytree: float = 0.8
    min_child_weight: float = 1.0
    gamma: float = 0.0
    reg_alpha: float = 0.0
    reg_lambda: float = 1.0
    max_bin: int = 256
    seed: int = 42

    def __post_init__(self) -> None:
        for name, (kind, low, high) in RANGES.items():
            value = getattr(self, name)
            is_kind = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
            if not is_kind or not low <= value <= high:
                what = "a whole number" if kind is int else "a number"
                raise ConfigError.bad_value(
                    f"The training parameter {name!r}",
                    expected=f"{what} from {low:g} to {high:g}",
                    found=value,
                    where="the parameters given to the training",
                    next_step=f"choose another value:  gesture train --params {name}={getattr(type(self), name)}",
                )
        fixed = {"objective": "binary:logistic", "eval_metric": "logloss"}
        for name, only in fixed.items():
            if getattr(self, name) != only:
                raise ConfigError.bad_value(
                    f"The training parameter {name!r}",
                    expected=only,
                    found=getattr(self, name),
                    where="the parameters given to the training",
                    next_step="leave it out",
                )

    def overridden(self, values: Mapping[str, object]) -> Self:
        """These parameters with `values` (numbers, or text that is one) in their place; `random_state` is the seed.

        Raises `ConfigError` for a name that is none of them and for a value out of range.
        """
        names = [field.name for field in fields(self)]
        changed: dict[str, Any] = {}
        for key, value in values.items():
            name = "seed" if key == "random_state" else key
            if name not in names:
                raise ConfigError.unknown_name(
                    "The training parameter",
                    key,
                    names,
                    where="the parameters given to the training",
                    next_step="leave it out (probabilities are calibrated, so classes are never weighted)"
                    if key == "scale_pos_weight"
                    else "correct the name:  gesture train --params max_depth=4",
                )
            changed[name] = _number(value, RANGES[name][0]) if name in RANGES else value
        return replace(self, **changed)

    def as_dict(self) -> dict[str, Any]:
        """Every parameter by name."""
        return asdict(self)


# A recipe: the parameters that a training begins with, and whether its model stands on the rules (`rule_curve.py`).
# "blend" learns little from each buyer: measured on demo worlds of 500 to 40,000 users it is nowhere below the rules,
# where document 001's trees are below them up to 8,000 users. Any depth of 2 to 4 and lambda of 5 to 100 does as well.
BLEND, DOCUMENT_001 = "blend", "document_001"
RECIPES: Mapping[str, Parameters] = {
    BLEND: Parameters(
        max_depth=3,
        learning_rate=0.05,
        n_estimators=100,
        min_child_weight=10,
        reg_lambda=20,
        subsample=0.8,
        colsample_bytree=0.1,
    ),
    DOCUMENT_001: Parameters(),
}


def _number(value: object, kind: type[int] | type[float]) -> object:
    if isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            return value  # refused by its range, which says what was expected
    return value
