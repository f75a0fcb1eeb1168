import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { sessionPath } from '../../src/protocol/limits.ts';
import { CertificateAuthority } from '../../src/tls/certificate-authority.ts';
import { receive, startProcess, stopProcess } from '../processes.ts';
import type { Pinning } from '../processes.ts';
import { estimate } from '../statistics.ts';
import type { Estimate } from '../statistics.ts';
import { createSlotcast, startSubject } from '../subjects.ts';
import type { SlotcastSettings } from '../subjects.ts';
import { formatNumber, layTable } from '../table.ts';
import type { TlsCost, TlsFigures, TlsOrder } from './load-process.ts';

export interface TlsBenchOptions {
  readonly isSmoke: boolean;
  readonly rounds: number | undefined;
  readonly pinning: Pinning | undefined;
  readonly print: (line: string) => void;
}

/** `uws`: in the clear, as by default; `node`: in the clear, by Node's sockets; `tls`: by these, with TLS. */
const variants = ['uws', 'node', 'tls'] as const;
type Variant = (typeof variants)[number];
const works = ['connections', 'pushes'] as const;

export interface TlsComparison {
  readonly work: (typeof works)[number];
  readonly figures: Readonly<Record<Variant, { readonly perSecond: Estimate; readonly cpuMicros: Estimate }>>;
  /** CPU with TLS to that without, of the same round: beside the same sockets, and beside the default. */
  readonly ratioToNode: Estimate;
  readonly ratioToUws: Estimate;
}

const loadTimeoutMs = 5 * 60_000;
const monthMs = 30 * 86_400_000;

/** What connections and pushes cost with TLS, beside the same without. */
export async function runTls({
  isSmoke,
  rounds = isSmoke ? 1 : 5,
  pinning,
  print,
}: TlsBenchOptions): Promise<readonly TlsComparison[]> {
  const plan = isSmoke
    ? { connections: 50, atOnce: 10, subscribers: 20, changes: 5 }
    : { connections: 3000, atOnce: 32, subscribers: 1000, changes: 100 };
  const folder = mkdtempSync(path.join(tmpdir(), 'slotcast-bench-tls-'));
  try {
    const { settings, trust } = makeCertificate(folder);
    const run = async (variant: Variant): Promise<TlsFigures> => {
      const own: SlotcastSettings =
        variant === 'uws' ? {} : { transport: 'node', ...(variant === 'tls' ? settings : {}) };
      const subject = await startSubject(createSlotcast(own), pinning?.serverCore);
      const { host, port, pid } = subject.target;
      const scheme = variant === 'tls' ? 'wss' : 'ws';
      const order: TlsOrder = {
        ...plan,
        url: `${scheme}://${host}:${port}${sessionPath}`,
        serverPid: pid,
        trust: variant === 'tls' ? trust : undefined,
      };
      const load = startProcess(
        new URL('load-process.js', import.meta.url),
        [JSON.stringify(order)],
        pinning?.loadCore,
      );
      try {
        return await receive<TlsFigures>(load, 'the load', loadTimeoutMs);
      } finally {
        await stopProcess(load);
        await subject.stop();
      }
    };
    const samples: Readonly<Record<Variant, TlsFigures>>[] = [];
    for (let round = 0; round < rounds; round++) {
      samples.push({ uws: await run('uws'), node: await run('node'), tls: await run('tls') });
    }
    const comparisons = works.map((work) => compare(work, samples));
    printComparisons(comparisons, print);
    return comparisons;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function makeCertificate(folder: string): {
  readonly settings: Pick<SlotcastSettings, 'tlsCert' | 'tlsKey'>;
  readonly trust: string;
} {
  const validity = { notBefore: new Date(Date.now() - monthMs), notAfter: new Date(Date.now() + monthMs) };
  const authority = new CertificateAuthority('bench', validity);
  const server = { usage: 'server', commonNames: ['bench'], ipAddresses: ['127.0.0.1'], validity } as const;
  const { certificate, key } = authority.issue(server);
  const settings = { tlsCert: path.join(folder, 'server.crt'), tlsKey: path.join(folder, 'server.key') };
  writeFileSync(settings.tlsCert, certificate);
  writeFileSync(settings.tlsKey, key, { mode: 0o600 });
  return { settings, trust: authority.issued.certificate };
}

function compare(
  work: TlsComparison['work'],
  samples: readonly Readonly<Record<Variant, TlsFigures>>[],
): TlsComparison {
  const of = (variant: Variant): TlsCost[] => samples.map((sample) => sample[variant][work]);
  const summarize = (variant: Variant): TlsComparison['figures'][Variant] => ({
    perSecond: estimate(of(variant).map(({ perSecond }) => perSecond)),
    cpuMicros: estimate(of(variant).map(({ cpuMicros }) => cpuMicros)),
  });
  const ratioTo = (other: Variant): Estimate =>
    estimate(samples.map((sample) => sample.tls[work].cpuMicros / Math.max(1, sample[other][work].cpuMicros)));
  return {
    work,
    figures: { uws: summarize('uws'), node: summarize('node'), tls: summarize('tls') },
    ratioToNode: ratioTo('node'),
    ratioToUws: ratioTo('uws'),
  };
}

function printComparisons(comparisons: readonly TlsComparison[], print: TlsBenchOptions['print']): void {
  print('\nTLS 1.3, a certificate on P-256, no resumption; CPU of the whole server');
  const rows = comparisons.flatMap(({ work, figures, ratioToNode, ratioToUws }) => [
    ...variants.map((variant) => [
      `${work}, ${variant}`,
      formatNumber(figures[variant].perSecond.median),
      formatNumber(figures[variant].cpuMicros.median),
    ]),
    [`${work}, tls to node`, '', `${formatNumber(ratioToNode.median)}×`],
    [`${work}, tls to uws`, '', `${formatNumber(ratioToUws.median)}×`],
  ]);
  print(`\n${layTable([['', 'per second', 'µs CPU each'], ...rows])}\n`);
}
