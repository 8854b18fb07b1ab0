"""python -m benchmarks.gate_power: print the tables, row by row."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from benchmarks.gate_power.frontier import frontier
from benchmarks.gate_power.tables import false_alarms, leaning, matrix_sizes, power

TABLES: dict[str, Callable[[int], Iterator[str]]] = {
    "false-alarms": false_alarms,
    "power": power,
    "matrix-sizes": matrix_sizes,
    "leaning": leaning,
    "frontier": frontier,
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.gate_power")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    help_text = "how many baselines to draw (default: 200)"
    parser.add_argument("--baselines", type=int, default=200, metavar="N", help=help_text)
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.tables if name not in TABLES]:
        parser.error(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    return given


def main() -> None:
    given = parse_arguments()
    for name in given.tables or TABLES:
        for row in TABLES[name](given.baselines):
            print(row, flush=True)


if __name__ == "__main__":
    main()
