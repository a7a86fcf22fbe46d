#!/usr/bin/env bash
# sbatch cluster/slurm.sh      Submit it again to go on; the same file does both.
#SBATCH --job-name=minimind
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# One task a node: torchrun starts the processes of its node. TERM comes three minutes before the
# time is up, early enough to write a checkpoint; a job that is put back in the queue goes on.
set -euo pipefail
export OUT=${OUT:-runs/64m}
export NODES=$SLURM_NNODES RUN_ID=$SLURM_JOB_ID
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export HEAD
srun --kill-on-bad-exit=1 bash cluster/train.sh \
    --preset 64m --data shards/ --tokenizer runs/bpe \
    --batch-size 512 --micro-batch-size 32 --steps 5000
