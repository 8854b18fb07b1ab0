"""How often gates fail without a cause, and what they find: the tables of docs/statistics.md.

    python -m benchmarks.gate_power [false-alarms] [power] [leaning] [frontier]

from the repository's root; without a name, all of them (about 5 minutes of CPU). This gate is
played by the functions that judge (tests/gate/simulation), the gates that others use by their rules
as these are published, on the same draws from tests/gate/pool.json.gz.
"""
