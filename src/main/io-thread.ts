/**
 * An I/O thread: a session host with sockets of its own. It never ends by itself, for a thread that ends while it holds sockets takes the process with
 * it: whatever is thrown is reported to the main thread, which closes the sockets of all threads first and then gives up.
 */
import { parentPort, workerData } from 'node:worker_threads';

import type { MainCalls } from '../control/main-calls.ts';
import { serveHost } from '../control/remote-host.ts';
import type { FromHost } from '../control/remote-host.ts';
import { createThreadHost } from '../control/thread-host.ts';
import type { FromIoThread, IoThreadStart, ToIoThread } from '../control/thread-messages.ts';
import { createHostTransport } from '../edges/socket/host-transport.ts';
import { answerPlainRequest } from '../edges/socket/session-port.ts';
import { createAdmissionRate } from '../runtime/admission-rate.ts';
import { Counters } from '../runtime/counters.ts';
import { DescriptorBudget } from '../runtime/descriptors.ts';
import { HttpPort } from '../runtime/http-port.ts';
import { SharedSessionCounts } from '../runtime/session-counts.ts';
import { CallSender, proxyCalls } from '../runtime/thread-calls.ts';
import type { CallMessage, ThreadPort } from '../runtime/thread-calls.ts';
import { ThreadGauges, ThreadSampler } from '../runtime/thread-gauges.ts';
import { tickMs } from '../sessions/host-clock.ts';
import { createTlsDoor } from '../transport/tls-door.ts';
import { chooseSockets } from './socket-choice.ts';

if (parentPort === null) throw new Error('not a thread');
const main = parentPort;

function report(message: FromIoThread): void {
  main.postMessage(message);
}

function reportFailure(error: unknown): void {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  report({ kind: 'failed', message, stack: stack ?? message });
}

process.on('uncaughtException', reportFailure);
process.on('unhandledRejection', reportFailure);

const calls = new CallSender();
const mainCalls = proxyCalls<MainCalls>((method, args) =>
  calls.send(method, args, (message) => {
    report({ kind: 'call', ...message });
  }),
);

const start = workerData as IoThreadStart;
const { config } = start;
const closed = new Int32Array(start.closed);
const pulse = new Int32Array(start.pulse);
const counters = new Counters();
const admissionRate = createAdmissionRate(start.admissionRate, config);
const hostPort = start.hostPort as object as ThreadPort<CallMessage, FromHost>;
const host = createThreadHost(start, hostPort, {
  counters,
  admissionRate,
  persistentCalls: mainCalls,
  tellMain: (event) => {
    hostPort.postMessage({ kind: 'transfer', event });
  },
});
const { create } = await chooseSockets(config);
const tls = createTlsDoor({ config, material: start.tls, counters });
const transport = createHostTransport({
  create,
  config,
  core: host.core,
  counters,
  admissionRate,
  descriptors: new DescriptorBudget(start.descriptors),
  counts: new SharedSessionCounts(start.sessionCounts),
  httpPort: new HttpPort(start.httpPort),
  tls,
  onRequest: (request) => answerPlainRequest(request, mainCalls),
});
const sampler = new ThreadSampler(new ThreadGauges(start.gauges), tickMs);
const ticker = setInterval(() => {
  Atomics.add(pulse, 0, 1);
  sampler.sample();
  host.tick(performance.now());
}, tickMs);

function closeSockets(): void {
  if (Atomics.exchange(closed, 0, 1) === 1) return;
  clearInterval(ticker);
  sampler.stop();
  transport.close();
  Atomics.notify(closed, 0);
  report({ kind: 'closed' });
}

main.on('message', (message: ToIoThread) => {
  switch (message.kind) {
    case 'result':
      calls.settle(message);
      return;
    case 'tls':
      tls?.replace(message.material);
      return;
    case 'close':
      closeSockets();
      return;
    case 'end':
      process.exit(0);
      return;
    default:
      message satisfies never;
  }
});
serveHost(host, hostPort);
const { value, transfer } = transport.taker;
main.postMessage({ kind: 'ready', taker: value } satisfies FromIoThread, transfer);
