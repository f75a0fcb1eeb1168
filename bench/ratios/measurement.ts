import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Target } from '../load/connection.ts';
import { LoadGenerator } from '../load/load-generator.ts';
import type { Usage } from '../load/workloads.ts';
import type { Pinning } from '../processes.ts';
import { createSlotcast, startSubject, subjectNames } from '../subjects.ts';
import type { RunningSubject, Subject, SubjectName } from '../subjects.ts';
import { measurePairs } from './pairs.ts';
import type { Pair } from './pairs.ts';
import type { PairPlan, Plan, RoundOutcomes, RoundWorkloads } from './plan.ts';
import { checkSameBytes } from './results.ts';

/** One round: the same work for each server, one after the other. */
export type Round = Readonly<Record<SubjectName, RoundOutcomes>>;

export interface Measured {
  readonly rounds: readonly Round[];
  readonly idle: Readonly<Record<SubjectName, Usage>>;
  readonly sessionBytes: Readonly<Record<SubjectName, readonly number[]>>;
  /** The bare server holds no instances. */
  readonly instanceBytes: readonly number[];
  readonly partitions: readonly Pair[];
  readonly journal: readonly Pair[];
  readonly journalPipelined: readonly Pair[];
}

export interface MeasureOptions {
  readonly subjects: Readonly<Record<SubjectName, Subject>>;
  readonly plan: Plan;
  readonly pinning: Pinning | undefined;
  readonly onProgress: (line: string) => void;
}

/** Runs the whole plan. Every process it started has ended when it settles. */
export async function measure(options: MeasureOptions): Promise<Measured> {
  const { pinning } = options;
  const load = await LoadGenerator.start(pinning?.loadCore);
  try {
    return {
      ...(await measureRounds(load, options)),
      ...(await measureAdditions(load, options)),
      ...(await measureMemory(load, options)),
    };
  } finally {
    await load.stop();
  }
}

/** What a registration costs with what not every registry has. */
async function measureAdditions(
  load: LoadGenerator,
  { plan, pinning, onProgress }: MeasureOptions,
): Promise<Pick<Measured, 'partitions' | 'journal' | 'journalPipelined'>> {
  const base = createSlotcast({});
  const measurePair = (title: string, variant: Subject, pairPlan: PairPlan): Promise<Pair[]> =>
    measurePairs(load, { title, base, variant, plan: pairPlan, pinning, onProgress });
  const partitions = await measurePair(
    'partitions',
    createSlotcast({ partitions: plan.manyPartitions }),
    plan.partitions,
  );
  const dataDir = await mkdtemp(join(tmpdir(), 'slotcast-bench-'));
  try {
    const withJournal = createSlotcast({ dataDir });
    return {
      partitions,
      journal: await measurePair('journal', withJournal, plan.journal),
      journalPipelined: await measurePair('journal, pipelined,', withJournal, plan.journalPipelined),
    };
  } finally {
    await rm(dataDir, { recursive: true });
  }
}

/** All servers live through all rounds; those that are not being measured are idle. */
async function measureRounds(
  load: LoadGenerator,
  { subjects, plan, pinning, onProgress }: MeasureOptions,
): Promise<Pick<Measured, 'rounds' | 'idle'>> {
  const running = new Map<SubjectName, RunningSubject>();
  const ofEach = async <T>(names: readonly SubjectName[], run: (target: Target) => Promise<T>) => {
    const outcomes: [SubjectName, T][] = [];
    for (const name of names) outcomes.push([name, await run(running.get(name)!.target)]);
    return Object.fromEntries(outcomes) as Record<SubjectName, T>;
  };
  try {
    for (const name of subjectNames) running.set(name, await startSubject(subjects[name], pinning?.serverCore));
    const idle = await ofEach(subjectNames, async (target) => (await load.run<'idle'>(target, plan.idle)).usage);
    onProgress('warming up');
    await ofEach(subjectNames, (target) => runRound(load, target, plan.warmUp));
    const rounds: Round[] = [];
    while (rounds.length < plan.rounds) {
      onProgress(`round ${rounds.length + 1} of ${plan.rounds}`);
      // Who goes first changes from round to round, so that what drifts favours nobody.
      const first = rounds.length % subjectNames.length;
      const order = [...subjectNames.slice(first), ...subjectNames.slice(0, first)];
      const round = await ofEach(order, (target) => runRound(load, target, plan.workloads));
      checkSameBytes(round);
      rounds.push(round);
    }
    return { rounds, idle };
  } finally {
    for (const subject of running.values()) await subject.stop();
  }
}

async function runRound(load: LoadGenerator, target: Target, workloads: RoundWorkloads): Promise<RoundOutcomes> {
  return {
    register: await load.run<'register'>(target, workloads.register),
    pipelined: await load.run<'register'>(target, workloads.pipelined),
    push: await load.run<'push'>(target, workloads.push),
    hop: await load.run<'latency'>(target, workloads.hop),
    fanOut: await load.run<'latency'>(target, workloads.fanOut),
  };
}

/** Memory is measured in servers started for it: one that has run before keeps what it once needed. */
async function measureMemory(
  load: LoadGenerator,
  { subjects, plan, pinning, onProgress }: MeasureOptions,
): Promise<Pick<Measured, 'sessionBytes' | 'instanceBytes'>> {
  const sessionBytes: Record<SubjectName, number[]> = { slotcast: [], nodeSockets: [], bare: [] };
  const instanceBytes: number[] = [];
  for (let round = 0; round < plan.memoryRounds; round++) {
    onProgress(`memory ${round + 1} of ${plan.memoryRounds}`);
    for (const subject of Object.values(subjects)) {
      const { bytesEach } = await inFreshServer(subject, pinning, (target) =>
        load.run<'sessionMemory'>(target, plan.sessionMemory),
      );
      sessionBytes[subject.name].push(bytesEach);
    }
    const { bytesEach } = await inFreshServer(subjects.slotcast, pinning, (target) =>
      load.run<'instanceMemory'>(target, plan.instanceMemory),
    );
    instanceBytes.push(bytesEach);
  }
  return { sessionBytes, instanceBytes };
}

async function inFreshServer<T>(
  subject: Subject,
  pinning: Pinning | undefined,
  run: (target: Target) => Promise<T>,
): Promise<T> {
  const server = await startSubject(subject, pinning?.serverCore);
  try {
    return await run(server.target);
  } finally {
    await server.stop();
  }
}
