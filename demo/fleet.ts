import { fork, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { nowMs } from './messages.ts';
import type { Report, ServiceRole } from './messages.ts';

/** A machine may have other things to do. */
const startTimeoutMs = 30_000;

/** A service that runs in a process of its own, and what it has told. */
export interface RunningService extends ServiceRole {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly port: number;
  /** When it was registered. */
  readonly readyAtMs: number;
  readonly views: Extract<Report, { kind: 'view' }>[];
  servedAtMs: number | undefined;
}

/** The registry and the services, each a process of its own; all end with this one. */
export class Fleet {
  readonly services: RunningService[] = [];
  readonly pids: number[] = [];
  readonly #children: ChildProcess[] = [];

  /** Starts the registry as anybody would, and resolves to where it listens. */
  startRegistry(): Promise<string> {
    const bin = fileURLToPath(new URL('../src/cli/slotcast.js', import.meta.url));
    const child = spawn(process.execPath, [bin, 'start', '--in-memory', '--port', '0', '--log-level', 'warn'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#keep(child);
    return within('the registry', (resolve) => {
      child.stdout.on('data', (chunk) => {
        const [, url] = /listens on (ws:\S+)/.exec(String(chunk)) ?? [];
        if (url !== undefined) resolve(url);
      });
    });
  }

  /** Starts a service; resolves once it is registered. */
  startService(role: ServiceRole): Promise<RunningService> {
    const child = fork(fileURLToPath(new URL('service-process.js', import.meta.url)));
    this.#keep(child);
    const views: RunningService['views'] = [];
    let running: RunningService | undefined;
    return within(role.name, (resolve) => {
      child.on('message', (report: Report) => {
        switch (report.kind) {
          case 'ready': {
            const { pid, port } = report;
            running = { ...role, process: child, pid, port, readyAtMs: nowMs(), views, servedAtMs: undefined };
            this.services.push(running);
            resolve(running);
            return;
          }
          case 'view':
            views.push(report);
            return;
          case 'served':
            if (running !== undefined) running.servedAtMs = report.atMs;
            return;
          default:
            report satisfies never;
        }
      });
      child.send(role);
    });
  }

  /** Those that call a service, and so watch it. */
  callersOf(service: string): RunningService[] {
    return this.services.filter(
      ({ calls, process: { exitCode, signalCode } }) => calls === service && exitCode === null && signalCode === null,
    );
  }

  /** Ends everything that still runs, and resolves when it has. */
  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        await ended;
      }),
    );
  }

  #keep(child: ChildProcess): void {
    this.#children.push(child);
    if (child.pid !== undefined) this.pids.push(child.pid);
  }
}

function within<T>(what: string, start: (resolve: (value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`${what} did not start within ${startTimeoutMs} ms`));
    }, startTimeoutMs);
    start((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}
