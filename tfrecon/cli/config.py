"""`train --config FILE`: the options of a run in a JSON or YAML file, with a version, checked like words on the command line.

    {"version": 1, "data": "volumes", "out": "run", "model": "unet_gan", "epochs": 20, "set": {"width": 32}}

Keys are the long options, with - or _; flags are true or false; `set` holds the model's own options; null is the default. What is
on the command line beside --config counts more. Every run leaves such a file, config.json, that repeats it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError, did_you_mean, shown
from .batch_size import AUTO

VERSION = 1
_LIMIT = 2**20
_NOT_KEPT = ("config", "resume", "overwrite", "dry_run", "json", "debug", "help")


def expanded(argv: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """The words of a `train` command, --config replaced by what its file says, in front of the others.

    Raises:
        UsageError: the file is missing, no such file, of another version, or a key or value in it is wrong.
    """
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--config", action="append")
    command, words = list(argv[:1]), list(argv[1:])
    cut = words.index("--") if "--" in words else len(words)
    try:
        known, rest = own.parse_known_args(words[:cut])
    except SystemExit:
        return list(argv)  # --config without a file: the command's own parser says it in its words
    if known.config is None:
        return list(argv)
    if len(known.config) > 1:
        raise UsageError(f"--config is given {len(known.config)} times; write what the files say into one.")
    (path,) = known.config
    return [*command, *_words(read_config(path), parser, path), *rest, *words[cut:]]


def read_config(path: str) -> dict[str, Any]:
    """The mapping in a JSON or YAML file; UsageError for anything else."""
    where = shown(path)
    try:
        if not Path(path).is_file():  # a device or a pipe has no end
            raise UsageError(f"{where} {'is no regular file' if Path(path).exists() else 'does not exist'}; expected a config.")
        with open(path, "rb") as file:
            content = file.read(_LIMIT + 1)
        if len(content) > _LIMIT:
            raise UsageError(f"{where} is too large for a config (limit {_LIMIT} bytes).")
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: cannot be read as a config ({error}).") from error
    found = _yaml(text, where) if Path(path).suffix in (".yaml", ".yml") else _json(text, where)
    if not isinstance(found, dict):
        raise UsageError(f"{where}: expected a mapping of options, received {type(found).__name__}.")
    version = found.pop("version", None)
    if type(version) is not int or version != VERSION:  # True and 1.0 are equal to 1
        raise UsageError(f'{where}: expected "version": {VERSION}, the only one there is; add it, or take the file of a newer '
                         "tfrecon to that one.")
    return found


def _json(text: str, where: str) -> Any:
    def refuse(word: str) -> None:
        raise UsageError(f"{where}: {word} is no value an option can have.")

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=lambda pairs: _once(pairs, where))
    except UsageError:
        raise
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError
        raise UsageError(f"{where}: is no JSON ({error}).") from error


def _yaml(text: str, where: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise UsageError(f"{where}: YAML needs the package pyyaml (pip install pyyaml), or write the config as JSON.") from error

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key for key, _ in node.value if not key.tag.endswith(":merge")]  # << brings others in
            pairs = [(self.construct_object(key, True), None) for key in keys]
            _once([(str(key), value) for key, value in pairs], where)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)  # noqa: S506 a safe loader that refuses keys said twice
    except UsageError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{where}: is no YAML ({' '.join(str(error).split())}).") from error


def _once(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """The pairs as a mapping; UsageError for a key that stands there twice, were it in both spellings."""
    keys = [key.replace("-", "_") for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise UsageError(f"{where}: {next(k for k in keys if keys.count(k) > 1)} stands there twice.")
    return dict(pairs)


def _words(config: Mapping[str, Any], parser: argparse.ArgumentParser, path: str) -> list[str]:
    options = _options(parser)
    words: list[str] = []
    for key, value in config.items():
        name = str(key).replace("-", "_")
        if name in _NOT_KEPT:
            raise UsageError(f"{shown(path)}: {name} is said on the command line alone; leave it out of the file.")
        if name not in options:
            raise UsageError(f"{shown(path)}: {shown(str(key))} is no option of `tfrecon train`{did_you_mean(name, options)}")
        words += _word(options[name], name, value, path) if value is not None else []
    return words


def _options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options a config can hold, by the name they have there."""
    return {action.dest: action for action in parser._actions if action.option_strings and action.dest not in _NOT_KEPT}


def _word(action: argparse.Action, name: str, value: Any, path: str) -> list[str]:
    """What would stand on the command line; its check is the command line's own."""
    option = next(word for word in action.option_strings if word.startswith("--"))
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise UsageError(f"{shown(path)}: {name} is true or false, received {value!r}.")
        return [option] if value else []
    if name == "set":
        if not isinstance(value, dict):
            raise UsageError(f"{shown(path)}: set holds the model's own options by name, received {value!r}.")
        return [f"{option}={key}={json.dumps(each)}" for key, each in value.items()]
    values = value if isinstance(value, list) and isinstance(action.nargs, int) else [value]
    kinds, what = _kinds(action)
    if any(not isinstance(v, kinds) or isinstance(v, bool) or (isinstance(v, float) and not math.isfinite(v)) for v in values):
        raise UsageError(f"{shown(path)}: {name} takes {what}, received {value!r}.")
    return [option, *map(str, values)] if isinstance(action.nargs, int) else [f"{option}={values[0]}"]


def _kinds(action: argparse.Action) -> tuple[tuple[type, ...], str]:
    """The types an option's value has in a config, and their name: what its own check makes of a number tells."""
    if action.choices or not _reads_as(action, "1", (int, float)):
        return (str,), "a text"
    text = isinstance(action.default, str) or _reads_as(action, AUTO, str)
    return ((int, float, str), "a number or a text") if text else ((int, float), "a number")


def _reads_as(action: argparse.Action, text: str, kinds: Any) -> bool:
    try:
        return action.type is not None and isinstance(action.type(text), kinds)
    except (argparse.ArgumentTypeError, ValueError):
        return False


def config_of(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The config that repeats a run: every option that is not at its default, and where the data are."""
    found: dict[str, Any] = {"version": VERSION}
    for name, action in _options(parser).items():
        value = getattr(arguments, name, action.default)  # the demo gives fewer
        if name == "set":
            value = dict(value)
        if action.required or value not in (action.default, {}):
            found[name] = value
    return found
