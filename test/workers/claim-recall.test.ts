import fc from 'fast-check';
import { expect, test } from 'vitest';

import { SlotTable } from '../../src/slots/slot-table.ts';
import { PartitionInbox } from '../../src/workers/inbox.ts';
import { fromFields, fromPartition, toPartition } from '../../src/workers/messages.ts';
import type { FromPartition, ToPartition } from '../../src/workers/messages.ts';
import { recallingHost, sessionsPerHostMax } from '../../src/workers/session-numbers.ts';
import { PartitionBench, runTurns } from '../support/partition-bench.ts';

const keys = ['public/DEFAULT/a', 'public/DEFAULT/b', 'public/größe/世界', 'other/DEFAULT/a'];
const owner = 1;

function numberOf(host: number, session: number): number {
  return host * sessionsPerHostMax + session;
}

interface Recalled {
  readonly claims: string[];
  readonly parts: number;
}

/** Asks for part after part; `between` happens before each but the first. */
function recall(bench: PartitionBench, host: number, between: (part: number) => void = () => undefined): Recalled {
  const inbox = new PartitionInbox();
  const claims: string[] = [];
  let parts = 0;
  let after = '';
  do {
    if (parts > 0) between(parts);
    const records: ToPartition = [toPartition.recall, 10_000 + parts, host, after];
    inbox.add(host, { batch: 1 + parts, epoch: bench.table.epoch, records }, bench.core);
    const answer = runTurns(bench, inbox).flat().find(isRecalled);
    if (answer?.[0] !== fromPartition.recalled) throw new Error('no answer');
    expect(answer[fromFields.recalled.request]).toBe(10_000 + parts);
    claims.push(...readClaims(answer[fromFields.recalled.claims]));
    after = answer[fromFields.recalled.next];
    parts += 1;
  } while (after !== '');
  return { claims: claims.toSorted(), parts };
}

function isRecalled([kind]: FromPartition): boolean {
  return kind === fromPartition.recalled;
}

/** As {@link describeHeld} does. */
function readClaims(fields: readonly (string | number)[]): string[] {
  const claims: string[] = [];
  for (let at = 0; at < fields.length; at += 6) {
    const [session, key, id, fragment, stamp, isHidden] = fields.slice(at, at + 6);
    expect(JSON.parse(String(fragment))).toMatchObject({ id, by: session, stamp });
    claims.push(`${key} ${id} ${stamp} ${session} ${isHidden === 1 ? 'hidden' : 'shown'}`);
  }
  return claims;
}

/** What the partition holds for sessions of a host. */
function describeHeld(bench: PartitionBench, host: number): string[] {
  return bench.core
    .describeInstances()
    .filter((line) => Math.floor(Number(line.split(' ').at(-2)) / sessionsPerHostMax) === host)
    .toSorted();
}

function register(request: number, session: number, key: string, id: string): ToPartition {
  const fragment = JSON.stringify({ id, by: session, stamp: request, text: 'x'.repeat((request * 37) % 90) });
  return [toPartition.register, request, session, key, id, fragment];
}

const act = fc.record({
  isRegistration: fc.boolean(),
  host: fc.nat(2),
  session: fc.integer({ min: 1, max: 2 }),
  key: fc.constantFrom(...keys),
  id: fc.constantFrom('a', 'b', 'c', '"quoted"'),
});
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

function carryOut(bench: PartitionBench, request: number, { isRegistration, host, session, key, id }: Act): void {
  const number = numberOf(host, session);
  bench.turn(
    isRegistration ? register(request, number, key, id) : [toPartition.deregister, request, number, key, id],
    bench.table.epoch,
    host,
  );
}

test('a host gets back all claims of its sessions and no others, whether they show or not, in parts of one turn each', () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), fc.integer({ min: 1, max: 3000 }), (acts, partitionTurnWorkMax) => {
      const bench = new PartitionBench(SlotTable.even(1), { partitionTurnWorkMax });
      for (const [at, each] of acts.entries()) carryOut(bench, at + 1, each);
      const held = bench.core.describeInstances().toSorted();
      for (const host of [1, 2]) expect(recall(bench, host).claims).toEqual(describeHeld(bench, host));
      // The host that never dies by itself asks for what began before the process did.
      expect(recall(bench, recallingHost).claims).toEqual([]);
      expect(bench.core.describeInstances().toSorted()).toEqual(held);
    }),
  );
});

test('what other hosts do between two parts neither hides nor doubles a claim', () => {
  fc.assert(
    fc.property(fc.array(act, { minLength: 20, maxLength: 60 }), fc.array(act, { maxLength: 30 }), (acts, others) => {
      const bench = new PartitionBench(SlotTable.even(1), { partitionTurnWorkMax: 600, claimsPerInstanceMax: 10 });
      for (const [at, each] of acts.entries()) carryOut(bench, at + 1, each);
      const before = describeHeld(bench, owner);
      const { claims } = recall(bench, owner, (part) => {
        const next = others[part - 1];
        if (next !== undefined) carryOut(bench, 1000 + part, { ...next, host: next.host === owner ? 2 : next.host });
      });
      // How each stands, it is told of again when that changes.
      expect(claims.map(withoutStanding)).toEqual(before.map(withoutStanding));
    }),
  );
});

function withoutStanding(claim: string): string {
  return claim.slice(0, claim.lastIndexOf(' '));
}

test('[LI1] claims to one service come in parts, too, and each part is what one turn has time for', () => {
  const bench = new PartitionBench(SlotTable.even(1), { partitionTurnWorkMax: 1200 });
  for (let i = 0; i < 10; i++) bench.turn(register(i + 1, numberOf(owner, 1), keys[0]!, `i${i}`));
  const { claims, parts } = recall(bench, owner);
  expect(claims).toEqual(describeHeld(bench, owner));
  expect(parts).toBeGreaterThan(2);
});

test('a part that is asked for again in another life of the partition begins with its service', () => {
  const bench = new PartitionBench(SlotTable.even(1));
  for (const key of keys) bench.turn(register(1, numberOf(owner, 1), key, 'a'));
  const [answer] = bench.turn([toPartition.recall, 5, owner, keys[1]!], bench.table.epoch, owner);
  if (answer?.[0] !== fromPartition.recalled) throw new Error('no answer');
  const named = answer[fromFields.recalled.claims].filter((_, at) => at % 6 === 1);
  // In the order of bytes, the one in `other` comes first of all.
  expect(named).toEqual([keys[1], keys[2]]);
  // The last part says no more than that it is the last.
  expect(answer[fromFields.recalled.next]).toBe(keys[2]);
});

test('who begins again in the middle gets everything', () => {
  const bench = new PartitionBench(SlotTable.even(1), { partitionTurnWorkMax: 600 });
  for (const [i, key] of keys.entries()) bench.turn(register(i + 1, numberOf(owner, 1), key, 'a'));
  const inbox = new PartitionInbox();
  inbox.add(owner, { batch: 1, epoch: bench.table.epoch, records: [toPartition.recall, 1, owner, ''] }, bench.core);
  runTurns(bench, inbox);
  expect(recall(bench, owner).claims).toEqual(describeHeld(bench, owner));
});
