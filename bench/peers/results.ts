import { estimate } from '../statistics.ts';
import type { Estimate } from '../statistics.ts';
import { layTable, formatNumber } from '../table.ts';
import type { PeerName } from './driver.ts';

/** One round of one peer. */
export interface PeerSample {
  readonly registerCpuMicros: number;
  readonly registerPipelinedCpuMicros: number;
  readonly registersPerSecond: number;
  readonly registersPipelinedPerSecond: number;
  /** From asking for a change to the last watcher, median of the round's. */
  readonly fanOutMs: number;
  readonly fanOutCpuMs: number;
  readonly bytesPerInstance: number | undefined;
  /** Of a core, that the clients used: near 1 they are what limits rates and times, though not the server's CPU. */
  readonly loadShare: Readonly<Record<'register' | 'registerPipelined' | 'fanOut', number>>;
}

/** slotcast's figure divided by the peer's in the same round; under these keys scripts find them. */
const ratioKeys = {
  registerCpuRatio: 'registerCpuMicros',
  registerPipelinedCpuRatio: 'registerPipelinedCpuMicros',
  fanOutTimeRatio: 'fanOutMs',
  fanOutCpuRatio: 'fanOutCpuMs',
  bytesPerInstanceRatio: 'bytesPerInstance',
} as const;
type RatioKey = keyof typeof ratioKeys;
type FigureKey = Exclude<keyof PeerSample, 'loadShare'>;

const figures: Readonly<Record<FigureKey, string>> = {
  registerCpuMicros: 'registration one at a time, µs CPU of the server',
  registersPerSecond: '  registrations/s',
  registerPipelinedCpuMicros: 'registration, 16 under way, µs CPU of the server',
  registersPipelinedPerSecond: '  registrations/s',
  fanOutMs: 'a change to the last of the watchers, ms',
  fanOutCpuMs: '  ms CPU of the server',
  bytesPerInstance: 'RSS of an instance, bytes',
};

const aims: Readonly<Record<PeerName, Partial<Record<RatioKey, number>>>> = {
  slotcast: {},
  // With the same bytes on both sides, and less noise: `npm run bench -- ratios`.
  bare: {},
  etcd: { registerCpuRatio: 0.1, registerPipelinedCpuRatio: 0.1, fanOutTimeRatio: 1 / 3, bytesPerInstanceRatio: 0.25 },
  zookeeper: {
    registerCpuRatio: 0.2,
    registerPipelinedCpuRatio: 0.2,
    fanOutTimeRatio: 1 / 3,
    bytesPerInstanceRatio: 0.25,
  },
};

/** A peer that ran, or why it did not. */
export type PeerReport =
  | { readonly missing: string }
  | {
      readonly figures: Readonly<Partial<Record<FigureKey, Estimate>>>;
      /** slotcast's to this peer's; none of slotcast itself. */
      readonly ratios: Readonly<Partial<Record<RatioKey, Estimate>>>;
      readonly loadShare: PeerSample['loadShare'];
    };

export type PeersReport = Readonly<Partial<Record<PeerName, PeerReport>>>;

export function describePeers(
  samples: ReadonlyMap<PeerName, readonly PeerSample[]>,
  missing: ReadonlyMap<PeerName, string>,
): PeersReport {
  const base = samples.get('slotcast') ?? [];
  const report: Partial<Record<PeerName, PeerReport>> = {};
  for (const [name, reason] of missing) report[name] = { missing: reason };
  for (const [name, own] of samples) {
    const share = (key: keyof PeerSample['loadShare']): number =>
      estimate(own.map(({ loadShare }) => loadShare[key])).median;
    report[name] = {
      figures: estimateAll(Object.keys(figures) as FigureKey[], (key) => own.map((sample) => sample[key])),
      ratios:
        name === 'slotcast'
          ? {}
          : estimateAll(Object.keys(ratioKeys) as RatioKey[], (key) => {
              const figure = ratioKeys[key];
              return own.map((sample, round) => divide(base[round]?.[figure], sample[figure]));
            }),
      loadShare: {
        register: share('register'),
        registerPipelined: share('registerPipelined'),
        fanOut: share('fanOut'),
      },
    };
  }
  return report;
}

function divide(ours: number | undefined, theirs: number | undefined): number | undefined {
  return ours === undefined || theirs === undefined ? undefined : ours / theirs;
}

/** What was not measured has no key. */
function estimateAll<K extends string>(
  keys: readonly K[],
  read: (key: K) => readonly (number | undefined)[],
): Partial<Record<K, Estimate>> {
  const estimates: Partial<Record<K, Estimate>> = {};
  for (const key of keys) {
    const values = read(key).filter((value) => value !== undefined);
    if (values.length > 0) estimates[key] = estimate(values);
  }
  return estimates;
}

export function printPeers(report: PeersReport, print: (line: string) => void): void {
  const ran = Object.entries(report).flatMap(([name, peer]) => ('missing' in peer ? [] : [[name, peer] as const]));
  const rows = (Object.keys(figures) as FigureKey[]).map((key) => [
    figures[key],
    ...ran.map(([, peer]) => formatNumber(peer.figures[key]?.median ?? Number.NaN)),
  ]);
  print(`\n${layTable([['', ...ran.map(([name]) => name)], ...rows])}`);
  const compared = ran.flatMap(([name, { ratios }]) =>
    (Object.keys(ratios) as RatioKey[]).map((key) => {
      const { median, low, high } = ratios[key]!;
      const aim = aims[name as PeerName][key];
      return [
        `${key} to ${name}`,
        ...[median, low, high].map(formatNumber),
        aim === undefined ? '' : `≤ ${formatNumber(aim)}`,
      ];
    }),
  );
  if (compared.length > 0) print(`\n${layTable([['', 'ratio', 'low', 'high', 'aim'], ...compared])}`);
  for (const [name, peer] of Object.entries(report)) {
    if ('missing' in peer) {
      print(`${name}: not run: ${peer.missing}`);
      continue;
    }
    const busy = Object.entries(peer.loadShare).filter(([, share]) => share > 0.9);
    if (busy.length === 0) continue;
    print(
      `${name}: its clients used a whole core in ${busy.map(([what]) => what).join(', ')}: rates and times there are theirs.`,
    );
  }
  print('');
}
