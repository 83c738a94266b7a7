# What the namespace's policies say is what its agents may do; a wrong policy changes nothing, a changed one acts without a restart.
for kind in python node; do
  check "$kind: a read is allowed" "http GET /v1/items/7" http $kind "http://$api/v1/items/7"
  check "$kind: a read over TLS is allowed, our authority trusted" "https GET /v1/items/8" http $kind "https://$api/v1/items/8"
  check "$kind: a delete is denied, with the policy's code" "no_deletes" http $kind -X DELETE "http://$api/v1/items/7"
  check "$kind: a delete over TLS is denied" "^403$" http $kind -X DELETE "https://$api/v1/items/7"
  check "$kind: an unknown name is not resolved" "Could not resolve" agent $kind curl -sS --max-time 20 http://evil.example/
done
fetch='fetch(process.argv[1]).then(async (a) => console.log(await a.text()), (e) => console.log(String(e.cause ?? e)))'
check "node's own fetch trusts our authority" "https GET /v1/fetch" agent node node -e "$fetch" "https://$api/v1/fetch"
ssl='import socket, ssl, sys
c = ssl.create_default_context().wrap_socket(socket.create_connection((sys.argv[1], 443), 10), server_hostname=sys.argv[1])
c.sendall(b"GET /v1/ssl HTTP/1.1\r\nHost: " + sys.argv[1].encode() + b"\r\nConnection: close\r\n\r\n")
print(c.makefile("rb").read().decode())'
check "Python's own ssl trusts our authority" "https GET /v1/ssl" agent python python3 -c "$ssl" $api
sed 's/input.action == "read"/input.action = = 1/' test/e2e/full/policy.rego >"$work/wrong.rego"
wrong() { policy "$work/wrong.rego" | kubectl apply -f - || true; kubectl -n shop get agentpolicy items -o yaml; }
within 60000 "a wrong policy is refused, with its line" "items\.rego:[0-9]+|:[0-9]+: rego_" wrong
check "what was in force stays" "http GET /v1/items/7" http python "http://$api/v1/items/7"

# A changed policy acts without a restart.
sed 's/input.http.segments\[0\] == "v1"/input.http.segments[0] == "v2"/' test/e2e/full/policy.rego >"$work/changed.rego"
policy "$work/changed.rego" | kubectl apply -f - >/dev/null
within 60000 "a changed policy acts without a restart" "^403$" http python "http://$api/v1/items/9"
check "and what it allows goes" "http GET /v2/items/9" http python "http://$api/v2/items/9"
policy test/e2e/full/policy.rego | kubectl apply -f - >/dev/null
within 60000 "and back" "http GET /v1/items/9" http python "http://$api/v1/items/9"
# How soon, five times, from what kubectl said to the first answer by it (asking takes its time, too).
acted=()
for n in 1 2 3 4 5; do
  sed "s/== \"v1\"/in {\"v1\", \"w$n\"}/" test/e2e/full/policy.rego >"$work/changed.rego"
  policy "$work/changed.rego" | kubectl apply -f - >/dev/null
  within 60000 "change $n acts" "http GET /w$n/items" http python "http://$api/w$n/items"
  acted+=("$took_ms")
done
figure "a changed policy acts" 2000 20000 "${acted[@]}"
policy test/e2e/full/policy.rego | kubectl apply -f - >/dev/null
within 60000 "what it allowed no longer goes" "^403$" http python "http://$api/w5/items"
