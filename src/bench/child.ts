import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { coreBinder } from './cores.ts';

/** Starts compiled JavaScript of this folder in a process of its own, with a channel to it. What it prints goes where errors go. */
export function startChild(file: string, args: readonly string[], cores: string | undefined): ChildProcess {
  const entry = fileURLToPath(new URL(file, import.meta.url));
  const command = [process.execPath, entry, ...args];
  // It replaces itself by what it runs, so the process id and the channel are those of the child.
  if (cores !== undefined) command.unshift(coreBinder, '--cpu-list', cores);
  return spawn(command[0]!, command.slice(1), { stdio: ['ignore', 2, 2, 'ipc'], serialization: 'advanced' });
}

/** Children of a bench hold nothing that must be saved. */
export function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}
