#!/usr/bin/env bash
# Lets Schemathesis ask a registry of its own what docs/openapi.json says can be asked, and hold the answers against it. Needs the build, and Schemathesis in the PATH or by $SCHEMATHESIS.
# It ends with the status of Schemathesis; `schemathesis.toml` says how it asks, and what it must leave alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)

# Nobody waits long, and removals are not held back: requests that wait must end in time.
cat > "$work/settings.json" <<SETTINGS
{ "partitions": 2, "warmUpMs": 0, "httpWaitMaxMs": 100, "drainTimeoutMs": 0 }
SETTINGS
# They are read before the server may have begun to write them.
touch "$work/log" "$work/errors"
node dist/src/cli/slotcast.js start --in-memory --config "$work/settings.json" --port 0 > "$work/log" 2> "$work/errors" &
server=$!
stop() {
  kill "$server" 2> "$work/kill" || true
  wait "$server" || true
  rm -rf "$work"
}
trap stop EXIT

url=
for ((tries = 0; tries < 300; tries++)); do
  url=$(sed -n 's|.* and \(http://[0-9.:]*\) with .*|\1|p' "$work/log" "$work/errors")
  if [[ -n $url ]] || ! kill -0 "$server" 2> "$work/kill"; then break; fi
  sleep 0.1
done
if [[ -z $url ]]; then
  cat "$work/log" "$work/errors" >&2
  exit 1
fi

# It leaves files where it runs. Only what hangs meets the time.
config=$PWD/test/openapi/schemathesis.toml
(cd "$work" && timeout 900 "${SCHEMATHESIS:-st}" --config-file "$config" run "$url/openapi.json" --no-color)
# Whatever was asked, no thread that serves HTTP may have died of it.
node --input-type=module -e '
  const { counters } = await (await fetch(`${process.argv[1]}/v1/stats`)).json();
  const deaths = (counters.edge_thread_died ?? 0) + (counters.partition_died ?? 0);
  if (deaths > 0) throw new Error(`${deaths} threads have died`);
' "$url"
