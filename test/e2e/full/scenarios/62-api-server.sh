# The API server is killed, and comes back: agents notice nothing, and then everything is as it was.
source "$RUN/apiserver.sh" || true
pkill_apiserver() { "${enter[@]}" pkill -KILL -x kube-apiserver; }
