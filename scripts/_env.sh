# Sourced by the other scripts. `ensure EXTRA…` makes .venv and installs Easel with these extras, at the versions of
# constraints.txt. A stamp in .venv says what is installed, so that a second call costs milliseconds.
#
#   EASEL_PYTHON   the Python to use, 3.11 or newer; looked for when unset
#   EASEL_GPU=1    the CUDA build of torch (gigabytes) and xformers instead of the CPU build

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
STAMP="$VENV/easel-stamp"
TORCH=2.13.0
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# What decides on the installed packages. cksum is everywhere, and this is no secret.
fingerprint() { sed '/^\[tool\./,$d' "$ROOT/pyproject.toml" | cat - "$ROOT/constraints.txt" | cksum; }

installed() {  # EXTRA…: does the stamp cover them, for today's pyproject.toml and constraints.txt?
    local known="" extras="" extra
    [ -f "$STAMP" ] && { read -r known; read -r extras; } <"$STAMP"
    [ "$known" = "$(fingerprint)" ] || return 1
    for extra in "$@"; do
        case " $extras " in *" $extra "*) ;; *) return 1 ;; esac
    done
}

ensure() {  # EXTRA…
    [ "${EASEL_GPU:-}" = 1 ] && set -- "$@" gpu
    installed "$@" && return
    local python extras
    python="$(find_python)"
    exec 9<"$ROOT/pyproject.toml"
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'  # another script may be setting up: wait for it
    if ! installed "$@"; then
        extras="$(union "$@")"
        set_up "$python" "$extras"
        { fingerprint; echo "$extras"; } >"$STAMP.new"
        mv "$STAMP.new" "$STAMP"
    fi
    exec 9<&-
}

union() {  # what the stamp lists and what is asked for now
    { [ -f "$STAMP" ] && sed -n 2p "$STAMP"; echo "$@"; } | tr ' ' '\n' | sort -u | xargs
}

find_python() {
    local candidate
    for candidate in ${EASEL_PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "Easel needs Python 3.11 or newer: install it, or name it in EASEL_PYTHON."
}

set_up() {  # PYTHON "EXTRA EXTRA"
    local python="$1" extras="$2" started=$SECONDS
    say "Setting up $VENV with $extras; this takes a few minutes once …"
    "$VENV/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$VENV" ||
        die "Python's venv module is missing or $ROOT can't be written; on Debian and Ubuntu install python3-venv."
    case " $extras " in *" engine "* | *" gpu "*) install_torch "$extras" ;; esac
    pip_install --constraint "$ROOT/constraints.txt" --editable "$ROOT[$(echo "$extras" | tr ' ' ',')]" || die "$(why)"
    say "Set up in $((SECONDS - started)) s."
}

install_torch() {  # "EXTRA EXTRA": the one package whose build matters; what it needs follows with the rest
    local torch=(pip_install --no-deps)
    case " $1 " in
        *" gpu "*) "${torch[@]}" "torch===$TORCH" || die "$(why)" ;;
        *)
            if [ "$(uname -s)" = Darwin ]; then
                "${torch[@]}" "torch==$TORCH" || die "$(why)"
            else
                "${torch[@]}" "torch==$TORCH+cpu" ||
                    "${torch[@]}" --index-url "$TORCH_CPU_INDEX" "torch==$TORCH+cpu" || die "$(why)"
            fi
            ;;
    esac
}

pip_install() {
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" >"$VENV/setup.log" 2>&1
}

why() {
    local last
    last="$(grep -E '^ERROR' "$VENV/setup.log" | head -n 1)"
    echo "Setting up failed, most likely for want of network or disk: ${last:-pip stopped} (all of it: $VENV/setup.log)."
}
