#!/usr/bin/env bash
# One machine's share of a run: a process for each card, and on from the newest checkpoint if there
# is one. Every scheduler below ends here, and so does a laptop:
#
#     OUT=runs/try PROCESSES=2 bash cluster/train.sh --preset tiny --data world --steps 200
#
# OUT        folder of the run, on a disk that every machine sees
# NODES      machines (1)                HEAD      name or address of the first (localhost)
# PROCESSES  on this machine (gpu: one for each card)
# PROGRAM    the module that is started (minimind_wiki)
# RESTARTS   how often all start again after one has failed (3)
set -euo pipefail
out=${OUT:?set OUT to the folder of the run}
resume=()
if compgen -G "$out/checkpoints/step-*" > /dev/null; then resume=(--resume); fi
# The first machine keeps the list of who is there. Torch would guess which one that is by comparing
# names, and where a machine has several it guesses wrong; each scheduler numbers its machines.
node=${NODE:-${SLURM_NODEID:-${JOB_COMPLETION_INDEX:-${SKYPILOT_NODE_RANK:-0}}}}
if [ "$node" = 0 ]; then keeper=true; else keeper=false; fi
# Without this, processes that are started again look for each other under their old addresses
# (github.com/pytorch/pytorch/issues/135712).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# After SIGTERM the processes finish their step and write a checkpoint; that may take a while.
exec "${TORCHRUN:-torchrun}" --nnodes "${NODES:-1}" --nproc-per-node "${PROCESSES:-gpu}" \
    --rdzv-backend c10d --rdzv-id "${RUN_ID:-minimind}" \
    --rdzv-endpoint "${HEAD:-localhost}:${PORT:-29400}" --rdzv-conf "is_host=$keeper" \
    --max-restarts "${RESTARTS:-3}" --shutdown-timeout "${PATIENCE:-120}" \
    -m "${PROGRAM:-minimind_wiki}" pretrain --out "$out" "$@" "${resume[@]}"
