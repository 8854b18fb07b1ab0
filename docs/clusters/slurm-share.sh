#!/usr/bin/env bash
#SBATCH --job-name=stn-share
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=08:00:00
#SBATCH --output=results/slurm/%A-%a.log
# One share of the cells. To submit a share again, give its number and the same SHARES:
#
#   sbatch --array=3,7 --export=ALL,SHARES=16 docs/clusters/slurm-share.sh --budget full
set -euo pipefail
share="$SLURM_ARRAY_TASK_ID/${SHARES:-$SLURM_ARRAY_TASK_COUNT}"
exec .venv/bin/pytest benchmarks --shard "$share" --no-report \
    --results-dir "results/shares-$SLURM_ARRAY_JOB_ID" "$@"
