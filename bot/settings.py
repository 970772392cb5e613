"""Everything that an operator may set: the only reader of the environment and of easel.toml.

A setting is `EASEL_<NAME>` in the environment or `<name>` in easel.toml, which is looked for in the working folder;
the environment wins. Nested values are written `EASEL_TOXICITY__THREAT=0.6`, lists as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as UnreadableError

from bot.errors import SettingsError
from engine.rental import RentalSettings
from engine.settings import EngineSettings

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0.0)]
TOML_FILE = "easel.toml"
WORKERS = 2
"""Jobs at once where one machine draws them: one is drawn, and the next is there when it ends."""
PROMPT_SLOT = "{prompt}"
FOR_SCRIPTS = frozenset({"EASEL_CHROMIUM", "EASEL_GPU", "EASEL_PYTHON"})
"""Variables that scripts/ read; they are no settings."""


class Style(BaseModel):
    """A named look: a template around the prompt, things to keep out, and options to start from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: Annotated[str, Field(max_length=500, pattern=r"\{prompt\}")]
    negative_prompt: Annotated[str, Field(max_length=500)] = ""
    options: dict[str, str | int | float | bool] = {}
    """Values for fields of ImageRequest that the person left open."""


SHIPPED_STYLES: dict[str, Style] = {
    "photo": Style(
        template="{prompt}, photograph, natural light, 50mm lens, sharp focus",
        negative_prompt="drawing, painting, cartoon, blurry, deformed",
    ),
    "painting": Style(
        template="oil painting of {prompt}, visible brush strokes, rich colours",
        negative_prompt="photograph, frame, blurry",
    ),
    "watercolor": Style(
        template="watercolor of {prompt}, soft washes, white paper",
        negative_prompt="photograph, harsh lines, frame",
    ),
    "comic": Style(
        template="{prompt}, comic book panel, bold ink lines, flat colours",
        negative_prompt="photograph, blurry, text, speech bubble",
    ),
    "pixel": Style(
        template="pixel art of {prompt}, 16-bit, limited palette",
        negative_prompt="photograph, blurry, smooth gradients",
    ),
    "icon": Style(
        template="3d icon of {prompt}, glossy, simple shapes, white background",
        negative_prompt="text, clutter, dark background",
    ),
}


class Settings(EngineSettings, BaseSettings):
    """All settings of an installation, engine included."""

    model_config = SettingsConfigDict(
        env_prefix="EASEL_",
        env_nested_delimiter="__",
        toml_file=TOML_FILE,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
    )

    engine: Literal["local", "modal"] = Field(default="local", description="Where pictures are drawn.")
    modal: RentalSettings = Field(default=RentalSettings(), description="The deployment on Modal.")
    monthly_budget: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Dollars for GPUs in a month (UTC); once they are spent, only the cache answers."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least urgent log line."
    )
    log_json: bool = Field(default=False, description="Write log lines as JSON.")
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Port of the Prometheus metrics on 127.0.0.1; off when unset."
    )
    styles: dict[str, Style] = Field(default=SHIPPED_STYLES, description="Named looks for `--style`.")

    daily_pictures: Count = Field(
        default=100, description="Pictures a person may ask for in a day (UTC); 0 is no limit."
    )
    community_pictures: Count = Field(
        default=0, description="Pictures that one community's people may ask for in a day (UTC); 0 is no limit."
    )
    history_days: Count = Field(
        default=0, description="Days after which ended jobs and counts of use are forgotten; 0 keeps them for ever."
    )
    cooldown: Seconds = Field(default=0.0, description="Seconds between a person's commands.")
    running_per_person: Annotated[int, Field(ge=1)] = Field(default=1, description="Jobs of one person drawn at once.")
    waiting_per_person: Annotated[int, Field(ge=1)] = Field(default=5, description="Jobs of one person in the queue.")
    waiting: Annotated[int, Field(ge=1)] = Field(default=1000, description="Jobs in the queue altogether.")
    workers: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Jobs handed to the engine at once; 2 when unset, or on Modal as many as all its GPUs draw.",
    )
    batch_limit: Annotated[int, Field(ge=1, le=20)] = Field(default=10, description="Pictures in one batch.")
    unmarked: bool = Field(default=False, description="Let members ask for pictures without the visible mark.")

    operators: tuple[str, ...] = Field(default=(), description="Operators, as `platform:id`.")

    discord_token: SecretStr | None = Field(default=None, description="Bot token; starts the Discord adapter.")
    discord_public_key: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = Field(
        default=None, description="The app's public key; checks interactions by HTTP, on Modal."
    )
    discord_api: str = Field(default="https://discord.com/api/v10", description="Base address of Discord's API.")
    discord_gateway: str = Field(default="wss://gateway.discord.gg/", description="Address of Discord's gateway.")
    slack_bot_token: SecretStr | None = Field(default=None, description="`xoxb-` token of the Slack app.")
    slack_app_token: SecretStr | None = Field(default=None, description="`xapp-` token; starts Socket Mode.")
    slack_http: bool = Field(default=False, description="Take Slack's events by HTTP instead of Socket Mode.")
    slack_http_host: str = Field(default="127.0.0.1", description="Address that HTTP mode listens on, behind a proxy.")
    slack_http_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=3000, description="Port that HTTP mode listens on."
    )
    slack_signing_secret: SecretStr | None = Field(default=None, description="Checks requests in HTTP mode.")
    slack_client_id: str | None = Field(default=None, description="With its secret: many workspaces may install.")
    slack_client_secret: SecretStr | None = Field(default=None, description="Secret of the Slack app's client id.")
    slack_redirect_uri: str | None = Field(
        default=None, description="Public address of `/slack/oauth_redirect`; needed where the app lists several."
    )
    slack_moderators: tuple[str, ...] = Field(
        default=(), description="Moderators beside a workspace's admins, as `TEAM/USER` ids."
    )
    slack_api: str = Field(default="https://slack.com/api/", description="Base address of Slack's Web API.")
    web_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Port of the web page; off when unset."
    )
    web_host: str = Field(default="127.0.0.1", description="Address that the web page listens on.")
    web_url: Annotated[str, Field(pattern=r"^https?://[^/\s?#]+/?$")] | None = Field(
        default=None,
        description="Where people reach the web page, such as `https://easel.example.org`; set it behind a proxy.",
    )
    web_guests: bool = Field(default=False, description="Let people use the web page without an account.")
    web_guest_pictures: Count = Field(
        default=10, description="Pictures a day that guests may ask for from one address."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (the library passes it by name)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then easel.toml."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def database(self) -> Path:
        """The bot's database."""
        return self.home / "easel.db"

    @property
    def jobs_at_once(self) -> int:
        """Jobs handed to the engine at once."""
        if self.workers is not None:
            return self.workers
        return self.modal.gpu_containers * self.modal.gpu_requests if self.engine == "modal" else WORKERS

    def carried(self) -> dict[str, str]:
        """What was set here, as the environment of another machine; without secrets and this machine's own.

        Secrets reach a machine on Modal as Modal's secrets.
        """
        places = {"home", "toxicity_folder", "c2pa_certificate", "c2pa_key"}
        own = places | {"engine", "device", "precision", "threads", "offload", "metrics_port", "log_json"}
        told = self.model_dump(mode="json", exclude_unset=True, exclude_none=True, exclude=own | _secrets())
        return {f"EASEL_{name.upper()}": _told(value) for name, value in told.items()}


def _secrets() -> set[str]:
    return {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}


def _told(value: object) -> str:
    """A value as it is written in the environment."""
    return value if isinstance(value, str) else json.dumps(value)


def load() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a setting is unknown, unreadable or out of bounds; the sentence names each one.
    """
    if Path(TOML_FILE).is_dir():
        raise SettingsError(
            f"The file {TOML_FILE} can't be read: it is a folder; rename it, or put the settings in it."
        )
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(_problem(problem) for problem in error.errors())
        raise SettingsError(f"These settings can't be used: {problems}.") from error
    except UnreadableError as error:
        raise SettingsError(f"The settings can't be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The file {TOML_FILE} can't be read: it is not a text in UTF-8.") from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"The file {TOML_FILE} can't be read: {error}.") from error


def unknown_variables() -> tuple[str, ...]:
    """Names in the environment that look like settings and are none: typing errors, most likely."""
    prefix = Settings.model_config["env_prefix"]
    known = {f"{prefix}{name}".upper() for name in Settings.model_fields} | FOR_SCRIPTS
    candidates = (name for name in os.environ if name.upper().startswith(prefix))
    return tuple(sorted(name for name in candidates if name.upper().partition("__")[0] not in known))


FORMS: Mapping[str | int, str] = {
    "template": f"it needs {PROMPT_SLOT} where the prompt is to stand",
    "discord_public_key": "it has 64 hexadecimal digits",
    "web_url": "it is http:// or https:// and a host, without a path",
    "hub_url": "it begins with http:// or https://",
    "watermark_color": "it is a colour like #ffffff",
    "gpus": "it is a GPU as Modal names it, such as A10, without a number of them",
}
"""What a setting looks like, by the last name on the way to it."""


def _problem(problem: ErrorDetails) -> str:
    """One setting that is wrong, by its name; what was given is left out where it may be a misspelled secret."""
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name} (there is no such setting)"
    form = next((FORMS[part] for part in reversed(problem["loc"]) if part in FORMS), None)
    wanted = form if form and problem["type"] == "string_pattern_mismatch" else problem["msg"].lower()
    return f"{name} ({wanted}, got {str(problem['input'])[:50]!r})"
