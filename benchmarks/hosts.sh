#!/usr/bin/env bash
# Several "hosts" on one machine, to try and measure training on partitions: each is a network namespace with an address
# of its own on a bridge, and with a /dev/shm of its own, where DGL's servers keep their parts.
# usage (root, Linux, iproute2): benchmarks/hosts.sh NUMBER COMMAND...
# Runs COMMAND on each host with HOSTS, HOST_RANK=0.. and HOST_ADDRESS=10.77.0.1.. set; exits with the worst status.
# Prints the bytes that each host has sent at the end.
set -euo pipefail
number=$1
shift
prefix=spike$$
down() { for i in net $(seq 0 $((number - 1))); do ip netns del "$prefix-$i" 2>/dev/null || true; done; }
trap down EXIT
ip netns add "$prefix-net"
ip -n "$prefix-net" link add bridge type bridge
ip -n "$prefix-net" link set bridge up
for i in $(seq 0 $((number - 1))); do
    ip netns add "$prefix-$i"
    ip link add "v$i" netns "$prefix-$i" type veth peer name "p$i" netns "$prefix-net"
    ip -n "$prefix-net" link set "p$i" master bridge up
    ip -n "$prefix-$i" addr add "10.77.0.$((i + 1))/24" dev "v$i"
    ip -n "$prefix-$i" link set "v$i" up
    ip -n "$prefix-$i" link set lo up
done
pids=()
for i in $(seq 0 $((number - 1))); do
    HOSTS=$number HOST_RANK=$i HOST_ADDRESS=10.77.0.$((i + 1)) \
        ip netns exec "$prefix-$i" unshare --mount --ipc bash -c 'mount -t tmpfs tmpfs /dev/shm && exec "$@"' host "$@" &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
for i in $(seq 0 $((number - 1))); do
    echo "host $i sent $(ip netns exec "$prefix-$i" cat "/sys/class/net/v$i/statistics/tx_bytes") bytes" >&2
done
exit "$status"
