#!/usr/bin/env bash
# `main.py train` with these arguments on one of the hosts of hosts.sh, started by torchrun as on real hosts.
# usage: benchmarks/hosts.sh NUMBER benchmarks/train_on_host.sh --partitions PARTS ...
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="$HOSTS" --node_rank="$HOST_RANK" --nproc_per_node=1 \
    --master_addr=10.77.0.1 --master_port="${PORT:-29500}" main.py train "$@"
