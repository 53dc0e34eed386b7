#!/usr/bin/env bash
# Records the page in Chromium with the demo clip as its camera, and writes docs/demo.webm.
#
#     scripts/demo_video.sh [OUT]
#
# Needs chromium, chromium-driver, ffmpeg, xvfb and curl of Debian. OOBLEX_BIN names a server other than that of the release
# build. Everything runs on this machine, in a display and with a browser profile of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-docs/demo.webm}
server=${OOBLEX_BIN:-target/release/ooblex-colab}
clip=ooblex-colab/assets/astronaut_pan_640x480.mp4
size=1280x800 rate=15 seconds=30
# Bytes that the README's readers have to load.
most=5000000

for program in chromium chromedriver ffmpeg Xvfb curl "$server"; do
    command -v "$program" >/dev/null || {
        echo "demo_video: $program is missing; install chromium, chromium-driver, ffmpeg, xvfb and curl, and build the server" >&2
        exit 1
    }
done
work=$(mktemp -d)
started=()
session=
finish() {
    [ -z "$session" ] || curl -sS -X DELETE "$driver/session/$session" >/dev/null || true
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap finish EXIT

# Waits until a pattern stands in a file, and prints what its parentheses hold.
expect() { # FILE PATTERN
    for _ in $(seq 200); do
        found=$(sed -nE "s/$2/\1/p" "$1" 2>/dev/null | head -n 1)
        if [ -n "$found" ]; then
            echo "$found"
            return
        fi
        sleep 0.1
    done
    echo "demo_video: no $2 in $(cat "$1")" >&2
    return 1
}

Xvfb -displayfd 3 -screen 0 "${size}x24" 3>"$work/display" >/dev/null 2>&1 &
started+=($!)
display=:$(expect "$work/display" '^([0-9]+)$')
# The camera: the clip to and fro, without a jump where it begins again.
ffmpeg -v error -i "$clip" -an -pix_fmt yuv420p "$work/camera.y4m"
env -u OOBLEX_BIN "$server" --mjpeg-port 0 --model-name none --announce text >"$work/server" 2>&1 &
started+=($!)
page=$(expect "$work/server" '.*(http:\/\/(127\.0\.0\.1|localhost):[0-9]+)\/.*')
DISPLAY=$display chromedriver --port=0 >"$work/driver" 2>&1 &
started+=($!)
driver=http://127.0.0.1:$(expect "$work/driver" '.*successfully on port ([0-9]+).*')

options=$(printf '"%s",' --no-sandbox --disable-gpu --kiosk "--window-size=${size/x/,}" --window-position=0,0 \
    --force-device-scale-factor=1 --hide-scrollbars --no-first-run --disable-infobars --disable-background-networking \
    --disable-component-update "--user-data-dir=$work/profile" --use-fake-ui-for-media-stream \
    --use-fake-device-for-media-stream "--use-file-for-fake-video-capture=$work/camera.y4m")
session=$(curl -sS -d "{\"capabilities\":{\"alwaysMatch\":{\"browserName\":\"chrome\",\"goog:chromeOptions\":{
    \"excludeSwitches\":[\"enable-automation\"],\"args\":[${options%,}]}}}}" "$driver/session" |
    sed -nE 's/.*"sessionId":"([^"]+)".*/\1/p')
run() { # SCRIPT
    curl -sS -d "{\"script\":\"$1\",\"args\":[]}" "$driver/session/$session/execute/sync" >/dev/null
}
click() { # SELECTOR
    run "document.querySelector('$1').click()"
}
effect() { # NAME SECONDS
    run "const tile = document.querySelector('#gallery [data-effect=$1]'); tile.scrollIntoView({ block: 'nearest' }); tile.click(); scrollTo(0, 0)"
    sleep "$2"
}

curl -sS -d "{\"url\":\"$page/?transport=ws\"}" "$driver/session/$session/url" >/dev/null
run "document.querySelector('#height').value = '480'; document.querySelector('#height').dispatchEvent(new Event('change'))"
click '#camera'
sleep 3
click '#both'
sleep 1
ffmpeg -v error -f x11grab -framerate $rate -video_size $size -draw_mouse 0 -i "$display" -t $seconds \
    -c:v libx264 -preset ultrafast -qp 0 "$work/grabbed.mkv" &
grabbing=$!
effect none 2
effect edge_detection 4
effect cartoon 4
effect face_detection 5
click '#draw-here'
sleep 4
effect face_mesh 4
effect background_blur 4
effect sepia 3
wait $grabbing

encode() { # PASS ARGUMENTS...
    ffmpeg -v error -y -i "$work/grabbed.mkv" -an -c:v libvpx-vp9 -b:v $((most * 7 / seconds)) -row-mt 1 -threads 2 \
        -deadline good -cpu-used 3 -g 150 -pass "$1" -passlogfile "$work/pass" "${@:2}"
}
encode 1 -f null /dev/null
encode 2 "$work/demo.webm"
bytes=$(stat -c %s "$work/demo.webm")
if [ "$bytes" -gt $most ]; then
    echo "demo_video: $bytes bytes, more than $most" >&2
    exit 1
fi
mv "$work/demo.webm" "$out"
chmod 644 "$out"
echo "$out: $bytes bytes"
