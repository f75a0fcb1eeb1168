import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { findFreePort } from './free-port.ts';
import { ioThreads } from './io-threads.ts';

export const slotcastBin: string = fileURLToPath(new URL('../../dist/src/cli/slotcast.js', import.meta.url));

/** `slotcast start` on a data folder, launched by another program: one that confines it, or makes it another user's. */
export class LaunchedServer {
  readonly httpUrl: string;
  /** Both outputs. */
  out = '';
  readonly #process: ChildProcess;
  readonly #ended: Promise<void>;
  #hasEnded = false;

  private constructor(launcher: readonly string[], args: readonly string[], httpPort: number) {
    this.httpUrl = `http://127.0.0.1:${httpPort}`;
    const [program = process.execPath, ...first] = [...launcher, process.execPath, slotcastBin, ...args];
    this.#process = spawn(program, first, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 });
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.on('data', (part) => {
        this.out += String(part);
      });
    }
    this.#ended = new Promise((resolve) => {
      this.#process.once('close', () => {
        this.#hasEnded = true;
        resolve();
      });
    });
  }

  /** `launcher`: a program with its arguments, which runs what follows them. Resolves once it listens. */
  static async start(folder: string, launcher: readonly string[] = []): Promise<LaunchedServer> {
    const [port, httpPort] = [await findFreePort(), await findFreePort()];
    const settings = {
      'data-dir': folder,
      port,
      'http-port': httpPort,
      partitions: 1,
      'io-threads': ioThreads,
      'warm-up-ms': 0,
      'log-level': 'warn',
      'store-retry-max-ms': 300,
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const server = new LaunchedServer(launcher, ['start', ...flags], httpPort);
    while (!server.out.includes('listens on')) {
      if (server.#hasEnded) throw new Error(`it ended before it listened: ${server.out}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 20);
      });
    }
    return server;
  }

  /** Neither has it ended, nor will it have to. */
  get isAlive(): boolean {
    return !this.#hasEnded;
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }

  async call(method: string, target: string, body?: object | Buffer): Promise<Record<string, unknown>> {
    const isRaw = Buffer.isBuffer(body);
    const response = await fetch(`${this.httpUrl}${target}`, {
      method,
      ...(body === undefined
        ? {}
        : {
            body: isRaw ? new Uint8Array(body) : JSON.stringify(body),
            headers: { 'content-type': isRaw ? 'application/octet-stream' : 'application/json' },
          }),
    });
    return (await response.json()) as Record<string, unknown>;
  }
}
