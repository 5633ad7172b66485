"""Remarks on devices (maintenance, dedicated to a team) from a YAML file of the lab."""

from __future__ import annotations

from pathlib import Path

import yaml

from usagekit.errors import SettingsError

_LONGEST = 200


def read_notes(path: Path) -> dict[str, str]:
    """Read ``device address: remark`` lines; also a device id alone, for every host it was on.

    Raises
    ------
    SettingsError : the file cannot be read, or is not a plain list of names and remarks; says the line.
    """
    try:
        text = path.read_text("utf-8")
        # Tags and references have no place in a list of remarks; refused before anything is made of them.
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
                mark = event.start_mark
                line = f", line {mark.line + 1}" if mark else ""
                raise SettingsError(f"device_notes {path}{line}: references and tags are not allowed")
        notes = yaml.safe_load(text) or {}
    except OSError as error:
        raise SettingsError(f"device_notes {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"device_notes {path} is not UTF-8 text") from None
    except (yaml.YAMLError, RecursionError) as error:
        at = getattr(error, "problem_mark", None)
        where = f", line {at.line + 1}" if at else ""
        problem = getattr(error, "problem", None) or "nested too deeply"
        raise SettingsError(f"device_notes {path}{where}: {problem}") from None
    if not isinstance(notes, dict):
        raise SettingsError(f"device_notes {path} must hold lines of the form  device_id@hostname: remark")
    for device, note in notes.items():
        if not isinstance(device, str) or not isinstance(note, str) or len(note) > _LONGEST:
            raise SettingsError(
                f"device_notes {path}: {device!r} must be a device address in quotes, with a remark in quotes of "
                f"at most {_LONGEST} characters"
            )
    return notes
