#!/usr/bin/env bash
# as-user.sh DIR COMMAND...: runs COMMAND in DIR, as an unprivileged user when called by root, plainly otherwise.
#
# For programs that refuse to run as root, such as VLC. DIR becomes the user's own, its working directory and its
# home, so it must be a throwaway directory. The command replaces this process: signals reach it, and its exit status
# is the script's.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: scripts/as-user.sh DIR COMMAND..." >&2
    exit 2
fi
dir=$(realpath -- "$1")
shift

export HOME=$dir XDG_RUNTIME_DIR=$dir
if [ "$(id -u)" != 0 ]; then
    cd "$dir"
    exec "$@"
fi
uid=$(id -u nobody)
gid=$(id -g nobody)
chown -R "$uid:$gid" "$dir"
cd "$dir"
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups -- "$@"
