"""Every model on every dataset, judged against its stored baseline."""

import pytest


def test_accuracy(cell, train_and_judge):
    judgement = train_and_judge(cell)
    if not judgement.verdict.passes:
        pytest.fail(judgement.line, pytrace=False)
