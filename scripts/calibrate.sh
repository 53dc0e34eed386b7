#!/usr/bin/env bash
# Measures this machine, so that its figures can be compared with those of the documentation (see benches/calibrate.rs).
set -euo pipefail
cd "$(dirname "$0")/.."
uptime
exec cargo bench -q -p ooblex-tests --bench calibrate
