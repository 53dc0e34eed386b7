#!/usr/bin/env bash
# Gets this machine ready to build and run Ooblex (tier `run`) or also to test it (tier `test`).
#
# Looks for what is needed and installs only what is missing: Debian packages by apt-get, as root or through sudo,
# and for the tests a Python virtual environment and libtorch outside the checkout. With everything in place it is silent and
# takes a fraction of a second. Where it may not install anything it prints the line to run and exits with 1.
#
#   BUILD_CACHE   where these two lie (default: $XDG_CACHE_HOME/ooblex or ~/.cache/ooblex)
set -euo pipefail
cd "$(dirname "$0")/.."

tier=${1:-run}
case "$tier" in
    run | test) ;;
    *)
        echo "usage: scripts/setup.sh [run|test]" >&2
        exit 2
        ;;
esac
cache=${BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ooblex}

say() { echo "setup: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# need PACKAGE PROBE...: the Debian package is missing unless the probe succeeds.
missing=()
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

# A VLC plugin of the given path below its plugin directory, wherever the distribution puts that.
vlc_plugin() { compgen -G "/usr/lib*/vlc/plugins/$1" || compgen -G "/usr/lib/*/vlc/plugins/$1"; }
# Likewise a GStreamer plugin, or a description of its API.
gstreamer() { compgen -G "/usr/lib*/gstreamer-1.0/$1" || compgen -G "/usr/lib/*/gstreamer-1.0/$1"; }
typelib() { compgen -G "/usr/lib*/girepository-1.0/$1" || compgen -G "/usr/lib/*/girepository-1.0/$1"; }
any() {
    local name
    for name in "$@"; do have "$name" && return 0; done
    return 1
}

if ! have cargo; then
    say "cargo was not found; install Rust from https://rustup.rs and run this again"
    exit 1
fi

need gcc have cc
need g++ have c++
need make have make
need cmake have cmake
# Without nasm openh264 and libjpeg-turbo would be built without SIMD code, at half the speed.
need nasm have nasm
need pkg-config have pkg-config
need libvpx-dev pkg-config --exists vpx
if [ "$tier" = test ]; then
    need ffmpeg have ffmpeg
    need chromium any chromium chromium-browser google-chrome
    need chromium-driver have chromedriver
    need vlc-bin have cvlc
    need vlc-plugin-base vlc_plugin codec/libavcodec_plugin.so
    # Peers of the WebRTC tests: a TURN server, GStreamer's webrtcbin with VP8 and H.264, and namespaces to put them in.
    need iproute2 have ip
    need util-linux have unshare
    need coturn have turnserver
    need gstreamer1.0-plugins-base gstreamer libgstrawparse.so
    need gstreamer1.0-plugins-good gstreamer libgstvpx.so
    need gstreamer1.0-plugins-bad gstreamer libgstwebrtc.so
    need gstreamer1.0-nice gstreamer libgstnice.so
    need gir1.2-gst-plugins-bad-1.0 typelib GstWebRTC-1.0.typelib
    # Peers of the tests of tunnels.
    need openssh-client have ssh
    need openssh-server test -x /usr/sbin/sshd
    need python3-gi compgen -G "/usr/lib/python3/dist-packages/gi/__init__.py"
    need python3 have python3
    venv=$cache/venv
    venv_ready() { cmp -s tests/requirements.txt "$venv/requirements.txt" && [ -x "$venv/bin/python" ]; }
    venv_ready || need python3-venv python3 -c 'import venv, ensurepip'
fi

# How to become root here: nothing, sudo, or not at all. sudo may ask for a password only on a terminal.
root=()
may_install() {
    [ "$(id -u)" = 0 ] && return 0
    have sudo || return 1
    root=(sudo)
    [ -t 0 ] || sudo -n true 2>/dev/null
}

if [ ${#missing[@]} -gt 0 ]; then
    say "missing: ${missing[*]}"
    if ! have apt-get; then
        say "this system has no apt-get; install the counterparts of these Debian packages and run this again"
        exit 1
    fi
    if ! may_install; then
        say "installing them needs root; run this, then try again:"
        echo "sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
        exit 1
    fi
    say "installing them with apt-get"
    apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 "$@" </dev/null >&2; }
    # Debian starts a TURN server and an SSH server as soon as they are installed, open to the network. The tests start
    # their own.
    service() { "${root[@]}" systemctl -q "$@" >/dev/null 2>&1; }
    masked=()
    if [ -d /run/systemd/system ]; then
        for pair in coturn:coturn.service openssh-server:ssh.service; do
            [[ " ${missing[*]} " = *" ${pair%%:*} "* ]] && service --runtime mask "${pair#*:}" && masked+=("${pair#*:}")
        done
    fi
    unmask() {
        local unit
        for unit in "${masked[@]}"; do
            service disable "$unit" || say "could not disable $unit"
            service --runtime unmask "$unit" || say "could not unmask $unit"
        done
        masked=()
    }
    trap unmask EXIT
    if ! { apt update && apt install -y --no-install-recommends "${missing[@]}"; }; then
        say "apt-get failed; install ${missing[*]} by hand and run this again"
        exit 1
    fi
    unmask
fi

# openh264-sys2 silently builds its slow C code when nasm is missing, and installing nasm later rebuilds nothing: its
# build script's log tells. Without these two directories cargo builds it again.
target=${CARGO_TARGET_DIR:-target}
for log in "$target"/*/build/openh264-sys2-*/output; do
    if grep -qs 'Failed to compile NASM' "$log"; then
        build=$(dirname "$log")
        say "openh264 in $target was built without nasm; it will be built again"
        rm -rf "$build" "$(dirname "$(dirname "$build")")"/.fingerprint/"$(basename "$build")"
    fi
done

if [ "$tier" = test ]; then
    if ! venv_ready; then
        say "installing tests/requirements.txt into $venv"
        python3 -m venv --clear "$venv"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check -r tests/requirements.txt >&2
        # Copied last: an installation that was interrupted counts as none.
        cp tests/requirements.txt "$venv/requirements.txt"
    fi
    # Only the step `torch` of scripts/test.sh needs it, and says where it is not there.
    scripts/libtorch.sh >/dev/null || say "libtorch could not be fetched"
    # Tests find the environment here. A directory of that name is the user's own business.
    if [ -L .venv ] || [ ! -e .venv ]; then
        [ "$(readlink .venv)" = "$venv" ] || ln -sfn "$venv" .venv
    fi
fi
