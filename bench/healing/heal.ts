import { setTimeout as sleep } from 'node:timers/promises';

import { slotCount, slotOf } from '../../src/slots/slot.ts';
import { closeConnections, openConnections } from '../load/connection.ts';
import type { Connection } from '../load/connection.ts';
import { buildTextFrame } from '../load/frames.ts';
import { registerRange, serviceName } from '../load/memory-load.ts';
import { buildSubscribeFrame } from '../load/requests.ts';
import { FaultyServer } from './faulty-server.ts';

export interface HealWorkload {
  readonly instances: number;
  readonly services: number;
  readonly connections: number;
  readonly watched: number;
}

export interface HealOutcome {
  /** The longest that a query of one of the dead partition's services took, asked every few milliseconds. */
  readonly healMs: number;
  /** Pushes that subscribers got, though nothing had changed. */
  readonly pushes: number;
}

const partitions = 2;
const queryEveryMs = 5;
/** After all is ready again, pushes that came late would still be counted. */
const quietMs = 1000;

/** Fills a registry, kills one of its two partitions, and measures until its slots answer again. */
export async function measureHeal(workload: HealWorkload, core: number | undefined): Promise<HealOutcome> {
  const server = await FaultyServer.start(partitions, core);
  try {
    const connections = await openConnections(server.target, workload.connections);
    await registerRange(connections, 0, workload.instances, workload.services);
    const [watcher, asker] = await openConnections(server.target, 2);
    const pushes = await countPushes(watcher!, workload);
    const queries = new Queries(asker!, findLostService(workload.services));
    await sleep(quietMs);
    const pushesBefore = pushes();
    await server.ask({ kind: 'kill', partition: 0 });
    await sleep(quietMs / 2);
    while (!(await server.isReady())) await sleep(20);
    await sleep(quietMs);
    const healMs = await queries.stop();
    const outcome = { healMs, pushes: pushes() - pushesBefore };
    await closeConnections([...connections, watcher!, asker!]);
    return outcome;
  } finally {
    await server.stop();
  }
}

/** Subscribes to services; the result tells how many notifications have come since. */
async function countPushes(connection: Connection, { watched, services }: HealWorkload): Promise<() => number> {
  const count = Math.min(watched, services);
  let pushes = 0;
  await new Promise<void>((resolve) => {
    let answers = 0;
    connection.onText = (bytes, start, end) => {
      // A notification has a method before anything else, an answer an id.
      if (bytes.toString('latin1', start, Math.min(end, start + 40)).includes('"method"')) pushes += 1;
      else answers += 1;
      if (answers === count) resolve();
    };
    for (let i = 0; i < count; i++) connection.send(buildSubscribeFrame(i + 1, serviceName(i, services)));
  });
  return () => pushes;
}

/** A service in a slot of partition 0. */
function findLostService(services: number): string {
  for (let i = 0; i < services; i++) {
    const name = serviceName(i, services);
    if (slotOf(`public/DEFAULT/${name}`) < slotCount / partitions) return name;
  }
  throw new Error('no service lies in the first half of the slots');
}

/** Asks for one service again and again, whether or not it has been answered. */
class Queries {
  readonly #sentAtMs: number[] = [];
  readonly #timer: NodeJS.Timeout;
  #answered = 0;
  #longestMs = 0;

  constructor(connection: Connection, service: string) {
    const frame = buildTextFrame(
      JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'service.query', params: { service } }),
    );
    // Queries of one service are answered in their order.
    connection.onText = () => {
      this.#longestMs = Math.max(this.#longestMs, performance.now() - this.#sentAtMs[this.#answered]!);
      this.#answered += 1;
    };
    this.#timer = setInterval(() => {
      this.#sentAtMs.push(performance.now());
      connection.send(frame);
    }, queryEveryMs);
  }

  /** Resolves to the longest answer, once all have come. */
  async stop(): Promise<number> {
    clearInterval(this.#timer);
    while (this.#answered < this.#sentAtMs.length) await sleep(5);
    return this.#longestMs;
  }
}
