"""Settings: the only reader of the environment.

Belongs here: every value a deployment may change, with its default and the reason for it, and the paths that follow
from `GESTURE_DATA_DIR`. Does not belong here: figures that are part of a contract (`contracts/`), of a rule set
(`rules/sets/*.toml`) or of a source (`sources/descriptions/*.toml`).
"""

import json
import os
import re
from collections.abc import Collection, Mapping
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from gesture_assets.errors import ConfigError, listing
from gesture_assets.vocabulary.features import tag_column
from gesture_assets.vocabulary.scoring import SEGMENTS, Missing, Recipe
from gesture_assets.vocabulary.severity import WARN_ONLY

PREFIX = "GESTURE_"
# The environment of document 001, whose names have no prefix. The prefixed name goes first where both are set.
UNPREFIXED = frozenset(
    {
        "MODEL_DIR",
        "MIN_TRAINING_SAMPLES",
        "RETRAIN_INTERVAL_DAYS",
        "RETRAIN_THRESHOLD_F1",
        "AB_TEST_MIN_SAMPLE_SIZE",
        "AB_TEST_SIGNIFICANCE_LEVEL",
        "AB_TEST_MIN_EFFECT_SIZE",
        "TFIDF_MAX_FEATURES_TITLE",
        "TFIDF_MAX_FEATURES_DESC",
    }
)

# Settings that nothing reads yet, each with what will: document 001 names them, and setting one must not fail a run.
AWAITED = {
    "ab_test_min_sample_size": "the judging of experiments",
    "ab_test_significance_level": "the judging of experiments",
    "ab_test_min_effect_size": "the judging of experiments",
    "tfidf_max_features_title": "the text features of leads",
    "tfidf_max_features_desc": "the text features of leads",
}


class Settings(BaseModel):
    """One typed, frozen configuration. Every field is read from `GESTURE_<FIELD>`; unknown names are refused.

    Those of document 001 (`UNPREFIXED`) are read from `<FIELD>` as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    _problems: dict[str, ConfigError] = PrivateAttr(default_factory=dict)

    @property
    def problems(self) -> dict[str, ConfigError]:
        """Field -> what is wrong with the value that was given for it; such a field raises when it is read."""
        return self._problems

    def __getattr__(self, name: str) -> Any:
        """A field that could not be used has no value: asked for, it raises what is wrong with it."""
        if name in type(self).model_fields:
            raise self._problems[name]
        return super().__getattr__(name)  # pyright: ignore[reportAttributeAccessIssue]  # pydantic hides it from checkers

    data_dir: Path = Field(Path("data"), description="Folder that holds everything the product reads and writes.")
    crm_url: str | None = Field(
        None,
        repr=False,
        description="SQLAlchemy URL of the CRM, or a folder of CSV exports of it. Unset: data/crm_database.sqlite "
        "where that file exists, else data/crm where it holds CSV files, else no CRM.",
    )
    crm_description: str = Field(
        "",
        description="Name of the description that the CRM is read by: shipped (document_003, hubspot, mailchimp, "
        "salesforce), or data/crm/<name>.toml. Empty: the one whose tables and columns are all there.",
    )
    crm_row_ranges: dict[str, tuple[int, int]] = Field(
        {"Subscribers": (1_000, 50_000), "Tags": (1_000, 100_000), "Transactions": (1_000, 20_000)},
        description="Fewest and most rows of each CRM table before a check warns, as JSON; others keep their default.",
    )
    crm_column_counts: dict[str, int] = Field(
        {"Subscribers": 6, "Tags": 2, "Transactions": 6},
        description="Columns of each CRM table before a check warns, as JSON; others keep their default, which is "
        "asked of document 003's CRM only.",
    )
    crm_product_ids: tuple[int, int] = Field(
        (1, 100), description="Lowest and highest product_id before a check warns, such as 1, 100."
    )
    # Empty: a shop is scored by rules for shops without a word.
    rule_set: str = Field(
        "",
        description="Name of the rule set that scores: shipped, or data/rules/<name>.toml. Empty: the one that the "
        "sources that have landed are described with, or intent.",
    )
    ping_weights: str = Field(
        "recent",
        description="Name of the weights and windows that lists of short videos are made by: shipped (recent, script, "
        "aws), or data/ping_weights/<name>.toml.",
    )
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
        description="Checks that by default only report (vocabulary/severity.py) and here keep a day from going live.",
    )
    top_users: int = Field(20, ge=1, description="Length of the ranked list that sales gets.")
    lock_timeout_seconds: float = Field(
        900, gt=0, description="How long a writer waits for the warehouse: longer than a night of ordinary size takes."
    )
    published_keep: int = Field(3, ge=1, description="Published files that are kept, the current one included.")
    label_horizon_days: int = Field(30, ge=1, description="Days within which a first purchase counts as an outcome.")
    min_training_samples: int = Field(100, ge=10, description="Fewest rows that a model is trained on.")
    excluded_features: tuple[str, ...] = Field((), description="Features that models may not read.")
    # Empty until a segment's own models are seen to be better: they learn from fewer people than the global one.
    segment_models: str = Field(
        "", description=f"Column whose values may have models of their own: {', '.join(SEGMENTS)}. Empty: none has."
    )
    model_recipe: Recipe = Field(
        "blend",
        description="What trainings begin with: blend (a model that stands on the rules) or document_001 (trees alone, "
        "with that document's parameters).",
    )
    missing_numbers: Missing = Field(
        "native",
        description="What models read where a number is missing: nothing (native), -999 as document 003's did, or what "
        "is usual among the user's peers, with a flag beside it (imputed).",
    )
    model_dir: Path | None = Field(None, description="Folder of the trained models. Unset: data/models.")
    retrain_interval_days: int = Field(7, ge=1, description="Age in days beyond which a model is to be trained anew.")
    retrain_min_feedback: int = Field(
        50, ge=1, description="People of whom something new is known, from which on a model is to be trained anew."
    )
    retrain_threshold_f1: float = Field(0.05, ge=0, le=1, description="Fall of F1 that calls for a training.")
    retrain_threshold_auc: float = Field(0.05, ge=0, le=1, description="Fall of the ROC AUC that calls for a training.")
    retrain_threshold_precision: float = Field(
        0.05, ge=0, le=1, description="Fall of the precision that calls for a training."
    )
    churn_budget: float = Field(
        0.2, ge=0, le=1, description="Share of users whose band a new model or rule set may change without approval."
    )
    # The nightly starts at two; an analyst who begins at eight finds yesterday, and somebody has had time to mend it.
    freshness_deadline: int = Field(
        6, ge=0, le=23, description="Hour (UTC) of the next day by which the tables of a day are to be live."
    )
    alert_webhook: str | None = Field(
        None, repr=False, description="URL that new alerts are posted to as JSON. Unset: the log and a file only."
    )
    ab_test_min_sample_size: int = Field(
        100, ge=1, description="Users that each variant of an experiment needs before it is judged."
    )
    ab_test_significance_level: float = Field(
        0.05, gt=0, lt=1, description="p-value below which a difference between variants is no chance."
    )
    ab_test_min_effect_size: float = Field(
        0.02, ge=0, le=1, description="Difference in conversion rate between variants that is worth acting on."
    )
    tfidf_max_features_title: int = Field(
        100, ge=1, description="Most words that text features keep of a lead's title."
    )
    tfidf_max_features_desc: int = Field(
        200, ge=1, description="Most words that text features keep of a lead's description."
    )
    retry_count: int = Field(2, ge=0, description="Times the nightly tries a step again after an unexpected failure.")
    duckdb_threads: int | None = Field(None, ge=1, description="Threads of the engine. Unset: all cores.")
    duckdb_memory_limit: str | None = Field(
        None,
        description="Memory that the engine may take, such as 4GB; what does not fit is put aside on disk. Unset: a "
        "quarter of the machine, 2 GB at most and 500 MB at least. Half a million users' features take half the time "
        "with 8GB.",
    )

    @field_validator("duckdb_memory_limit")
    @classmethod
    def _a_size(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(?i)\s*\d+(\.\d+)?\s*([KMGT]i?)?B\s*", value):
            raise ValueError("a number and its unit, such as 4GB or 800MB")
        return value

    @field_validator("crm_row_ranges", "crm_column_counts", mode="before")
    @classmethod
    def _by_table(cls, value: object, info: ValidationInfo) -> object:
        """JSON by CRM table; a table that is not named keeps its default."""
        ranges = json.loads(value) if isinstance(value, str) else value
        default = cls.model_fields[str(info.field_name)].default
        if not isinstance(ranges, dict) or set(ranges) - set(default):
            raise ValueError(f'JSON such as {{"Tags": …}} with tables among {listing(default)}')
        return default | ranges

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

    @field_validator("tags")
    @classmethod
    def _with_columns_of_their_own(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        """Each tag is a column of its own, and of no other meaning."""
        taken = {"tag_other", "tag_count"}
        for tag in tags:
            if (column := tag_column(tag)) in taken:
                raise ValueError(f"tags with a column each of their own; {tag!r} is {column}, which is another's")
            taken.add(column)
        return tags

    @field_validator("blocking_checks")
    @classmethod
    def _reporting(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of checks that only report: every other check blocks already."""
        if unknown := [name for name in names if name not in WARN_ONLY]:
            raise ValueError(f"checks among {listing(WARN_ONLY, 40)}; {listing(unknown)} is none of them")
        return names

    @field_validator("segment_models")
    @classmethod
    def _segment(cls, column: str) -> str:
        """A column that segments are told by, or none."""
        if column and column not in SEGMENTS:
            raise ValueError(f"nothing, or one of {listing(SEGMENTS)}")
        return column

    @field_validator("alert_webhook")
    @classmethod
    def _posted_to(cls, url: str | None) -> str | None:
        """A URL of the web: a path or another scheme would have the poster read a file."""
        if url is not None and not url.lower().startswith(("http://", "https://")):
            raise ValueError("a URL that starts with http:// or https://")
        return url

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
    def alerts_file(self) -> Path:
        """What is wrong and open, as JSON."""
        return self.data_dir / "alerts.json"

    @property
    def published(self) -> Path:
        """The file for everybody else: a link to the newest file of `published/`."""
        return self.data_dir / "gesture.duckdb"

    @property
    def published_files(self) -> Path:
        """Folder of the published files, the last few."""
        return self.data_dir / "published"

    @property
    def user_sources(self) -> Path:
        """Folder of the user's own source descriptions."""
        return self.data_dir / "sources"

    @property
    def user_rules(self) -> Path:
        """Folder of the user's own rule sets."""
        return self.data_dir / "rules"

    @property
    def user_ping_weights(self) -> Path:
        """Folder of the user's own weights of short videos."""
        return self.data_dir / "ping_weights"

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

    @property
    def crm_folder(self) -> Path:
        """Folder of the user's own CRM descriptions, and of CSV exports where there is no database."""
        return self.data_dir / "crm"

    def keeps(self, path: Path) -> bool:
        """Whether the resolved `path` is one of what the product keeps, and not a list or page of the user's own.

        Those may stand in the data folder, below `reports/` and in folders that the product has no name for.
        """
        folder = self.data_dir.resolve()
        if path.is_relative_to(self.models.resolve()):
            return True
        if path.parent == folder:
            return path.name == self.suppressed.name or path.suffix.lower() not in (".csv", ".html")
        named = (
            self.landing,
            self.published_files,
            self.user_sources,
            self.user_rules,
            self.user_ping_weights,
            self.dagster_home,
        )
        kept = (*named, self.mlflow_artifacts, self.crm_folder, self.warehouse.with_suffix(".runs"))
        return any(path.is_relative_to(folder / place.name) for place in kept)


def variable_of(field: str, environment: Mapping[str, str]) -> str | None:
    """The variable that sets `field` in `environment`; None where none does and the default holds."""
    name = field.upper()
    return next((variable for variable in (PREFIX + name, *({name} & UNPREFIXED)) if variable in environment), None)


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; `environment` stands in for the process's own in tests.

    Raises `ConfigError` for a value of the wrong form and for a `GESTURE_*` name that is no setting, naming it.
    """
    settings = settings_as_far_as_usable(environment)
    for problem in settings.problems.values():
        raise problem
    return settings


def settings_as_far_as_usable(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. One that cannot be used raises its `ConfigError` where somebody reads it.

    So one bad value fails what needs it, and not the whole code location. Names that are no setting are nobody's, so
    they fail whatever opens the warehouse.
    """
    given = os.environ if environment is None else environment
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    problems: dict[str, ConfigError] = {}
    # The reference data of the tests is found through the same prefix and is nobody's setting.
    unknown = sorted({name for name in given if name.startswith(PREFIX)} - known - {f"{PREFIX}REFERENCE_DATA"})
    if unknown:
        problems["data_dir"] = ConfigError(
            "The environment cannot be used.",
            expected=f"settings among {listing(known, 40)}",
            found=listing(_with_nearest(name, known) for name in unknown),
            where="the environment",
            next_step=f"unset {unknown[0]}, then  gesture config show",
        )
    variables = {field: name for field in Settings.model_fields if (name := variable_of(field, given))}
    values = {field: given[name] for field, name in variables.items()}
    while True:
        try:
            settings = Settings.model_validate(values)
            break
        except ValidationError as error:
            for fault in error.errors():
                field = str(fault["loc"][0])
                if field in values:
                    value, message = values.pop(field), str(fault["msg"])
                    problems[field] = _bad_value(variables[field], field, value, message)
    for field, problem in problems.items():
        settings.problems[field] = problem
        vars(settings).pop(field)
    return settings


def _with_nearest(name: str, known: Collection[str]) -> str:
    """`name`, and the name among the `known` ones that it is probably meant to be."""
    nearest = get_close_matches(name, sorted(known), 1)
    return f"{name} (is {nearest[0]} meant?)" if nearest else name


def _bad_value(variable: str, field: str, value: str, message: str) -> ConfigError:
    return ConfigError.bad_value(
        variable,
        expected=message.removeprefix("Value error, "),
        found=value if Settings.model_fields[field].repr else "***",
        where=f"the environment variable {variable}",
        next_step=f"set {variable} to a usable value, then  gesture config show",
    )


def default_of(settings: Settings, field: str) -> Any:
    """The value of a setting, or its default where it cannot be used: for what is shaped before anything is run."""
    return Settings.model_fields[field].get_default() if field in settings.problems else getattr(settings, field)
