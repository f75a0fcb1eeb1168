import { fork, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import type { Inspection } from '../src/main/testing.ts';
import { findFreePort } from '../test/support/free-port.ts';
import { formatFlags } from './settings.ts';
import type { Order, Report, SettingValues } from './settings.ts';

/** Of `GET /v1/stats`, what the checker reads. */
export interface Stats {
  readonly sessions: number;
  readonly registrations: number;
  readonly slotShutMaxMs: number;
  readonly requestsWaiting: number;
  readonly warming: boolean;
  readonly partitions: readonly { readonly state: string }[];
  readonly move: { readonly isRunning: boolean; readonly slotsMoved: number; readonly stepsRolledBack: number };
  readonly counters: Readonly<Record<string, number>>;
}

/** Of `GET /v1/sessions`, what the checker reads. */
export interface ListedSession {
  readonly session: string;
  readonly thread: number;
  readonly state: string;
}

/** How the process is ended: on the spot, or in order. */
export type Ending = 'SIGKILL' | 'SIGTERM';

export interface RegistryOptions {
  readonly settings: SettingValues;
  /** It ended without being told to. */
  readonly onEnd: (reason: string) => void;
}

const command = fileURLToPath(new URL('../src/cli/slotcast.js', import.meta.url));
const agent = new URL('agent.js', import.meta.url).href;
/** How long a thread that serves HTTP may take to be back, in milliseconds. */
const httpBackWithinMs = 30_000;
/** How long a process may take to listen, and to end when it is told to, in milliseconds. */
const lifecycleTimeoutMs = 60_000;

/**
 * `slotcast start` as a process of its own: if it dies, the checker lives to tell. It may be ended and started anew, on the same ports and with what its life before has
 * stored.
 */
export class RegistryProcess {
  readonly #options: RegistryOptions;
  /** All lives have the same. */
  readonly #dataDir: string = createDataDir();
  readonly port: number;
  readonly httpPort: number;
  #child: ChildProcess | undefined;
  #waiting: Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }> = new Map();
  #number = 0;
  /** The last that this life has said of what is wrong. */
  #words = '';
  /** Which life of it this is, from 1. */
  life = 0;
  /** When the server of this life began to start, which takes the process a while on a busy machine. */
  startedAtMs = 0;
  #noteStarting: () => void = () => undefined;
  /** Whether it listens and has not been told to end. */
  isUp = false;
  /** Settles when HTTP is served again. */
  #httpBack: Promise<void> = Promise.resolve();

  private constructor(port: number, httpPort: number, options: RegistryOptions) {
    this.port = port;
    this.httpPort = httpPort;
    this.#options = options;
  }

  static async start(options: RegistryOptions): Promise<RegistryProcess> {
    const registry = new RegistryProcess(await findFreePort(), await findFreePort(), options);
    await registry.begin();
    return registry;
  }

  get lastWords(): string {
    return this.#words;
  }

  /** How this life of it ended, and what it said last. */
  formatEnd(): string {
    const { exitCode = null, signalCode = null } = this.#child ?? {};
    return `${exitCode ?? signalCode ?? 'not yet gone'} ${this.#words}`.trim();
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/v1/session`;
  }

  /** Starts it; resolves when it listens. `more`: settings of this life alone. */
  async begin(more: SettingValues = {}): Promise<void> {
    this.life += 1;
    const starting = new Promise<void>((resolve) => (this.#noteStarting = resolve));
    this.#words = '';
    const flags = formatFlags({ ...this.#options.settings, port: this.port, httpPort: this.httpPort, ...more });
    const child = fork(command, ['start', '--data-dir', this.#dataDir, ...flags], {
      execArgv: ['--import', agent],
      silent: true,
    });
    this.#child = child;
    child.on('message', (report: Report) => {
      this.#take(report);
    });
    child.stderr?.on('data', (chunk) => {
      this.#words = `${this.#words}${String(chunk)}`.slice(-2000);
    });
    child.on('exit', () => {
      const wasUp = this.isUp;
      this.isUp = false;
      for (const { reject } of this.#waiting.values()) reject(new Error('the registry has ended'));
      this.#waiting.clear();
      if (wasUp) this.#options.onEnd(`the registry ended by itself: ${this.formatEnd()}`);
    });
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`the registry does not listen after ${lifecycleTimeoutMs} ms: ${this.#words}`));
      }, lifecycleTimeoutMs);
      child.once('exit', (code) => {
        clearTimeout(timer);
        reject(new Error(`the registry ended with ${code} before it listened: ${this.#words}`));
      });
      child.stdout?.on('data', (chunk) => {
        if (!String(chunk).includes(' listens on ')) return;
        clearTimeout(timer);
        resolve();
      });
    });
    await starting;
    this.isUp = true;
  }

  /** Ends it; resolves with its exit status when it is gone. */
  async end(ending: Ending): Promise<number | NodeJS.Signals> {
    const child = this.#child!;
    this.isUp = false;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode!;
    const ended = new Promise<number | NodeJS.Signals>((resolve) => {
      child.once('exit', (code, signal) => {
        resolve(code ?? signal ?? 0);
      });
    });
    this.wake();
    child.kill(ending);
    const timer = setTimeout(() => child.kill('SIGKILL'), lifecycleTimeoutMs);
    const status = await ended;
    clearTimeout(timer);
    return status;
  }

  async inflict(partition: number, fault: Extract<Order, { kind: 'inflict' }>['fault']): Promise<void> {
    await this.#ask({ kind: 'inflict', partition, fault });
  }

  /** Ends the thread that serves HTTP; resolves when another does in its place. */
  async killEdge(): Promise<void> {
    const back = this.#killEdge();
    this.#httpBack = back.catch(() => undefined);
    await back;
  }

  async #killEdge(): Promise<void> {
    const { life } = this;
    const before = await this.#readEdgeDeaths();
    await this.#ask({ kind: 'killEdge' });
    const deadlineMs = performance.now() + httpBackWithinMs;
    while (this.isUp && this.life === life) {
      const deaths = await this.#readEdgeDeaths().catch(() => before);
      if (deaths > before) return;
      if (performance.now() > deadlineMs) throw new Error('HTTP is not served again after its thread has died');
      await delay(10);
    }
  }

  async #readEdgeDeaths(): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.httpPort}/v1/stats`);
    const { counters } = (await response.json()) as Stats;
    return counters['edge_thread_died'] ?? 0;
  }

  /** Ends the thread of the store. */
  async killStore(): Promise<void> {
    await this.#ask({ kind: 'killStore' });
  }

  async resize(partitions: number): Promise<void> {
    await this.#ask({ kind: 'resize', partitions });
  }

  inspect(): Promise<Inspection> {
    return this.#ask({ kind: 'inspect' }) as Promise<Inspection>;
  }

  readStats(): Promise<Stats> {
    return this.#fetch('/v1/stats') as Promise<Stats>;
  }

  async readSessions(): Promise<readonly ListedSession[]> {
    const { sessions } = (await this.#fetch('/v1/sessions?limit=1000')) as { sessions: readonly ListedSession[] };
    return sessions;
  }

  /** The thread that each connected session is on, by the session's name. */
  async readThreads(): Promise<Map<string, number>> {
    const connected = (await this.readSessions()).filter(({ state }) => state === 'connected');
    return new Map(connected.map((entry) => [entry.session, entry.thread]));
  }

  /** As an operator who asks so many of a hundred sessions to reconnect. */
  async requestReconnect(percent: number, spreadMs: number): Promise<void> {
    const body = JSON.stringify({ percent, spreadMs });
    await this.#fetch('/v1/sessions/goaway', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
  }

  /** No file of the process may be made longer than this, in bytes, or `unlimited`. */
  limitFiles(bytes: string): void {
    spawnSync('prlimit', ['--pid', String(this.#child?.pid), `--fsize=${bytes}:`]);
  }

  async readMetric(name: string): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.httpPort}/metrics`).catch(() => undefined);
    const [, value] = new RegExp(`^${name} (\\d+)$`, 'm').exec((await response?.text()) ?? '') ?? [];
    return Number(value);
  }

  /** Resolves to whether it is stored. */
  async putKey(key: string, value: string): Promise<boolean> {
    const answer = await this.#fetch(`/v1/keys/${key}`, { method: 'PUT', body: value });
    return (answer as { readonly applied?: boolean }).applied === true;
  }

  /** Undefined: there is none. */
  async readKey(key: string): Promise<string | undefined> {
    const { entry } = (await this.#fetch(`/v1/keys/${key}`)) as { readonly entry?: { readonly value: string } };
    return entry === undefined ? undefined : Buffer.from(entry.value, 'base64').toString();
  }

  /** The whole process stands still, as in a suspended machine. */
  suspend(): void {
    this.#child?.kill('SIGSTOP');
  }

  wake(): void {
    this.#child?.kill('SIGCONT');
  }

  /** While the thread that serves HTTP is being brought back, it waits. */
  async #fetch(path: string, init: RequestInit = {}): Promise<unknown> {
    for (;;) {
      const back = this.#httpBack;
      await back;
      try {
        const response = await fetch(`http://127.0.0.1:${this.httpPort}${path}`, init);
        return await response.json();
      } catch (error) {
        if (this.#httpBack === back) throw error;
      }
    }
  }

  #ask(order: Order): Promise<unknown> {
    if (!this.isUp) return Promise.reject(new Error('the registry has ended'));
    this.#number += 1;
    const number = this.#number;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#child!.send({ number, order }, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  #take(report: Report): void {
    if (report.kind === 'starting') {
      this.startedAtMs = performance.now() - Number(process.hrtime.bigint() - BigInt(report.atNs)) / 1e6;
      this.#noteStarting();
      return;
    }
    const waiting = this.#waiting.get(report.number);
    this.#waiting.delete(report.number);
    switch (report.kind) {
      case 'done':
        waiting?.resolve(report.result);
        return;
      case 'failed':
        waiting?.reject(new Error(report.message));
        return;
      default:
        report satisfies never;
    }
  }
}

/** A folder that is removed when the checker ends. */
function createDataDir(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'slotcast-chaos-'));
  process.on('exit', () => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
