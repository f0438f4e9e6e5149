"""Chooses what the process of one job may do, by the kind of its handler and the pipeline's rules."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from workers.handlers.folder import handlers_folder
from workers.handlers.http.options import HttpOptions
from workers.sandbox.child import jail
from workers.sandbox.child.jail.policy import JailPolicy
from workers.sandbox.messages import JobRequest

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store")
"""Programs and libraries."""
_SETTINGS = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/timezone", "/etc/alternatives",
    "/etc/fonts", "/etc/mime.types", "/etc/magic", "/etc/ImageMagick-6", "/etc/ImageMagick-7", "/etc/OpenCL",
    "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/sys/devices/system", "/sys/fs/cgroup", "/sys/module/nvidia",
)  # fmt: skip
"""What libraries look up. ``/etc/passwd`` holds no passwords."""
_NETWORK_SETTINGS = (
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf",
    "/etc/gai.conf", "/etc/services", "/run/systemd/resolve",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_GRAPHICS = ("/dev/dri", "/dev/kfd", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-caps")
_MOST_GRAPHICS_CARDS = 16
_PREFIXES = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()} - {"/"}
_INSTALLED = tuple(map(Path, sorted(_PREFIXES)))
"""Where the interpreter is, and what is installed in it."""
_CONFIGURATION, _SECRETS = "yurt.toml", ".secrets"
"""A configuration, and the suffix of its secrets: they lie in the handlers' folder unless another is set."""
_STATE = ("postgres", "workers", "up")
"""What is in a control plane's state folder."""
_MOST_ENTRIES = 10_000


def policy_of(request: JobRequest) -> JailPolicy:
    """Return what the job may do: read its input and models, write into its folders, use interpreter and libraries.

    ``photo`` runs no program and opens no socket; ``http`` connects to one port. Others may run what is installed, use
    graphics cards, and do what the pipeline's ``sandbox`` adds.
    """
    least = JailPolicy(
        readable=(*_paths(_SETTINGS), Path("/proc/self"), Path(request.input), *_paths(request.models.values())),
        executable=(*_code(), *_paths(request.imports)),
        listed=_import_folders(),
        writable=(Path(request.output), Path(request.temporary)),
        devices=_paths(_DEVICES),
    )
    match request.kind:
        case "photo":
            return least
        case "http":
            return replace(least, network=True, ports=_port(request))
        case _:
            return _with_rules(least, request)


def policy_of_inference(models: Path, *, graphics: bool) -> JailPolicy:
    """Return what the process that runs models may do: read models and libraries, and use graphics cards if it is to.

    A driver of graphics cards looks around in ``/proc``, and starts programs of its own.
    """
    least = JailPolicy(
        readable=(*_paths(_SETTINGS), Path("/proc/self"), models),
        executable=_code(),
        listed=_import_folders(),
        devices=_paths(_DEVICES),
    )
    if not graphics:
        return least
    proc = Path("/proc")
    return replace(least, readable=(*least.readable, proc), devices=(*least.devices, *_graphics()), programs=True)


def _port(request: JobRequest) -> tuple[int, ...]:
    """The port of the server that the job asks. A handler that is given none fails by itself."""
    port = HttpOptions.model_validate(request.options).port if request.options else 0
    return (port,) if port else ()


def _with_rules(least: JailPolicy, request: JobRequest) -> JailPolicy:
    rules = request.sandbox
    network = _paths(_NETWORK_SETTINGS) if rules.network else ()
    return JailPolicy(
        readable=(*least.readable, *network, *_paths(rules.read), Path("/proc")),
        executable=(*least.executable, *_programs(request)),
        listed=(*least.listed, *_listed_handlers()),
        writable=(*least.writable, *_paths(rules.write)),
        devices=(*least.devices, *_graphics()),
        programs=True,
        network=rules.network,
        ports=tuple(rules.ports) if rules.network else (),
    )


def prepare() -> None:
    """Look up what the jails of all processes share: in the template, once, before it forks them."""
    jail.prepare()
    _code()


@cache
def _code() -> tuple[Path, ...]:
    """The interpreter, what is installed, and the modules of other folders that it imports from."""
    elsewhere = [folder for folder in _import_path() if _holds_installed(folder)]
    modules = (path for folder in _import_folders() for path in _importable(folder))
    return (*_paths(_SYSTEM), *_INSTALLED, *elsewhere, *modules)


@cache
def _import_folders() -> tuple[Path, ...]:
    """Folders of ``sys.path`` that are no part of an installation, such as a checkout."""
    return tuple(folder for folder in _import_path() if not _holds_installed(folder))


def _import_path() -> Iterator[Path]:
    """Folders of ``sys.path`` outside of the interpreter's own."""
    for entry in filter(None, sys.path):
        folder = Path(entry)
        if not any(folder.is_relative_to(installed) for installed in _INSTALLED) and folder.is_dir():
            yield folder


def _holds_installed(folder: Path) -> bool:
    """Whether packages were installed into a folder of its own (``pip install --target``), which may hold anything."""
    return any(folder.glob("*.dist-info"))


def _importable(folder: Path) -> Iterator[Path]:
    """The modules and packages in a folder. What lies beside them, such as a state folder, stays closed."""
    with os.scandir(folder) as entries:
        for _, entry in zip(range(_MOST_ENTRIES), entries, strict=False):
            path = Path(entry.path)
            if path.suffix in {".py", ".so"} or (path / "__init__.py").is_file():
                yield path


def _programs(request: JobRequest) -> Iterator[Path]:
    """What lies in the handlers' folder, and the command's program."""
    if folder := handlers_folder():
        yield from _handlers(folder)
    argv = request.options.get("argv")
    if isinstance(argv, list) and argv and isinstance(argv[0], str) and argv[0].startswith("/"):
        yield Path(argv[0])


def _handlers(folder: Path) -> Iterator[Path]:
    """A folder's entries, but for hidden ones and Yurt's own files and state, which hold secrets."""
    with os.scandir(folder) as entries:
        for _, entry in zip(range(_MOST_ENTRIES), entries, strict=False):
            path = Path(entry.path)
            if not (path.name.startswith(".") or path.name == _CONFIGURATION or _holds_secrets(path)):
                yield path


def _holds_secrets(path: Path) -> bool:
    """Whether it is a file of secrets, or a state folder, which only its owner may enter."""
    try:
        private = path.is_dir() and not path.stat().st_mode & 0o077
        return path.suffix == _SECRETS or (private and any((path / name).is_dir() for name in _STATE))
    except OSError:  # removed meanwhile, or another user's
        return True


def _listed_handlers() -> tuple[Path, ...]:
    folder = handlers_folder()
    return (folder,) if folder else ()


def _graphics() -> tuple[Path, ...]:
    cards = (f"/dev/nvidia{number}" for number in range(_MOST_GRAPHICS_CARDS))
    return _paths((*_GRAPHICS, *cards))


def _paths(names: Iterable[str]) -> tuple[Path, ...]:
    return tuple(map(Path, names))
