import { LoadGenerator } from '../load/load-generator.ts';
import type { Workload } from '../load/workloads.ts';
import type { Pinning } from '../processes.ts';
import { estimate } from '../statistics.ts';
import type { Estimate } from '../statistics.ts';
import { layTable, formatNumber } from '../table.ts';
import { FaultyServer } from './faulty-server.ts';
import { measureHeal } from './heal.ts';
import type { HealWorkload } from './heal.ts';

/** Keys under which figures are written: scripts hold releases to them, so they stay. */
export type HealingKey = 'healMs100k' | 'healMs1M' | 'healPushes' | 'moveRateRatio';

export type HealingReport = Readonly<Record<HealingKey, Estimate>>;

export interface HealingOptions {
  readonly isSmoke: boolean;
  readonly pinning: Pinning | undefined;
  readonly print: (line: string) => void;
}

interface HealingPlan {
  readonly small: HealWorkload;
  readonly large: HealWorkload;
  readonly smallRounds: number;
  readonly largeRounds: number;
  readonly pairs: number;
  readonly register: Extract<Workload, { kind: 'register' }>;
}

const fullPlan: HealingPlan = {
  small: { instances: 100_000, services: 5000, connections: 50, watched: 200 },
  large: { instances: 1_000_000, services: 50_000, connections: 100, watched: 200 },
  smallRounds: 3,
  largeRounds: 1,
  pairs: 5,
  register: { kind: 'register', connections: 64, inFlight: 64, warmUpMs: 300, measureMs: 1500 },
};

const smokePlan: HealingPlan = {
  small: { instances: 200, services: 20, connections: 2, watched: 5 },
  large: { instances: 400, services: 20, connections: 2, watched: 5 },
  smallRounds: 1,
  largeRounds: 1,
  pairs: 1,
  register: { kind: 'register', connections: 4, inFlight: 64, warmUpMs: 20, measureMs: 150 },
};

const metrics: readonly {
  readonly key: HealingKey;
  readonly title: string;
  readonly unit: string;
  readonly aim: string;
}[] = [
  { key: 'healMs100k', title: 'slots answer again, 100,000 instances', unit: 'ms', aim: '' },
  { key: 'healMs1M', title: 'slots answer again, 1,000,000 instances', unit: 'ms', aim: '' },
  { key: 'healPushes', title: 'pushes for an unchanged world', unit: '', aim: '0' },
  { key: 'moveRateRatio', title: 'registrations while slots move, to at rest', unit: '', aim: '≥ 0.8' },
];

/** What healing and moving cost. Every process it started has ended when it settles. */
export async function runHealing({ isSmoke, pinning, print }: HealingOptions): Promise<HealingReport> {
  const plan = isSmoke ? smokePlan : fullPlan;
  const core = pinning?.serverCore;
  const small = await repeat(plan.smallRounds, print, 'healing, small', () => measureHeal(plan.small, core));
  const large = await repeat(plan.largeRounds, print, 'healing, large', () => measureHeal(plan.large, core));
  const load = await LoadGenerator.start(pinning?.loadCore);
  try {
    const report: HealingReport = {
      healMs100k: estimate(small.map(({ healMs }) => healMs)),
      healMs1M: estimate(large.map(({ healMs }) => healMs)),
      healPushes: estimate([...small, ...large].map(({ pushes }) => pushes)),
      moveRateRatio: estimate(await measureMoves(load, plan, core, print)),
    };
    print(
      `\n${layTable([['', 'unit', 'median', 'low', 'high', 'aim'], ...metrics.map((metric) => formatRow(metric, report))])}\n`,
    );
    return report;
  } finally {
    await load.stop();
  }
}

function formatRow({ key, title, unit, aim }: (typeof metrics)[number], report: HealingReport): string[] {
  const { median, low, high } = report[key];
  return [title, unit, formatNumber(median), formatNumber(low), formatNumber(high), aim];
}

async function repeat<T>(
  rounds: number,
  print: (line: string) => void,
  what: string,
  run: () => Promise<T>,
): Promise<T[]> {
  const outcomes: T[] = [];
  while (outcomes.length < rounds) {
    print(`${what} ${outcomes.length + 1} of ${rounds}`);
    outcomes.push(await run());
  }
  return outcomes;
}

/** The rate of registrations while slots move between one and two partitions without a pause, to the rate at rest, pair by pair. */
async function measureMoves(
  load: LoadGenerator,
  { pairs, register }: HealingPlan,
  core: number | undefined,
  print: (line: string) => void,
): Promise<number[]> {
  const server = await FaultyServer.start(2, core);
  try {
    const rate = async (): Promise<number> => {
      const { acks, usage } = await load.run<'register'>(server.target, register);
      return acks / usage.wallMs;
    };
    await rate();
    return await repeat(pairs, print, 'moves', async () => {
      const atRest = await rate();
      const moving = new AbortController();
      const moves = moveUntil(server, moving.signal);
      const whileMoving = await rate();
      moving.abort();
      await moves;
      return whileMoving / atRest;
    });
  } finally {
    await server.stop();
  }
}

async function moveUntil(server: FaultyServer, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await server.ask({ kind: 'resize', partitions: 1 });
    await server.ask({ kind: 'resize', partitions: 2 });
  }
}
