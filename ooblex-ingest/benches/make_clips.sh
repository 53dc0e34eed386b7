#!/bin/sh
# Makes the clips of the benchmark `frame_path`: 720p, 30 pictures a second, 2.5 Mbit/s, as browsers and OBS send them.
#
#     sh make_clips.sh FILE FOLDER
#
# Needs ffmpeg with libx264 and libvpx. FILE is any video; its first 120 pictures are used.
set -eu
source=$1 folder=$2
mkdir -p "$folder"
make() { # name options...
    name=$1
    shift
    ffmpeg -v error -y -i "$source" -an -vf scale=1280:720:flags=bicubic -pix_fmt yuv420p -r 30 -frames:v 120 -g 120 \
        -b:v 2500k -maxrate 2500k -bufsize 1250k "$@" "$folder/$name"
}
make baseline.mp4 -c:v libx264 -profile:v baseline -preset veryfast -tune zerolatency
make high.mp4 -c:v libx264 -profile:v high -preset veryfast -bf 0
make vp8.ivf -c:v libvpx -deadline realtime -cpu-used 8 -lag-in-frames 0
make vp9.ivf -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -lag-in-frames 0
