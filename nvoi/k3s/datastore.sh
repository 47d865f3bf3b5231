# Copies k3s' datastore, which is SQLite's and is written to meanwhile, and removes old copies.
#
# Its arguments: the folder of k3s' server, the folder of the copies, how many are kept, seconds
# between two attempts.
#
# SQLite in its mode WAL writes into the log state.db-wal alone, until it moves what is there into
# state.db; then the log begins anew, with another header. A copy of both holds together where
# neither has happened meanwhile: the header is the same before and after, and state.db is what was
# copied. What is cut off at the end of the log, SQLite leaves out (its documentation, "WAL-mode
# File Format"). The keys of the Secrets' encryption and the token come along: without them no copy
# can be read.
set -eu
umask 077
server=$1 copies=$2 keep=$3 pause=$4
database=$server/db/state.db
new=$copies/.new
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
chmod 0700 "$copies"
read_header() { head -c 32 "$database-wal" 2>/dev/null || :; }
copy() {
  rm -rf "$new"
  mkdir "$new"
  read_header >"$new/header" || return
  cp "$database" "$new/state.db" || return
  [ ! -e "$database-wal" ] || cp "$database-wal" "$new/state.db-wal" || return
  read_header | cmp -s - "$new/header" && cmp -s "$database" "$new/state.db"
}
attempt=1
until copy; do
  [ "$attempt" -lt 20 ] || { echo 'the datastore is written to all the time' >&2; exit 1; }
  attempt=$((attempt + 1))
  sleep "$pause"
done
rm "$new/header"
for file in cred/encryption-config.json token; do
  [ ! -e "$server/$file" ] || cp "$server/$file" "$new/"
done
sync
name=$(date -u +%Y%m%dT%H%M%SZ)
rm -rf "${copies:?}/$name"
mv "$new" "$copies/$name"
ls "$copies" | grep -E '^[0-9]{8}T[0-9]{6}Z$' | sort -r | tail -n "+$((keep + 1))" |
  while read -r old; do rm -rf "${copies:?}/$old"; done
echo "copied to $copies/$name"
