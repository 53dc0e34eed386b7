#!/bin/sh
# Starts ooblex-colab in a container: on the port that PORT names, as Cloud Run and others say it, unless
# OOBLEX_MJPEG_PORT says otherwise. The program replaces this shell, so that signals reach it.
set -eu
OOBLEX_MJPEG_PORT=${OOBLEX_MJPEG_PORT:-${PORT:-8081}}
export OOBLEX_MJPEG_PORT
exec ooblex-colab "$@"
