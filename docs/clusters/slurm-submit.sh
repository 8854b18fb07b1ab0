#!/usr/bin/env bash
# A session on Slurm without Ray: an array of shares, and one job that judges all their records.
#
#   docs/clusters/slurm-submit.sh 16 --budget full --data-root ~/data
#
# The first argument is the number of shares; the rest goes to pytest. Run it in the checkout, which
# every node must see.
set -euo pipefail
here=$(dirname "$0")
shares=$1
shift
mkdir -p results/slurm
array=$(sbatch --parsable --array="1-$shares" --export="ALL,SHARES=$shares,ARRAY=" \
    "$here/slurm-share.sh" "$@")
sbatch --dependency="afterany:${array%%;*}" --export="ALL,ARRAY=${array%%;*}" \
    "$here/slurm-judge.sh" "$@"
