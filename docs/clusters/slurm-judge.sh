#!/usr/bin/env bash
#SBATCH --job-name=stn-judge
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=00:30:00
#SBATCH --output=results/slurm/%j-judge.log
# One verdict from the records of all shares of the array job $ARRAY; cells without records are
# MISSING.
set -euo pipefail
records=("results/shares-$ARRAY"/*/records.jsonl)
IFS=,
exec .venv/bin/pytest benchmarks --from-records "${records[*]}" "$@"
