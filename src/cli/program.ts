import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';

import { describeError } from './exit-codes.ts';
import { stopSignals } from './registry.ts';

/** A program that does not end after what it ran for was lost is killed, in milliseconds. */
export const killAfterMs = 10_000;

interface ProgramOptions {
  /** Added to this process's. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Aborted when the program must not go on; the reason says why. */
  readonly lost?: AbortSignal;
}

/** Runs a program with this process's streams. Resolves with its status: 128 + N if signal N ended it, or came before it ran. */
export function runProgram(
  [file = '', ...args]: readonly string[],
  signals: SignalForwarding,
  { environment = {}, lost }: ProgramOptions = {},
): Promise<number> {
  const { stopped } = signals;
  // Before it could be passed on.
  if (stopped.aborted) return Promise.resolve(statusOf(stopped.reason as NodeJS.Signals));
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'inherit', env: { ...process.env, ...environment } });
    let killTimer: ReturnType<typeof setTimeout> | undefined;
    const end = (): void => {
      console.error(`slotcast: ${describeError(lost?.reason)}; ending the command`);
      child.kill('SIGTERM');
      killTimer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    };
    signals.forwardTo(child);
    child.once('error', (error: NodeJS.ErrnoException) => {
      const { code, message } = error;
      const why = code === 'ENOENT' ? 'there is no such program (ENOENT)' : (code ?? message);
      reject(new Error(`cannot run ${file}: ${why}`, { cause: error }));
    });
    child.once('spawn', () => {
      if (lost?.aborted === true) end();
      else lost?.addEventListener('abort', end, { once: true });
    });
    child.once('close', (code, ended) => {
      clearTimeout(killTimer);
      lost?.removeEventListener('abort', end);
      if (signals.second !== undefined && code === null) resolve(statusOf(signals.second));
      else resolve(code ?? statusOf(ended ?? 'SIGKILL'));
    });
  });
}

/**
 * Signals that ask to end in order: before there is a command they end the wait, and then they are its own. A second one ends the command, and if there is none any more, the process.
 */
export class SignalForwarding {
  readonly #onSignal: (signal: NodeJS.Signals) => void;
  readonly #stop: AbortController = new AbortController();
  #child: ChildProcess | undefined;
  #second: NodeJS.Signals | undefined;

  constructor() {
    this.#onSignal = (signal) => {
      this.#handle(signal);
    };
    for (const signal of stopSignals) process.on(signal, this.#onSignal);
  }

  /** Aborted by the first signal, which is the reason. */
  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  /** The signal after which the command was killed. */
  get second(): NodeJS.Signals | undefined {
    return this.#second;
  }

  forwardTo(child: ChildProcess): void {
    this.#child = child;
    child.once('close', () => {
      this.#child = undefined;
    });
  }

  end(): void {
    for (const signal of stopSignals) process.off(signal, this.#onSignal);
  }

  #handle(signal: NodeJS.Signals): void {
    // What was typed at a terminal the command has got from there, and may make of it what it likes.
    const isItsOwn = this.#child !== undefined && signal !== 'SIGTERM' && process.stdin.isTTY;
    if (isItsOwn) return;
    if (!this.stopped.aborted) {
      this.#stop.abort(signal);
      this.#child?.kill(signal);
    } else if (this.#child === undefined) process.exit(statusOf(signal));
    else {
      this.#second ??= signal;
      this.#child.kill('SIGKILL');
    }
  }
}

/** The status of what a signal has ended. */
export function statusOf(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}
