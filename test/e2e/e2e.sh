#!/usr/bin/env bash
# `make e2e`: Sidegate as an administrator meets it. `helm install` on a real node, a namespace labelled, agents made anew; then the
# scenarios of test/e2e/full/scenarios in their order, each of which leaves things as it found them. Builds the node from Go modules
# where it is not in the cache, needs root, leaves nothing behind. Last line: `e2e: ok`.
#   test/e2e/e2e.sh                all scenarios
#   test/e2e/e2e.sh policy job     only those, after the installation
#   test/e2e/e2e.sh --list         their names
# A scenario that fails, or does not end within a quarter of an hour, shows what there is to see, and the next one goes on. Figures are held to their
# goals, with CI=true only to limits (test/e2e/lib.sh). SIDEGATE_E2E=off: nothing is run, and that is said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scenarios() { local f; for f in test/e2e/full/scenarios/[0-9]*.sh; do f=${f##*/}; f=${f%.sh}; echo "${f#*-}"; done; }
case ${1:-} in
  --list) scenarios; exit 0 ;;
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
known=" $(scenarios | tr '\n' ' ')"
for name; do [[ $known == *" $name "* ]] || { echo "e2e: no scenario $name; there are:$known" >&2; exit 64; }; done

# For who adds it up (tools/ci.ts). What was wanted and did not pass has failed, also where nothing came to it.
wanted=(install)
for name in $(scenarios); do if [ $# = 0 ] || [[ " $* " == *" $name "* ]]; then wanted+=("$name"); fi; done
passed=() failed=() skipped=()
report() {
  [ -n "${SIDEGATE_REPORT:-}" ] || return 0
  printf '{"passed": %d, "failed": %d, "skipped": %d}\n' ${#passed[@]} $((${#wanted[@]} - ${#passed[@]} - ${#skipped[@]})) ${#skipped[@]} >"$SIDEGATE_REPORT"
}
if [ "${SIDEGATE_E2E:-}" = off ]; then
  echo "e2e: off (SIDEGATE_E2E=off): no scenario was run"
  skipped=("${wanted[@]}"); report; exit 0
fi
# No node can be had: by hand that is an error; for whoever adds up (tools/ci.ts) the scenarios are skipped, and the line above says why.
nowhere() {
  local code=$?
  if [ $code = 77 ] && [ -n "${SIDEGATE_REPORT:-}" ]; then skipped=("${wanted[@]}"); report; exit 0; fi
  report; exit $code
}
trap nowhere EXIT
source test/e2e/cluster/choose.sh
if [ "$CLUSTER" != own ]; then test/e2e/elsewhere.sh && wanted=(install) passed=(install); exit; fi
HELM=$(tools/helm/ensure.sh)
for step in deps build images; do bash "test/e2e/cluster/$step.sh"; done
source test/e2e/cluster/env.sh
source test/e2e/lib.sh
running=
finish() {
  if [ -n "$running" ]; then kill -KILL -- "-$running" 2>/dev/null || true; fi
  report; bash test/e2e/cluster/down.sh; rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
bash test/e2e/cluster/up.sh
source test/e2e/cluster/env.sh

# run NAME FILE: in a process of its own with what stands here, so that what one of them breaks ends it alone.
LIMIT=900
run() {
  local name=$1 file=$2 start=$SECONDS code=0
  echo "-- $name ($((${#passed[@]} + ${#failed[@]} + 1)) of ${#wanted[@]}, after $((SECONDS / 60)) min)"
  : >"$work/failed"
  set -m # a group of its own, which can be ended as a whole
  (set +m; trap - INT TERM EXIT; trap 'fail "exit $? of: $BASH_COMMAND"' ERR; source "$file") </dev/null &
  running=$!
  set +m
  while kill -0 $running 2>/dev/null; do
    if ((SECONDS - start > LIMIT)); then fail "$name did not end within $LIMIT s"; kill -KILL -- "-$running"; break; fi
    sleep 0.2
  done
  wait $running || code=$?
  running=
  if [ $code = 0 ] && [ "$(failed_checks)" = 0 ]; then
    passed+=("$name"); echo "   $name took $((SECONDS - start)) s"
    return
  fi
  failed+=("$name")
  echo "   $name FAILED after $((SECONDS - start)) s: $(failed_checks) checks, exit $code. What there is to see:"
  diagnose 2>&1 | sed 's/^/   | /' || true
}
run install test/e2e/full/install.sh
if [ ${#failed[@]} = 0 ]; then
  for file in test/e2e/full/scenarios/[0-9]*.sh; do
    name=${file##*/}; name=${name%.sh}; name=${name#*-}
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    broken=${#failed[@]}
    run "$name" "$file"
    # The next one finds what it counts on.
    if [ ${#failed[@]} -gt "$broken" ]; then (source test/e2e/full/restore.sh) </dev/null 2>&1 | sed 's/^/   | /' || true; fi
  done
fi

echo "e2e: ${#passed[@]} of ${#wanted[@]} passed after $((SECONDS / 60)) min"
if [ ${#passed[@]} -lt ${#wanted[@]} ]; then
  echo "e2e: failed: ${failed[*]}"; exit 1
fi
echo "e2e: ok"
