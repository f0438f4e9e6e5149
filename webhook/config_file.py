"""Reads ``yurt.toml``, ``yurt.secrets`` and the environment, and names every fault in them at once."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_settings.exceptions import SettingsError

from webhook.config import Config, ConfigError, Definitions
from webhook.config_faults import in_words
from webhook.secret_settings import Secrets

OptionsModel = Callable[[str], type[BaseModel]]
"""Returns the model of a handler's options. Raises ValueError on an unknown handler."""
_LEAST_CHARACTERS = 16
"""Of a secret that Yurt checks. Random hexadecimal digits of that number are 64 bits."""
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


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


def secrets_file(config_path: Path) -> Path:
    """The file of secrets beside a configuration: ``yurt.secrets`` beside ``yurt.toml``.

    ``YURT_SECRETS_FILE`` names another.
    """
    return Path(os.environ.get("YURT_SECRETS_FILE") or config_path.with_suffix(".secrets"))


def secrets(config_path: Path) -> Secrets:
    """Read the file of secrets, where there is one, and the environment, which wins.

    Raises ConfigError; no value is shown.
    """
    path = secrets_file(config_path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if os.environ.get("YURT_SECRETS_FILE"):
            raise ConfigError(f"YURT_SECRETS_FILE names {path}, which does not exist") from None
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {reason_of_file(error)}") from None
    if faults := [*_secrets_faults(text)]:
        raise ConfigError(f"{path}:\n" + "\n".join(faults))
    where = f"the environment or {path}" if text else "the environment"
    try:
        read = Secrets(_env_file=path if text else None)
    except ValidationError as error:
        raise ConfigError(f"{where}:\n{in_words(error, Secrets, name=str.upper)}") from None
    if faults := [*_short_secrets(read)]:
        raise ConfigError(f"{where}:\n" + "\n".join(faults))
    return read


def _short_secrets(read: Secrets) -> Iterator[str]:
    """Name each secret that could be guessed. Of ``user:password`` the password alone is one."""
    of_webhooks = [secret.partition(":")[2] or secret for secret in read.webhook_secrets]
    for name, values in (
        ("YURT_WEBHOOK_SECRETS", of_webhooks),
        ("YURT_ADMIN_TOKEN", [read.yurt_admin_token.get_secret_value()]),
        ("YURT_VIEWER_TOKEN", [read.yurt_viewer_token.get_secret_value()]),
    ):
        if any(len(value) < _LEAST_CHARACTERS for value in values if value or name == "YURT_WEBHOOK_SECRETS"):
            yield (
                f"  {name}: a secret of fewer than {_LEAST_CHARACTERS} characters can be guessed: "
                "take what `openssl rand -hex 32` prints"
            )


def reason_of_file(error: OSError | UnicodeDecodeError) -> str:
    """Why a file cannot be read, without its content."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is not UTF-8"


def _secrets_faults(text: str) -> Iterator[str]:
    """Name each line of a file of secrets that would be ignored. Shows names, never values."""
    known = [*(name.upper() for name in Secrets.model_fields), "AWS_ENDPOINT_URL"]
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip().removeprefix("export ").lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, _ = stripped.partition("=")
        if not equals or not _VARIABLE.fullmatch(name.strip()):
            yield f"  line {number}: has to be of the form NAME=value"
        elif name.strip() not in known:
            similar = difflib.get_close_matches(name.strip(), known, n=1)
            hint = f"did you mean {similar[0]}?" if similar else f"there are: {', '.join(known)}"
            yield f"  line {number}: {name.strip()} is no secret of Yurt: {hint}"


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
        for check in getattr(options, "checks", ()):
            if check not in pipeline.models:
                yield f"  pipelines.{name}.options.checks: {check!r} is none of the pipeline's models: add it to models"
