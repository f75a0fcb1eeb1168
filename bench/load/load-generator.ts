import type { ChildProcess } from 'node:child_process';

import { receive, startProcess, stopProcess } from '../processes.ts';
import type { Target } from './connection.ts';
import type { LoadReply, LoadRequest, Outcome, Workload } from './workloads.ts';

const startTimeoutMs = 20_000;
const workloadTimeoutMs = 60_000;

/** The parent's end of the load process. One workload at a time. */
export class LoadGenerator {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(core: number | undefined): Promise<LoadGenerator> {
    const child = startProcess(new URL('load-process.js', import.meta.url), [], core);
    await receive(child, 'the load generator', startTimeoutMs);
    return new LoadGenerator(child);
  }

  async run<K extends Workload['kind']>(
    target: Target,
    workload: Extract<Workload, { kind: K }>,
  ): Promise<Extract<Outcome, { kind: K }>> {
    this.#child.send({ target, workload } satisfies LoadRequest);
    const reply = await receive<LoadReply>(
      this.#child,
      `the load generator, running ${workload.kind},`,
      workloadTimeoutMs,
    );
    if (reply.kind === 'failure') throw new Error(`the load generator failed: ${reply.message}`);
    // A workload is answered by the outcome of its own kind.
    return reply.outcome as Extract<Outcome, { kind: K }>;
  }

  stop(): Promise<void> {
    return stopProcess(this.#child);
  }
}
