# Runs on a host, by ssh: starts, lists and ends workers of the account that it runs as. See infra/exec/ssh_hosts.py.
#
# A worker holds a lock on a file that is named after its label for as long as it lives, so the kernel itself says which
# ones run. Its variables, the one-time token among them, come in on stdin: they are in no argument and in no file.
#
#   count OWNER                 how many workers run
#   mint LABEL MOST COMMAND…    start one, unless MOST run; prints its process number
#   list OWNER                  label and process number of each that runs, a line each
#   slay LABEL                  SIGTERM to its process group, SIGKILL after five seconds
#   logs LABEL                  the end of what it printed
set -eu
umask 077
folder=$HOME/.yurt-machines
mkdir -p "$folder"
cd "$folder"

runs() { # whether the worker of a lock's file runs; clears up after one that has ended
    if flock -n "$1" true; then
        rm -f "$1" "${1%.lock}.pid"
        return 1
    fi
}

each() { # for each running worker of an owner: its label and process number
    for lock in "$1"-*.lock; do
        if [ -e "$lock" ] && runs "$lock"; then
            echo "${lock%.lock} $(cat "${lock%.lock}.pid" 2>/dev/null || echo 0)"
        fi
    done
}

alone() { # one at a time: a count stays true, and no lock is tested before its worker holds it
    exec 8>.alone
    flock -w 10 8 || { echo "another call has not ended for 10 s" >&2; exit 1; }
}

verb=$1
shift
case $verb in
count)
    alone
    each "$1" | wc -l
    ;;
list)
    alone
    each "$1"
    find . -name '*.log' -mtime +7 -exec rm -f {} +
    ;;
mint)
    label=$1 most=$2
    shift 2
    alone
    [ "$(each "${label%%-*}" | wc -l)" -lt "$most" ] || { echo "$most workers run here already" >&2; exit 69; }
    command -v "$1" >/dev/null || { echo "there is no $1 on the host" >&2; exit 78; }
    exec 9>"$label.lock"
    flock -n 9
    eval "$(cat)"
    setsid "$@" </dev/null >"$label.log" 2>&1 8>&- &
    # Once it leads a group of its own, or has ended already, slay finds it by that number.
    until kill -s 0 -- "-$!" 2>/dev/null || ! kill -s 0 "$!" 2>/dev/null; do :; done
    echo "$!" | tee "$label.pid"
    ;;
slay)
    # One call at a time for a label: a second one would take the first one's lock for the worker's.
    exec 7>>"$1.slay"
    flock -w 20 7 || { echo "another call has not ended $1 for 20 s" >&2; exit 1; }
    if [ -e "$1.lock" ]; then
        exec 9<"$1.lock"
        if ! flock -n 9; then
            # The lock was held, so the number is still that of this worker's process group; without a number the
            # worker has just ended, and the lock is free.
            group=$(cat "$1.pid" 2>/dev/null || true)
            [ -z "$group" ] || kill -s TERM -- "-$group" || true
            if ! flock -w 5 9; then
                [ -z "$group" ] || kill -s KILL -- "-$group" || true
                flock -w 5 9 || { echo "$1 outlived SIGKILL: is it stuck in a device?" >&2; exit 1; }
            fi
        fi
        rm -f "$1.lock" "$1.pid"
    fi
    rm -f "$1.slay"
    ;;
logs)
    [ ! -e "$1.log" ] || tail -c 2000 "$1.log"
    ;;
esac
