"""The contract between a notebook template and the batch: which parameters it takes, and which file it is."""

from __future__ import annotations

import ast
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import usagekit
from usagekit.engine.files import publish_text
from usagekit.errors import RenderError, did_you_mean
from usagekit.values import is_unicode

TRUSTED: Final = "trusted.sha256"
"""Beside templates: which of them were checked."""

Scalar = str | int | float | bool | None
"""What a parameter may be: papermill writes it into the notebook, so it must survive JSON."""


@dataclass(frozen=True, slots=True)
class Template:
    """A notebook template as it was read: later changes of its file change nothing.

    ``parameters`` maps the names in its cell tagged ``parameters`` to whether they must be given, because
    the cell gives no default. ``sha256`` is that of the file's bytes.
    """

    name: str
    path: Path
    source: str
    sha256: str
    parameters: Mapping[str, bool]


def template_directories(directory: Path | None = None) -> tuple[Path, ...]:
    """Where templates are looked for, in order: ``directory`` alone, or ./notebooks and the repository's."""
    if directory is not None:
        return (directory.absolute(),)
    beside_package = Path(usagekit.__file__).absolute().parent.parent / "notebooks"
    return tuple(dict.fromkeys((Path("notebooks").absolute(), beside_package)))


def load_template(name: str | Path, *, directory: Path | None = None) -> Template:
    """Read a template by name (``team_month``) or by path (``somewhere/mine.ipynb``).

    Raises
    ------
    RenderError : there is no such template, or the file is not a notebook with a readable parameters cell.
    """
    path = _find(name, directory)
    try:
        content = path.read_bytes()
        source = content.decode()
        cells = json.loads(source)["cells"]
        parameters = dict(_read_parameters(cells))
    except OSError as error:
        raise RenderError(f"template {path}: {error.strerror}", template=path.stem) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RenderError(
            f"template {path} is not a Jupyter notebook: {error}", template=path.stem
        ) from error
    except SyntaxError as error:
        raise RenderError(
            f"template {path}: the parameters cell must be plain Python: {error.msg}", template=path.stem
        ) from error
    return Template(path.stem, path, source, hashlib.sha256(content).hexdigest(), parameters)


def require_trusted(template: Template) -> None:
    """Refuse a template that nobody has checked, or that was changed since: a notebook runs as its author wishes.

    ``trusted.sha256`` beside a template lists those that were checked, in the form of sha256sum;
    ``usagekit template check`` writes it.

    Raises
    ------
    RenderError : the template is not in it, or not with these bytes.
    """
    known = _trusted(template.path.parent / TRUSTED)
    if known.get(template.path.name) != template.sha256:
        what = "was changed since it was checked" if template.path.name in known else "was never checked"
        raise _refused(template, f"{what}: read it, then usagekit template check {template.path}")


def trust(template: Template) -> None:
    """Record a template as checked, with the bytes that were read."""
    path = template.path.parent / TRUSTED
    known = _trusted(path) | {template.path.name: template.sha256}
    publish_text(path, "".join(f"{digest}  {name}\n" for name, digest in sorted(known.items())))


def _trusted(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise RenderError(f"{path} cannot be read: {error}") from error
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def validate(template: Template, parameters: Mapping[str, object]) -> None:
    """Check parameters against the template before anything runs; papermill itself only logs a misspelt name.

    Raises
    ------
    RenderError : a name is unknown to the template or missing, or a value is not a plain finite scalar.
    """
    known = template.parameters
    listed = f" Its parameters: {', '.join(known) or '(none)'}"
    for name, value in parameters.items():
        if name not in known:
            raise _refused(template, f"has no parameter {name!r}{did_you_mean(name, known)}.{listed}")
        if not isinstance(value, str | int | float | None):
            kind = type(value).__name__
            raise _refused(template, f"{name} must be text, a number, true, false or nothing, not {kind}")
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(template, f"{name}={value} is not a finite number")
        if isinstance(value, str) and not is_unicode(value):
            raise _refused(template, f"{name}={value!a} is not valid Unicode text")
    if missing := [name for name, required in known.items() if required and name not in parameters]:
        raise _refused(template, f"needs a value for {', '.join(missing)}.{listed}")


def _refused(template: Template, reason: str) -> RenderError:
    return RenderError(f"template {template.name}: {reason}", template=template.name)


def _find(name: str | Path, directory: Path | None) -> Path:
    if isinstance(name, Path) or name.endswith(".ipynb") or "/" in name:
        return Path(name).absolute()
    directories = template_directories(directory)
    for folder in directories:
        if (path := folder / f"{name}.ipynb").is_file():
            return path
    known = sorted({path.stem for folder in directories for path in folder.glob("*.ipynb")})
    raise RenderError(
        f"no template {name!r} in {' or '.join(map(str, directories))}{did_you_mean(name, known)}. "
        f"Known: {', '.join(known) or '(none)'}",
        template=name,
    )


def _read_parameters(cells: list[dict[str, object]]) -> Iterator[tuple[str, bool]]:
    """Names assigned in the parameters cell; ``name: str`` without a value is one that must be given."""
    for cell in cells:
        metadata = cell["metadata"]
        if not isinstance(metadata, dict) or "parameters" not in metadata.get("tags", ()):
            continue
        source = cell["source"]
        for statement in ast.parse(source if isinstance(source, str) else "".join(source)).body:  # type: ignore[arg-type]
            if isinstance(statement, ast.Assign):
                yield from ((t.id, False) for t in statement.targets if isinstance(t, ast.Name))
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                yield statement.target.id, statement.value is None
        return
