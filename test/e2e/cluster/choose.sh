# Where `make e2e` runs; sourced. Sets CLUSTER and says why:
#   given   SIDEGATE_E2E_KUBECONFIG names a cluster. Its images have to be there already (SIDEGATE_E2E_PROXY_IMAGE, …: test/e2e/elsewhere.sh)
#   kind    SIDEGATE_E2E_KIND=1, or no node of its own (cluster/able.sh): kind and a Docker that runs it have to be there
#   own     a one-node cluster from Go modules, in namespaces of its own (root): all scenarios
# `given` and `kind` run the samples of deploy/kind (test/e2e/elsewhere.sh); only `own` kills processes and restarts an API server.
kind_works() { command -v kind >/dev/null && command -v docker >/dev/null && docker info >/dev/null 2>&1; }
if [ -n "${SIDEGATE_E2E_KUBECONFIG:-}" ]; then
  [ -r "$SIDEGATE_E2E_KUBECONFIG" ] || { echo "e2e: SIDEGATE_E2E_KUBECONFIG: $SIDEGATE_E2E_KUBECONFIG cannot be read" >&2; exit 66; }
  CLUSTER=given
  echo "e2e: the cluster of $SIDEGATE_E2E_KUBECONFIG" >&2
elif [ "${SIDEGATE_E2E_KIND:-}" = 1 ]; then
  kind_works || { echo "e2e: SIDEGATE_E2E_KIND=1, but kind or a running Docker is missing" >&2; exit 69; }
  CLUSTER=kind
  echo "e2e: a cluster by kind" >&2
elif why_not=$(bash test/e2e/cluster/able.sh); then
  CLUSTER=own
  echo "e2e: a one-node cluster of its own" >&2
elif kind_works; then
  CLUSTER=kind
  echo "e2e: a cluster by kind (a node of its own cannot be run: $why_not)" >&2
else
  echo "e2e: no node can be run here ($why_not), there is no kind with Docker, and SIDEGATE_E2E_KUBECONFIG names no cluster" >&2
  exit 77
fi
