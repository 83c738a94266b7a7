# `sidegate freeze`: an open stream ends within a second, what comes next is denied with who and why; `unfreeze` lifts it.
agent_stream() { kubectl -n shop exec deployment/agent-python -c app -- sh -c "curl -sSN --max-time 60 https://$api/v1/stream/50; echo exit \$?"; }
ended() { kill -0 $streaming 2>/dev/null || echo ended; }
froze=()
for n in 1 2 3; do
  agent_stream >"$work/stream.log" 2>&1 &
  streaming=$!
  within 60000 "a stream is open" "tick" cat "$work/stream.log"
  frozen_at=$(date +%s%3N)
  check "an administrator freezes the namespace" "[Ff]r[eo]z" cli freeze -n shop --reason "odd behaviour of the shop's agents"
  within 60000 "the stream ends" "^ended$" ended
  froze+=($(($(date +%s%3N) - frozen_at))) # the command's own time included
  check "before its end" "^exit [1-9]" cat "$work/stream.log"
  [ $n = 3 ] || { check "it is lifted" "shop" cli unfreeze -n shop; within 60000 "and agents are answered again" "http GET /v1/items/4$n" http python "http://$api/v1/items/4$n"; }
done
figure "a freeze ends an open stream" 1000 15000 "${froze[@]}"
check "what comes next is denied, with the reason" "odd behaviour of the shop" http node "https://$api/v1/items/40"
check "status says so" "[Ff]r[eo]z" cli status -n shop
check "it is lifted" "shop" cli unfreeze -n shop
within 60000 "and agents are answered again" "http GET /v1/items/49" http python "http://$api/v1/items/49"
