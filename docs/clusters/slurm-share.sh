#!/usr/bin/env bash
#SBATCH --job-name=stn-share
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=08:00:00
#SBATCH --output=results/slurm/%A-%a.log
# One share of the cells. To submit shares again, give their numbers, the same SHARES, and as ARRAY
# the number of the first job; then judge again:
#
#   sbatch --array=3,7 --export=ALL,SHARES=16,ARRAY=123 docs/clusters/slurm-share.sh --budget full
#   sbatch --export=ALL,ARRAY=123 docs/clusters/slurm-judge.sh --budget full
set -euo pipefail
share="$SLURM_ARRAY_TASK_ID/${SHARES:-$SLURM_ARRAY_TASK_COUNT}"
exec .venv/bin/pytest benchmarks --shard "$share" --no-report \
    --results-dir "results/shares-${ARRAY:-$SLURM_ARRAY_JOB_ID}" "$@"
