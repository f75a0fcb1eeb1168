import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { WebSocket } from 'ws';

import { sessionPath } from '../../src/protocol/limits.ts';
import type { Target } from '../load/connection.ts';
import { readCpuTimes } from '../process-usage.ts';
import { estimate } from '../statistics.ts';
import type { Estimate } from '../statistics.ts';
import { createSlotcast, startSubject } from '../subjects.ts';
import type { SlotcastSettings } from '../subjects.ts';
import { formatNumber, layTable } from '../table.ts';

export interface AuditOptions {
  readonly isSmoke: boolean;
  readonly rounds: number | undefined;
  readonly print: (line: string) => void;
}

export interface AuditReport {
  readonly putsPerSecond: Estimate;
  readonly plainPutsPerSecond: Estimate;
  /** With the audit log to without, in the same round. */
  readonly rateRatio: Estimate;
  readonly cpuRatio: Estimate;
  readonly mainCpuRatio: Estimate;
}

interface Figures {
  readonly perSecond: number;
  /** CPU of the server for one change of a key, in µs. */
  readonly cpuMicros: number;
  readonly mainCpuMicros: number;
}

const keys = 1000;
const value: string = Buffer.alloc(256, 7).toString('base64');

/** What the audit log costs where there is most to note: changes of keys, as fast as a server takes them, with and without it. */
export async function runAudit({ isSmoke, rounds = isSmoke ? 1 : 5, print }: AuditOptions): Promise<AuditReport> {
  const load = isSmoke ? { sessions: 1, inFlight: 8, ms: 300 } : { sessions: 8, inFlight: 64, ms: 4000 };
  const samples: { readonly noted: Figures; readonly plain: Figures }[] = [];
  for (let round = 0; round < rounds; round++) {
    const measure = (settings: SlotcastSettings): Promise<Figures> =>
      inFreshServer(settings, (target) => putKeys(target, load));
    const first = round % 2 === 0 ? await measure({ audit: 'on' }) : undefined;
    const plain = await measure({ audit: 'off' });
    samples.push({ noted: first ?? (await measure({ audit: 'on' })), plain });
  }
  const ratio = (of: (figures: Figures) => number): Estimate =>
    estimate(samples.map(({ noted, plain }) => of(noted) / of(plain)));
  const report: AuditReport = {
    putsPerSecond: estimate(samples.map(({ noted }) => noted.perSecond)),
    plainPutsPerSecond: estimate(samples.map(({ plain }) => plain.perSecond)),
    rateRatio: ratio(({ perSecond }) => perSecond),
    cpuRatio: ratio(({ cpuMicros }) => cpuMicros),
    mainCpuRatio: ratio(({ mainCpuMicros }) => mainCpuMicros),
  };
  print('\nAudit: changes of keys of 256 bytes, with the audit log and without it');
  const rows = [
    ['changes per second, noted', report.putsPerSecond],
    ['changes per second, not noted', report.plainPutsPerSecond],
    ['rate, noted to not noted', report.rateRatio],
    ['CPU of a change, noted to not noted', report.cpuRatio],
    ['CPU of the main thread, noted to not noted', report.mainCpuRatio],
  ] as const;
  const table = rows.map(([name, { median, low, high }]) => [name, ...[median, low, high].map(formatNumber)]);
  print(`\n${layTable([['', 'median', 'lowest', 'highest'], ...table])}\n`);
  return report;
}

async function inFreshServer<T>(settings: SlotcastSettings, run: (target: Target) => Promise<T>): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), 'slotcast-bench-'));
  const server = await startSubject(createSlotcast({ ...settings, dataDir }), undefined);
  try {
    return await run(server.target);
  } finally {
    await server.stop();
    await rm(dataDir, { recursive: true });
  }
}

async function putKeys(
  { host, port, pid }: Target,
  { sessions, inFlight, ms }: { readonly sessions: number; readonly inFlight: number; readonly ms: number },
): Promise<Figures> {
  let done = 0;
  const sockets = await Promise.all(Array.from({ length: sessions }, (_, i) => open(host, port, i, () => (done += 1))));
  for (const { put } of sockets) for (let i = 0; i < inFlight; i++) put();
  await pause(ms / 4);
  const [before, cpuBefore, startedMs] = [done, readCpuTimes(pid), performance.now()];
  await pause(ms);
  const [count, cpu, tookMs] = [done - before, readCpuTimes(pid), performance.now() - startedMs];
  for (const { socket } of sockets) socket.terminate();
  return {
    perSecond: (count * 1000) / tookMs,
    cpuMicros: ((cpu.totalMs - cpuBefore.totalMs) * 1000) / count,
    mainCpuMicros: ((cpu.mainMs - cpuBefore.mainMs) * 1000) / count,
  };
}

/** A session that asks for the next change when one is answered. */
async function open(
  host: string,
  port: number,
  session: number,
  onDone: () => void,
): Promise<{ readonly socket: WebSocket; readonly put: () => void }> {
  const socket = new WebSocket(`ws://${host}:${port}${sessionPath}`);
  let asked = 0;
  const put = (): void => {
    asked += 1;
    const key = `session-${session}/key-${asked % keys}`;
    socket.send(`{"jsonrpc":"2.0","id":${asked},"method":"kv.put","params":{"key":"${key}","value":"${value}"}}`);
  };
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  socket.on('message', (data) => {
    if ((data as Buffer).includes('"error"')) throw new Error(`a change was refused: ${(data as Buffer).toString()}`);
    onDone();
    put();
  });
  return { socket, put };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
