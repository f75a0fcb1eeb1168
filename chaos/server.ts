import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import type { Inspection } from '../src/main/testing.ts';
import type { Order, Report } from './settings.ts';

/** Of `GET /v1/stats`, what the checker reads. */
export interface Stats {
  readonly sessions: number;
  readonly registrations: number;
  readonly slotShutMaxMs: number;
  readonly requestsWaiting: number;
  readonly partitions: readonly { readonly state: string }[];
  readonly move: { readonly isRunning: boolean; readonly slotsMoved: number; readonly stepsRolledBack: number };
  readonly counters: Readonly<Record<string, number>>;
}

/** The server's process, as the checker sees it. */
export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #waiting: Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }> = new Map();
  readonly #onEnd: (reason: string) => void;
  #number = 0;
  #isStopping = false;
  port = 0;

  private constructor(ioThreads: number, onEnd: (reason: string) => void) {
    this.#onEnd = onEnd;
    this.#child = fork(fileURLToPath(new URL('server-process.js', import.meta.url)), [String(ioThreads)]);
    this.#child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the server has ended'));
      if (!this.#isStopping) this.#onEnd(`the server's process ended with ${code ?? signal ?? 'nothing'}`);
    });
  }

  /** `onEnd`: it ended without being told to. */
  static async start(ioThreads: number, onEnd: (reason: string) => void): Promise<ServerProcess> {
    const server = new ServerProcess(ioThreads, onEnd);
    await new Promise<void>((resolve) => {
      server.#child.on('message', (report: Report) => {
        server.#take(report, resolve);
      });
    });
    return server;
  }

  async inflict(partition: number, fault: Extract<Order, { kind: 'inflict' }>['fault']): Promise<void> {
    await this.#ask({ kind: 'inflict', partition, fault });
  }

  async resize(partitions: number): Promise<void> {
    await this.#ask({ kind: 'resize', partitions });
  }

  inspect(): Promise<Inspection> {
    return this.#ask({ kind: 'inspect' }) as Promise<Inspection>;
  }

  async readStats(): Promise<Stats> {
    const response = await fetch(`http://127.0.0.1:${this.port}/v1/stats`);
    return (await response.json()) as Stats;
  }

  /** The whole process stands still, as in a suspended machine. */
  suspend(): void {
    this.#child.kill('SIGSTOP');
  }

  wake(): void {
    this.#child.kill('SIGCONT');
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => {
      this.#child.once('exit', resolve);
    });
    this.wake();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    this.#ask({ kind: 'stop' }).catch(() => undefined);
    await ended;
    clearTimeout(timer);
  }

  #ask(order: Order): Promise<unknown> {
    this.#number += 1;
    const number = this.#number;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#child.send({ number, order });
    });
  }

  #take(report: Report, onReady: () => void): void {
    switch (report.kind) {
      case 'ready':
        this.port = report.port;
        onReady();
        return;
      case 'fatal':
        this.#onEnd(`the server gave up: ${report.message}`);
        return;
      case 'done':
        this.#waiting.get(report.number)?.resolve(report.result);
        this.#waiting.delete(report.number);
        return;
      case 'failed':
        this.#waiting.get(report.number)?.reject(new Error(report.message));
        this.#waiting.delete(report.number);
        return;
      default:
        report satisfies never;
    }
  }
}
