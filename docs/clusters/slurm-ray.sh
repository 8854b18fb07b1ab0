#!/usr/bin/env bash
#SBATCH --job-name=stn-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=08:00:00
#SBATCH --output=%j-ray.log
# A Ray cluster inside one allocation, for as long as the session takes:
#
#   sbatch docs/clusters/slurm-ray.sh --budget full --data-root ~/data
#
# --exclusive, because at the end Ray ends all of its processes on the nodes, everybody's.
set -euo pipefail
umask 077
token=$HOME/.ray/auth_token
mkdir -p "${token%/*}"
[ -s "$token" ] || openssl rand -hex 32 >"$token"
chmod 600 "$token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token RAY_USAGE_STATS_ENABLED=0
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | cut -d " " -f 1)
exec srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
    .venv/bin/ray symmetric-run --address "$address:6379" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
    .venv/bin/pytest benchmarks --ray auto "$@"
