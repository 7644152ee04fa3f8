#!/usr/bin/env bash
# A build on machines that ssh reaches: a scheduler here, workers there, all ended when the build ends.
#
#   ssh.sh HOSTS RECIPE PHOTOS STORE [more options of `degrade build`]
#
# HOSTS is a file: a line a machine, `name` or `user@name`, then how many workers (one a core if left out); # begins a
# remark. Photos and store lie under the same names everywhere, and so does the environment that `degrade` is in here
# (or set PYTHON to the interpreter there). ssh must ask for nothing (keys, or an agent; options in SSH_OPTIONS).
# ADDRESS is how the others reach this machine, its first address by default; PORT is 8786.
# The same command continues.
set -euo pipefail
if [ $# -lt 4 ]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
  exit 1
fi
hosts=$1 recipe=$2 photos=$3 store=$4
shift 4
bin=$(dirname "$(readlink -f "$(command -v degrade)" 2>/dev/null || echo /nowhere/degrade)")
[ -x "$bin/degrade" ] || { echo "no degrade on the PATH: activate its environment" >&2; exit 1; }
[ -r "$hosts" ] || { echo "no file $hosts: a line a machine" >&2; exit 1; }
python=${PYTHON:-$bin/python}
port=${PORT:-8786}
address=tcp://${ADDRESS:-$(hostname -I | cut -d' ' -f1)}:$port
read -ra options <<< "-o BatchMode=yes ${SSH_OPTIONS:-}"
started=()

finish() {
  trap - EXIT INT TERM
  # workers end when their scheduler has gone (--death-timeout), also where ssh broke; here it is told at once
  kill "${started[@]}" 2>/dev/null || true
  wait || true
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=10 "$bin/dask" scheduler --port "$port" --no-dashboard 2> "${store%/}.scheduler.log" &
started+=($!)
while read -r name count _; do
  [ -n "$name" ] && [ "${name:0:1}" != "#" ] || continue
  case $count in '' | \#*) count='$(nproc)' ;; esac
  # -tt: the worker hears of it when this ssh ends
  ssh -tt "${options[@]}" "$name" "OMP_NUM_THREADS=1 exec $python -m dask worker $address \
    --nworkers $count --nthreads 1 --no-dashboard --death-timeout 60" < /dev/null > "${store%/}.$name.log" 2>&1 &
  started+=($!)
done < "$hosts"
# in the background too, because bash hears of no signal while it waits for a command before it
"$bin/degrade" build "$recipe" "$photos" --out "$store" --scheduler "$address" "$@" &
started+=($!)
wait $!
