import { Worker } from 'node:worker_threads';

import { layTable, formatNumber } from '../table.ts';
import type { CaseResult, CaseStart } from './case-process.ts';
import { caseNames } from './cases.ts';

const caseTimeoutMs = 30_000;

/** Runs every case in a fresh thread, one after the other: what one case taught the compiler must not help or hurt the next. */
export async function runMicro(isSmoke: boolean, print: (line: string) => void): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const name of caseNames) results.push(await runCase({ name, timeMs: isSmoke ? 5 : 500 }));
  const head = ['function', 'ns, mean', '± %', 'p50', 'p99', 'samples'];
  const rows = results.map(({ name, meanNs, errorPercent, p50Ns, p99Ns, samples }) => [
    name,
    ...[meanNs, errorPercent, p50Ns, p99Ns].map(formatNumber),
    String(samples),
  ]);
  print('');
  print(layTable([head, ...rows]));
  return results;
}

function runCase(start: CaseStart): Promise<CaseResult> {
  const worker = new Worker(new URL('case-process.js', import.meta.url), { workerData: start });
  return new Promise<CaseResult>((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`the case ${start.name} did not end within ${caseTimeoutMs} ms`));
    }, caseTimeoutMs);
    worker.once('message', (result: CaseResult) => resolve(result));
    worker.once('error', reject);
    worker.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`the case ${start.name} ended with code ${code} and without a result`));
    });
  }).finally(() => void worker.terminate());
}
