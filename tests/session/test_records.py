"""A record that was appended is there, and complete, even with several writers."""

import dataclasses
import json
import multiprocessing
import signal

import pytest
from filelock import FileLock

from stn_core.errors import UsageError
from stn_core.session.records import RunRecord, append_record, read_records
from tests.examples import environment, record
from tests.platforms import needs_posix_signals


@pytest.mark.parametrize("confusion", [[[3, 1], [0, 2]], None])
def test_a_record_survives_json(confusion):
    mistake = {"index": 4, "label": 0, "predicted": 1, "confidence": 0.75}
    original = record(confusion=confusion, worst_mistakes=[mistake])
    assert RunRecord.from_dict(json.loads(original.to_json())) == original


def test_nan_is_not_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        record(test_cross_entropy=float("nan")).to_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": None},
        {"colour": "red"},
        {"status": "fine"},
        {"environment": {}},
        {"worst_mistakes": [{"index": 4}]},
        {"confusion": [[1, 2], [3]]},
    ],
)
def test_a_record_with_wrong_fields_is_refused(changes):
    values = {**json.loads(record().to_json()), **changes}
    with pytest.raises(UsageError, match="record"):
        RunRecord.from_dict(values)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train_seconds": "x"}, "train_seconds must be a number, not 'x'"),
        ({"train_seconds": -1.0}, "train_seconds must be 0 or more, not -1.0"),
        ({"train_seconds": float("nan")}, "train_seconds is out of range: nan"),
        ({"images_per_second": None}, "images_per_second must be a number, not None"),
        (
            {"peak_memory_mb": 10**400},
            "peak_memory_mb is out of range: a whole number of 401 digits",
        ),
        ({"validation": 5}, "validation must be a list, not 5"),
        ({"validation": [{"epoch": "one"}]}, "each value of validation[0] must be a number"),
        ({"validation": [{"epoch": 1}]}, "validation, epoch 1: accuracy is missing"),
        ({"kept_epoch": 2}, "kept_epoch is 2, but there are 1"),
        ({"kept_epoch": -1}, "kept_epoch must be 0 or more, not -1"),
        ({"model": 5}, "model must be text, not 5"),
        ({"parameters": "many"}, "parameters must be a whole number, not 'many'"),
        ({"parameters": 1.5}, "parameters must be a whole number, not 1.5"),
        ({"is_search": 0}, "is_search must be true or false, not 0"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
        ({"seed": True}, "seed must be a whole number, not True"),
        ({"confusion": [[1, 0.5]]}, "confusion[0][1] must be a whole number, not 0.5"),
        ({"test_accuracy": 97.0}, "test_accuracy must be in [0, 1], not 97.0"),
        ({"test_accuracy": None}, "test_accuracy is missing"),
        ({"test_cross_entropy": None}, "test_cross_entropy is missing"),
        ({"test_images": 0}, "test_images is missing"),
        ({"digest": None}, "digest must be text, not None"),
        ({"digest": ""}, "digest is missing"),
        ({"recipe": {}}, "recipe: epochs must be a whole number, not None"),
        ({"environment": "here"}, "environment must be an object, not 'here'"),
        ({"environment": {}}, "environment.stn_core is missing"),
        ({"colour": "red"}, "'colour' is not a field"),
        ({"environment": {"colour": "red"}}, "'environment.colour' is not a field"),
        ({"test_images": 10**400}, "test_images is out of range: a whole number of 401 digits"),
        ({"test_images": 2**53 + 1}, "test_images is out of range: 9007199254740993"),
        ({"model": "a/b"}, "the model 'a/b' needs a name without a slash"),
        ({"budget": ""}, "the budget '' needs a name of printable characters"),
        ({"model": "x" * 10_000, "seed": "x" * 10_000}, "seed must be a whole number, not 'xxx"),
    ],
)
def test_a_damaged_field_is_named_with_its_file_and_line(tmp_path, changes, complaint):
    path = tmp_path / "records.jsonl"
    values = {**json.loads(record().to_json()), **changes}
    path.write_text(f"{record(7).to_json()}\n{json.dumps(values)}\n")
    records, (line,) = read_records(path)
    assert [r.seed for r in records] == [7]
    assert line.startswith(f"{path}, line 2: not a run record: {complaint}")
    assert len(line) < len(str(path)) + 150


@pytest.mark.parametrize("line", ["5", "[]", '"text"', "null"])
def test_a_line_of_another_kind_is_named(tmp_path, line):
    path = tmp_path / "records.jsonl"
    path.write_text(f"{line}\n")
    value = json.loads(line)
    complaint = f"{path}, line 1: not a run record: expected an object, not {value!r}"
    assert read_records(path) == ([], [complaint])


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda text: "[" * 100_000, "nested too deeply"),
        (
            lambda text: "\ufeff" + text,
            "begins with a byte order mark; save it as UTF-8 without one",
        ),
        (lambda text: text.replace('"seed": 0', '"seed": 0, "seed": 7'), "'seed' appears twice"),
        (
            lambda text: text.replace('"threads": 1', '"threads": 1, "threads": 2'),
            "in environment: 'threads' appears twice",
        ),
        (
            lambda text: text.replace('"version": 1', '"version": true'),
            "not a run record of version 1: its version is True",
        ),
        (
            lambda text: text.replace('"parameters": 27360', '"parameters": ' + "9" * 5000),
            "not a run record: parameters is out of range: inf",
        ),
        (lambda text: text[:-7], "incomplete, skipped"),
        (lambda text: "\x00", "incomplete, skipped"),
    ],
)
def test_a_damaged_line_is_named_and_costs_no_other(tmp_path, edit, complaint):
    path = tmp_path / "records.jsonl"
    damaged = edit(record(0).to_json())
    assert damaged != record(0).to_json()
    path.write_text(f"{damaged}\n{record(7).to_json()}\n", encoding="utf-8")
    records, complaints = read_records(path)
    assert [run.seed for run in records] == [7]
    assert complaints == [f"{path}, line 1: {complaint}"]


def test_text_in_a_record_can_be_printed_and_ends_no_line(tmp_path):
    path = tmp_path / "records.jsonl"
    odd = record(0, None, status="crashed", message="a\u2028b \x1b[2J \udcff ä")
    text = odd.to_json().replace("\\u2028", "\u2028").replace("\\u00e4", "ä")
    assert "\u2028" in text
    path.write_text(f"{text}\n", encoding="utf-8")
    ((found,), complaints) = read_records(path)
    assert complaints == []
    assert found.message == "a\\u2028b \\x1b[2J \\udcff ä"


def test_a_failed_run_and_a_search_need_no_test_accuracy():
    closed = {"test_accuracy": None, "test_cross_entropy": None, "test_images": 0}
    failed = record(status="crashed", digest="", **closed)
    search = record(is_search=True, **closed)
    for original in (failed, search):
        assert RunRecord.from_dict(json.loads(original.to_json())) == original


def _append_many(path, first):
    for seed in range(first, first + 40):
        append_record(path, record(seed))


def test_several_writers_lose_nothing(tmp_path):
    path = tmp_path / "records.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path, n * 40)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    records, complaints = read_records(path)
    assert sorted(r.seed for r in records) == list(range(120))
    assert complaints == []


class LockedAsCtrlCComes(FileLock):
    """Ctrl-C comes as a record is about to be written."""

    def __enter__(self):
        signal.raise_signal(signal.SIGINT)
        return super().__enter__()


@needs_posix_signals
def test_ctrl_c_comes_after_the_record_of_a_finished_run(tmp_path, monkeypatch):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    monkeypatch.setattr("stn_core.session.records.FileLock", LockedAsCtrlCComes)
    with pytest.raises(KeyboardInterrupt):
        append_record(tmp_path / "records.jsonl", record(0))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    (kept,), complaints = read_records(tmp_path / "records.jsonl")
    assert (kept.seed, complaints) == (0, [])


def test_a_torn_line_costs_only_itself(tmp_path):
    path = tmp_path / "records.jsonl"
    append_record(path, record(0))
    with path.open("a") as file:
        file.write(record(1).to_json()[:50])
    append_record(path, record(2))
    records, complaints = read_records(path)
    assert [r.seed for r in records] == [0, 2]
    assert complaints == [f"{path}, line 2: incomplete, skipped"]


def test_no_file_holds_no_records(tmp_path):
    assert read_records(tmp_path / "none.jsonl") == ([], [])


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"commit": "abc", "dirty": True, "stn_core": "0.2.0"}, True),
        ({"torch": "2.12.0"}, False),
        ({"threads": 2}, False),
        ({"instruction_set": "AVX512"}, False),
        ({"device_name": "another"}, False),
        ({"torch_settings": {}}, True),
        ({"torch_settings": {"float32_matmul_precision": "medium"}}, False),
    ],
)
def test_an_environments_key_covers_where_a_run_took_place_and_not_its_code(changes, same):
    assert (environment(**changes).key() == environment().key()) is same


def test_validation_accuracy_is_the_kept_epochs():
    epochs = [{"epoch": e, "train_loss": 1.0, "loss": 1.0, "accuracy": e / 10} for e in (1, 2, 3)]
    assert record(validation=epochs, kept_epoch=2).validation_accuracy == 0.2
    assert record(validation=[], kept_epoch=0).validation_accuracy is None


def test_a_record_without_details_judges_and_tables_the_same(tmp_path):
    epochs = [{"epoch": e, "train_loss": 1.0, "loss": 1.0, "accuracy": e / 10} for e in (1, 2, 3)]
    mistake = {"index": 4, "label": 0, "predicted": 1, "confidence": 0.75}
    many = {"confusion": [[1, 2], [3, 4]], "worst_mistakes": [mistake]}
    path = tmp_path / "records.jsonl"
    for seed in (0, 1):
        append_record(path, record(seed, validation=epochs, kept_epoch=2, **many))
    whole, _ = read_records(path)
    brief, _ = read_records(path, with_details=False)
    assert [run.validation_accuracy for run in brief] == [0.2, 0.2]
    kept = {"confusion": None, "worst_mistakes": [], "validation": [{}, epochs[1], {}]}
    assert brief == [dataclasses.replace(run, **kept) for run in whole]
    assert brief[0].environment is brief[1].environment
    assert brief[0].recipe is brief[1].recipe


def test_the_seconds_of_a_run_are_those_of_training_and_evaluation():
    assert record(train_seconds=3.0, evaluate_seconds=0.5).run_seconds == 3.5
