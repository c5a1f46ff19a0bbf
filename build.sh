#!/usr/bin/env bash
# One command for everything: ./build.sh help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

checkout=$PWD
target_dir=${CARGO_TARGET_DIR:-$checkout/target}
sandbox=$target_dir/debug/sandbox
# Debian's name of the C library for a foreign processor.
declare -A cross_libc=([aarch64]=arm64 [x86_64]=amd64)

usage() {
    cat <<'END'
Usage: ./build.sh COMMAND

  demo           the whole mission in the terminal, against stand-ins for UISP, Dropbox and the plugin host
  demo --serve   the plugin in UISP's web interface, in a browser, to click through; with the name of a scene
                 (say "well") it starts there
  test           before every change: format, lints, the demo, all tests of the program as it is while working on it
  release-test   what only the programs of a release can show: their size, that they need nothing and no one, that two
                 builds give the same bytes; and the longest of the other tests
  package        the static release programs (x86_64 and, where the tools can be had, aarch64) and the
                 installable ZIP, dist/backup-sync-dropbox.zip, with its bill of materials, man page, completions
                 and SHA-256 sums beside it; the same commit gives the same bytes
  image          the container image for a folder of backups, with buildah, podman or docker, for x86_64 and, where the tools
                 can be had, aarch64; also as files for "docker load", dist/backup-sync-dropbox-image-*.tar
  export-plugin  the package in the layout of the public plugin repository; after it, the folder (default: dist)
  reproduce      builds the package twice, in different folders, and compares the bytes
  sizes          what the package weighs and what starting the program costs, as in docs/benchmarks.md
  licences       THIRD-PARTY.md, anew; needed when Cargo.lock changes
  pictures       the pictures in docs/pictures, anew, from the demo in a browser
  bench          what a run costs in time, CPU, memory and requests, against the stand-ins (about five minutes);
                 options: --large (8 GiB as well), --repeat N, --plain, --markdown, --only TEXT, --timeline
  fuzz [SECONDS] what comes from outside, changed at random (cargo-fuzz), each target for so long (default: 60)
  soak           properties, the model test, crash tests, fuzzing and mutants of the code that decides (cargo-mutants),
                 at a scale for a night, not for every change
  help           this text

Needs Rust and bash. What else a command needs is installed through apt, as root or with sudo.
END
}

say() { printf '\n== %s\n' "$*" >&2; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

# install COMMAND PACKAGE...: installs the Debian packages unless the command succeeds already.
install() {
    local check=$1
    shift
    if bash -c "$check" >/dev/null 2>&1; then return 0; fi
    command -v apt-get >/dev/null || return 1
    say "installing $*"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || return 1
        as_root=(sudo)
    fi
    # Package lists may be missing (fresh containers) or stale, so a failure is tried again with new ones.
    local get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    "${get[@]}" install -y --no-install-recommends "$@" >/dev/null \
        || { "${get[@]}" update >/dev/null && "${get[@]}" install -y --no-install-recommends "$@" >/dev/null; } \
        || return 1
    bash -c "$check" >/dev/null 2>&1
}

require() { install "$@" || fail "cannot install: ${*:2}. Install it by hand and try again."; }

need_compiler() { require 'command -v cc' gcc libc6-dev; }
# PHP and Python for a browser to drive and be driven by.
need_browser() {
    require 'python3 -c "import venv, ensurepip"' python3 python3-venv
    require 'php-cgi -v' php-cgi
    require 'command -v chromium && command -v chromedriver' chromium chromium-driver
}
need_php() { install 'php -r "exit((int) ! class_exists(\"ZipArchive\"));"' php-cli php-zip; }

has_target() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] && return 0
    # Rustup may not reach its server; waiting for that is not worth more than a minute.
    timeout 60 rustup target add "$1" >/dev/null 2>&1
}

# Prints the Rust target for a static program of an architecture, and its C compiler, which ring needs; nothing if there is
# none. For this machine's own architecture there is a way out: a program for this machine alone.
choose_target() {
    local architecture=$1
    local musl=$architecture-unknown-linux-musl cross=$architecture-linux-gnu-gcc
    if [ "$architecture" = "$(uname -m)" ]; then
        if has_target "$musl" && install 'command -v musl-gcc' musl-tools; then
            echo "$musl musl-gcc"
        else
            # Dynamic: a static program of glibc may load the wrong libraries for name lookups.
            echo "$(rustc -vV | sed -n 's/^host: //p') cc"
        fi
    elif has_target "$musl" \
        && install "command -v $cross" "gcc-${architecture/_/-}-linux-gnu" libc6-dev-"${cross_libc[$architecture]}"-cross; then
        echo "$musl $cross"
    fi
}

is_static() { [[ $1 == *-unknown-linux-musl ]]; }

# build_release TARGET COMPILER...: builds the programs for all these targets at once, and prints their paths.
build_release() {
    local cargo_home=${CARGO_HOME:-$HOME/.cargo} targets=() programs=() flags name program
    # In a subshell of the caller's: what is exported here ends with it.
    while [ $# -gt 0 ]; do
        name=${1//-/_}
        export "CC_$name=$2"
        # Rust brings musl's start files and library itself; the linker only has to know the processor.
        if [ "${1%%-*}" != "$(uname -m)" ]; then export "CARGO_TARGET_${name^^}_LINKER=$2"; fi
        # No path of this machine may reach the program: the same commit gives the same bytes anywhere.
        # With --target the flags stay away from build scripts and macros.
        flags="--remap-path-prefix=$cargo_home=/cargo \
--remap-path-prefix=$checkout=/source --remap-path-prefix=$target_dir=/target"
        # Addresses to adjust at the start in a compact list. Rust's own musl understands it, an old glibc does not.
        if is_static "$1"; then
            flags+=" -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"
            # Nobody unwinds where a panic aborts: without the tables for it the program is a fifteenth smaller. The
            # path is a relative one, because what stands in the flags counts for the bytes.
            flags+=" -C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Wl,-T,.cargo/without-unwinding.ld"
        fi
        export "CARGO_TARGET_${name^^}_RUSTFLAGS=$flags"
        targets+=(--target "$1")
        programs+=("$target_dir/$1/release/backup-sync-dropbox")
        shift 2
    done
    cargo build --release --locked --bin backup-sync-dropbox "${targets[@]}" >&2
    for program in "${programs[@]}"; do
        if is_static "$(basename "${program%/release/*}")"; then check_static "$program"; fi
        check_anonymous "$program" "$checkout" "$target_dir" "$cargo_home" "$(rustc --print sysroot)"
        echo "$program"
    done
}

check_static() {
    command -v readelf >/dev/null || return 0
    # Captured first: a grep that stops reading early would break the pipe.
    local headers dynamic
    headers=$(readelf -lW "$1")
    dynamic=$(readelf -dW "$1")
    [[ $headers != *INTERP* && $dynamic != *NEEDED* ]] || fail "$1 is not static"
}

# check_anonymous PROGRAM PATH...: none of the paths stands in the program.
check_anonymous() {
    local program=$1 path
    shift
    for path in "$@"; do
        ! LC_ALL=C grep -qaF "$path" "$program" || fail "$program contains the path $path of this machine"
    done
}

# The stand-ins, as a program. With the whole workspace selected, so that dependencies get the same features as in the
# tests and are compiled once.
build_sandbox() { cargo build --locked --workspace --bin sandbox --test stand_ins >&2; }

# pack ZIP ARCHITECTURE=HOW=PATH...: the installable ZIP of this commit, with these programs.
pack() {
    local zip=$1 commit=unknown commit_time=315532800
    shift
    if git rev-parse HEAD >/dev/null 2>&1; then
        commit=$(git rev-parse HEAD)
        commit_time=$(git show -s --format=%ct HEAD)
        [ -z "$(git status --porcelain)" ] || commit+=" with local changes"
    fi
    mkdir -p "$(dirname "$zip")"
    "$sandbox" pack "$zip" "$commit" "$commit_time" "$@"
    say "$zip ($(wc -c <"$zip") bytes)"
}

# package ZIP ARCHITECTURE...: builds the programs and packs them.
package() {
    local zip=$1
    shift
    need_compiler
    local entries=() targets=() architecture target compiler kind
    for architecture in x86_64 aarch64; do
        if [[ " $* " != *" $architecture "* ]]; then
            entries+=("$architecture=skipped=not asked for")
            continue
        fi
        read -r target compiler <<<"$(choose_target "$architecture")"
        if [ -z "$target" ]; then
            say "$architecture: skipped: no Rust target or no cross compiler for it can be had on this machine"
            entries+=("$architecture=skipped=no Rust target or no cross compiler for it on the building machine")
            continue
        fi
        kind=static
        if ! is_static "$target"; then
            kind="for the building machine alone"
            say "$architecture: neither for UISP's container nor for other machines: rustup's musl target or musl-tools cannot be had"
        fi
        targets+=("$target" "$compiler")
        entries+=("$architecture=$kind, $target, $(rustc --version)=$target_dir/$target/release/backup-sync-dropbox")
    done
    [ ${#targets[@]} -gt 0 ] || fail "no program can be built for $*"
    say "building for ${targets[*]}"
    (build_release "${targets[@]}" >/dev/null)
    build_sandbox
    pack "$zip" "${entries[@]}"
}

# The ZIP for others: with static programs, or none at all.
package_for_others() {
    is_static "$(choose_target "$(uname -m)" | cut -d ' ' -f 1)" \
        || fail "a static program needs rustup's target $(uname -m)-unknown-linux-musl and musl-gcc (Debian: musl-tools). Install them by hand and try again."
    package "$1" x86_64 aarch64
}

# What goes beside the ZIP to whoever gets it.
papers() {
    local zip=$1
    cargo build --locked --workspace --example manual >&2
    (
        "$sandbox" licences sbom >"${zip%.zip}.cdx.json"
        cd "$(dirname "$zip")"
        "$target_dir/debug/examples/manual" . "$(git show -s --format=%cs HEAD 2>/dev/null)" |
            xargs sha256sum "$(basename "$zip")" "$(basename "${zip%.zip}.cdx.json")" >SHA256SUMS
    )
    say "$(cat "$(dirname "$zip")/SHA256SUMS")"
}

# image_tool: the first of these that is there; buildah needs the least.
image_tool() {
    local tool
    for tool in buildah podman docker; do
        if command -v "$tool" >/dev/null; then
            echo "$tool"
            return 0
        fi
    done
    fail "an image needs buildah, podman or docker. Install one of them and try again."
}

# The image for each architecture. BUILDAH_STORAGE and the like are the tools' own matter; what they need is in their manuals.
image() {
    local tool version architecture platform target compiler name file folder
    local -A platforms=([x86_64]=amd64 [aarch64]=arm64)
    tool=$(image_tool)
    version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
    need_compiler
    mkdir -p dist
    for architecture in x86_64 aarch64; do
        read -r target compiler <<<"$(choose_target "$architecture")"
        if [ -z "$target" ] || ! is_static "$target"; then
            say "$architecture: skipped: a static program for it cannot be built on this machine"
            continue
        fi
        say "building for $target"
        (build_release "$target" "$compiler" >/dev/null)
        folder=$target_dir/image/$architecture
        mkdir -p "$folder"
        cp "$target_dir/$target/release/backup-sync-dropbox" "$folder/"
        platform=${platforms[$architecture]}
        name=localhost/backup-sync-dropbox:$version
        if [ "$architecture" != "$(uname -m)" ]; then name+=-$platform; fi
        file=dist/backup-sync-dropbox-image-$platform.tar
        rm -f "$file"
        case $tool in
            # Health checks are not part of the OCI format.
            buildah)
                buildah bud --format docker --isolation chroot --platform "linux/$platform" -t "$name" -f Containerfile "$folder" >&2
                buildah push --quiet "$name" "docker-archive:$file:$name" >&2
                ;;
            podman)
                podman build --format docker --platform "linux/$platform" -t "$name" -f Containerfile "$folder" >&2
                podman save --quiet --format docker-archive -o "$file" "$name" >&2
                ;;
            docker)
                docker build --platform "linux/$platform" -t "$name" -f Containerfile "$folder" >&2
                docker save -o "$file" "$name" >&2
                ;;
        esac
        say "$name, $file ($(wc -c <"$file") bytes)"
    done
}

export_plugin() {
    local folder=${1:-$checkout/dist}
    package_for_others "$checkout/dist/backup-sync-dropbox.zip"
    need_php || fail "the repository's checks need PHP (Debian: php-cli php-zip)"
    rm -rf "$folder/plugins/backup-sync-dropbox"
    "$sandbox" export "$checkout/dist/backup-sync-dropbox.zip" "$folder/plugins"
}

# Builds the package twice and compares the two.
reproduce() {
    local zip=$target_dir/package/first.zip
    package "$zip" "$(uname -m)"
    again_elsewhere "$zip" "$(uname -m)"
}

# again_elsewhere ZIP ARCHITECTURE...: builds that package again, in another folder and from nothing, and compares.
again_elsewhere() {
    local first=$1 scratch there
    shift
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$scratch'" EXIT
    there=$scratch/a/folder/of/another/name
    git clone --quiet "$checkout" "$there"
    # With what is not committed yet.
    git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents --target-directory "$there"
    say "the same again in $there"
    (
        cd "$there"
        build_sandbox() { :; }
        checkout=$there target_dir=$there/target
        export CARGO_TARGET_DIR=$target_dir
        package "$scratch/second.zip" "$@"
    )
    cmp "$first" "$scratch/second.zip" || fail "two builds of one commit differ"
    say "both builds gave the same bytes: $(sha256sum <"$first" | cut -d ' ' -f 1)"
}

licences() {
    build_sandbox
    "$sandbox" licences third-party >"$target_dir/THIRD-PARTY.md"
    mv "$target_dir/THIRD-PARTY.md" THIRD-PARTY.md
}

sizes() {
    local zip=$target_dir/package/backup-sync-dropbox.zip starts=200 program
    package "$zip" x86_64 aarch64
    say "sizes"
    echo "| what | now | limit |"
    echo "| --- | --- | --- |"
    for program in "$target_dir"/{x86_64,aarch64}-unknown-linux-musl/release/backup-sync-dropbox; do
        [ ! -f "$program" ] || echo "| $(basename "${program%-unknown*}") | $(wc -c <"$program") bytes | 4,300,000 bytes |"
    done
    echo "| ZIP | $(wc -c <"$zip") bytes | 4,500,000 bytes |"
    echo "| crates linked | $(grep -c '^| \[' THIRD-PARTY.md) | - |"
    program=$target_dir/$(uname -m)-unknown-linux-musl/release/backup-sync-dropbox
    local TIMEFORMAT='%U %S' spent
    spent=$({ time for ((i = 0; i < starts; i++)); do "$program" --version >/dev/null; done; } 2>&1)
    awk -v n="$starts" '{printf "| a start (`--version`), its fork included | %.1f ms of processor time | 5 ms |\n", ($1 + $2) * 1000 / n}' \
        <<<"$spent"
}

# The ZIP with the program as it is compiled while working on it; prints its path.
working_zip() {
    local zip=$target_dir/package/working.zip
    need_compiler
    cargo build --locked --workspace --bins --test stand_ins >&2
    pack "$zip" "$(uname -m)=a debug program=$target_dir/debug/backup-sync-dropbox"
    echo "$zip"
}

need_test_tools() {
    need_compiler
    need_php || fail "the tests need PHP with its zip extension (Debian: php-cli php-zip)"
    need_crash_tools
    require 'command -v unshare && command -v setpriv && command -v setarch' util-linux
    require 'command -v ip' iproute2
    # The page behind a web server as on a host; both programs are in folders that only root's path has.
    require 'ls /usr/sbin/php-fpm*' php-fpm
    require 'ls /usr/sbin/nginx' nginx
    require 'command -v age' age
    install 'command -v mandoc' mandoc || say "no mandoc to be had: nothing reads the man page"
}

# Most tests wait most of the time: for a clock, for a disk, for a browser.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((4 * $(nproc)))}

run_tests() {
    need_test_tools
    need_browser

    say "syntax of the scripts"
    bash -n build.sh
    local file
    for file in *.php; do php -d error_reporting=-1 -d display_errors=1 -l "$file"; done

    say "format and lints"
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings

    say "tests"
    cargo test --locked --workspace
}

# What only the programs of a release can show, and what takes long.
run_release_tests() {
    need_test_tools
    install 'command -v qemu-aarch64-static' qemu-user-static \
        || say "no emulator to be had (Debian: qemu-user-static): the program for aarch64 is built, but not run"
    install 'buildah --version && podman --version && runc --version' buildah podman runc \
        || say "no buildah, podman and runc to be had: the container image is neither built nor run"

    local zip=$target_dir/package/backup-sync-dropbox.zip first=$target_dir/package/first.zip again
    package "$zip" x86_64 aarch64
    package "$first" "$(uname -m)"
    say "building the tests"
    cargo test --locked --workspace --no-run

    # Beside tests that mostly wait. A process group of its own, so that it does not outlive this script.
    set -m
    again_elsewhere "$first" "$(uname -m)" >"${first%.zip}.log" 2>&1 </dev/null &
    again=$!
    set +m
    # The tests come first: some of them look at a clock that runs fast.
    renice -n 19 -g "$again" >/dev/null
    # shellcheck disable=SC2064 # the process of now
    trap "kill -- -$again 2>/dev/null || true" EXIT
    say "the release programs"
    # One after the other: what a test starts inherits what another one has open for writing just then, which keeps
    # a program there from being started.
    BACKUP_SYNC_ZIP=$zip cargo test --locked --test release -- --test-threads=1
    emulated_demo "$zip"
    say "what takes long: kills at every system call, faults that last"
    cargo test --locked --test program -- --ignored
    say "the package, built again elsewhere"
    wait "$again" || { cat "${first%.zip}.log" >&2; fail "the second build failed, or gave other bytes"; }
    tail -n 1 "${first%.zip}.log"
}

# The demo, with the program for aarch64 under an emulator in the place of this machine's own.
emulated_demo() {
    local folder=$target_dir/package/emulated
    if [ "$(uname -m)" = aarch64 ] || ! command -v qemu-aarch64-static >/dev/null; then return 0; fi
    mkdir -p "$folder"
    if ! php -r '$zip = new ZipArchive; $zip->open($argv[1]); $program = $zip->getFromName("bin/aarch64/backup-sync-dropbox");
        exit($program !== false && file_put_contents($argv[2], $program) ? 0 : 1);' "$1" "$folder/program"; then
        say "no program for aarch64 in the ZIP: its demo is left out"
        return 0
    fi
    printf '#!/bin/sh\nexec qemu-aarch64-static "%s" "$@"\n' "$folder/program" >"$folder/emulated"
    chmod +x "$folder/program" "$folder/emulated"
    pack "$folder/emulated.zip" \
        "$(uname -m)=the program for aarch64, emulated=$folder/emulated" "aarch64=skipped=it is in the place of the other"
    say "the demo, with the program for aarch64 under an emulator"
    "$sandbox" demo "$folder/emulated.zip" </dev/null
}

demo() {
    need_php || say "PHP cannot be had here: the demo starts the program directly"
    install 'command -v age' age || say "age cannot be had here: the demo leaves encryption out"
    if [ "${1:-}" = --serve ]; then
        install 'php-cgi -v' php-cgi || say "php-cgi cannot be had here: the demo asks the program for its page directly"
    fi
    local zip
    zip=$(working_zip)
    say "demo"
    "$sandbox" demo "$zip" "$@"
}

pictures() {
    need_php || fail "the pictures need PHP with its zip extension (Debian: php-cli php-zip)"
    need_browser
    local zip
    zip=$(working_zip)
    say "pictures"
    "$sandbox" pictures "$zip" tests/program/browser "$target_dir/tmp/browser-venv" docs/pictures
}

bench() {
    need_compiler
    local target compiler program
    read -r target compiler <<<"$(choose_target "$(uname -m)")"
    say "building the program for $target, as for the package"
    program=$(build_release "$target" "$compiler")
    # For the same target, so that the bare copy loop has the program's C library and allocator. Optimised, as the stand-ins must
    # not slow the program down; without LTO, as that would take minutes and give nothing.
    env "CC_${target//-/_}=$compiler" RUSTFLAGS="-C target-feature=+crt-static" \
        CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 \
        cargo build --locked --profile bench --package sandbox --bin sandbox --target "$target" >&2
    say "bench"
    "$target_dir/$target/release/sandbox" bench "$program" "$@"
}

need_crash_tools() {
    require 'command -v strace' strace
    require 'ls /usr/lib/*/faketime/libfaketimeMT.so.1' libfaketime
}

# need_cargo_tool NAME: a subcommand of Cargo; where it is not installed, it is built and kept in the build folder.
need_cargo_tool() {
    export PATH=$PATH:$target_dir/tools/bin
    command -v "$1" >/dev/null || cargo install --locked --root "$target_dir/tools" "$1" >&2
}

# What is found new stays in the build folder, what fails in fuzz/artifacts.
fuzz() {
    local seconds=${1:-60} target grown
    require 'command -v c++' g++
    need_cargo_tool cargo-fuzz
    for target in $(cargo fuzz list); do
        say "fuzzing $target for $seconds s"
        grown=$target_dir/fuzz-corpus/$target
        mkdir -p "$grown"
        # Without a sanitizer, which stable Rust does not have: the program has no unsafe code for it to watch.
        cargo fuzz run --release --sanitizer none "$target" "$grown" "fuzz/corpus/$target" -- \
            -max_total_time="$seconds" -max_len=2048 -timeout=10 -print_final_stats=1
    done
}

soak() {
    need_compiler
    need_crash_tools
    # Optimised, but without the slow link of the shipped program.
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_PANIC=unwind
    say "rules of deletion, a million cases each"
    PROPTEST_CASES=1000000 cargo test --locked --release --test rules planner::
    say "histories against the reference model"
    MODEL_HISTORIES=1000 cargo test --locked --release --test rules model::
    MODEL_HISTORIES=40 cargo test --locked --release --test program model::
    say "hostile input: parsers over arbitrary bytes"
    PROPTEST_CASES=100000 cargo test --locked --release --test rules parsers::
    say "crash tests: 2,000 random kills"
    CRASH_KILLS=2000 cargo test --locked --test program crash::random -- --nocapture
    fuzz 1800
    say "mutants: each change of the code that decides has to fail a test"
    need_cargo_tool cargo-mutants
    MODEL_HISTORIES=10 PROPTEST_CASES=64 cargo mutants --output "$target_dir"
}

case ${1:-help} in
    demo) demo "${@:2}" ;;
    test) run_tests ;;
    release-test) run_release_tests ;;
    pictures) pictures ;;
    bench) bench "${@:2}" ;;
    fuzz) fuzz "${@:2}" ;;
    soak) soak ;;
    package)
        package_for_others "$checkout/dist/backup-sync-dropbox.zip"
        papers "$checkout/dist/backup-sync-dropbox.zip"
        ;;
    image) image ;;
    export-plugin) export_plugin "${@:2}" ;;
    reproduce) reproduce ;;
    sizes) sizes ;;
    licences) licences ;;
    help | --help | -h) usage ;;
    *)
        usage >&2
        exit 2
        ;;
esac
