import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { coreBinder as binder, readAllowedCores } from '../src/bench/cores.ts';

/** Servers and load run on cores of their own, where there are two and `taskset` to bind them. */
export interface Pinning {
  readonly serverCore: number;
  readonly loadCore: number;
}

export function findPinning(): Pinning | undefined {
  const [serverCore, loadCore] = readAllowedCores();
  if (loadCore === undefined || serverCore === undefined) return undefined;
  return spawnSync(binder, ['--version']).status === 0 ? { serverCore, loadCore } : undefined;
}

/** The command bound to a core. It replaces itself by what it runs, so the process id, and the channel, are those of that. */
export function bindCommand(command: readonly string[], core: number | undefined): readonly string[] {
  return core === undefined ? command : [binder, '--cpu-list', String(core), ...command];
}

/** Starts compiled JavaScript in a process of its own, with a channel to it. */
export function startProcess(entry: URL, args: readonly string[], core: number | undefined): ChildProcess {
  const command = bindCommand([process.execPath, fileURLToPath(entry), ...args], core);
  return spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
}

/** The next message of a child. Rejects, and kills the child, when it ends or says nothing for `timeoutMs`. */
export function receive<T>(child: ChildProcess, what: string, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      child.off('error', onError);
    };
    const fail = (reason: string): void => {
      finish();
      child.kill('SIGKILL');
      reject(new Error(`${what} ${reason}`));
    };
    const timer = setTimeout(() => fail(`did not answer within ${timeoutMs} ms`), timeoutMs);
    const onMessage = (message: unknown): void => {
      finish();
      // Both ends of the channel are of this folder and built together.
      resolve(message as T);
    };
    const onExit = (code: number | null, signal: string | null): void => fail(`ended with ${signal ?? `code ${code}`}`);
    const onError = (error: Error): void => fail(`could not be started: ${error.message}`);
    child.on('message', onMessage);
    child.on('exit', onExit);
    child.on('error', onError);
  });
}

const stopTimeoutMs = 2000;

/** Bench processes hold nothing that must be saved: they end when their channel closes, or are killed. */
export function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    if (child.connected) child.disconnect();
    else child.kill('SIGKILL');
  });
}
