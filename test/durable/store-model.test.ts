import fc from 'fast-check';
import { expect, test } from 'vitest';

import type { DurableWrite } from '../../src/durable/commits.ts';
import { FaultyDisk, put, StoreBench } from '../support/store-bench.ts';

const partitions = [0, 1, 2] as const;
type Partition = (typeof partitions)[number];

type Act =
  | { readonly kind: 'commit'; readonly caller: Partition; readonly keys: readonly string[] }
  | {
      readonly kind: 'joint';
      readonly members: readonly Partition[];
      readonly refused: Partition | undefined;
      readonly absent: Partition | undefined;
    }
  | { readonly kind: 'turn' }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'part' }
  | { readonly kind: 'die'; readonly caller: Partition }
  | { readonly kind: 'disk'; readonly works: boolean }
  | { readonly kind: 'restart' };

const partition = fc.constantFrom(...partitions);
const keys = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 });
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('commit' as const), caller: partition, keys }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('joint' as const),
      members: fc.uniqueArray(partition, { minLength: 2 }),
      refused: fc.option(partition, { nil: undefined, freq: 4 }),
      absent: fc.option(partition, { nil: undefined, freq: 6 }),
    }),
  },
  { weight: 6, arbitrary: fc.constant({ kind: 'part' as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'turn' as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 6000 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('die' as const), caller: partition }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('disk' as const), works: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
);

interface Asked {
  readonly writes: readonly DurableWrite[];
  /** Undefined: it was asked for alone. */
  readonly joint: number | undefined;
}

/** What is known without the store: what was asked, and what was replied. */
class Ledger {
  readonly disk: FaultyDisk = new FaultyDisk();
  bench: StoreBench = new StoreBench(this.disk);
  /** By caller and request. */
  readonly asked: Map<string, Asked> = new Map();
  /** What nobody has been told the fate of: it may be stored. */
  readonly unanswered: Set<Asked> = new Set();
  readonly refusedJoints: Set<number> = new Set();
  /** The rows, as replies say. Each commit writes texts of its own. */
  readonly rows: Map<string, string> = new Map();
  /** The version of each commit that was acknowledged. */
  readonly versions: { readonly version: number; readonly joint: number | undefined }[] = [];
  #callers: number[] = [];
  #lastCaller = 0;
  #lastJoint = 0;
  #lastText = 0;
  /** Parts of joint transactions that are still to be sent, in any order. */
  readonly #parts: {
    readonly caller: Partition;
    readonly id: number;
    readonly members: readonly Partition[];
    readonly isRefused: boolean;
  }[] = [];

  constructor() {
    for (const each of partitions) this.#attach(each);
  }

  run(step: Act): void {
    const { bench } = this;
    switch (step.kind) {
      case 'commit':
        this.#ask(step.caller, step.keys, undefined);
        return;
      case 'joint': {
        this.#lastJoint += 1;
        const id = this.#lastJoint;
        const { members, refused, absent } = step;
        for (const caller of members) {
          if (caller !== absent) this.#parts.push({ caller, id, members, isRefused: caller === refused });
        }
        if (members.some((member) => member === refused || member === absent)) this.refusedJoints.add(id);
        return;
      }
      case 'part': {
        // The newest first: parts of several transactions come in between each other's.
        const part = this.#parts.pop();
        if (part !== undefined) this.#ask(part.caller, ['j'], part);
        return;
      }
      case 'turn':
        bench.run();
        this.#hear();
        return;
      case 'wait':
        bench.wait(step.ms);
        this.#hear();
        return;
      case 'die':
        bench.core.detach(this.#callers[step.caller]!);
        this.#attach(step.caller);
        return;
      case 'disk':
        this.disk.fault = step.works ? undefined : 'full';
        return;
      case 'restart': {
        const { nowMs } = bench;
        this.#hear();
        this.bench = new StoreBench(this.disk);
        this.bench.nowMs = nowMs;
        for (const each of partitions) this.#attach(each);
        return;
      }
      default:
        step satisfies never;
    }
  }

  #attach(each: Partition): void {
    this.#lastCaller += 1;
    this.#callers[each] = this.#lastCaller;
    this.bench.core.attach(this.#lastCaller, each);
  }

  #ask(
    caller: Partition,
    names: readonly string[],
    part: { readonly id: number; readonly members: readonly Partition[]; readonly isRefused: boolean } | undefined,
  ): void {
    // Keys are the partition's own, as slots are.
    const writes = names.map((name) => {
      this.#lastText += 1;
      return put(`${caller}/${name}`, String(part === undefined ? this.#lastText : `joint ${part.id}`));
    });
    const joint =
      part === undefined
        ? undefined
        : { id: part.id, partitions: part.members, isRefused: part.isRefused, readBytes: 0 };
    const number = this.#callers[caller]!;
    const request = this.bench.ask(number, { writes, ...(joint === undefined ? {} : { joint }) });
    const asked = { writes, joint: part?.id };
    this.asked.set(`${number}/${request}`, asked);
    this.unanswered.add(asked);
  }

  /** Applies what has been acknowledged, in the order of versions. */
  #hear(): void {
    const answered = [...this.bench.replies].flatMap(([caller, replies]) =>
      replies.map((reply) => ({ reply, asked: this.asked.get(`${caller}/${reply.request}`)! })),
    );
    for (const { asked } of answered) this.unanswered.delete(asked);
    const committed = answered.flatMap(({ reply, asked }) =>
      reply.kind === 'committed' ? [{ version: reply.version, asked }] : [],
    );
    this.bench.replies.clear();
    for (const { version, asked } of committed.sort((a, b) => a.version - b.version)) {
      this.versions.push({ version, joint: asked.joint });
      for (const { key, payload } of asked.writes) this.rows.set(key, Buffer.from(payload!).toString());
    }
  }
}

test('[ST1] [ST2] [ST3] whatever comes in whatever order, acknowledged commits are stored, transactions whole, and versions rise over restarts', () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const ledger = new Ledger();
      for (const step of acts) ledger.run(step);
      ledger.disk.fault = undefined;
      ledger.run({ kind: 'wait', ms: 10_000 });
      ledger.run({ kind: 'wait', ms: 10_000 });
      const stored = ledger.bench.rows();
      // A row is of the last commit that was acknowledged, or of one whose caller had gone before it could be told.
      const possible = [...ledger.unanswered].flatMap(({ writes }) => writes);
      for (const key of new Set([...ledger.rows.keys(), ...Object.keys(stored)])) {
        const texts = possible
          .filter((write) => write.key === key)
          .map(({ payload }) => Buffer.from(payload!).toString());
        expect([ledger.rows.get(key), ...texts]).toContain(stored[key]);
      }
      const joints = new Map<number, number>();
      let last = 0;
      for (const { version, joint } of ledger.versions) {
        expect(version).toBeGreaterThanOrEqual(last);
        if (version === last) expect(joint).toBeDefined();
        if (joint !== undefined) {
          expect(ledger.refusedJoints.has(joint)).toBe(false);
          expect(joints.get(joint) ?? version).toBe(version);
          joints.set(joint, version);
        }
        last = version;
      }
      expect(ledger.disk.lastVersion).toBeGreaterThanOrEqual(last);
    }),
    { numRuns: 500 },
  );
});

test('[ST2] a transaction is in the rows of all its partitions, or of none, at every moment', () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const ledger = new Ledger();
      const members = new Map<number, readonly Partition[]>();
      let joints = 0;
      let seen: Record<string, string> = {};
      for (const step of acts) {
        if (step.kind === 'joint') members.set(++joints, step.members);
        ledger.run(step);
        const rows = ledger.bench.rows();
        for (const each of partitions) {
          const id = readJoint(rows[`${each}/j`]);
          if (id === undefined || rows[`${each}/j`] === seen[`${each}/j`]) continue;
          // It has just been stored: so have the other parts, or what has come after them in the same turn.
          for (const other of members.get(id)!) expect(rows[`${other}/j`]).not.toBe(seen[`${other}/j`]);
        }
        seen = rows;
      }
    }),
    { numRuns: 500 },
  );
});

function readJoint(text: string | undefined): number | undefined {
  return text?.startsWith('joint ') === true ? Number(text.slice('joint '.length)) : undefined;
}
