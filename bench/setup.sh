#!/bin/bash
# Set up what tests, demonstration and measurements need; quick when it is there already.
#
#     bench/setup.sh venv DIR    a virtual environment with the project (editable) and the servers
#     bench/setup.sh servers DIR the servers that are no Python packages; DIR/bin gets the one in Go,
#                                and promtool of Prometheus
#     bench/setup.sh system      debootstrap, for the tests inside of a booted systemd
#     bench/setup.sh rpm         rpmbuild and rpmlint, for the RPM package
#     bench/setup.sh tools DIR   wrk, strace, Server::Starter and circus, for the measurements
#
# Debian's packages are only installed where something is missing: as root, or with sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

updated=
update() {
    [ -n "$updated" ] || "$@" apt-get -q update
    updated=1
}

install() {
    local sudo=
    if ! command -v apt-get >/dev/null; then
        echo "setup: please install what these Debian packages hold: $*" >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: please install as root: apt-get install $*" >&2
            exit 1
        fi
        sudo=sudo
    fi
    echo "setup: installing $*"
    update $sudo
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@"
}

# The first Python of at least 3.11 that really runs (a shim of a version manager may not) and can
# make virtual environments.
find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3 python3.14; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# A distribution whose python3 is too old may have a newer one beside it.
install_python() {
    install python3 python3-venv
    find_python >/dev/null || install python3.11 python3.11-venv
}

make_venv() {
    local python
    find_python >/dev/null || install_python
    if ! python=$(find_python); then
        echo "setup: no Python of at least 3.11 was found; please install one" >&2
        exit 1
    fi
    if ! "$1/bin/python" -c '' 2>/dev/null; then
        echo "setup: making $1 with $("$python" --version)"
        "$python" -m venv --clear "$1"
    fi
    local pip=("$1/bin/python" -m pip install -q --disable-pip-version-check)
    "${pip[@]}" -r tests/requirements.txt
    # By a path, not by an import hook: that would load a dozen modules into every Python, and
    # into the supervisor, whose memory is measured.
    "${pip[@]}" --config-settings editable_mode=compat -e .
}

# The servers of the zoo in other languages.
make_servers() {
    local packages=()
    command -v node >/dev/null || packages+=(nodejs)
    command -v go >/dev/null || packages+=(golang-go)
    command -v uwsgi >/dev/null && [ -e /usr/lib/uwsgi/plugins/python3_plugin.so ] ||
        packages+=(uwsgi-core uwsgi-plugin-python3)
    [ ${#packages[@]} = 0 ] || install "${packages[@]}"
    # Static, and without modules: nothing is downloaded. The compiler's cache is not kept.
    local cache
    cache=$(mktemp -d)
    GO111MODULE=off CGO_ENABLED=0 GOCACHE=$cache go build -o "$1/bin/zoo-go" \
        tests/servers/apps/go_server.go
    rm -rf "$cache"
}

# What reads the man pages and the completions. Without one of them its tests are skipped.
install_readers() {
    local packages=()
    command -v zsh >/dev/null || packages+=(zsh)
    command -v fish >/dev/null || packages+=(fish)
    command -v man >/dev/null || packages+=(man-db)
    command -v mandoc >/dev/null || packages+=(mandoc)
    [ ${#packages[@]} = 0 ] || (install "${packages[@]}") || true
}

# What checks the exporter's page and the alerts. Only this one file: the package starts a server.
make_promtool() {
    if command -v promtool >/dev/null || [ -x "$1/bin/promtool" ] || ! command -v apt-get >/dev/null
    then
        return
    fi
    local folder
    folder=$(mktemp -d)
    [ "$(id -u)" != 0 ] || update
    (cd "$folder" && apt-get -q -o APT::Sandbox::User=root download prometheus >/dev/null)
    dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -xO ./usr/bin/promtool \
        >"$folder/promtool"
    chmod 755 "$folder/promtool"
    mv "$folder/promtool" "$1/bin/promtool"
    rm -rf "$folder"
}

install_system_needs() {
    local packages=()
    command -v debootstrap >/dev/null || packages+=(debootstrap)
    command -v ip >/dev/null || packages+=(iproute2)
    # Ubuntu has it apart.
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || packages+=(debian-archive-keyring)
    [ ${#packages[@]} = 0 ] || install "${packages[@]}"
}

case "${1-}" in
venv)
    make_venv "${2:-.venv}"
    make_servers "${2:-.venv}"
    make_promtool "${2:-.venv}" || echo "setup: no promtool: the tests that need it are skipped"
    install_readers
    ;;
servers)
    make_servers "${2:-.venv}"
    make_promtool "${2:-.venv}" || echo "setup: no promtool: the tests that need it are skipped"
    ;;
system) install_system_needs ;;
rpm)
    command -v rpmbuild >/dev/null || install rpm
    command -v rpmlint >/dev/null || install rpmlint
    ;;
tools)
    command -v wrk >/dev/null || install wrk
    command -v strace >/dev/null || install strace
    # Only for comparison: without it, one row stays empty.
    command -v start_server >/dev/null || install libserver-starter-perl || true
    "${2:-.venv}/bin/python" -m pip install -q --disable-pip-version-check 'circus>=0.18' || true
    ;;
*)
    echo "usage: bench/setup.sh venv DIR | servers DIR | system | rpm | tools DIR" >&2
    exit 2
    ;;
esac
