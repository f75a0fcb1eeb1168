import type { LoadGenerator } from '../load/load-generator.ts';
import type { Pinning } from '../processes.ts';
import { startSubject } from '../subjects.ts';
import type { RunningSubject, Subject } from '../subjects.ts';
import type { PairPlan } from './plan.ts';

/** Server CPU of a registration, in µs: of the server as it is, and of one that does more. */
export interface Pair {
  readonly base: number;
  readonly variant: number;
}

export interface PairOptions {
  /** For progress. */
  readonly title: string;
  readonly base: Subject;
  readonly variant: Subject;
  readonly plan: PairPlan;
  readonly pinning: Pinning | undefined;
  readonly onProgress: (line: string) => void;
}

/** What a registration costs in two servers on the same core, by turns. */
export async function measurePairs(
  load: LoadGenerator,
  { title, base, variant, plan, pinning, onProgress }: PairOptions,
): Promise<Pair[]> {
  const cpuOf = async ({ target }: RunningSubject): Promise<number> => {
    const { usage, acks } = await load.run<'register'>(target, plan.register);
    return (usage.serverCpuMs * 1000) / acks;
  };
  const runningBase = await startSubject(base, pinning?.serverCore);
  try {
    const runningVariant = await startSubject(variant, pinning?.serverCore);
    try {
      await cpuOf(runningBase);
      await cpuOf(runningVariant);
      const measured: Pair[] = [];
      while (measured.length < plan.pairs) {
        onProgress(`${title} ${measured.length + 1} of ${plan.pairs}`);
        if (measured.length % 2 === 0) {
          const ofBase = await cpuOf(runningBase);
          measured.push({ base: ofBase, variant: await cpuOf(runningVariant) });
        } else {
          const ofVariant = await cpuOf(runningVariant);
          measured.push({ base: await cpuOf(runningBase), variant: ofVariant });
        }
      }
      return measured;
    } finally {
      await runningVariant.stop();
    }
  } finally {
    await runningBase.stop();
  }
}
