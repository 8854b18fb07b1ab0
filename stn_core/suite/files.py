"""The names of what a session leaves in its results folder."""

PLAN_FILE = "session.json"
RECORDS_FILE = "records.jsonl"
CHECKPOINTS_FOLDER = "checkpoints"
EMPTY_SHARD_FILE = "shard.empty"
