"""Settings: the only reader of the environment.

Belongs here: every value a deployment may change, with its default and the reason for it, and the paths that follow
from `GESTURE_DATA_DIR`. Does not belong here: figures that are part of a contract (`contracts/`), of a rule set
(`rules/sets/*.toml`) or of a source (`sources/descriptions/*.toml`).
"""

import json
import os
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from gesture_assets.contracts.severity import WARN_ONLY
from gesture_assets.errors import ConfigError, listing

PREFIX = "GESTURE_"


class Settings(BaseModel):
    """One typed, frozen configuration. Every field is read from `GESTURE_<FIELD>`; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(Path("data"), description="Folder that holds everything the product reads and writes.")
    crm_url: str | None = Field(
        None,
        description="SQLAlchemy URL of the CRM. Unset: data/crm_database.sqlite where that file exists, else no CRM.",
    )
    crm_row_ranges: dict[str, tuple[int, int]] = Field(
        {"Subscribers": (1_000, 50_000), "Tags": (1_000, 100_000), "Transactions": (1_000, 20_000)},
        description="Fewest and most rows of each CRM table before a check warns, as JSON; others keep their default.",
    )
    crm_column_counts: dict[str, int] = Field(
        {"Subscribers": 6, "Tags": 2, "Transactions": 6},
        description="Columns of each CRM table before a check warns, as JSON; others keep their default.",
    )
    crm_product_ids: tuple[int, int] = Field(
        (1, 100), description="Lowest and highest product_id before a check warns, such as 1, 100."
    )
    rule_set: str = Field("intent", description="Name of the rule set that scores: shipped, or data/rules/<name>.toml.")
    partitions_start: date = Field(date(2024, 1, 1), description="First day that can be materialised.")
    pseudonym_key: str | None = Field(
        None,
        repr=False,
        description="Key of the e-mail pseudonyms. Unset: a random key kept in data/pseudonym.key.",
    )
    include_bots: bool = Field(False, description="Count the events of flagged bots in features as well.")
    tags: tuple[str, ...] = Field(
        tuple(
            ["aws_course", "blog_signup", "book_download", "jumpstart", "shiny_course"]
            + [f"learning_lab_{number:02d}" for number in range(1, 41)]
            + [f"webinar_{number:02d}" for number in range(1, 16)]
        ),
        description="CRM tags that have a feature column of their own; any other tag is counted in tag_other_count.",
    )
    blocking_checks: tuple[str, ...] = Field(
        (),
        description="Checks that by default only report (contracts/severity.py) and here keep a day from going live.",
    )
    top_users: int = Field(20, ge=1, description="Length of the ranked list that sales gets.")
    lock_timeout_seconds: float = Field(
        900, gt=0, description="How long a writer waits for the warehouse: longer than a night of ordinary size takes."
    )
    published_keep: int = Field(3, ge=1, description="Published files that are kept, the current one included.")
    label_horizon_days: int = Field(30, ge=1, description="Days within which a first purchase counts as an outcome.")
    min_training_samples: int = Field(100, ge=10, description="Fewest rows that a model is trained on.")
    excluded_features: tuple[str, ...] = Field((), description="Features that models may not read.")
    model_dir: Path | None = Field(None, description="Folder of the trained models. Unset: data/models.")
    retry_count: int = Field(2, ge=0, description="Times the nightly tries a step again after an unexpected failure.")
    duckdb_threads: int | None = Field(None, ge=1, description="Threads of the engine. Unset: all cores.")
    duckdb_memory_limit: str | None = Field(None, description='Memory limit of the engine, such as "4GB". Unset: 80 %.')

    @field_validator("crm_row_ranges", "crm_column_counts", mode="before")
    @classmethod
    def _by_table(cls, value: object, info: ValidationInfo) -> object:
        """JSON by CRM table; a table that is not named keeps its default."""
        given = json.loads(value) if isinstance(value, str) else value
        default = cls.model_fields[str(info.field_name)].default
        if not isinstance(given, dict) or set(given) - set(default):
            raise ValueError(f'JSON such as {{"Tags": …}} with tables among {listing(default)}')
        return default | given

    @field_validator("crm_row_ranges", "crm_product_ids")
    @classmethod
    def _ordered(cls, value: dict[str, tuple[int, int]] | tuple[int, int]) -> object:
        """Ranges whose ends are not the wrong way round."""
        for low, high in value.values() if isinstance(value, dict) else [value]:
            if low > high:
                raise ValueError(f"the lower end first, not {low} before {high}")
        return value

    @field_validator("tags", "blocking_checks", "crm_product_ids", "excluded_features", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """A list as the environment gives it: `one, two`, or JSON."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [name.strip() for name in value.split(",") if name.strip()]

    @field_validator("blocking_checks")
    @classmethod
    def _reporting(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of checks that only report: every other check blocks already."""
        if unknown := [name for name in names if name not in WARN_ONLY]:
            raise ValueError(f"checks among {listing(WARN_ONLY, 40)}; {listing(unknown)} is none of them")
        return names

    @property
    def landing(self) -> Path:
        """Folder of the landing files: `landing/<source>/<file>`."""
        return self.data_dir / "landing"

    @property
    def warehouse(self) -> Path:
        """The private DuckDB file, written by one process at a time."""
        return self.data_dir / "warehouse.duckdb"

    @property
    def validation_results(self) -> Path:
        """What the last step found, as JSON."""
        return self.data_dir / "validation_results.json"

    @property
    def published(self) -> Path:
        """The file for everybody else: a link to the newest file of `published/`."""
        return self.data_dir / "gesture.duckdb"

    @property
    def user_sources(self) -> Path:
        """Folder of the user's own source descriptions."""
        return self.data_dir / "sources"

    @property
    def user_rules(self) -> Path:
        """Folder of the user's own rule sets."""
        return self.data_dir / "rules"

    @property
    def suppressed(self) -> Path:
        """The list of users whom nobody may score."""
        return self.data_dir / "suppressed.csv"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own storage: runs, event logs, schedules."""
        return self.data_dir / "dagster_home"

    @property
    def models(self) -> Path:
        """Folder of the trained models, one folder a version."""
        return self.model_dir or self.data_dir / "models"

    @property
    def mlflow_database(self) -> Path:
        """MLflow's runs and registry."""
        return self.data_dir / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """What MLflow keeps files in."""
        return self.data_dir / "mlruns"

    @property
    def default_crm(self) -> Path:
        """Where a CRM is looked for when `crm_url` is unset."""
        return self.data_dir / "crm_database.sqlite"


def load_settings(environment: dict[str, str] | None = None) -> Settings:
    """The settings of this process; `environment` stands in for the process's own in tests.

    Raises `ConfigError` for a value of the wrong form and for a `GESTURE_*` name that is no setting, naming it.
    """
    given = {k: v for k, v in (os.environ if environment is None else environment).items() if k.startswith(PREFIX)}
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    # The reference data of the tests is found through the same prefix and is nobody's setting.
    unknown = sorted(set(given) - known - {f"{PREFIX}REFERENCE_DATA"})
    if unknown:
        raise ConfigError(
            "The environment cannot be used.",
            expected=f"settings among {listing(known, 40)}",
            found=listing(unknown),
            where="the environment",
            next_step=f"unset {unknown[0]}, then  gesture config show",
        )
    try:
        return Settings.model_validate({k.removeprefix(PREFIX).lower(): v for k, v in given.items() if k in known})
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise ConfigError.bad_value(
            name,
            expected=str(first["msg"]).removeprefix("Value error, "),
            found=given.get(name, first["input"]),
            where=f"the environment variable {name}",
            next_step=f"set {name} to a usable value, then  gesture config show",
        ) from error
