#!/bin/sh
# Makes the live-codec clips in this folder from the project's public-domain demo clip:
#
#     sh make_live.sh ../../../ooblex-colab/assets/astronaut_pan_640x480.mp4
#
# Needs ffmpeg with libvpx and libx264 (made with 5.1). The `.crc` files hold what ffmpeg's own decoders (not libvpx)
# made of the VP8 and VP9 clips: one line a shown picture, `pts adler32`, over the packed planes.
set -eu
source=$1
cd "$(dirname "$0")"
log=$(mktemp -u)
passes=0
exact="-bitexact -fflags +bitexact -flags:v +bitexact"

vpx() { # name codec size frames options...
    name=$1 codec=$2 size=$3 frames=$4
    shift 4
    for pass in $passes; do
        ffmpeg -v error -y -i "$source" -an -vf "scale=$size:flags=bicubic" -pix_fmt yuv420p -frames:v "$frames" \
            -c:v "$codec" -threads 1 $exact "$@" $(test "$pass" = 0 || echo "-pass $pass -passlogfile $log") "$name.ivf"
    done
    ffmpeg -v error -i "$name.ivf" -fps_mode passthrough -f framecrc - |
        awk -F, '!/^#/ { gsub(/ /, ""); print $3, $6 }' >"$name.crc"
}

# As browsers send it: no frame is held back. Odd sides.
vpx vp8 libvpx 175:143 30 -deadline realtime -cpu-used 8 -lag-in-frames 0 -error-resilient 1 -b:v 150k -g 15
vpx vp9 libvpx-vp9 175:143 30 -deadline realtime -cpu-used 8 -lag-in-frames 0 -b:v 150k -g 15 -colorspace bt709
# With hidden frames (VP9: superframes), which take two passes; other sizes, another range.
passes="1 2"
vpx vp8_hidden libvpx 96:64 30 -lag-in-frames 16 -auto-alt-ref 1 -arnr-maxframes 5 -b:v 80k -g 30
vpx vp9_hidden libvpx-vp9 96:64 30 -lag-in-frames 16 -auto-alt-ref 1 -b:v 80k -g 30 -color_range pc
rm "$log"*
passes=0
# What is refused.
vpx vp9_444 libvpx-vp9 64:64 1 -pix_fmt yuv444p -b:v 80k
vpx vp9_10bit libvpx-vp9 64:64 1 -pix_fmt yuv420p10le -b:v 80k
rm vp9_444.crc vp9_10bit.crc

# H.264 as OBS sends it: high profile, CABAC, 8x8 transforms, several slices; main profile with cropped macroblocks;
# B frames that refer to one another. The checksums are in the order of showing.
h264() { # name size options...
    name=$1 size=$2
    shift 2
    ffmpeg -v error -y -i "$source" -an -vf "scale=$size:flags=bicubic" -pix_fmt yuv420p -frames:v 40 \
        -c:v libx264 -threads 1 -b:v 150k $exact "$@" "$name.mp4"
    ffmpeg -v error -i "$name.mp4" -fps_mode passthrough -f framecrc - |
        awk -F, '!/^#/ { gsub(/ /, ""); print $3, $6 }' >"$name.crc"
}
h264 h264_high 160:120 -profile:v high -bf 0 -g 20 -refs 3 -x264-params slices=3:colormatrix=bt709
h264 h264_main 174:142 -profile:v main -bf 0 -g 20 -refs 2
h264 h264_b 160:120 -profile:v high -bf 3 -b_strategy 0 -g 20 -refs 4 -x264-params b-pyramid=normal
# May reorder, but does not.
h264 h264_unmoved 160:120 -profile:v high -bf 1 -b_strategy 1 -g 20 -refs 2 -x264-params b-bias=-100
