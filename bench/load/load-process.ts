import { setTimeout as sleep } from 'node:timers/promises';

import { endWithParent } from '../child-life.ts';
import { runLatency } from './latency-load.ts';
import { runInstanceMemory, runSessionMemory } from './memory-load.ts';
import { runPush } from './push-load.ts';
import { runRegister } from './register-load.ts';
import { UsageMeter } from './usage-meter.ts';
import type { LoadReply, LoadRequest, Outcome } from './workloads.ts';

/** The load generator: a process of its own that runs one workload after the other, as its parent asks. */
endWithParent();
process.on('message', (request: LoadRequest) => {
  run(request).then(
    (outcome) => reply({ kind: 'outcome', outcome }),
    (error: unknown) => fail(error),
  );
});
process.on('uncaughtException', fail);
process.send?.('ready');

function run({ target, workload }: LoadRequest): Promise<Outcome> {
  switch (workload.kind) {
    case 'register':
      return runRegister(target, workload);
    case 'push':
      return runPush(target, workload);
    case 'latency':
      return runLatency(target, workload);
    case 'sessionMemory':
      return runSessionMemory(target, workload);
    case 'instanceMemory':
      return runInstanceMemory(target, workload);
    case 'idle':
      return runIdle(target.pid, workload.measureMs);
    default:
      return workload satisfies never;
  }
}

/** What a server uses when nobody asks anything of it. */
async function runIdle(pid: number, measureMs: number): Promise<Outcome> {
  const meter = new UsageMeter(pid);
  await sleep(measureMs);
  return { kind: 'idle', usage: meter.read() };
}

/** A workload that failed leaves connections behind, so the process ends with it. */
function fail(error: unknown): void {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.send?.({ kind: 'failure', message } satisfies LoadReply, () => process.exit(1));
}

function reply(message: LoadReply): void {
  process.send?.(message);
}
