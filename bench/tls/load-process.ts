/** Opens connections to a registry, then lets it push, and reports what each took, of the time and of the server's CPU. */
import { WebSocket } from 'ws';

import { endWithParent } from '../child-life.ts';
import { readCpuTimes } from '../process-usage.ts';

export interface TlsOrder {
  readonly url: string;
  readonly serverPid: number;
  /** The authority of the server's certificate; undefined: in the clear. */
  readonly trust: string | undefined;
  readonly connections: number;
  readonly atOnce: number;
  readonly subscribers: number;
  /** Changes of one service, each pushed to all subscribers. */
  readonly changes: number;
}

/** Of one kind of work. */
export interface TlsCost {
  readonly perSecond: number;
  /** CPU of the server for one, in µs. */
  readonly cpuMicros: number;
}

export interface TlsFigures {
  readonly connections: TlsCost;
  readonly pushes: TlsCost;
}

endWithParent();
const order = JSON.parse(process.argv[2] ?? '{}') as TlsOrder;

function open(): Promise<WebSocket> {
  const trust = order.trust === undefined ? {} : { ca: order.trust };
  const socket = new WebSocket(order.url, { perMessageDeflate: false, ...trust });
  return new Promise((resolve, reject) => {
    socket.once('open', () => {
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

function send(socket: WebSocket, id: number, method: string, params: object): void {
  socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
}

async function measure(count: number, run: () => Promise<void>): Promise<TlsCost> {
  const cpuMs = readCpuTimes(order.serverPid).totalMs;
  const startedMs = performance.now();
  await run();
  const tookMs = performance.now() - startedMs;
  return {
    perSecond: (count * 1000) / tookMs,
    cpuMicros: ((readCpuTimes(order.serverPid).totalMs - cpuMs) * 1000) / count,
  };
}

/** One after the other in each of `atOnce` lines; none resumes a session of TLS. */
async function connectAll(): Promise<void> {
  let left = order.connections;
  const line = async (): Promise<void> => {
    while (left-- > 0) (await open()).terminate();
  };
  await Promise.all(Array.from({ length: order.atOnce }, line));
}

const connections = await measure(order.connections, connectAll);

let unpushed = 0;
let wake: () => void = () => undefined;
const sockets: WebSocket[] = [];
for (let i = 0; i < order.subscribers; i++) {
  const socket = await open();
  let hasAnswered = false;
  const answered = new Promise<void>((resolve) => {
    socket.on('message', () => {
      if (hasAnswered) {
        unpushed -= 1;
        if (unpushed === 0) wake();
      }
      hasAnswered = true;
      resolve();
    });
  });
  send(socket, 1, 'service.subscribe', { service: 'pushed' });
  await answered;
  sockets.push(socket);
}
const publisher = await open();
const pushes = await measure(order.subscribers * order.changes, async () => {
  for (let change = 1; change <= order.changes; change++) {
    unpushed = order.subscribers;
    const pushed = new Promise<void>((resolve) => (wake = resolve));
    const metadata = { change: String(change), text: 'x'.repeat(200) };
    send(publisher, change, 'instance.register', { service: 'pushed', instance: { host: 'h', port: 1, metadata } });
    await pushed;
  }
});
process.send?.({ connections, pushes } satisfies TlsFigures, () => process.exit(0));
