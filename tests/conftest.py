"""One thread a process, warnings as errors, and nothing left of the test before."""

import gc
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.pristine import clear_caches, registries, torch_settings

_HERE = Path(__file__).parent

# Before anything imports torch, and for the processes that tests start. As a cell trains: two
# workers fill two cores, and with more threads the small tensors of these tests wait for one
# another, which cost 112 s of CPU time where the work is 1.6 s (2026-11).
os.environ["OMP_NUM_THREADS"] = "1"

# Time per example says nothing on a shared machine.
settings.register_profile("stn_core", deadline=None)
settings.load_profile("stn_core")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Hide what the imports and the tests' own code made from the garbage collector.

    That is a million objects, which stay until the end. Looking through them took half a second
    after each training (n = 20, 2026-11), longer than most trainings here. What a test makes is
    collected as ever.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure():
    gc.unfreeze()  # else libraries report at exit that their objects were never freed


def pytest_collection_modifyitems(items):
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error"))
            # torch's compiler says so of Python 3.13.0; marks that come later win.
            item.add_marker(pytest.mark.filterwarnings("ignore:Guards may run slower"))


@pytest.fixture(autouse=True)
def pristine(request):
    """What a test finds does not depend on the tests before it; what it changes goes with it.

    Registries, caches, the environment, the folder, sys.path, signal handlers, torch's settings
    and its generator. What a fixture of a module or a session set up stays as long as that does.
    """
    is_patched = "monkeypatch" in request.fixturenames  # then what is kept may be of the patch
    clear_caches(with_datasets=is_patched)
    torch = sys.modules.get("torch")
    if torch:
        torch.manual_seed(0)
    before = torch_settings()
    environment, folder, path = dict(os.environ), Path.cwd(), list(sys.path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    entries = [(registry, dict(registry._entries)) for registry in registries()]
    yield
    for registry, kept in entries:
        registry._entries = kept
    for number, handler in handlers.items():
        signal.signal(number, handler)
    if dict(os.environ) != environment:
        os.environ.clear()
        os.environ.update(environment)
    os.chdir(folder)
    sys.path[:] = path
    for restore, value in before:
        restore(value)
    clear_caches(with_datasets=is_patched)


@pytest.fixture
def pictures_left_out(monkeypatch):
    """A page's figures are made and not drawn, which takes most of the time of a page."""
    from matplotlib.figure import Figure

    from stn_core.report import figures
    from stn_core.report.svg import to_svg

    empty = to_svg(Figure(figsize=(1, 1)), "empty")
    monkeypatch.setattr(figures, "to_svg", lambda figure, name: empty)
