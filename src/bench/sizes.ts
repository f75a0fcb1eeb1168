export interface SizeOption {
  readonly flag: string;
  readonly meaning: string;
  readonly min: number;
  readonly max: number;
}

export type SizeName =
  | 'sessions'
  | 'services'
  | 'instances'
  | 'subscribers'
  | 'readers'
  | 'rate'
  | 'seconds'
  | 'warmUp'
  | 'window'
  | 'metadataBytes'
  | 'batch'
  | 'batchEveryMs'
  | 'restartMs'
  | 'jitterMs'
  | 'stopped';

/** Every size, those that the scenario does not have as 0. */
export type ResolvedSizes = Readonly<Record<SizeName, number>>;

/** Every size that a scenario may have; each is an option of the command line. */
export const sizeOptions: Readonly<Record<SizeName, SizeOption>> = {
  sessions: { flag: '--sessions <n>', meaning: 'sessions that register', min: 1, max: 100_000 },
  services: { flag: '--services <n>', meaning: 'services', min: 1, max: 10_000_000 },
  instances: { flag: '--instances <n>', meaning: 'instances (of what: see --list)', min: 1, max: 1_000_000 },
  subscribers: { flag: '--subscribers <n>', meaning: 'subscribers of each service', min: 1, max: 100_000 },
  readers: { flag: '--readers <n>', meaning: 'sessions that subscribe', min: 1, max: 100_000 },
  rate: {
    flag: '--rate <n>',
    meaning: 'changes (or registrations) a second, on a fixed schedule',
    min: 0,
    max: 1_000_000,
  },
  seconds: { flag: '--seconds <n>', meaning: 'how long it is measured', min: 1, max: 86_400 },
  warmUp: { flag: '--warm-up <seconds>', meaning: 'how long it runs before it is measured', min: 0, max: 3600 },
  window: { flag: '--window <n>', meaning: 'requests of one session under way at a time', min: 1, max: 4096 },
  metadataBytes: {
    flag: '--metadata-bytes <n>',
    meaning: 'metadata of an instance, keys and values',
    min: 24,
    max: 8192,
  },
  batch: { flag: '--batch <n>', meaning: 'instances that restart together', min: 1, max: 100_000 },
  batchEveryMs: { flag: '--batch-every-ms <n>', meaning: 'from one batch to the next', min: 1, max: 600_000 },
  restartMs: { flag: '--restart-ms <n>', meaning: 'how long an instance is away', min: 0, max: 600_000 },
  jitterMs: { flag: '--jitter-ms <n>', meaning: 'sessions come back spread over this time', min: 0, max: 600_000 },
  stopped: { flag: '--stopped <percent>', meaning: 'of a hundred readers, so many stop reading', min: 1, max: 99 },
};

export const sizeNames: readonly SizeName[] = Object.keys(sizeOptions) as SizeName[];

export type Sizes = Readonly<Partial<Record<SizeName, number>>>;

/** Ready-made sizes: `smoke` shows that it runs, `normal` fits a small machine and a minute, `full` is what the scenario is meant for. */
export const scales: readonly Scale[] = ['smoke', 'normal', 'full'];
export type Scale = 'smoke' | 'normal' | 'full';

/** A size that a scenario has: what it counts there, and how large it is at each scale. */
export interface SizeChoice {
  readonly meaning?: string;
  readonly at: readonly [smoke: number, normal: number, full: number];
}
