# One authority, one serving certificate, one client certificate and kubeconfig for each user. Made anew for each cluster.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
mkdir -p "$PKI"; cd "$PKI"
new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

new_key ca.key
openssl req -x509 -new -key ca.key -subj /CN=e2e-ca -days 2 -out ca.crt
new_key sa.key && openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null

# sign NAME SUBJECT EXTENSIONS
sign() {
  new_key "$1.key"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
    -extfile <(printf '%s\n' "$3") -out "$1.crt" 2>/dev/null
  rm "$1.csr"
}
# user NAME SUBJECT
user() {
  sign "$1" "$2" extendedKeyUsage=clientAuth
  cat >"$1.conf" <<EOF
apiVersion: v1
kind: Config
current-context: e2e
clusters: [{name: e2e, cluster: {server: "$API", certificate-authority: "$PKI/ca.crt"}}]
users: [{name: me, user: {client-certificate: "$PKI/$1.crt", client-key: "$PKI/$1.key"}}]
contexts: [{name: e2e, context: {cluster: e2e, user: me}}]
EOF
}
sign server /CN=e2e-server "extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,DNS:$NODE,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:$API_IP"
user admin /O=system:masters/CN=admin
user kubelet "/O=system:nodes/CN=system:node:$NODE"
user controller-manager /CN=system:kube-controller-manager
user scheduler /CN=system:kube-scheduler
user proxy /CN=system:kube-proxy
