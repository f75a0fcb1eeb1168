import type { ChildProcess } from 'node:child_process';

import type { Target } from '../load/connection.ts';
import { receive, startProcess, stopProcess } from '../processes.ts';
import type { ServerReport } from '../subjects.ts';
import type { FaultyRequest } from './faulty-process.ts';

const startTimeoutMs = 20_000;
const requestTimeoutMs = 60_000;

/** The parent's end of a server whose partitions can be killed and moved. */
export class FaultyServer {
  readonly target: Target;
  readonly #child: ChildProcess;
  readonly #httpUrl: string;

  private constructor(child: ChildProcess, target: Target, httpUrl: string) {
    this.#child = child;
    this.#httpUrl = httpUrl;
    this.target = target;
  }

  static async start(partitions: number, core: number | undefined): Promise<FaultyServer> {
    const child = startProcess(new URL('faulty-process.js', import.meta.url), [String(partitions)], core);
    const { host, port, httpUrl = '' } = await receive<ServerReport>(child, 'the server', startTimeoutMs);
    return new FaultyServer(child, { host, port, pid: child.pid! }, httpUrl);
  }

  /** Resolves once the fault has been asked for, or the slots have moved. */
  async ask(request: FaultyRequest): Promise<void> {
    const done = receive<'done'>(this.#child, `the server, asked to ${request.kind},`, requestTimeoutMs);
    this.#child.send(request);
    await done;
  }

  async isReady(): Promise<boolean> {
    return (await fetch(`${this.#httpUrl}/health/ready`)).ok;
  }

  stop(): Promise<void> {
    return stopProcess(this.#child);
  }
}
