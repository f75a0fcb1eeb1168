import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { bindCommand } from '../processes.ts';
import type { PeerServer } from './driver.ts';

const startTimeoutMs = 30_000;
const memoryFolder = '/dev/shm';

/** Whether a program can be run. `arguments_`: such that it ends at once. */
export function hasProgram(program: string, arguments_: readonly string[]): boolean {
  return spawnSync(program, arguments_, { stdio: 'ignore' }).error === undefined;
}

/** A folder for a peer's data: in memory where that can be, so that no peer waits for a disk that slotcast does not use. */
export function createDataFolder(name: string): string {
  return mkdtempSync(join(existsSync(memoryFolder) ? memoryFolder : tmpdir(), `slotcast-bench-${name}-`));
}

/** Ports of 127.0.0.1 that nobody listened on a moment ago. */
export async function findFreePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer();
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export interface ServerProgram {
  readonly name: string;
  readonly command: readonly string[];
  readonly port: number;
  readonly folder: string;
  readonly core: number | undefined;
}

/** Starts a server that is no Node.js process; resolves when it accepts connections. It ends with this process. */
export async function startProgram({ name, command, port, folder, core }: ServerProgram): Promise<PeerServer> {
  const [program, ...arguments_] = bindCommand(command, core);
  const child = spawn(program!, arguments_, { cwd: folder, stdio: 'ignore' });
  let failure: string | undefined;
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      failure = error.message;
      resolve();
    });
    child.once('exit', (code, signal) => {
      failure ??= `it ended with ${signal ?? `code ${code}`}`;
      resolve();
    });
  });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async (): Promise<void> => {
    kill();
    await ended;
    process.off('exit', kill);
    rmSync(folder, { recursive: true, force: true });
  };
  const deadlineMs = performance.now() + startTimeoutMs;
  while (!(await accepts(port))) {
    if (failure === undefined && performance.now() < deadlineMs) {
      await sleep(50);
      continue;
    }
    await stop();
    throw new Error(`${name} did not start: ${failure ?? `nothing listens after ${startTimeoutMs} ms`}`);
  }
  return { target: { host: '127.0.0.1', port, pid: child.pid! }, stop };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
