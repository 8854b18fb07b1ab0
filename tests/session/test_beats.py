"""A process reports its progress, others read it, and damaged files are skipped."""

from stn_core.session.beats import Beat, discard_beats, end_beat, read_beats, write_beat
from stn_core.session.records import RecordsFollower, append_record
from tests.examples import record


def test_the_last_beat_of_each_process_is_read(tmp_path, monkeypatch):
    folder = tmp_path / "running"
    beats = [Beat("smoke/digits/cnn", seed, epoch, 10) for seed in (0, 1) for epoch in (1, 2)]
    for beat in beats:
        monkeypatch.setattr("os.getpid", lambda seed=beat.seed: 100 + seed)
        write_beat(folder, beat)
    (folder / "102.json").write_text('{"key": "torn')
    (folder / "103.json").write_text('{"another": "format"}')
    assert read_beats(folder) == [beats[1], beats[3]]
    end_beat(folder)
    assert read_beats(folder) == [beats[1]]
    discard_beats(folder)
    assert not folder.exists()
    assert read_beats(folder) == []


def test_a_follower_reads_each_record_once_and_only_whole_ones(tmp_path):
    path = tmp_path / "records.jsonl"
    append_record(path, record(0))
    follower, from_the_start = RecordsFollower(path), RecordsFollower(tmp_path / "later.jsonl")
    assert follower.new() == []
    append_record(path, record(1))
    line = record(2).to_json().encode()
    with path.open("ab") as file:
        file.write(b"torn\n" + line[:100])
    assert [run.seed for run in follower.new()] == [1]
    with path.open("ab") as file:
        file.write(line[100:] + b"\n")
    assert [run.seed for run in follower.new()] == [2]
    assert follower.new() == []
    assert from_the_start.new() == []
    append_record(tmp_path / "later.jsonl", record(3))
    assert [run.seed for run in from_the_start.new()] == [3]
