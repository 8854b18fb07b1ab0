"""False alarms and detected drops of several gates: the tables of docs/statistics.md.

    python -m benchmarks.gate_power [false-alarms] [power] [matrix-sizes] [leaning] [frontier]

from the repository's root; without a name, all of them (about 5 minutes of CPU). This gate is
simulated with the functions that judge (tests/gate/simulation), other gates by their published
rules, all on the same draws from tests/gate/pool.json.gz.
"""
