// Loaded into every thread of a server by --import: notes the longest time for which a thread did not come back to its event loop. Time in which the machine gave
// the thread no core does not count: the kernel tells how long that was.
import { appendFileSync, readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const periodMs = 5;
const worthNotingMs = 50;

const path = process.env['LOOP_MONITOR_FILE'];
const script = process.argv[1] ?? '';
const kind = isMainThread
  ? 'main'
  : script.includes('piscina')
    ? 'partition'
    : script.includes('io-thread')
      ? 'io'
      : script.includes('edge-thread')
        ? 'edge'
        : 'other';

/** How long this thread has waited for a core, in milliseconds. */
function readWaitedMs() {
  return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[1]) / 1e6;
}

let lastMs = performance.now();
let lastWaitedMs = readWaitedMs();
setInterval(() => {
  const nowMs = performance.now();
  const waitedMs = readWaitedMs();
  const blockedMs = nowMs - lastMs - periodMs - (waitedMs - lastWaitedMs);
  if (blockedMs >= worthNotingMs) appendFileSync(path, `${kind} ${Math.round(blockedMs)}\n`);
  lastMs = performance.now();
  lastWaitedMs = readWaitedMs();
}, periodMs).unref();
