"""The answer to ``git bisect run``: a commit is worse, is not worse, or cannot be judged."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import pytest

from stn_core.errors import UsageError, is_missing
from stn_core.gate.judgement import Verdict
from stn_core.suite.command_arguments import ENDS_BISECTION, run_pytest

BAD_COMMIT = "refs/bisect/bad"
"""What git calls the first commit that is known to be bad, while it bisects."""

NOT_WORSE, WORSE, CANNOT_BE_JUDGED = 0, 1, 125
"""The exit statuses that git bisect knows: good, bad, skip."""


class _Watcher:
    """Notes a session's verdicts as it ends, and first whether the command itself is wrong.

    Args:
        revision: of that commit.
    """

    def __init__(self, revision: str) -> None:
        self._revision = revision
        self.is_refused = False
        self.verdicts: list[Verdict] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        """Refuse a commit or a test file that does not exist, whatever is checked out."""
        from stn_core.suite.worktree import find_commit

        try:
            commit = find_commit(config.rootpath, self._revision)
            if missing := _missing_paths(config, [commit, BAD_COMMIT]):
                raise UsageError(
                    f"--against {self._revision}: there is no file or folder {missing[0]}, neither"
                    " here nor in the good or the bad commit"
                )
        except UsageError as error:
            self.is_refused = True
            raise pytest.UsageError(str(error).replace("--against", "stn bisect", 1)) from None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Note the verdicts, once the session is judged."""
        if "stn_core.suite.context" in sys.modules:
            from stn_core.suite.process_context import context_of

            self.verdicts = context_of(session.config).reporting.verdicts


def _missing_paths(config: pytest.Config, commits: Sequence[str]) -> list[str]:
    """The paths of tests that are neither here nor in any of these commits.

    A commit that merely lacks a file is skipped: the tests may be newer than it is.
    """
    from stn_core.suite.worktree import is_in_commit

    if config.option.pyargs:  # they are names of modules
        return []
    folder = config.invocation_params.dir
    paths = (argument.partition("::")[0] for argument in config.option.file_or_dir)
    return [
        path
        for path in paths
        if is_missing(folder / path)
        and not any(is_in_commit(folder, commit, path) for commit in commits)
    ]


def bisect(revision: str, arguments: Sequence[str]) -> int:
    """Run a session that compares the current code with a commit, and return git's answer.

    Args:
        revision: a commit that is known to be good.
        arguments: further ones for pytest.

    Returns:
        WORSE if a cell or a group of cells regressed, or a cell diverged that did not diverge at
        the other commit; NOT_WORSE if the session passed and judged something; ENDS_BISECTION if
        there is no such commit, or no such test file in any commit; otherwise CANNOT_BE_JUDGED.
    """
    watcher = _Watcher(revision)
    options = ["-p", "stn_core.suite.plugin", f"--stn-against={revision}", "--stn-no-report"]
    try:
        status = run_pytest([*options, *arguments], [watcher])
    except Exception:  # a traceback's exit status is 1, which git would read as worse
        traceback.print_exc()
        return CANNOT_BE_JUDGED
    if watcher.is_refused:
        return ENDS_BISECTION
    if {Verdict.REGRESSED, Verdict.DIVERGED} & set(watcher.verdicts):
        return WORSE
    judged = set(watcher.verdicts) & {Verdict.PASS, Verdict.IDENTICAL, Verdict.IMPROVED}
    return NOT_WORSE if judged and status == pytest.ExitCode.OK else CANNOT_BE_JUDGED
