# A Job ends.
kubectl apply -f "$repository/test/e2e/full/job.yaml" >/dev/null
check "a Job ends" "condition met" kubectl -n shop wait --for=condition=Complete job/errand --timeout=240s
