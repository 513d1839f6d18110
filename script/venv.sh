# Sourced by the scripts beside it: finds Python and Chromium and makes virtual environments.

# shellcheck shell=sh

# python_or_exit: set $python to a Python 3.11 or later that can make virtual environments.
python_or_exit() {
    python=${PYTHON:-python3}
    if ! "$python" -c '' 2>/dev/null; then
        echo "$0: there is no $python here; install Python 3.11 or later, or set PYTHON to one." >&2
        exit 1
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "$0: $("$python" --version) is too old; set PYTHON to Python 3.11 or later." >&2
        exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$0: $python lacks the module venv; on Debian and Ubuntu, install python3-venv." >&2
        exit 1
    fi
}

# chromium_or_exit: install Debian's Chromium, if there is none.
chromium_or_exit() {
    if [ -z "${CHROMIUM-}" ] && ! command -v chromium >/dev/null; then
        if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
            echo "$0: install chromium, or set CHROMIUM to one." >&2
            exit 1
        fi
        apt-get update --quiet=2
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
            chromium fonts-dejavu-core >/dev/null
    fi
}

# make_venv DIRECTORY ARGUMENT...: make a virtual environment; pip installs what the arguments say.
# Does nothing if that was done before and nothing has changed since.
make_venv() {
    venv=$1
    shift
    wanted=$(
        printf '%s\n' "$root" "$("$python" --version)" "$@"
        cat "$root/setup.cfg" "$root/pyproject.toml" "$root/example_project/requirements.txt"
    )
    wanted=$(printf '%s' "$wanted" | cksum)
    if [ "$(cat "$venv/installed" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c '' 2>/dev/null
    then
        return
    fi
    echo "Setting up $venv" >&2
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet "$@"
    printf '%s\n' "$wanted" >"$venv/installed"
}
