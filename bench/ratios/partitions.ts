import type { LoadGenerator } from '../load/load-generator.ts';
import type { Pinning } from '../processes.ts';
import { createSubjects, startSubject } from '../subjects.ts';
import type { RunningSubject } from '../subjects.ts';
import type { PartitionsPlan } from './plan.ts';

/** Server CPU of a registration, in µs, pair by pair. */
export interface PartitionsPair {
  readonly one: number;
  readonly many: number;
}

/** What it costs to have many partitions on the same core: the requests of a turn are spread over more mailboxes. */
export async function measurePartitions(
  load: LoadGenerator,
  { many, pairs, register }: PartitionsPlan,
  pinning: Pinning | undefined,
  onProgress: (line: string) => void,
): Promise<PartitionsPair[]> {
  const cpuOf = async ({ target }: RunningSubject): Promise<number> => {
    const { usage, acks } = await load.run<'register'>(target, register);
    return (usage.serverCpuMs * 1000) / acks;
  };
  const withOne = await startSubject(createSubjects(1).slotcast, pinning?.serverCore);
  try {
    const withMany = await startSubject(createSubjects(many).slotcast, pinning?.serverCore);
    try {
      await cpuOf(withOne);
      await cpuOf(withMany);
      const measured: PartitionsPair[] = [];
      while (measured.length < pairs) {
        onProgress(`partitions ${measured.length + 1} of ${pairs}`);
        if (measured.length % 2 === 0) {
          const one = await cpuOf(withOne);
          measured.push({ one, many: await cpuOf(withMany) });
        } else {
          const many = await cpuOf(withMany);
          measured.push({ one: await cpuOf(withOne), many });
        }
      }
      return measured;
    } finally {
      await withMany.stop();
    }
  } finally {
    await withOne.stop();
  }
}
