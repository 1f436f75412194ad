"""How settings are read from the environment. A part of `settings.Settings`."""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource


class SetVariables(EnvSettingsSource):
    """The variables that are set. pydantic-settings' own source looks at the type of every field, each time anew."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The variable of a field as it is; None where it is not set."""
        if f"{self.env_prefix}{field_name}".lower() in self.env_vars:
            return super().get_field_value(field, field_name)
        return None, field_name, True

    def prepare_field_value(self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool) -> Any:
        """The value that the field is validated with."""
        return None if value is None else super().prepare_field_value(field_name, field, value, value_is_complex)


class EnvironmentSettings(BaseSettings):
    """Settings that the caller names or the environment holds: no file is read."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the caller names, then the environment."""
        return init_settings, SetVariables(settings_cls)
