"""A run on another machine: it is sent everything it needs, and sends back everything it makes.

The machine needs the package, the modules that ``--import`` names, and the data. If one of them
differs from the session's, the machine is refused: its numbers would come from other code.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from stn_core.engines.base import EngineError, Task
from stn_core.errors import UsageError, user_path
from stn_core.session.user_modules import import_models
from stn_core.training.callbacks.base import Callback
from stn_core.training.devices import trainings_that_fit
from stn_core.training.run_cell import RunResult, cached_dataset, run_seed
from stn_core.training.torch_settings import TorchSettings


class RefusedError(EngineError):
    """A machine lacks something that the session needs."""


@dataclass(frozen=True)
class Code:
    """The code that a result depends on.

    Args:
        stn_core, torch: versions.
        sources: a hash of the package's files.
        imports: hashes of the user's modules, by the name that ``--import`` gives.
    """

    stn_core: str
    torch: str
    sources: str
    imports: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls, imports: Iterable[str] = (), folder: Path | None = None) -> Code:
        """The code of this process, which has imported the user's modules.

        Args:
            imports, folder: as `import_models` takes them.
        """
        package = Path(sys.modules["stn_core"].__file__ or "").parent
        own = {name: _hash(_files_of(name, folder or Path())) for name in imports}
        sources = ((str(file.relative_to(package)), file) for file in package.rglob("*.py"))
        return cls(version("stn-core"), torch.__version__, _hash(sources), own)

    def __str__(self) -> str:
        own = "".join(f", {name} ({code})" for name, code in self.imports.items())
        return f"stn_core {self.stn_core} (sources {self.sources}), torch {self.torch}{own}"


def _files_of(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of an imported module, each with its path within the module."""
    if name.endswith(".py"):
        yield "", folder / user_path(name)
        return
    file = getattr(sys.modules[name], "__file__", None)
    if not file:
        return
    if Path(file).name != "__init__.py":
        yield "", Path(file)
        return
    package = Path(file).parent
    yield from ((str(inner.relative_to(package)), inner) for inner in package.rglob("*.py"))


def _hash(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(files):
        digest.update(f"{name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:8]


@dataclass(frozen=True)
class Surroundings:
    """What the runs of a session need on every machine.

    Args:
        imports: modules or files that register the user's models and datasets.
        folder: where to look for them; "" is the current folder of the process over there.
        code: what every machine must have.
        torch_settings: what every run starts from.
    """

    imports: tuple[str, ...]
    folder: str
    code: Code
    torch_settings: TorchSettings

    @classmethod
    def here(cls, imports: Iterable[str], folder: Path) -> Surroundings:
        """Describe this process, which has imported the user's modules."""
        names = tuple(imports)
        return cls(names, str(folder), Code.here(names, folder), TorchSettings.now())


@dataclass(frozen=True)
class Returned:
    """What a run on another machine sends back.

    Args:
        result: of the run.
        files: what its callbacks wrote, by path below the session's folder.
    """

    result: RunResult
    files: Mapping[str, bytes]


def run_away(
    task: Task, surroundings: Surroundings, node: str, extra: Iterable[Callback] = ()
) -> Returned:
    """Compute a task on this machine, and leave no files behind.

    Args:
        task: its settings name a device of this machine.
        surroundings: the session's.
        node: this machine's name in messages.
        extra: callbacks in addition to the task's.

    Raises:
        RefusedError: this machine lacks what the session has.
    """
    prepare(surroundings.imports, surroundings.folder, str(surroundings.code), node)
    settings = dataclasses.replace(task.settings, download=False)
    try:
        data_hash = cached_dataset(
            task.cell.dataset, settings.data_root, False, settings.image_size
        ).hash
        if task.data_hash and data_hash != task.data_hash:
            raise UsageError(
                f"its {task.cell.dataset} has the hash {data_hash}, the session's {task.data_hash}"
            )
        with tempfile.TemporaryDirectory(prefix="stn-run-") as folder:
            callbacks = [moved(one, task.folder, folder) for one in task.callbacks]
            result = run_seed(
                task.cell, task.seed, settings, [*callbacks, *extra], surroundings.torch_settings
            )
            return Returned(result, dict(_content(Path(folder))))
    except (UsageError, OSError) as error:  # a model's own errors are in its record
        raise RefusedError(f"node {node}: {error}") from None


@functools.cache
def prepare(imports: tuple[str, ...], folder: str, code: str, node: str) -> None:
    """Import the user's modules, once per process, and check that the code is the session's.

    Raises:
        RefusedError: it is not, or cannot be imported.
    """
    place = Path(folder) if folder else Path.cwd()
    try:
        import_models(imports, place)
        here = str(Code.here(imports, place))
    except PackageNotFoundError:
        raise RefusedError(
            f"node {node} has the files of stn_core without its metadata: install it on every node"
        ) from None
    except (UsageError, OSError) as error:
        raise RefusedError(f"node {node}: {error}") from None
    if here != code:
        raise RefusedError(
            f"node {node} has {here}; this session has {code}: install the same on every node"
        )


def inspect_node(
    imports: tuple[str, ...],
    folder: str,
    code: str,
    datasets: Iterable[str],
    data_root: str | None,
    image_size: tuple[int, int] | None,
    node: str,
) -> tuple[str, int]:
    """Check that this machine has what a session needs; loads the data, as its runs will.

    Returns:
        A line that says what is missing, "" if nothing is; and how many runs fit on one of its
        cards at once, 0 if it has no card.
    """
    try:
        prepare(imports, folder, code, node)
        for name in datasets:
            cached_dataset(name, data_root, False, image_size)
    except RefusedError as error:
        return str(error), 0
    except UsageError as error:
        return f"node {node}: {error}", 0
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return "", trainings_that_fit("cuda") // cards if cards else 0


def moved(callback: Callback, start: str, to: str) -> Callback:
    """A copy of a callback that writes below another folder.

    Args:
        callback: plain data; its fields that are paths below `start` change.
        start, to: the folders; an empty `start` moves nothing.
    """
    if not start or not dataclasses.is_dataclass(type(callback)):
        return callback
    plain: Any = callback
    changes = {}
    for entry in dataclasses.fields(plain):
        name, value = entry.name, getattr(callback, entry.name)
        if isinstance(value, str | Path) and Path(value).is_relative_to(start):
            kind: Callable[[Path], str | Path] = str if isinstance(value, str) else Path
            changes[name] = kind(Path(to) / Path(value).relative_to(start))
    copied: Callback = dataclasses.replace(plain, **changes) if changes else callback
    return copied


def _content(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file.read_bytes()
