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
options=()
for option; do # what only a session that trains can do
    case $option in --save-models | --tensorboard) ;; *) options+=("$option") ;; esac
done
IFS=,
exec .venv/bin/pytest benchmarks --from-records "${records[*]}" "${options[@]}"
