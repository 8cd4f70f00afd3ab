#!/usr/bin/env bash
# Builds the external programs of the cluster tests from Go modules, once per
# version, into a cache outside the checkout, and prints the folder of each.
#
#   tests/tools/build.sh kubernetes 1.36.3     etcd kube-apiserver kube-controller-manager kubectl
#   tests/tools/build.sh kubernetes-node 1.36.3   kube-scheduler kubelet kube-proxy
#   tests/tools/build.sh containerd 2.4.2      containerd containerd-shim-runc-v2 ctr
#   tests/tools/build.sh cni 1.9.1             host-local loopback ptp
#   tests/tools/build.sh coredns 1.14.7
#   tests/tools/build.sh cosign 3.1.3
#   tests/tools/build.sh registry 3.1.2
#   tests/tools/build.sh helm 4.3.1
#
# The cache is $LIGHTERMAN_TOOLS, or $XDG_CACHE_HOME/lighterman/tools, or
# ~/.cache/lighterman/tools. A folder appears under its final name only when it
# is complete, so an interrupted build is never mistaken for a finished one.
set -euo pipefail

program=${1:?usage: build.sh PROGRAM VERSION}
version=${2:?usage: build.sh PROGRAM VERSION}
cache=${LIGHTERMAN_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/lighterman/tools}
target=$cache/$program-$version

if [ -d "$target" ]; then
  echo "$target"
  exit 0
fi
if ! command -v go >/dev/null 2>&1; then
  echo "build.sh: $program $version is neither installed nor built, and there is no Go toolchain to build it: install Go >= 1.26 (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager and kubectl and put cosign, registry and helm on PATH" >&2
  exit 1
fi

mkdir -p "$cache"
exec 9>"$cache/.$program-$version.lock"
flock 9
if [ -d "$target" ]; then # another build finished while this one waited
  echo "$target"
  exit 0
fi

work=$cache/.$program-$version.work
rm -rf "$work"
mkdir -p "$work/bin"
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath"

say() { echo "build.sh: $*" >&2; }

# k8s.io/kubernetes cannot be installed as it stands: its go.mod replaces the
# staging modules by folders that the published module does not hold. This
# module of our own requires it and replaces each of them by its release.
kubernetes() { # the packages to build
  local programs=("$@")
  local minor=${version#1.} gomod
  minor=${minor%%.*}
  gomod=$(cd "$work" && go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",\{0,1\}$/\1/p')
  {
    echo "module lighterman.dev/tools/kubernetes"
    sed -n '/^go [0-9]/p; /^godebug (/,/^)/p; /^godebug [a-z]/p' "$gomod"
    echo "require k8s.io/kubernetes v$version"
    echo "require go.etcd.io/etcd/server/v3 $(sed -n 's/^\tgo.etcd.io\/etcd\/client\/v3 \(v[^ ]*\).*/\1/p' "$gomod")"
    sed -n 's/^\tk8s.io\/\([a-z-]*\) => \.\/staging.*/\1/p' "$gomod" | while read -r module; do
      echo "replace k8s.io/$module => k8s.io/$module v0.$minor.${version##*.}"
    done
  } >"$work/go.mod"
  {
    echo "//go:build tools"
    echo "package tools"
    printf 'import _ "%s"\n' "${programs[@]}"
  } >"$work/tools.go"
  # What cannot be had may not be needed; if it is, the build says so.
  (cd "$work" && go mod tidy -e >"$work/tidy.log" 2>&1)
  # Clients refuse a server that does not say its version.
  local stamp="-s -w -X k8s.io/component-base/version.gitVersion=v$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
  for package in "${programs[@]}"; do
    local name=${package##*/}
    [ "$name" = v3 ] && name=etcd
    say "building $name (Kubernetes $version; once, several minutes)"
    if ! (cd "$work" && go build -ldflags "$stamp" -o "$work/bin/$name" "$package") >"$work/build.log" 2>&1; then
      grep -v '^go: downloading' "$work/tidy.log" "$work/build.log" | head -20 >&2
      say "$name $version could not be built: see above; a module that the proxy does not serve is one reason"
      exit 1
    fi
  done
}

install() { # package, and what the linker stamps
  say "building $program $version (once, several minutes)"
  GOBIN=$work/bin go install -ldflags "-s -w ${2-}" "$1@v$version" >&2
}

# Modules of several programs, built as a dependency of a module of our own:
# `go install` takes one program at a time, and refuses modules with replacements.
several() { # module, what the linker stamps, and the folders of the programs in it
  local module=$1 stamp=$2
  shift 2
  say "building $program $version (once, several minutes)"
  local folder made=yes
  cd "$work"
  {
    go mod init "lighterman.dev/tools/$program" && go get "$module@v$version" || made=no
    for folder in "$@"; do
      go get "$module/$folder@v$version" && go build -ldflags "-s -w $stamp" -o "$work/bin/${folder##*/}" "$module/$folder" || made=no
    done
  } >"$work/build.log" 2>&1
  if [ "$made" = no ]; then
    grep -v '^go: downloading' "$work/build.log" | tail -20 >&2
    say "$program $version could not be built: see above"
    exit 1
  fi
  cd - >/dev/null
}

# Only the plugins that a cluster's name server has here: with all of them it
# brings the SDKs of every cloud.
coredns() {
  say "building $program $version (once, several minutes)"
  cat >"$work/main.go" <<'GO'
package main

import (
	_ "github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() { coremain.Run() }
GO
  if ! (cd "$work" && go mod init lighterman.dev/tools/coredns && go get "github.com/coredns/coredns@v$version" && go mod tidy &&
    go build -ldflags "-s -w" -o "$work/bin/coredns" .) >"$work/build.log" 2>&1; then
    grep -v '^go: downloading' "$work/build.log" | tail -20 >&2
    say "$program $version could not be built: see above"
    exit 1
  fi
}

case $program in
kubernetes) kubernetes go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kubectl} ;;
kubernetes-node) kubernetes k8s.io/kubernetes/cmd/{kube-scheduler,kubelet,kube-proxy} ;;
containerd)
  several github.com/containerd/containerd/v2 "-X github.com/containerd/containerd/v2/version.Version=v$version" \
    cmd/{containerd,containerd-shim-runc-v2,ctr}
  ;;
cni) several github.com/containernetworking/plugins "" plugins/main/{ptp,loopback} plugins/ipam/host-local ;;
coredns) coredns ;;
cosign) install github.com/sigstore/cosign/v3/cmd/cosign ;;
registry) install github.com/distribution/distribution/v3/cmd/registry ;;
helm) install helm.sh/helm/v4/cmd/helm "-X helm.sh/helm/v4/internal/version.version=v$version" ;;
*)
  echo "build.sh: '$program' is not one of kubernetes, kubernetes-node, containerd, cni, coredns, cosign, registry, helm" >&2
  exit 2
  ;;
esac

mv "$work/bin" "$target"
chmod -R u+w "$work" && rm -rf "$work"
say "built $target"
echo "$target"
