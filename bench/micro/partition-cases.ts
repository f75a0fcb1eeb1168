import { resolveConfig } from '../../src/config/config-checking.ts';
import { encodeDifference, encodeList } from '../../src/push/push-encoding.ts';
import { textCodec } from '../../src/runtime/text-codec.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import type { ServiceRecord } from '../../src/store/service-record.ts';
import { ServiceStore } from '../../src/store/service-store.ts';
import { toPartition } from '../../src/workers/messages.ts';
import type { PartitionLimits, ToPartition } from '../../src/workers/messages.ts';
import type { PartitionClock } from '../../src/workers/partition-clock.ts';
import { PartitionCore } from '../../src/workers/partition-core.ts';
import { buildInstance } from '../load/requests.ts';
import type { MicroCase } from './micro-case.ts';
import { sink } from './micro-case.ts';

const limits = resolveConfig({});
const table = SlotTable.even(1);
const host = 0;
const session = 7;
const clock: PartitionClock = { wallMicros: 1_700_000_000_000_000, monotonicMs: 1000 };
const operations = 512;
const instancesPerService = 16;

function keyOf(index: number): string {
  return `public/DEFAULT/orders-${1000 + Math.floor(index / instancesPerService)}`;
}

function buildRecords(revision: number): ToPartition[] {
  return Array.from({ length: operations }, (_, index) => {
    const instance = buildInstance(index, revision);
    return [toPartition.register, index + 1, session, keyOf(index), instance.id, JSON.stringify(instance)];
  });
}

function createCore(bounds: Partial<PartitionLimits> = {}): PartitionCore {
  return new PartitionCore({
    partition: 0,
    table,
    limits: { ...limits, ...bounds },
    versionFloor: clock.wallMicros,
    emit: (_, ...record) => sink(record.length),
    askStore: () => undefined,
  });
}

function applyAll(core: PartitionCore, records: readonly ToPartition[]): void {
  core.beginTurn();
  core.beginBatch(host, 1, clock);
  for (const record of records) core.apply(host, table.epoch, record, clock);
  core.endBatch();
  core.endTurn(clock);
}

/** Registers the same ids in two contents by turns. */
function createChanging(core: PartitionCore): MicroCase {
  const contents = [buildRecords(0), buildRecords(1)];
  let turn = 0;
  applyAll(core, contents[1]!);
  return {
    operations,
    run: () => {
      applyAll(core, contents[turn % 2]!);
      turn += 1;
    },
  };
}

function createService(instances: number): ServiceRecord {
  const store = new ServiceStore(limits, textCodec, clock.wallMicros);
  const service = store.obtain(keyOf(0));
  for (let index = 0; index < instances; index++) {
    const instance = buildInstance(index, 0);
    store.register(
      service.key,
      instance.id,
      { fragment: JSON.stringify(instance), owner: session, stamp: index },
      clock.wallMicros,
    );
  }
  return service;
}

type PartitionCaseName =
  | 'applyNew'
  | 'applySame'
  | 'applyChanged'
  | 'applyWatched'
  | 'storeChanged'
  | 'encodeDelta'
  | 'encodeSnapshot';

export const partitionCases: Readonly<Record<PartitionCaseName, () => MicroCase>> = {
  applyNew: () => {
    const records = buildRecords(0);
    let core = createCore();
    return {
      operations,
      prepare: () => {
        core = createCore();
      },
      run: () => applyAll(core, records),
    };
  },
  applySame: () => {
    const core = createCore();
    const records = buildRecords(0);
    applyAll(core, records);
    return { operations, run: () => applyAll(core, records) };
  },
  applyChanged: () => createChanging(createCore()),
  /** With a subscriber to each service and a window of no length: every turn also encodes and emits the deltas. */
  applyWatched: () => {
    const core = createCore({
      coalesceWindowMinMs: 0,
      coalesceWindowMaxMs: 0,
      pushCharactersInFlightMax: Number.MAX_SAFE_INTEGER,
    });
    core.attach(host);
    for (let index = 0; index < operations; index += instancesPerService) {
      core.apply(
        host,
        table.epoch,
        [toPartition.subscribe, index + 1, keyOf(index), 'delta', 0, Number.MAX_SAFE_INTEGER],
        clock,
      );
    }
    return createChanging(core);
  },
  storeChanged: () => {
    const store = new ServiceStore(limits, textCodec, clock.wallMicros);
    const contents = [0, 1].map((revision) =>
      Array.from({ length: operations }, (_, index) => buildInstance(index, revision)),
    );
    const fragments = contents.map((instances) => instances.map((instance) => JSON.stringify(instance)));
    const ids = contents[0]!.map(({ id }) => id);
    const keys = ids.map((_, index) => keyOf(index));
    let stamp = 0;
    return {
      operations,
      run: () => {
        stamp += 1;
        const texts = fragments[stamp % 2]!;
        for (let i = 0; i < operations; i++) {
          const outcome = store.register(
            keys[i]!,
            ids[i]!,
            { fragment: texts[i]!, owner: session, stamp },
            clock.wallMicros,
          );
          sink(outcome.kind.length);
        }
      },
    };
  },
  /** One change among a hundred instances. */
  encodeDelta: () => {
    const service = createService(100);
    const ids = [buildInstance(0, 0).id];
    return {
      operations,
      run: () => {
        for (let i = 0; i < operations; i++) sink(encodeDifference(service, ids).length);
      },
    };
  },
  /** A hundred instances; turned into bytes, since joined texts alone are only promises of texts. */
  encodeSnapshot: () => {
    const service = createService(100);
    const target = Buffer.alloc(100_000);
    return { operations: 1, run: () => sink(target.write(encodeList(service))) };
  },
};
