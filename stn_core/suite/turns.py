"""The order of tests when runs are computed elsewhere: a test runs when its cell is ready.

pytest goes through its list of tests by index, and notes the next one as a test starts, so a test
that is moved to a later place runs there. Only tests of cells swap places, and only with each
other. The next test always has the parent (module or class) that pytest expects, so that the
parent's fixtures are set up and torn down as usual.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.skipping import evaluate_skip_marks, evaluate_xfail_marks

from stn_core.suite.command_line import CommandLine

if TYPE_CHECKING:
    from stn_core.session.cells import Cell
    from stn_core.suite.context import SessionContext


class Turns:
    """The hooks that submit cells when collection ends, and run tests as their cells get ready.

    Args:
        context: the context of this process.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Submit the first seeds of every cell; nothing stays submitted, however the loop ends.

        If it ends normally, the engine stays open: groups of cells may still need it.
        """
        if not self._context.has_engine:
            return (yield)
        goes_on = not session.testsfailed or session.config.option.continue_on_collection_errors
        try:
            if self._submits and goes_on and session.items:
                self._submit(session.items)
                self._bring_forward(session, 0, session.items[0])
                if self._context.trainer.stopped_by:
                    raise session.Interrupted(self._context.trainer.stopped_by)
            result = yield
        except BaseException:  # Ctrl-C, too
            self._context.close_engine()
            raise
        self._context.engine.cancel()
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        """Release the engine once the session is judged."""
        try:
            return (yield)
        finally:
            self._context.close_engine()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, Any, Any]:
        """Choose the test of a cell that is ready as the next one."""
        result = yield
        session = item.session
        if self._submits and nextitem and not (session.shouldfail or session.shouldstop):
            self._bring_forward(session, session.items.index(nextitem), nextitem)
        if self._context.has_engine and self._context.trainer.stopped_by:
            session.shouldstop = session.shouldstop or self._context.trainer.stopped_by
        return result

    @property
    def _submits(self) -> bool:
        return self._context.has_engine and self._context.engine.is_elsewhere

    def _submit(self, items: list[pytest.Item]) -> None:
        cells = [cell for item in items if (cell := self._cell_of(item)) and _will_run(item)]
        self._context.trainer.submit(cells)

    def _cell_of(self, item: pytest.Item) -> Cell | None:
        return self._context.tests.get(item.nodeid)

    def _bring_forward(self, session: pytest.Session, place: int, expected: pytest.Item) -> None:
        """Wait until a cell is ready, and move its test to a place.

        Args:
            session: has the list of tests.
            place: the index in the list; the tests before it have run.
            expected: the test that pytest expects at that place.
        """
        items, trainer = session.items, self._context.trainer
        if not self._cell_of(expected) or CommandLine(session.config).keeps_order:
            return
        while not trainer.stopped_by:
            ready = [at for at in range(place, len(items)) if self._is_ready(items[at])]
            fitting = [at for at in ready if items[at].parent is expected.parent]
            if fitting:
                _swap(items, place, fitting[0])
                self._choose_parent(items, place)
                return
            trainer.take_one()

    def _choose_parent(self, items: list[pytest.Item], place: int) -> None:
        """Choose the test that pytest is to expect at the next place.

        It is one of a cell that is ready, or else one with the same parent as the test before it.
        """
        following = place + 1
        if following >= len(items) or not self._cell_of(items[following]):
            return
        later = [at for at in range(following, len(items)) if self._cell_of(items[at])]
        ready = [at for at in later if self._is_ready(items[at])]
        same = [at for at in later if items[at].parent is items[place].parent]
        _swap(items, following, [*ready, *same, following][0])

    def _is_ready(self, item: pytest.Item) -> bool:
        cell = self._cell_of(item)
        return cell is not None and self._context.trainer.is_ready(cell)


def _swap(items: list[pytest.Item], one: int, other: int) -> None:
    items[one], items[other] = items[other], items[one]


def _will_run(item: pytest.Item) -> bool:
    """Whether a test will ask for its cell's verdict, as far as is known before it runs."""
    if "train_and_judge" not in getattr(item, "fixturenames", ()):
        return False
    try:  # pytest has no public way to ask
        is_skipped, xfail = bool(evaluate_skip_marks(item)), evaluate_xfail_marks(item)
    except pytest.fail.Exception:  # its condition cannot be evaluated: the test says so
        return False
    return not is_skipped and (xfail is None or xfail.run or item.config.option.runxfail)
