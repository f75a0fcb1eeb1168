import type { Target } from '../load/connection.ts';
import { LoadGenerator } from '../load/load-generator.ts';
import type { Usage } from '../load/workloads.ts';
import type { Pinning } from '../processes.ts';
import { startSubject } from '../subjects.ts';
import type { Subject, SubjectName } from '../subjects.ts';
import { measurePartitions } from './partitions.ts';
import type { PartitionsPair } from './partitions.ts';
import type { Plan, RoundOutcomes, RoundWorkloads } from './plan.ts';
import { checkSameBytes } from './results.ts';

/** One round: the same work for each server, one after the other. */
export type Round = Readonly<Record<SubjectName, RoundOutcomes>>;

export interface Measured {
  readonly rounds: readonly Round[];
  readonly idle: Readonly<Record<SubjectName, Usage>>;
  readonly sessionBytes: Readonly<Record<SubjectName, readonly number[]>>;
  /** The bare server holds no instances. */
  readonly instanceBytes: readonly number[];
  readonly partitions: readonly PartitionsPair[];
}

export interface MeasureOptions {
  readonly subjects: readonly [slotcast: Subject, bare: Subject];
  readonly plan: Plan;
  readonly pinning: Pinning | undefined;
  readonly onProgress: (line: string) => void;
}

/** Runs the whole plan. Every process it started has ended when it settles. */
export async function measure(options: MeasureOptions): Promise<Measured> {
  const { plan, pinning, onProgress } = options;
  const load = await LoadGenerator.start(pinning?.loadCore);
  try {
    return {
      ...(await measureRounds(load, options)),
      partitions: await measurePartitions(load, plan.partitions, pinning, onProgress),
      ...(await measureMemory(load, options)),
    };
  } finally {
    await load.stop();
  }
}

/** Both servers live through all rounds; whichever is not measured is idle. */
async function measureRounds(
  load: LoadGenerator,
  { subjects, plan, pinning, onProgress }: MeasureOptions,
): Promise<Pick<Measured, 'rounds' | 'idle'>> {
  const slotcast = await startSubject(subjects[0], pinning?.serverCore);
  try {
    const bare = await startSubject(subjects[1], pinning?.serverCore);
    try {
      const idle = {
        slotcast: (await load.run<'idle'>(slotcast.target, plan.idle)).usage,
        bare: (await load.run<'idle'>(bare.target, plan.idle)).usage,
      };
      onProgress('warming up');
      await runRound(load, slotcast.target, plan.warmUp);
      await runRound(load, bare.target, plan.warmUp);
      const rounds: Round[] = [];
      while (rounds.length < plan.rounds) {
        onProgress(`round ${rounds.length + 1} of ${plan.rounds}`);
        const round = await runPair(load, slotcast.target, bare.target, plan.workloads, rounds.length % 2 === 0);
        checkSameBytes(round);
        rounds.push(round);
      }
      return { rounds, idle };
    } finally {
      await bare.stop();
    }
  } finally {
    await slotcast.stop();
  }
}

/** Who goes first changes from round to round, so that what drifts does not favour one. */
async function runPair(
  load: LoadGenerator,
  slotcast: Target,
  bare: Target,
  workloads: RoundWorkloads,
  isSlotcastFirst: boolean,
): Promise<Round> {
  if (isSlotcastFirst) {
    const first = await runRound(load, slotcast, workloads);
    return { slotcast: first, bare: await runRound(load, bare, workloads) };
  }
  const first = await runRound(load, bare, workloads);
  return { slotcast: await runRound(load, slotcast, workloads), bare: first };
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
  { subjects: [slotcast, bare], plan, pinning, onProgress }: MeasureOptions,
): Promise<Pick<Measured, 'sessionBytes' | 'instanceBytes'>> {
  const sessionBytes: Record<SubjectName, number[]> = { slotcast: [], bare: [] };
  const instanceBytes: number[] = [];
  for (let round = 0; round < plan.memoryRounds; round++) {
    onProgress(`memory ${round + 1} of ${plan.memoryRounds}`);
    for (const subject of [slotcast, bare]) {
      const { bytesEach } = await inFreshServer(subject, pinning, (target) =>
        load.run<'sessionMemory'>(target, plan.sessionMemory),
      );
      sessionBytes[subject.name].push(bytesEach);
    }
    const { bytesEach } = await inFreshServer(slotcast, pinning, (target) =>
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
