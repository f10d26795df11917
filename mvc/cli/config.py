"""``mvc config``."""

import os
from pathlib import Path
from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.config import KNOWN, Config, parse_value
from mvc.errors import AnswerIsNo, ConfigError, RepositoryNotFound, UsageError
from mvc.fileio import make_folders, storage_errors, write_durable
from mvc.text import one_line


@command(
    "mvc config user.name 'Ada Lovelace'",
    "mvc config --global user.email ada@example.org",
    "mvc config --list",
    exits=("1 the setting is not set",),
    data="An object with the settings by name; for KEY, only that one.",
)
def config(
    call: Call,
    key: Annotated[str | None, Argument("KEY", "A setting's name, as user.name.")] = None,
    value: Annotated[str | None, Argument("VALUE", "Its new value; without it the value is printed.")] = None,
    list_: Annotated[bool, Option("-l --list", "Print all settings.")] = False,
    unset: Annotated[bool, Option("--unset", "Remove a setting.")] = False,
    global_: Annotated[
        bool, Option("--global", "Your own settings, which hold in every repository.")
    ] = False,
    json: Annotated[bool, Option("--json", "Print what was asked for as a JSON object.")] = False,
) -> None:
    """Read and change settings: the repository's, and behind them your own.

    mvc reads user.name, user.email, color.ui (auto, always or never) and core.pager (only with --global,
    since it names a program), and records less with commit.environment = false and commit.code = false.
    gc.undo-days, gc.trash-days, gc.grace-hours and gc.standalone are described by 'mvc gc --help';
    core.shared (auto, always or never) says whether several machines use the folder, and remote.NAME.url
    where 'mvc repair' finds another copy. transfer.stall-seconds (30) and transfer.retry-seconds (60) say how
    long a bucket is waited for; with transfer.verify = false what a fetch brings is checked by checksums
    only, and not decoded before it is visible. Other settings are kept for the programs that use them.
    """
    if list_ or key is None:
        if key is not None or unset or not list_:
            raise UsageError("config takes a setting's name, or --list", hint="mvc config KEY [VALUE]")
        found = dict(item for settings in reversed(_settings(call, global_)) for item in settings.items())
        _print(call, found, json=json)
    elif unset:
        if value is not None:
            raise UsageError("--unset takes no value", hint=f"mvc config --unset {key}")
        _write(call, global_, _target(call, global_).without(key))
    elif value is not None:
        setting = KNOWN.get(key)
        if setting is not None and setting.personal and not global_:
            raise ConfigError(
                f"{key} counts only in your own settings, since it names a program",
                hint=f"mvc config --global {key} VALUE",
            )
        kind = None if setting is None else setting.type
        _write(
            call,
            global_,
            _target(call, global_).with_value(key, value if kind is str else parse_value(value)),
        )
    else:
        _read(call, key, _settings(call, global_), json=json)


def _settings(call: Call, only_global: bool) -> list[Config]:
    """In the order in which they count."""
    if only_global:
        return [call.global_config()]
    try:
        return call.settings()
    except RepositoryNotFound:
        return [call.global_config()]


def _target(call: Call, is_global: bool) -> Config:
    return call.global_config() if is_global else call.repository.config()


def _read(call: Call, key: str, settings: list[Config], *, json: bool) -> None:
    for config in settings:
        value = config.get(key)
        if value is not None and not isinstance(value, dict):
            if json:
                _print(call, {key: value}, json=True)
            else:
                call.print(_text(value))
            return
    raise AnswerIsNo(f"{key} is not set", hint=f"mvc config {key} VALUE")


def _print(call: Call, values: dict[str, Any], *, json: bool) -> None:
    if json:
        call.data(
            {
                name: value if isinstance(value, bool | int | float) else _text(value)
                for name, value in values.items()
            }
        )
        return
    for name, value in values.items():
        call.print(f"{one_line(name)}={_text(value)}")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else one_line(str(value))


def _write(call: Call, is_global: bool, text: str) -> None:
    if not is_global:
        call.repository.write_config(text)
        return
    path = call.context.global_config
    if path is None:
        raise ConfigError("there is no place for your own settings", hint="set HOME or XDG_CONFIG_HOME")
    path = Path(os.path.realpath(path))  # the file may be a link into somebody's dotfiles
    with storage_errors("cannot write your settings"):
        make_folders(call.io, path.parent)
        write_durable(
            call.io, path.with_name(f".{path.name}.{os.getpid()}"), path, [text.encode()], replace=True
        )
