import { expect, test } from 'vitest';

import type { JointPart } from '../../src/durable/commits.ts';
import { protocolLimits } from '../../src/protocol/limits.ts';
import { FaultyDisk, put, StoreBench } from '../support/store-bench.ts';

test('[ST1] all commits of a turn share one transaction of the disk, and each has a number of its own', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  bench.core.attach(2);
  const before = bench.disk.commits;
  const requests = [bench.ask(1, { writes: [put('a', '1')] }), bench.ask(2, { writes: [put('b', '2')] })];
  expect(bench.replies.size).toBe(0);
  bench.run();
  expect(bench.disk.commits).toBe(before + 1);
  expect(bench.replyTo(1, requests[0]!)).toEqual({ kind: 'committed', request: requests[0], version: 1 });
  expect(bench.replyTo(2, requests[1]!)).toEqual({ kind: 'committed', request: requests[1], version: 2 });
  expect(bench.groups).toMatchObject([{ commits: 2, isStored: true }]);
});

test('[ST1] a commit without rows has a number, too', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  const [first, second] = [bench.ask(1, { writes: [] }), bench.ask(1, { writes: [] })];
  bench.run();
  expect(bench.replyTo(1, first)).toMatchObject({ version: 1 });
  expect(bench.replyTo(1, second)).toMatchObject({ version: 2 });
  expect(bench.disk.lastVersion).toBe(2);
});

test('[LI1] a group ends at its bound, and what is left follows', () => {
  const bench = new StoreBench(undefined, { storeGroupBytesMax: 500 });
  bench.core.attach(1);
  for (let i = 0; i < 8; i++) bench.ask(1, { writes: [put(`k${i}`, 'x'.repeat(100))] });
  bench.ask(1, { writes: [put('large', 'x'.repeat(900))] });
  bench.run();
  expect(bench.groups.map(({ commits }) => commits)).toEqual([3, 3, 2, 1]);
  expect(Object.keys(bench.rows())).toHaveLength(9);
});

test('[LI1] beyond what may wait, commits are refused with busy, and nothing of them is stored', () => {
  const bench = new StoreBench(undefined, { storeQueueBytesMax: 1000 });
  bench.core.attach(1);
  const requests = Array.from({ length: 10 }, (_, i) => bench.ask(1, { writes: [put(`k${i}`, 'x'.repeat(200))] }));
  bench.run();
  const kinds = requests.map((request) => bench.replyTo(1, request)?.kind);
  expect(kinds).toEqual([
    ...Array.from({ length: 4 }, () => 'committed'),
    ...Array.from({ length: 6 }, () => 'refused'),
  ]);
  expect(bench.replyTo(1, requests[9]!)).toMatchObject({ failure: { code: 'busy', limit: 'storeQueueBytesMax' } });
  expect(Object.keys(bench.rows())).toEqual(['k0', 'k1', 'k2', 'k3']);
});

test('[LI1] rows that are too large are refused, whole commits at a time', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  const large = bench.ask(1, { writes: [put('a', '1'), put('b', 'x'.repeat(1025))] });
  const long = bench.ask(1, { writes: [put('é'.repeat(1537), '1')] });
  const fits = bench.ask(1, { writes: [put('é'.repeat(1536), '1')] });
  bench.run();
  expect(bench.replyTo(1, large)).toMatchObject({ failure: { code: 'limit_exceeded', limit: 'storeRowBytesMax' } });
  expect(bench.replyTo(1, long)).toMatchObject({ failure: { code: 'limit_exceeded', limit: 'durableKeyBytesMax' } });
  expect(bench.replyTo(1, fits)).toMatchObject({ kind: 'committed' });
  expect(Object.keys(bench.rows())).toHaveLength(1);
});

test('[ST1] a read sees what its caller has asked to be stored before it, and comes in parts', () => {
  const bench = new StoreBench(undefined, { storeReadBytesMax: 1 });
  bench.core.attach(1);
  bench.ask(1, { writes: [put('b/1', 'x'), put('b/2', 'y'), put('a', 'z')] });
  const first = bench.load(1, { from: 'b/', to: 'b0' });
  bench.run();
  expect(bench.replyTo(1, first)).toMatchObject({
    kind: 'loaded',
    rows: [{ key: 'b/1', createVersion: 1, modifyVersion: 1 }],
    next: 'b/2',
  });
  const second = bench.load(1, { from: 'b/2', to: 'b0' });
  bench.run();
  expect(bench.replyTo(1, second)).toMatchObject({ rows: [{ key: 'b/2' }], next: undefined });
});

test('[ST1] a row keeps the version that created it', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  bench.ask(1, { writes: [put('a', '1')] });
  bench.ask(1, { writes: [put('a', '2', 1)] });
  const read = bench.load(1);
  bench.run();
  expect(bench.replyTo(1, read)).toMatchObject({ rows: [{ key: 'a', createVersion: 1, modifyVersion: 2 }] });
});

function createJoint(partitions: readonly number[]): (isRefused?: boolean, readBytes?: number) => JointPart {
  return (isRefused = false, readBytes = 0) => ({ id: 7, partitions, isRefused, readBytes });
}

test('[ST2] the parts of a transaction are stored when the last has come, with one number', () => {
  const bench = new StoreBench();
  for (const caller of [1, 2, 3]) bench.core.attach(caller, caller * 10);
  const joint = createJoint([10, 20]);
  const first = bench.ask(1, { writes: [put('a', '1')], joint: joint() });
  const alone = bench.ask(3, { writes: [put('c', '3')] });
  bench.run();
  expect(bench.replyTo(1, first)).toBeUndefined();
  expect(bench.rows()).toEqual({ c: '3' });
  const second = bench.ask(2, { writes: [put('b', '2')], joint: joint() });
  bench.run();
  expect(bench.replyTo(3, alone)).toMatchObject({ version: 1 });
  expect(bench.replyTo(1, first)).toMatchObject({ kind: 'committed', version: 2 });
  expect(bench.replyTo(2, second)).toMatchObject({ kind: 'committed', version: 2 });
  expect(bench.rows()).toEqual({ a: '1', b: '2', c: '3' });
});

test('[ST2] a part that is refused, by its sender or for its size, refuses all, those to come included', () => {
  for (const refused of [
    { writes: [], isRefused: true },
    { writes: [put('b', 'x'.repeat(1025))], isRefused: false },
  ]) {
    const bench = new StoreBench();
    for (const caller of [1, 2, 3]) bench.core.attach(caller, caller * 10);
    const joint = createJoint([10, 20, 30]);
    const first = bench.ask(1, { writes: [put('a', '1')], joint: joint() });
    const second = bench.ask(2, { writes: refused.writes, joint: joint(refused.isRefused) });
    bench.run();
    expect(bench.replyTo(1, first)).toMatchObject({ kind: 'abandoned' });
    expect(bench.replyTo(2, second)).toMatchObject({ kind: 'abandoned' });
    const third = bench.ask(3, { writes: [put('c', '3')], joint: joint() });
    bench.run();
    expect(bench.replyTo(3, third)).toMatchObject({ kind: 'abandoned' });
    expect(bench.rows()).toEqual({});
  }
});

test('[ST2] what all parts of a transaction read is limited as if one had read it', () => {
  const bench = new StoreBench();
  for (const caller of [1, 2]) bench.core.attach(caller, caller * 10);
  const joint = createJoint([10, 20]);
  const { keyPageBytesMax: max } = protocolLimits;
  const ask = (readBytes: number): readonly [number, number] => [
    bench.ask(1, { writes: [put('a', '1')], joint: joint(false, readBytes) }),
    bench.ask(2, { writes: [], joint: joint(false, max / 2) }),
  ];
  const [first, second] = ask(max / 2 + 1);
  bench.run();
  const refused = { kind: 'refused', failure: { code: 'limit_exceeded', limit: 'keyPageBytesMax', max } };
  expect(bench.replyTo(1, first)).toMatchObject(refused);
  expect(bench.replyTo(2, second)).toMatchObject(refused);
  expect(bench.rows()).toEqual({});
  const [third] = ask(max / 2);
  bench.run();
  expect(bench.replyTo(1, third)).toMatchObject({ kind: 'committed' });
});

test('[ST2] the end of a partition refuses the transactions that wait for its part, or have it', () => {
  for (const gone of [1, 2]) {
    const bench = new StoreBench();
    for (const caller of [1, 2, 3]) bench.core.attach(caller, caller * 10);
    const joint = createJoint([10, 20, 30]);
    const first = bench.ask(1, { writes: [put('a', '1')], joint: joint() });
    bench.core.detach(gone);
    bench.run();
    if (gone === 2) expect(bench.replyTo(1, first)).toMatchObject({ kind: 'abandoned' });
    const third = bench.ask(3, { writes: [put('c', '3')], joint: joint() });
    bench.run();
    expect(bench.replyTo(3, third)).toMatchObject({ kind: 'abandoned' });
    expect(bench.rows()).toEqual({});
  }
});

test('[ST2] a part that does not come in time refuses the others; if it comes then, it is not stored either', () => {
  const bench = new StoreBench();
  for (const caller of [1, 2]) bench.core.attach(caller, caller * 10);
  const joint = createJoint([10, 20]);
  const first = bench.ask(1, { writes: [put('a', '1')], joint: joint() });
  bench.wait(4999);
  expect(bench.replyTo(1, first)).toBeUndefined();
  bench.wait(1);
  expect(bench.replyTo(1, first)).toMatchObject({ kind: 'abandoned' });
  const second = bench.ask(2, { writes: [put('b', '2')], joint: joint() });
  bench.wait(5000);
  expect(bench.replyTo(2, second)).toMatchObject({ kind: 'abandoned' });
  expect(bench.rows()).toEqual({});
});

test('[ST2] only partitions have parts', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  const request = bench.ask(1, { writes: [], joint: createJoint([10])() });
  bench.run();
  expect(bench.replyTo(1, request)).toMatchObject({ failure: { code: 'internal' } });
});

test('[ST3] while the disk fails, commits are refused, reads go on, and it is tried again at growing intervals', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  bench.ask(1, { writes: [put('a', '1')] });
  bench.run();
  bench.disk.fault = 'full';
  const refused = bench.ask(1, { writes: [put('b', '2')] });
  const read = bench.load(1);
  bench.run();
  expect(bench.replyTo(1, refused)).toMatchObject({ kind: 'refused', failure: { code: 'storage_unavailable' } });
  expect(bench.replyTo(1, read)).toMatchObject({ rows: [{ key: 'a' }] });
  expect(bench.core.state).toMatchObject({ kind: 'unavailable', fault: 'full', sinceMs: 0, isReadable: true });
  bench.wait(250);
  bench.disk.fault = undefined;
  bench.wait(499);
  expect(bench.core.state.kind).toBe('unavailable');
  bench.wait(1);
  expect(bench.core.state.kind).toBe('available');
  const stored = bench.ask(1, { writes: [put('b', '3')] });
  bench.run();
  // The number of the one that was refused is that of the next: nobody has seen it.
  expect(bench.replyTo(1, stored)).toMatchObject({ version: 2 });
  expect(bench.rows()).toEqual({ a: '1', b: '3' });
});

test('[ST3] a disk that cannot be opened at the start is opened later', () => {
  const disk = new FaultyDisk();
  disk.fault = 'read_only';
  const bench = new StoreBench(disk);
  bench.core.attach(1);
  const requests = [bench.ask(1, { writes: [] }), bench.load(1)];
  bench.run();
  for (const request of requests) {
    expect(bench.replyTo(1, request)).toMatchObject({ failure: { code: 'storage_unavailable' } });
  }
  expect(bench.core.state).toMatchObject({ kind: 'unavailable', isReadable: false });
  disk.fault = undefined;
  bench.wait(1000);
  expect(bench.core.state).toEqual({ kind: 'available' });
});

test('[ST3] a disk that has room for a probe, but not for what is to be stored, is tried less and less often', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  bench.disk.isNearlyFull = true;
  /** How long it takes until something is tried again, in steps of 50 ms. */
  const measure = (): number => {
    bench.ask(1, { writes: [put('a', '1')] });
    bench.run();
    let waitedMs = 0;
    for (; bench.core.state.kind === 'unavailable'; waitedMs += 50) bench.wait(50);
    return waitedMs;
  };
  expect([measure(), measure(), measure(), measure()]).toEqual([250, 500, 1000, 1000]);
  bench.disk.isNearlyFull = false;
  expect(measure()).toBe(0);
  bench.disk.isNearlyFull = true;
  expect(measure()).toBe(250);
});

test('[ST3] a failure that leaves open what is stored is thrown, and nobody is told anything', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  bench.disk.isUnclear = true;
  const request = bench.ask(1, { writes: [put('a', '1')] });
  expect(() => bench.run()).toThrow('nobody knows');
  expect(bench.replyTo(1, request)).toBeUndefined();
});
