"""Reads ``yurt.toml`` and the environment, and names every fault in them at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_settings.exceptions import SettingsError

from webhook.config import Config, Definitions
from webhook.config_faults import ConfigError, in_words

OptionsModel = Callable[[str], type[BaseModel]]
"""Returns the model of a handler's options. Raises ValueError on an unknown handler."""


def load(path: Path, options_model: OptionsModel) -> Config:
    """Read and validate a configuration file. Raises ConfigError with every fault that was found."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}: `yurt init` writes one, or name another with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    try:
        config = Config(**tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except SettingsError as error:
        raise ConfigError(f"the environment: {_section_variable(error)} has to hold a table as JSON") from None
    except ValidationError as error:
        raise ConfigError(f"{path}:\n{in_words(error, Config)}") from None
    if faults := [*handler_faults(config, options_model)]:
        raise ConfigError(f"{path}:\n" + "\n".join(faults))
    # Whatever the current directory is when a worker starts.
    handlers = (path.parent / config.server.handlers).absolute()
    if not handlers.is_dir():
        raise ConfigError(f"{path}:\n  server.handlers: there is no folder {handlers}")
    return config.model_copy(update={"server": config.server.model_copy(update={"handlers": str(handlers)})})


def _section_variable(error: SettingsError) -> str:
    """The variable of a whole section that could not be read. Of the error only the field's name is shown."""
    named = re.search(r'field "(\w+)"', str(error))
    return f"YURT_{named[1]}".upper() if named else "a YURT_ variable"


def handler_faults(definitions: Definitions, options_model: OptionsModel) -> Iterator[str]:
    """Name what is wrong with handlers and their options, a line each."""
    for name, pipeline in definitions.pipelines.items():
        try:
            model = options_model(pipeline.handler)
        except ValueError as error:
            yield f"  pipelines.{name}.handler: {error}"
            continue
        try:
            options = model.model_validate(dict(pipeline.options))
        except ValidationError as error:
            yield in_words(error, model, f"pipelines.{name}.options")
            continue
        for setting, used in _used_models(options):
            for model_name in used:
                if model_name not in pipeline.models:
                    remedy = f"{model_name!r} is none of the pipeline's models: add it to models"
                    yield f"  pipelines.{name}.options.{setting}: {remedy}"


def _used_models(options: BaseModel) -> Iterator[tuple[str, Iterable[str]]]:
    """Options of a handler in which models stand, and their names: of the photo handler and the http handler."""
    yield "checks", getattr(options, "checks", ())
    if placed := getattr(options, "placed_models", None):
        for setting, names in placed().items():
            yield setting, sorted(names)
