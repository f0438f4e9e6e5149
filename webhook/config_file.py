"""Reads ``yurt.toml`` and the environment's secrets, and names every fault in them at once."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings.exceptions import SettingsError

from webhook.config import Config, ConfigError, Secrets

ValidateOptions = Callable[[str, Mapping[str, Any]], object]
"""Raises ValueError on an unknown handler or options it does not take."""


def load(path: Path, validate_options: ValidateOptions) -> Config:
    """Read and validate a configuration file. Raises ConfigError with every fault that was found."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}: copy yurt.toml from the project's folder and edit it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    try:
        config = Config(**tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except SettingsError as error:
        raise ConfigError(f"the environment: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{path}:\n{_faults(error)}") from None
    faults = _handler_faults(config, validate_options)
    if faults:
        raise ConfigError(f"{path}:\n" + "\n".join(faults))
    return config


def secrets() -> Secrets:
    """Read the environment. Raises ConfigError; no value is shown."""
    try:
        return Secrets()
    except ValidationError as error:
        raise ConfigError(f"the environment:\n{_faults(error)}") from None


def _faults(error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_input=False, include_url=False):
        field = ".".join(str(part) for part in fault["loc"] if part != "[key]")
        message = fault["msg"].removeprefix("Value error, ")
        lines.append(f"  {field}: {message}" if field else f"  {message}")
    return "\n".join(lines)


def _handler_faults(config: Config, validate_options: ValidateOptions) -> list[str]:
    faults = []
    for name, pipeline in config.pipelines.items():
        try:
            validate_options(pipeline.handler, pipeline.options)
        except ValidationError as error:
            faults.append(f"  pipelines.{name}.options:\n  {_faults(error)}")
        except ValueError as error:
            faults.append(f"  pipelines.{name}.handler: {error}")
    return faults
