/**
 * An edge thread: a session host whose sessions have no sockets of their own, and the HTTP side in front of it. Its sockets are Node's, so it may die: whatever is
 * thrown ends it, and the main thread starts another in its place.
 */
import { fileURLToPath } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';

import type { MainCalls } from '../control/main-calls.ts';
import { serveHost } from '../control/remote-host.ts';
import type { FromHost } from '../control/remote-host.ts';
import { createThreadHost } from '../control/thread-host.ts';
import type { EdgeThreadStart, FromEdgeThread, ToEdgeThread } from '../control/thread-messages.ts';
import { ConsoleFiles } from '../edges/http/console-files.ts';
import { eventEncoding } from '../edges/http/event-stream.ts';
import { HttpServer } from '../edges/http/http-server.ts';
import { createOperations } from '../edges/http/operations.ts';
import { Waiters } from '../edges/http/waiters.ts';
import { describeOpenapi } from '../protocol/openapi.ts';
import { describeOpenrpc } from '../protocol/openrpc.ts';
import { admissionRateBytes, createAdmissionRate } from '../runtime/admission-rate.ts';
import { Counters } from '../runtime/counters.ts';
import { productVersion } from '../runtime/product-version.ts';
import { CallSender, proxyCalls } from '../runtime/thread-calls.ts';
import type { CallMessage, ThreadPort } from '../runtime/thread-calls.ts';
import { ThreadGauges, ThreadSampler } from '../runtime/thread-gauges.ts';
import { tickMs } from '../sessions/host-clock.ts';
import { leaseOf } from '../sessions/leases.ts';
import type { LeaseAnswer, LeaseCall } from '../sessions/leases.ts';
import { readSecretNumber } from '../sessions/session-secret.ts';
import { createTlsDoor } from '../transport/tls-door.ts';
import { SessionOrigins } from '../workers/session-numbers.ts';

if (parentPort === null) throw new Error('not a thread');
const mainPort = parentPort;

function report(message: FromEdgeThread): void {
  mainPort.postMessage(message);
}

const calls = new CallSender();
const main = proxyCalls<MainCalls>((method, args) =>
  calls.send(method, args, (message) => {
    report({ kind: 'call', ...message });
  }),
);

const start = workerData as EdgeThreadStart;
const { config, number } = start;
const origins = new SessionOrigins(start.origins);
const pulse = new Int32Array(start.pulse);
const counters = new Counters();
const hostPort = start.hostPort as object as ThreadPort<CallMessage, FromHost>;
const host = createThreadHost(start, hostPort, {
  counters,
  // Nobody is let in here by handshakes: what threads tell each other of these is not this one's to tell.
  admissionRate: createAdmissionRate(new SharedArrayBuffer(admissionRateBytes), config),
  encoding: eventEncoding,
  sessionsBefore: start.sessionsBefore,
  persistentCalls: main,
  onLease: (news) => {
    hostPort.postMessage({ kind: 'lease', news });
  },
});

/** A lease names the host that holds it. */
function carryOutLease(call: LeaseCall): Promise<LeaseAnswer> {
  const lease = leaseOf(call);
  const holder = lease === undefined ? number : origins.hostOf(readSecretNumber(lease));
  return holder === number || Number.isNaN(holder) ? host.carryOutLease(call) : main.carryOutLease(call);
}

/** What the build made of `src/console`. */
const consoleFolder = fileURLToPath(new URL('../console/', import.meta.url));
let sessionPort: number | undefined;

async function readSessionPort(): Promise<number | undefined> {
  // It stays what it is.
  sessionPort ??= await main.readSessionPort();
  return sessionPort;
}

const waiters = new Waiters({ core: host.core, config });
const tls = createTlsDoor({ config, material: start.tls, counters });
const server = new HttpServer({
  config,
  core: host.core,
  counters,
  consoleFiles: ConsoleFiles.read(consoleFolder, tls === undefined ? 'ws' : 'wss'),
  tls,
  readSessionPort,
  operations: createOperations({
    counters,
    core: host.core,
    config,
    waiters,
    readSessionPort,
    main,
    carryOutLease,
    documents: {
      openapi: JSON.stringify(describeOpenapi(productVersion)),
      openrpc: JSON.stringify(describeOpenrpc(productVersion)),
    },
  }),
});

const sampler = new ThreadSampler(new ThreadGauges(start.gauges), tickMs);
setInterval(() => {
  Atomics.add(pulse, 0, 1);
  sampler.sample();
  host.tick(performance.now());
  server.tick(performance.now());
}, tickMs);

mainPort.on('message', (message: ToEdgeThread) => {
  switch (message.kind) {
    case 'result':
      calls.settle(message);
      return;
    case 'listen':
      server.listen(message).then(
        (port) => {
          report({ kind: 'listening', port });
        },
        (error: unknown) => {
          report({ kind: 'cannot listen', message: error instanceof Error ? error.message : String(error) });
        },
      );
      return;
    case 'tls':
      tls?.replace(message.material);
      return;
    case 'stop listening':
      server.stopListening();
      waiters.endAll();
      return;
    case 'end':
      server.close();
      process.exit(0);
      return;
    default:
      message satisfies never;
  }
});
serveHost(host, hostPort);
report({ kind: 'ready' });
