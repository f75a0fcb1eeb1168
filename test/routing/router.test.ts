import { expect, test } from 'vitest';

import { PartitionLink } from '../../src/routing/partition-link.ts';
import type { PendingRequest } from '../../src/routing/partition-link.ts';
import { Router } from '../../src/routing/router.ts';
import { SlotGate } from '../../src/routing/slot-gate.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { toPartition } from '../../src/workers/messages.ts';
import type { HostBatch } from '../../src/workers/messages.ts';

const key = 'public/DEFAULT/pay';
const slot = slotOf(key);

/** A router to one partition, of which is kept what it is sent, and what becomes of requests. */
class Scene {
  readonly gate: SlotGate;
  readonly router: Router;
  readonly told: string[] = [];
  readonly #link: PartitionLink;
  readonly #sent: HostBatch[] = [];
  #numbers = 0;

  constructor({ requestsMax = 10, waitingMax = 10 }: { requestsMax?: number; waitingMax?: number } = {}) {
    this.gate = new SlotGate({ waitingMax, waitTimeoutMs: 1000, nowMs: 0 });
    const table = SlotTable.even(1);
    this.router = new Router({ table, gate: this.gate, nextRequest: () => (this.#numbers += 1), isBearer: false });
    this.#link = new PartitionLink({
      partition: 0,
      port: { on: () => undefined, postMessage: (batch) => void this.#sent.push(batch), close: () => undefined },
      requestsMax,
      readTable: () => table,
      creditSoonCharacters: 1,
      schedule: () => undefined,
      onUnasked: () => undefined,
      onMoved: () => undefined,
      onTurnEnd: () => undefined,
    });
    this.router.setLink(0, this.#link);
  }

  ask(name: string, more: Partial<PendingRequest> = {}): void {
    this.router.ask({
      key,
      build: (request) => [toPartition.query, request, key, name, 0],
      settle: () => undefined,
      refuse: ({ limit }) => void this.told.push(`${name}: ${limit}`),
      ...more,
    });
  }

  /** Numbers and names of the requests that have been sent, and what was told. */
  takeSent(): unknown[] {
    this.#link.flush();
    return this.#sent.splice(0).flatMap(({ records }) => records);
  }
}

test('[SL3] requests and what is told wait for a slot by themselves, in one order, under the numbers that they had when they came', () => {
  const scene = new Scene();
  scene.gate.freeze([slot]);
  scene.ask('a');
  scene.router.tell(key, [toPartition.dropInterest, key, 'delta']);
  scene.ask('b');
  expect(scene.takeSent()).toEqual([]);
  scene.gate.thaw([slot]);
  scene.ask('c');
  const { query, dropInterest } = toPartition;
  const expected = [
    [query, 1, key, 'a', 0],
    [dropInterest, key, 'delta'],
    [query, 2, key, 'b', 0],
    [query, 3, key, 'c', 0],
  ];
  expect(scene.takeSent()).toEqual(expected.flat());
});

test('[SL3] what is not wanted any more when its turn comes is not sent, and is not asked again before that', () => {
  const scene = new Scene();
  let isWanted = true;
  scene.gate.freeze([slot]);
  scene.ask('a', { begin: () => isWanted });
  scene.router.tell(key, [toPartition.dropInterest, key, 'delta'], () => isWanted);
  isWanted = false;
  scene.gate.thaw([slot]);
  expect([scene.takeSent(), scene.told]).toEqual([[], []]);
});

test('[LI1] [RE3] what may not wait is refused: when too many wait, after a time, or because the mailbox is full by then', () => {
  const scene = new Scene({ waitingMax: 2, requestsMax: 1 });
  scene.gate.freeze([slot]);
  for (const name of ['a', 'b', 'c']) scene.ask(name);
  scene.ask('patient', { isPatient: true });
  expect(scene.told.splice(0)).toEqual(['c: waitingRequestsMax']);
  scene.gate.tick(1000);
  expect(scene.told.splice(0)).toEqual(['a: slotWaitTimeoutMs', 'b: slotWaitTimeoutMs']);
  scene.ask('d');
  scene.gate.thaw([slot]);
  expect(scene.told).toEqual(['d: mailboxRequestsMax']);
  expect(scene.takeSent()).toContain('patient');
});
