#!/bin/sh
# pkg-config for cargo's build scripts (.cargo/config.toml names it). Debian's description of libvpx does not name the folder
# of its archive, and the crate `pkg-config` links no archive below /usr. So where the compiler finds an archive, it is
# linked into the build script's own folder and named from there; otherwise the shared library serves.
flags=$(pkg-config "$@") || exit
case "$flags" in
    *-lvpx*)
        archive=$(${CC:-cc} -print-file-name=libvpx.a)
        if [ -f "$archive" ] && [ -n "$OUT_DIR" ]; then
            ln -sf "$archive" "$OUT_DIR/libvpx.a"
            folder=$(printf '%s' "$OUT_DIR" | sed 's/[\\ ]/\\&/g')
            flags="${flags%%-lvpx*}-L$folder -lvpx${flags#*-lvpx}"
        fi
        ;;
esac
printf '%s\n' "$flags"
