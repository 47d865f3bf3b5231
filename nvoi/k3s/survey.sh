# What a server is like, as far as the user who logs in can ask. It changes nothing.
#
# Before it, as_root is set to the text of survey_as_root.sh. Its arguments: the seconds to wait
# for cloud-init, and the arguments of that text. "cloud-init status" is asked again and again, as
# its --wait has no end where cloud-init never runs (it says "not started" then, and "not run"
# before release 24.1).
section() { printf '\n@nvoi %s\n' "$1"; }
section architecture; uname -m
section kernel; uname -sr
section cloud-init
if command -v cloud-init >/dev/null 2>&1; then
  began=$(date +%s) told=0
  while :; do
    state=$(cloud-init status 2>/dev/null </dev/null | sed -n 's/^status: *//p' | head -n 1)
    passed=$(($(date +%s) - began))
    case $state in
      running) ;;
      'not started' | 'not run')
        read -r up _ </proc/uptime
        [ "${up%%.*}" -lt 180 ] || break ;;
      *) break ;;
    esac
    [ "$passed" -lt "$1" ] || break
    if [ $((passed - told)) -ge 15 ]; then told=$passed; echo "waiting $passed"; fi
    sleep 1
  done
  echo "state ${state:-unknown}"
  if [ "$state" = error ]; then
    cloud-init status --long 2>/dev/null </dev/null | grep -A1 '^detail:' |
      tr '\n' ' ' | sed 's/^detail: */detail /'
  fi
fi
section root
shift
if [ "$(id -u)" -eq 0 ]; then echo yes
elif ! command -v sudo >/dev/null 2>&1; then echo 'no sudo is not installed'
elif why=$(sudo -n true 2>&1); then
  echo yes; exec sudo -n -- sh -c "$as_root" "$0" "$@"
else echo "no $(echo "$why" | head -n 1)"; fi
exec sh -c "$as_root" "$0" "$@"
