# An agent with a real PostgreSQL and no password: it reads masked rows, is denied a DROP and goes on; a changed password is used by the
# next connection; and neither password is anywhere that the agent, a log, the record or the node's files could show it.
bash test/e2e/cluster/postgres.sh
orders_password=$(openssl rand -hex 16) orders_next=$(openssl rand -hex 16)
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/db.key" -subj /CN=orders-db -out "$work/db.csr" 2>/dev/null
openssl x509 -req -in "$work/db.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days 2 \
  -extfile <(echo "subjectAltName=DNS:orders-db.data.svc.cluster.local") -out "$work/db.crt" 2>/dev/null
kubectl create namespace data >/dev/null
kubectl -n data create secret tls orders-db-tls --cert "$work/db.crt" --key "$work/db.key" >/dev/null
kubectl -n data create secret generic orders-db-superuser --from-literal=superuser="$(openssl rand -hex 16)" >/dev/null
kubectl apply -f "$repository/test/e2e/full/postgres.yaml" >/dev/null
kubectl -n data wait --for=condition=Ready pod/orders-db --timeout=240s >/dev/null
kubectl -n shop rollout status deployment/agent-orders --timeout=240s >/dev/null || true
server_sql() { kubectl -n data exec -i orders-db -- runuser -u postgres -- psql -qAt -v ON_ERROR_STOP=1 "$@"; }
server_sql >/dev/null <<'SQL'
CREATE ROLE agent_reader LOGIN;
CREATE DATABASE orders;
SQL
server_sql -d orders >/dev/null <<'SQL'
CREATE TABLE customers (id int PRIMARY KEY, name text, email text);
INSERT INTO customers VALUES (1, 'Ada', 'ada@private.example'), (2, 'Ben', 'ben@private.example');
GRANT SELECT, INSERT ON customers TO agent_reader;
SQL
# set_password PASSWORD, secret PASSWORD: at the server, and in the Secret. Never an argument of a program that the agent could see.
set_password() { server_sql <<<"ALTER ROLE agent_reader PASSWORD '$1'" >/dev/null; }
secret() { kubectl -n shop create secret generic orders-db --from-literal=password="$1" --dry-run=client -o yaml | kubectl apply -f - >/dev/null; }
set_password "$orders_password"
orders_target() {
  cat "$repository/examples/database/policy/targets/orders.yaml"
  printf '  upstream:\n    ca: |\n'; sed 's/^/      /' "$PKI/ca.crt"
}
orders_policy() {
  printf 'apiVersion: sidegate.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: orders}\nspec:\n  podSelector: {matchLabels: {app: agent-orders}}\n  module: |\n'
  sed 's/^/    /' "$repository/examples/database/policy/orders.rego"
}
orders_target | kubectl -n shop apply -f - >/dev/null
orders_policy | kubectl -n shop apply -f - >/dev/null
target_says() { kubectl -n shop get egresstarget orders -o 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}: {.status.conditions[?(@.type=="Ready")].message}'; }
within 60000 "the target's status says which Secret is missing" "CredentialSecretMissing: .*Secret shop/orders-db does not exist" target_says
orders() { agent orders psql -X -A -t "$@"; }
within 60000 "and so does the agent's own error" "Secret shop/orders-db does not exist" orders -c 'SELECT 1'
secret "$orders_password"
within 60000 "with the Secret there, the target is offered" "Offered: .*with the credential orders" target_says
within 60000 "the agent reads with a placeholder, as the role that it never had a password of" "^1\|Ada\|" orders -c 'SELECT id, name, email FROM customers ORDER BY id'
masked() { orders -c 'SELECT id, name, email FROM customers ORDER BY id' | sed 's/private.example/LEAKED/'; }
check "the confidential column is masked, the others are not" "^1\|Ada\|[^@|]+$" masked
check "in every row" "^2\|Ben\|[^@|]+$" masked
unmasked() { masked | grep -c LEAKED || true; }
check "no address came through" "^0$" unmasked
going_on() { orders -c 'SELECT count(*) FROM customers' -c 'DROP TABLE customers' -c "SELECT 'still here ' || count(*) FROM customers"; }
check "a DROP is denied, with the policy's words" "Tables are made and dropped by people" going_on
check "and the session goes on" "^2$" orders -c 'DROP TABLE customers' -c 'SELECT count(*) FROM customers'
check "the server has its table still" "^2$" server_sql -d orders -c 'SELECT count(*) FROM customers'
check "an INSERT is denied, though the role may" "denied|not allowed|No policy|read" orders -c "INSERT INTO customers VALUES (3, 'Cy', 'c')"
check "it is that role at the server, over TLS" "^agent_reader\|t$" server_sql -c "SELECT usename, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = 'agent_reader' UNION SELECT 'agent_reader', true"

# The password changes, in the server and in the Secret.
set_password "$orders_next"; secret "$orders_next"
within 60000 "a changed password is used by the next connection" "^2$" orders -c 'SELECT count(*) FROM customers'
old() { kubectl -n data exec orders-db -- env PGPASSWORD="$orders_password" psql -h 127.0.0.1 -U agent_reader -d orders -c 'SELECT 1'; }
check "the old one is no good at the server any more" "authentication failed" old

credential_acts() { audit query --all --json --limit 100000 | grep -c '"act":"credential"'; }
within 60000 "each hand-out is on record as an act of the control plane" "^[1-9]" credential_acts
given_metric() { for ip in $(kubectl -n sidegate get pods -l app.kubernetes.io/component=controller -o 'jsonpath={.items[*].status.podIP}'); do "${enter[@]}" curl -sSk --max-time 20 "https://$ip:8443/metrics"; done; }
check "and counted" 'sidegate_credential_requests_total\{outcome="given"\} [1-9]' given_metric
orders_recorded() { audit query --all --json --limit 100000 | grep -c '"credential":"orders"'; }
within 60000 "the record says which credential was put in" "^[1-9]" orders_recorded
check "the agent cannot ask the controller itself" "not known|Could not resolve|refused" agent orders bash -c 'echo >/dev/tcp/sidegate-controller.sidegate.svc.cluster.local/8443'

# Where neither password is.
# nowhere WHAT COMMAND...: its output is there, and has neither of them, in plain or as base64.
nowhere() {
  local what=$1 out; shift
  "$@" >"$work/searched" 2>&1 || true
  if [ ! -s "$work/searched" ]; then fail "$what: nothing to search"; return; fi
  for value in "$orders_password" "$orders_next"; do
    for form in "$value" "$(printf %s "$value" | base64 | cut -c1-40)"; do
      if grep -qaF -- "$form" "$work/searched"; then fail "a password is in $what"; return; fi
    done
  done
  echo "ok      no password in $what ($(wc -c <"$work/searched") bytes searched)"
}
nowhere "the agent's environment and its processes'" agent orders sh -c 'cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline'
nowhere "the agent's mounts" agent orders sh -c 'for m in $(cut -d" " -f2 /proc/mounts | grep -vE "^/(proc|sys|dev)?(/|$)"); do echo "$m"; find "$m" -xdev -type f -size -8M -exec cat {} + 2>/dev/null; done'
nowhere "the logs of the sidecar" kubectl -n shop logs deployment/agent-orders -c sidegate --tail=-1
nowhere "the logs of the controllers" kubectl -n sidegate logs -l app.kubernetes.io/component=controller --tail=-1
nowhere "the logs of the collector" kubectl -n sidegate logs statefulset/sidegate-collector --tail=-1
nowhere "the record" audit query --all --json --limit 100000
nowhere "the record's database and its write-ahead log" "${enter[@]}" sh -c "cat '$RUN'/record/*"
orders_uid=$(kubectl -n shop get pods -l app=agent-orders -o 'jsonpath={.items[0].metadata.uid}')
nowhere "the pod's volumes on the node: spool, state, trust" "${enter[@]}" sh -c "find '$RUN/kubelet/pods/$orders_uid' -type f -exec cat {} +"
orders_ip=$(kubectl -n shop get pods -l app=agent-orders -o 'jsonpath={.items[0].status.podIP}')
nowhere "the sidecar's metrics" "${enter[@]}" curl -sS --max-time 20 "http://$orders_ip:15890/metrics"
nowhere "what the API server shows of our resources" kubectl get egresstargets,agentpolicies,clusteragentpolicies,configmaps,events,pods -A -o yaml
sidecar_pid=$("${enter[@]}" pgrep -f 'node .*/app/sidecar.js' | while read -r pid; do "${enter[@]}" grep -qa "$orders_uid" "/proc/$pid/environ" && echo "$pid"; done | head -1)
nowhere "the sidecar's environment and arguments" "${enter[@]}" sh -c "cat /proc/$sidecar_pid/environ /proc/$sidecar_pid/cmdline"
# The agent's container has processes of its own only; and the sidecar's memory is closed to its own uid too.
check "the agent sees no process of the gateway's" "^0$" agent orders sh -c 'cat /proc/[0-9]*/cmdline | tr "\0" " " | grep -c "sidecar[.]js" || true'
sidecar_uid=$("${enter[@]}" stat -c %u "/proc/$sidecar_pid/environ")
check "not dumpable: what is of the sidecar in /proc is root's" "^0$" echo "$sidecar_uid"
as_sidecar() { "${enter[@]}" nsenter -t "$sidecar_pid" -p -m -- setpriv --reuid "$("${enter[@]}" sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$sidecar_pid/status")" --clear-groups --no-new-privs sh -c 'head -c1 /proc/1/mem; cat /proc/1/environ'; }
check "its memory and environment cannot be read by its own uid" "Permission denied" as_sidecar

# While no controller is there, the sidecar goes on with what it has in memory.
kubectl -n sidegate scale deployment/sidegate-controller --replicas=0 >/dev/null
kubectl -n sidegate wait --for=delete pod -l app.kubernetes.io/component=controller --timeout=240s >/dev/null || true
check "without any controller a new connection still has its credential" "^2$" orders -c 'SELECT count(*) FROM customers'
kubectl -n sidegate scale deployment/sidegate-controller --replicas=2 >/dev/null
kubectl -n sidegate rollout status deployment/sidegate-controller --timeout=240s >/dev/null || true

kubectl -n shop delete agentpolicy/orders egresstarget/orders deployment/agent-orders secret/orders-db --wait=false >/dev/null
kubectl delete namespace data --wait=false >/dev/null
