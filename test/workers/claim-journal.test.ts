import fc from 'fast-check';
import { expect, test } from 'vitest';

import { ClaimRecordReader } from '../../src/journal/claim-records.ts';
import type { ReadFragment } from '../../src/journal/claim-records.ts';
import { frameHeadBytes, isWhole, readFrameHead } from '../../src/journal/frame.ts';
import type { JournalEvent } from '../../src/journal/journal-writer.ts';
import type { SegmentName } from '../../src/journal/segment-name.ts';
import type { SegmentSink } from '../../src/journal/segment-writer.ts';
import { textCodec } from '../../src/runtime/text-codec.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotCount, slotOf } from '../../src/slots/slot.ts';
import { ServiceStore } from '../../src/store/service-store.ts';
import { ClaimJournal } from '../../src/workers/claim-journal.ts';
import { JournalLoader } from '../../src/workers/journal-loader.ts';
import { fromPartition, toPartition } from '../../src/workers/messages.ts';
import type { ServiceParcel, ToPartition } from '../../src/workers/messages.ts';
import { sessionsPerHostMax } from '../../src/workers/session-numbers.ts';
import { PartitionBench } from '../support/partition-bench.ts';

const keys = ['public/DEFAULT/a', 'public/DEFAULT/b', 'public/größe/世界', 'other/DEFAULT/c'] as const;
const ids = ['a', 'b', 'c', 'ü"'] as const;
/** Of a partition whose keys nobody holds. */
const noHolders = { alive: [], isEveryoneBack: true };
const room = {
  claimsPerInstanceMax: 2,
  instancesPerServiceMax: 3,
  instancesPerPartitionMax: 100,
  instanceBytesMax: 1_000_000,
  serviceListBytesMax: 1_000_000,
};

/** A disk that keeps what is written, takes its time if it is told to, and fails if it is told to. */
class TestDisk implements SegmentSink {
  segments: { readonly name: SegmentName; readonly parts: Buffer[]; isComplete: boolean }[] = [];
  isSlow = false;
  failure: Error | undefined;
  readonly #pending: (() => void)[] = [];
  onWrite: () => void = () => undefined;

  begin(name: SegmentName): void {
    if (this.failure !== undefined) throw this.failure;
    this.segments.push({ name, parts: [], isComplete: false });
  }

  write(bytes: Buffer, done: (error: Error | undefined) => void): void {
    const segment = this.segments.at(-1);
    const { failure } = this;
    if (failure === undefined) segment?.parts.push(Buffer.from(bytes));
    this.onWrite();
    this.#finish(() => {
      done(failure);
    });
  }

  complete(done: (error: Error | undefined) => void): void {
    const segment = this.segments.at(-1)!;
    this.#finish(() => {
      segment.isComplete = true;
      this.segments = this.segments.slice(this.segments.indexOf(segment));
      done(undefined);
    });
  }

  discard(): void {
    this.segments = [];
  }

  close(): void {
    // Nothing is open.
  }

  settle(): void {
    for (const run of this.#pending.splice(0)) run();
  }

  #finish(run: () => void): void {
    if (this.isSlow) this.#pending.push(run);
    else run();
  }
}

interface Written {
  readonly claims: readonly string[];
  readonly versions: readonly string[];
}

/** What a partition would begin with that reads these disks, one after the other. */
function load(disks: readonly TestDisk[]): Written {
  const store = new ServiceStore(room, textCodec, 0);
  const loader = new JournalLoader({ store, isOwned: () => true, isWanted: () => true, keepsVersions: true });
  const reader = new ClaimRecordReader(loader);
  for (const disk of disks) {
    loader.beginJournal(1);
    for (const bytes of disk.segments.flatMap(({ parts }) => parts)) {
      for (let at = 0; at < bytes.length;) {
        const head = readFrameHead(bytes, at);
        if (head === undefined) throw new Error('no frame');
        const payload = bytes.subarray(at + frameHeadBytes, at + frameHeadBytes + head.length);
        expect(isWhole(payload, head)).toBe(true);
        reader.read(payload);
        at += frameHeadBytes + head.length;
      }
    }
  }
  loader.finish();
  return describe(store);
}

function describe(store: ServiceStore): Written {
  const services = [...store.services()].filter(({ instances }) => instances.size > 0);
  return {
    claims: services
      .flatMap(({ key, instances }) =>
        [...instances].flatMap(([id]) =>
          instances
            .claims(id)
            .map(({ owner }) => `${key} ${id} ${owner} ${JSON.stringify(instances.claimOf(id, owner))}`),
        ),
      )
      .toSorted(),
    versions: services.map(({ key, version }) => `${key} ${version}`).toSorted(),
  };
}

/** A partition with a journal on a disk. */
class Scene {
  readonly disk: TestDisk = new TestDisk();
  readonly events: JournalEvent[] = [];
  readonly bench: PartitionBench;
  readonly journal: ClaimJournal;
  store!: ServiceStore;

  constructor(garbageBytes = 300, bytesWaitingMax = 1_000_000) {
    let made: ClaimJournal | undefined;
    this.bench = new PartitionBench(SlotTable.even(1), room, {
      createJournal: (store) => {
        this.store = store;
        made = new ClaimJournal(store, {
          sink: this.disk,
          name: { kind: 'claims', life: 1, writer: 0, sequence: 1 },
          head: { format: 1, registry: 'r', writers: 1 },
          bytesWaitingMax,
          garbageBytes,
          onEvent: (event) => this.events.push(event),
        });
        return made;
      },
    });
    if (made === undefined) throw new Error('no journal');
    this.journal = made;
    this.journal.begin(true, 0);
    this.journal.noteWhole();
  }

  carryOut(act: Act, request: number): void {
    const { bench } = this;
    if (act.kind === 'wait') bench.wait(act.ms);
    else bench.turn(buildRecord(act, request));
    bench.core.credit(0, { pushes: 1000, answers: 1000 });
  }
}

const change = fc.record({
  kind: fc.constantFrom('register', 'register', 'deregister', 'withdraw', 'giveUp', 'subscribe', 'query', 'raiseFloor'),
  session: fc.integer({ min: 1, max: 4 }),
  key: fc.constantFrom(...keys),
  id: fc.constantFrom(...ids),
  mark: fc.nat(2),
});
const wait = fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(10, 60, 120, 1100) });
const act = fc.oneof({ weight: 3, arbitrary: change }, { weight: 1, arbitrary: wait });
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

function buildRecord({ kind, session, key, id, mark }: Exclude<Act, { kind: 'wait' }>, request: number): ToPartition {
  switch (kind) {
    case 'register':
      return [toPartition.register, request, session, key, id, JSON.stringify({ id, mark })];
    case 'deregister':
      return [toPartition.deregister, request, session, key, id];
    case 'withdraw':
      return [toPartition.withdraw, session, key, id];
    case 'giveUp':
      return [toPartition.giveUp, request, session, key, id];
    case 'query':
      return [toPartition.query, request, key, '', Number.MAX_SAFE_INTEGER];
    case 'raiseFloor':
      // A client has shown such a version, of whatever service.
      return [toPartition.raiseFloor, 2_000_000 + mark * 1_000_000];
    default:
      // From a version of another life: the service leaps over it.
      return [toPartition.subscribe, request, key, 'delta', 2_000_000 + mark * 1_000_000, Number.MAX_SAFE_INTEGER];
  }
}

test('[WS1] whenever something has been written, it says what the partition held then, its claims and their versions', () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
      const scene = new Scene();
      scene.disk.onWrite = () => {
        expect(load([scene.disk])).toEqual(describe(scene.store));
      };
      for (const [at, each] of acts.entries()) scene.carryOut(each, at + 1);
      scene.bench.wait(200);
      expect(load([scene.disk])).toEqual(describe(scene.store));
      expect(scene.events.every(({ kind }) => kind === 'complete')).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test('[WS1] the same on a slow disk, with what was written last', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(act, fc.boolean()), { maxLength: 80 }), (acts) => {
      const scene = new Scene();
      scene.disk.isSlow = true;
      let written = describe(scene.store);
      scene.disk.onWrite = () => {
        written = describe(scene.store);
      };
      for (const [at, [each, isSettled]] of acts.entries()) {
        scene.carryOut(each, at + 1);
        if (isSettled) scene.disk.settle();
        expect(load([scene.disk])).toEqual(written);
      }
    }),
    { numRuns: 300 },
  );
});

test('[WS2] a disk that fails, or does not keep up, costs the journal and nothing else, and it is begun anew', () => {
  const scene = new Scene();
  scene.carryOut({ kind: 'register', session: 1, key: keys[0], id: 'a', mark: 0 }, 1);
  scene.bench.wait(200);
  scene.disk.failure = new Error('no space left on device');
  scene.carryOut({ kind: 'register', session: 1, key: keys[0], id: 'b', mark: 0 }, 2);
  scene.bench.wait(200);
  expect(scene.events.at(-1)).toEqual({ kind: 'cold', reason: 'no space left on device' });
  expect(load([scene.disk]).claims).toEqual([]);
  scene.carryOut({ kind: 'register', session: 1, key: keys[0], id: 'c', mark: 0 }, 3);
  expect(scene.bench.core.instanceCount).toBe(3);
  scene.bench.wait(6000);
  expect(scene.events.at(-1)?.kind).toBe('cold');
  scene.disk.failure = undefined;
  for (let i = 0; i < 20; i++) scene.bench.wait(1000);
  expect(scene.events.slice(-2).map(({ kind }) => kind)).toEqual(['warm', 'complete']);
  expect(load([scene.disk])).toEqual(describe(scene.store));
});

test('[WS2] what waits to be written has a bound', () => {
  const scene = new Scene(300, 500);
  scene.disk.isSlow = true;
  for (let request = 1; request <= 20; request++) {
    scene.carryOut({ kind: 'register', session: 1, key: keys[0], id: 'a', mark: request }, request);
    scene.bench.wait(60);
    expect(scene.journal.waitingBytes).toBeLessThan(500 + 200);
  }
  expect(scene.events.find(({ kind }) => kind === 'cold')).toMatchObject({ reason: /^\d+ bytes wait/ });
});

test('[WS1] segments do not grow for ever: what is no longer needed goes', () => {
  const scene = new Scene(1000);
  let most = 0;
  for (let request = 1; request <= 500; request++) {
    scene.carryOut({ kind: 'register', session: 1, key: keys[0], id: ids[request % 4]!, mark: request }, request);
    scene.bench.wait(120);
    most = Math.max(most, scene.journal.bytes);
  }
  expect(most).toBeLessThan(8000);
  expect(load([scene.disk])).toEqual(describe(scene.store));
});

test('[WS1] a slot that moves is read from the journal of whoever has it, in whatever order journals are read', () => {
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 20 }),
      fc.array(change, { maxLength: 20 }),
      fc.constantFrom('all', 'part', 'forgotten'),
      fc.boolean(),
      (before, after, end, isReversed) => {
        const [giver, taker] = [new Scene(), new Scene()];
        for (const [at, each] of before.entries()) giver.carryOut(each, at + 1);
        giver.bench.wait(400);
        const slots = [...new Set(keys.map((key) => slotOf(key)))];
        const [handedOver] = giver.bench.turn([toPartition.handOver, 900, slots]);
        if (handedOver?.[0] !== fromPartition.handedOver) throw new Error('not handed over');
        const parcels = end === 'part' ? handedOver[3].map((parcel) => takeHalf(parcel)) : handedOver[3];
        taker.bench.turn([toPartition.takeOver, 901, handedOver[2], parcels, noHolders]);
        const disks = isReversed ? [taker.disk, giver.disk] : [giver.disk, taker.disk];
        if (end === 'part') {
          // The rest does not come any more: the giver still has all.
          giver.bench.wait(200);
          taker.bench.wait(200);
          expect(load(disks)).toEqual(describe(giver.store));
          return;
        }
        taker.bench.core.adoptTable(
          SlotTable.create(
            2,
            1,
            Array.from({ length: slotCount }, () => 0),
          ),
        );
        for (const [at, each] of after.entries()) taker.carryOut(each, 1000 + at);
        taker.bench.wait(200);
        if (end === 'forgotten') {
          giver.bench.turn([toPartition.forget, 902, slots]);
          giver.bench.wait(1200);
          giver.bench.wait(200);
        }
        expect(load(disks)).toEqual(describe(taker.store));
      },
    ),
    { numRuns: 200 },
  );
});

function takeHalf(parcel: ServiceParcel): ServiceParcel {
  const claims = Math.ceil(parcel.instances.length / 4 / 2);
  return { ...parcel, instances: parcel.instances.slice(0, claims * 4), isLast: false };
}

test('[WS1] of a service of which a segment has begun to say all, the rest stays as it was said before', () => {
  const store = new ServiceStore(room, textCodec, 0);
  const loader = new JournalLoader({ store, isOwned: () => true, isWanted: () => true, keepsVersions: true });
  loader.beginJournal(1);
  loader.begin(keys[0], 7, 0);
  for (const id of ['a', 'b']) loader.put(keys[0], encode(JSON.stringify({ id })), 5, 1, 7);
  // The next segment of the same writer, or of a later life, was not written to its end.
  loader.begin(keys[0], 7, 0);
  loader.put(keys[0], encode('{"id":"a"}'), 5, 1, 7);
  loader.beginJournal(2);
  loader.begin(keys[0], 7, 0);
  loader.put(keys[0], encode('{"id":"b"}'), 5, 1, 7);
  loader.finish();
  expect(describe(store).claims).toHaveLength(2);
});

function encode(text: string): ReadFragment {
  const bytes = Buffer.from(text);
  return { bytes, start: 0, end: bytes.length, isAscii: bytes.length === text.length };
}

test('sessions of a journal are told by the hosts where they began', () => {
  const store = new ServiceStore(room, textCodec, 0);
  const loader = new JournalLoader({
    store,
    isOwned: (slot) => slot < slotCount,
    isWanted: () => true,
    keepsVersions: true,
  });
  loader.beginJournal(1);
  loader.put(keys[0], encode('{"id":"a"}'), 5, 12, 77);
  loader.put(keys[0], encode('{"id":"b"}'), 2 * sessionsPerHostMax + 3, 9, 78);
  const { stampMax, versionMax, sessionsMax } = loader.finish();
  expect({ stampMax, versionMax }).toEqual({ stampMax: 12, versionMax: 78 });
  expect(sessionsMax.slice(0, 3)).toEqual([5, 0, 3]);
});
