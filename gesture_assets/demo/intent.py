"""How much each user of a synthetic world wants to buy, day by day, and who buys when.

Belongs here: the latent state and the probabilities that follow from it: the truth that models are judged by. Does not
belong here: what can be seen of it (`activity.py`, `crm.py`).
"""

from dataclasses import dataclass

import numpy as np

from gesture_assets.demo.days import NEVER
from gesture_assets.demo.people import People

# The latent state. The values were searched for together: they give the difficulty that `world.py` promises.
PERSONA_INTENT = np.array([-0.5, 0.3, 1.5, -5.0])
STATIC_SD = 1.2
WAVE_SD, WAVE_MEMORY = 2.9, 0.994
PROJECT_START_RATE = 0.003  # per day and user outside a project: about one a year
PROJECT = 4.0 * np.concatenate([[0.0], np.arange(1, 15) / 14, np.exp(-np.arange(1, 15) / 6)])  # by day of the project
BUY_INTERCEPT = -7.6
HORIZON_DAYS = 30
BURN_IN_DAYS = 120


@dataclass(frozen=True)
class LatentState:
    """The latent state per day and user (days first) and when each user bought (-1: before the world, or `NEVER`)."""

    intent: np.ndarray
    hazard: np.ndarray
    within_30d: np.ndarray
    bought_on: np.ndarray
    static: np.ndarray


def latent_state(people: People, days: int, rng: np.random.Generator) -> LatentState:
    """What `people` want on each of `days` days, after a burn-in that nobody sees, and whom it makes buy."""
    users, length = len(people.persona), len(PROJECT) - 1
    innovation = np.float32(WAVE_SD * np.sqrt(1 - WAVE_MEMORY**2))
    mean, shape = PERSONA_INTENT.astype(np.float32)[people.persona], PROJECT.astype(np.float32)
    static = mean + np.float32(STATIC_SD) * rng.standard_normal(users, dtype=np.float32)
    wave = np.float32(WAVE_SD) * rng.standard_normal(users, dtype=np.float32)
    busy = PROJECT_START_RATE * length / (1 + PROJECT_START_RATE * length)
    project = np.where(rng.random(users) < busy, rng.integers(1, length + 1, users), 0)
    bought_on = np.where(people.is_past_buyer, -1, NEVER)
    survival = SurvivalTable()
    intent, hazard, within = (np.empty((days, users), dtype=np.float32) for _ in range(3))
    for day in range(-BURN_IN_DAYS, days):
        wave = WAVE_MEMORY * wave + innovation * rng.standard_normal(users, dtype=np.float32)
        starts = rng.random(users, dtype=np.float32) < PROJECT_START_RATE
        project = np.where(project > 0, project + 1, starts)
        project[project > length] = 0
        level = static + wave + shape[project]
        chance = sigmoid(BUY_INTERCEPT + level)
        buys = rng.random(users, dtype=np.float32) < chance
        if day < 0:
            who = np.flatnonzero(buys)
            static[who] = mean[who] + STATIC_SD * rng.standard_normal(len(who))
            wave[who] = WAVE_SD * rng.standard_normal(len(who))
            project[who] = 0
            continue
        may_buy = (bought_on == NEVER) & ~people.is_bot
        bought_on = np.where(buys & may_buy, day, bought_on)
        intent[day], hazard[day] = level, np.where(may_buy, chance, 0.0)
        within[day] = np.where(may_buy & ~buys, 1.0 - survival.at(static, wave, project), 0.0)
    return LatentState(intent, hazard, within, bought_on, static)


class SurvivalTable:
    """The probability of not buying on the next 30 days by state, exact up to its grid.

    Built by backward recursion over the days: S_k(state) = E[(1 - hazard(next)) * S_{k-1}(next)], the wave moving by
    its Gaussian transition, the project by its calendar. Between grid points linear in `static` and `wave`.
    """

    def __init__(self) -> None:
        self.static = np.linspace(-11.0, 8.0, 39)
        self.wave = np.linspace(-4.5, 4.5, 91) * WAVE_SD
        moves = (self.wave[None] - WAVE_MEMORY * self.wave[:, None]) / (WAVE_SD * np.sqrt(1 - WAVE_MEMORY**2))
        transition = np.exp(-(moves**2) / 2)
        transition /= transition.sum(axis=1, keepdims=True)
        keep = 1 - sigmoid(BUY_INTERCEPT + PROJECT[:, None, None] + self.static[None, :, None] + self.wave[None, None])
        table = np.ones_like(keep)
        for _ in range(HORIZON_DAYS):
            ahead = (keep * table) @ transition.T
            idle = (1 - PROJECT_START_RATE) * ahead[0] + PROJECT_START_RATE * ahead[1]
            table = np.concatenate([idle[None], ahead[2:], ahead[:1]])
        self.table = table.astype(np.float32)

    def at(self, static: np.ndarray, wave: np.ndarray, project: np.ndarray) -> np.ndarray:
        """The probability for users in these states, one entry per user."""
        row, row_part = self._place(self.static, static)
        column, column_part = self._place(self.wave, wave)
        below, above = (
            self.table[project, row, at] * (1 - row_part) + self.table[project, row + 1, at] * row_part
            for at in (column, column + 1)
        )
        return below * (1 - column_part) + above * column_part

    @staticmethod
    def _place(grid: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        position = np.clip((values - grid[0]) / (grid[1] - grid[0]), 0, len(grid) - 1.001)
        whole = position.astype(np.int64)
        return whole, position - whole


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """The probability of `logit`."""
    return 1 / (1 + np.exp(-logit))
