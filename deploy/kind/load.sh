#!/usr/bin/env bash
# Builds both images from this working tree and brings them into the nodes of a kind cluster (default: sidegate).
#   deploy/kind/load.sh [CLUSTER]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=${1:-sidegate}
for program in docker kind; do
  command -v $program >/dev/null || { echo "load: $program is not installed" >&2; exit 69; }
done
kind get clusters 2>/dev/null | grep -qx -- "$cluster" || {
  echo "load: no cluster $cluster; kind create cluster --config deploy/kind/cluster.yaml" >&2; exit 69
}
for image in proxy control; do
  docker build -f deploy/images/Dockerfile --target "sidegate-$image" -t "sidegate-$image:dev" .
done
kind load docker-image --name "$cluster" sidegate-proxy:dev sidegate-control:dev
