#!/usr/bin/env bash
# Measures this machine by one JPEG encode, so that its figures can be compared with those of the documentation, which
# were taken where that costs 2.25 ms.
set -euo pipefail
cd "$(dirname "$0")/.."
uptime
exec cargo bench -q --profile release -p ooblex-mjpeg --bench calibrate
