"""Profiles: the settings of another system, by name, so that no address or password stands in a notebook."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from teknav_ops.errors import InvalidRequest
from teknav_ops.settings import Settings, get_settings

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PREFIX: Final = "teknav_"


class _ProfileSettings(Settings):
    """Settings that come from a file alone: half of one system and half of another would be worse than none."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what was read from the file."""
        return (init_settings,)


def settings_of(profile: str | None) -> Settings:
    """The environment's settings, or those in `<data dir>/profiles/<profile>.toml`; TEKNAV_PROFILE where none is named.

    Raises:
        InvalidRequest: the name is an address, there is no such file, or it cannot be used.
    """
    here = _from_a_folder_above(get_settings())
    profile = profile or here.profile
    if not profile:
        return here
    if not isinstance(profile, str) or not _NAME.fullmatch(profile):
        # The value is not repeated: it may be an address with a password.
        raise InvalidRequest("profile: must be a name such as `staging`, not an address; see docs/notebooks/index.md")
    path = here.data_dir / "profiles" / f"{profile}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.toml"))) or "none"
        raise InvalidRequest(f"profile: there is no {path}; profiles here: {known}")
    values = _read(path)
    _require_whole(path, values)
    return _ProfileSettings(**{"data_dir": here.data_dir, "operator": here.operator, **values}).model_copy(
        update={"report_run": here.report_run, "report_allow_replay": here.report_allow_replay}
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"profile: {path} is not TOML: {error}") from None
    values = {name.lower().removeprefix(_PREFIX): value for name, value in stored.items()}
    unknown = sorted(values.keys() - Settings.model_fields.keys())
    if unknown:
        raise InvalidRequest(f"profile: {path} sets {unknown[0]!r}, which is no setting; docs/settings.md lists them")
    return values


def _require_whole(path: Path, values: dict[str, Any]) -> None:
    if "data_dir" not in values and not {"redis_url", "database_url"} <= values.keys():
        raise InvalidRequest(
            f"profile: {path} must set data_dir, or both redis_url and database_url: "
            "the rest would be of another system"
        )


def _from_a_folder_above(settings: Settings) -> Settings:
    """A notebook runs in its own folder; a relative data folder stands beside that one."""
    if settings.data_dir.is_absolute() or settings.data_dir.exists():
        return settings
    above = next((folder for folder in Path.cwd().parents if (folder / settings.data_dir).is_dir()), None)
    return settings if above is None else settings.model_copy(update={"data_dir": above / settings.data_dir})
