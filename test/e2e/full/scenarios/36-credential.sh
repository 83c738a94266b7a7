# A credential of the cluster's: a target in the gateway's namespace names a Secret of another one, the controller logs in with it (OAuth 2.0
# client credentials) and the sidecar puts the token in. A namespace does not get it by a policy of its own, and an answer that echoes the
# token does not show it.
login=login.default.svc.cluster.local client_secret=$(openssl rand -hex 16)
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/login.key" -subj /CN=login -out "$work/login.csr" 2>/dev/null
openssl x509 -req -in "$work/login.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days 2 \
  -extfile <(echo "subjectAltName=DNS:$login") -out "$work/login.crt" 2>/dev/null
kubectl create secret tls login-tls --cert "$work/login.crt" --key "$work/login.key" >/dev/null
for namespace in default shop; do kubectl -n $namespace create secret generic login-client --from-literal=clientSecret="$client_secret" >/dev/null; done
kubectl apply -f "$repository/test/e2e/full/login.yaml" >/dev/null
kubectl wait --for=condition=Ready pod/login --timeout=240s >/dev/null
login_target() { # NAMESPACE: of the target; the Secret is shop's
  printf 'apiVersion: sidegate.dev/v1alpha1\nkind: EgressTarget\nmetadata: {name: login, namespace: %s}\nspec:\n' "$1"
  printf '  hosts: [%s]\n  ports: [443]\n  protocol: http\n  private: true\n  credential: login\n' $login
  printf '  credentialFrom: {kind: oauth2ClientCredentials, clientId: agents, tokenUrl: "https://%s/token", secret: {namespace: shop, name: login-client}, ca: "%s"}\n' \
    $login "$(awk '{printf "%s\\n", $0}' "$PKI/ca.crt")"
  printf '  upstream:\n    ca: |\n'; sed 's/^/      /' "$PKI/ca.crt"
}
login_policy() { # KIND NAME MORE
  printf 'apiVersion: sidegate.dev/v1alpha1\nkind: %s\nmetadata: {name: %s%s}\nspec:\n' "$1" "$2" "$3"
  printf '  module: |\n    package sidegate.policy.%s\n    allow if { input.target.name == "login"; input.action == "read" }\n    credential := "login" if input.target.name == "login"\n' "$2"
}
elsewhere() { login_target default | kubectl apply -f -; }
check "a target of another namespace may not name shop's Secret" "only targets in namespace sidegate may name a Secret of another namespace" elsewhere
login_target sidegate | kubectl apply -f - >/dev/null
login_policy AgentPolicy login_space ", namespace: shop" | sed 's/name: login_space/name: login-space/' | kubectl apply -f - >/dev/null
whoami() { http python "https://$login/v1/whoami"; }
within 60000 "a namespace's own policy lets its agents there, without the cluster's credential" '"authorized":false' whoami
login_policy ClusterAgentPolicy login "" | kubectl apply -f - >/dev/null
within 60000 "with a policy of the cluster the token is put in, that the controller fetched" '"authorized":true' whoami
echoed() { whoami | grep -c 'tok-' || true; }
check "the answer that echoes the token does not show it" "^0$" echoed
login_log() { kubectl logs login; }
check "the token endpoint saw the client's secret, and gave a token" "^token true$" login_log
login_recorded() { audit query --all --json --limit 100000 | grep -c '"credential":"login"'; }
within 60000 "the record says which credential was put in" "^[1-9]" login_recorded
secret_recorded() { audit query --all --json --limit 100000 | grep -cE "$client_secret|tok-[0-9a-f]{32}" || true; }
check "and neither secret nor token" "^0$" secret_recorded

kubectl -n sidegate delete egresstarget/login >/dev/null
kubectl delete clusteragentpolicy/login pod/login service/login secret/login-tls secret/login-client --wait=false >/dev/null
kubectl -n shop delete agentpolicy/login-space secret/login-client --wait=false >/dev/null
