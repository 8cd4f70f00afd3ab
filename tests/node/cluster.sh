# Starts a cluster inside the namespace of tests/in-namespace: a control plane, a
# registry, a name server, and nodes that are network and mount namespaces with
# kubelet, containerd and kube-proxy. Sourced by `story`; it knows nothing of Lighterman.
# shellcheck shell=bash

# On `lo` of the namespace (tests/in-namespace), and not loopback: kubelet, API server
# and registry have to be reached from the nodes.
CONTROL=192.0.2.9
# The wire between the nodes and the control plane (RFC 5737).
WIRE=198.51.100
SERVICES=10.96.0.0/16
PODS=10.244

# Starts a program in the background with a log of its own.
start() { # name, command..
  local name=$1
  shift
  "$@" >>"$WORK/logs/$name.log" 2>&1 &
}

# Waits until a command succeeds; says what did not come true, and the logs of whom.
eventually() { # seconds, what, command..
  local seconds=$1 what=$2 end
  shift 2
  end=$((SECONDS + seconds))
  until "$@" >"$WORK/last" 2>&1; do
    if [ $SECONDS -ge $end ]; then
      echo "waited $seconds s for $what; last seen:" >&2
      tail -5 "$WORK/last" >&2
      return 1
    fi
    sleep 0.3
  done
}

# A key and a certificate of the cluster's authority.
certificate() { # file name, subject, alternative names
  local extensions="extendedKeyUsage=clientAuth,serverAuth"
  [ -z "${3-}" ] || extensions="$extensions
subjectAltName=$3"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$PKI/$1.key" -out "$PKI/$1.csr" 2>/dev/null
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 2 \
    -extfile <(echo "$extensions") -out "$PKI/$1.crt" 2>/dev/null
}

# A kubeconfig of whoever a certificate names.
kubeconfig() { # file name of the certificate
  cat >"$PKI/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: "https://$CONTROL:6443", certificate-authority: $PKI/ca.crt}}]
users: [{name: test, user: {client-certificate: $PKI/$1.crt, client-key: $PKI/$1.key}}]
YAML
}

start_control_plane() {
  PKI=$WORK/pki
  mkdir -p "$PKI"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=test" -keyout "$PKI/ca.key" -out "$PKI/ca.crt" 2>/dev/null
  openssl genrsa -out "$PKI/accounts.key" 2048 2>/dev/null
  certificate server /CN=kube-apiserver "IP:$CONTROL,IP:${SERVICES%.*}.1,DNS:kubernetes.default.svc"
  certificate admin /O=system:masters/CN=admin
  certificate proxy /CN=system:kube-proxy
  certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  kubeconfig admin
  kubeconfig proxy
  export KUBECONFIG=$PKI/admin.kubeconfig

  start etcd etcd --data-dir "$WORK/etcd" --log-level warn --unsafe-no-fsync
  start kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 \
    --bind-address 0.0.0.0 --advertise-address $CONTROL --service-cluster-ip-range $SERVICES \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --client-ca-file "$PKI/ca.crt" --tls-cert-file "$PKI/server.crt" --tls-private-key-file "$PKI/server.key" \
    --kubelet-preferred-address-types InternalIP --kubelet-client-certificate "$PKI/kubelet-client.crt" --kubelet-client-key "$PKI/kubelet-client.key" \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$PKI/accounts.key" --service-account-signing-key-file "$PKI/accounts.key"
  eventually 90 "the API server" kubectl get --raw /readyz
  start kube-controller-manager kube-controller-manager --kubeconfig "$KUBECONFIG" --leader-elect=false \
    --use-service-account-credentials --root-ca-file "$PKI/ca.crt" --service-account-private-key-file "$PKI/accounts.key"
  start kube-scheduler kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false
  kubectl create clusterrolebinding kube-proxy --clusterrole system:node-proxier --user system:kube-proxy >/dev/null
}

# The wire, and what answers on it: the registry and the cluster's name server.
start_network() {
  echo 1 >/proc/sys/net/ipv4/ip_forward
  ip link add wire type bridge
  ip addr add $WIRE.1/24 dev wire
  ip link set wire up
  # kube-proxy changes the destination, but only of what has a way to go.
  ip route add $SERVICES dev wire
  cat >"$WORK/Corefile" <<TEXT
.:53 {
  errors
  kubernetes cluster.local {
    kubeconfig $PKI/admin.kubeconfig
  }
}
TEXT
  start coredns coredns -conf "$WORK/Corefile"
  REGISTRY=$CONTROL:5000
  cat >"$WORK/registry.yml" <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $WORK/registry}}
http: {addr: 0.0.0.0:5000}
YAML
  start registry registry serve "$WORK/registry.yml"
  eventually 30 "the registry" curl --noproxy '*' -sf "http://$REGISTRY/v2/"
}

# Whoever is a client of the cluster is here, outside of all nodes that a step may
# take away: ClusterIPs have to be reached. A kube-proxy wants the Node that it is on;
# any will do, where no pods are.
start_client() {
  start_kube_proxy client "${NODES%% *}" $CONTROL
  eventually 60 "ClusterIPs to be reached" curl --noproxy '*' -sk --max-time 1 "https://${SERVICES%.*}.1/healthz"
}

start_kube_proxy() { # name, node, address
  cat >"$WORK/kube-proxy-$1.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
bindAddress: $3
hostnameOverride: $2
clusterCIDR: $PODS.0.0/16
clientConnection: {kubeconfig: $PKI/proxy.kubeconfig}
# Neither may be changed without rights over the whole machine.
conntrack: {maxPerCore: 0}
oomScoreAdj: 0
YAML
  start "kube-proxy-$1" kube-proxy --config "$WORK/kube-proxy-$1.yaml"
}

# A node: a machine of its own, as far as network and folders go.
start_node() { # name; its number is at the end
  local node=$1 number=${1##*-}
  certificate "$node" "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$WIRE.1$number"
  kubeconfig "$node"
  ip netns add "$node"
  ip link add "$node" type veth peer name eth0 netns "$node"
  ip link set "$node" master wire up
  ip -n "$node" link set lo up
  ip -n "$node" addr add "$WIRE.1$number/24" dev eth0
  ip -n "$node" link set eth0 up
  ip -n "$node" route add default via $WIRE.1
  ip route add "$PODS.$number.0/24" via "$WIRE.1$number"
  export PKI REGISTRY
  start "$node" nsenter --net="/run/netns/$node" unshare --mount tests/node/node "$node"
}

# The image of the container that holds a pod's namespaces, as an archive: a registry
# would have to be asked before the first pod can start.
pack_pause() {
  local layout=$WORK/pause blobs=$WORK/pause/blobs/sha256 layer config manifest
  mkdir -p "$blobs"
  blob() { # file; prints its descriptor's digest and size
    local digest size
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    size=$(stat -c %s "$1")
    mv "$1" "$blobs/$digest"
    echo "\"digest\": \"sha256:$digest\", \"size\": $size"
  }
  tar -C "$WORK/bin" -cf "$layout/layer" pause
  local difference
  difference=$(sha256sum "$layout/layer" | cut -d' ' -f1)
  layer=$(blob "$layout/layer")
  cat >"$layout/config" <<JSON
{ "architecture": "$(go env GOARCH)", "os": "linux", "config": { "Entrypoint": ["/pause"] },
  "rootfs": { "type": "layers", "diff_ids": ["sha256:$difference"] } }
JSON
  config=$(blob "$layout/config")
  cat >"$layout/manifest" <<JSON
{ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "config": { "mediaType": "application/vnd.oci.image.config.v1+json", $config },
  "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", $layer }] }
JSON
  manifest=$(blob "$layout/manifest")
  cat >"$layout/index.json" <<JSON
{ "schemaVersion": 2, "manifests": [{ "mediaType": "application/vnd.oci.image.manifest.v1+json", $manifest,
  "annotations": { "io.containerd.image.name": "test.local/pause:1" } }] }
JSON
  echo '{"imageLayoutVersion": "1.0.0"}' >"$layout/oci-layout"
  tar -C "$layout" -cf "$WORK/pause.tar" .
}
