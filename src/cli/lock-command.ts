import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';

import type { Command } from 'commander';

import { LockHeldError } from '../client/index.ts';
import type { Client, Lock, LockOptions } from '../client/index.ts';
import { describeError, exitCodes } from './exit-codes.ts';
import { formatJson, formatText } from './output.ts';
import { addRegistryOptions, awaitRegistry, openClient, parseCount, patienceMs, stopSignals } from './registry.ts';
import type { RegistryOptions } from './registry.ts';

interface HoldOptions extends RegistryOptions {
  readonly value?: string;
  readonly wait: boolean;
  readonly waitMs?: number;
  readonly deleteAfter: boolean;
  readonly lockDelayMs?: number;
  readonly lostAfterMs?: number;
}

/** Where the command finds its fencing number, and what it holds. */
const fenceVariable = 'SLOTCAST_LOCK_FENCE';
const keyVariable = 'SLOTCAST_LOCK_KEY';

/** A command that does not end after the lock was lost is killed, in milliseconds. */
const killAfterMs = 10_000;

const lockHelp = `
The command finds the fencing number in ${fenceVariable}, and the key in ${keyVariable}. When the lock is lost, it is ended by
SIGTERM, and after ${killAfterMs / 1000} seconds by SIGKILL. The exit status is its own, 128 + N if it was ended by signal N or never ran because
of it, and 1 if the lock was not acquired or was lost. That the registry cannot be told of the release is a warning.
SIGTERM, SIGINT and SIGHUP are passed on to the command; at a second one it is ended by SIGKILL, and the status is 128 + that one.
Without a command the lock is held until it is interrupted.`;

/** `kv lock`: runs a command while a key is held. */
export function addLockCommand(kv: Command): void {
  addRegistryOptions(
    kv
      .command('lock')
      .description('hold a key while a command runs')
      .argument('<key>', 'name of the key')
      .argument('[command...]', 'what to run, after --')
      .option('--value <text>', 'what the key is to hold meanwhile')
      .option('--wait-ms <ms>', 'give up after waiting for so long (default: never)', parseCount)
      .option('--no-wait', 'give up at once if it is held')
      .option('--delete-after', 'delete the key afterwards, rather than let it stay without a holder', false)
      .option('--lock-delay-ms <ms>', 'for how long nobody gets it after this was cut off (default: 15000)', parseCount)
      .option(
        '--lost-after-ms <ms>',
        'for how long the registry may be away (default: as it keeps broken sessions)',
        parseCount,
      )
      .addHelpText('after', lockHelp),
  ).action(holdKey);
}

async function holdKey(key: string, command: readonly string[], options: HoldOptions): Promise<void> {
  const client = openClient(options);
  const signals = new SignalForwarding();
  try {
    const lock = await acquireUnlessStopped(client, key, options, signals);
    if (lock === undefined) return;
    try {
      process.exitCode = await (command.length === 0
        ? hold(lock, options, signals.stopped)
        : runWhileHeld(lock, command, signals));
    } finally {
      // Lost, there is nothing to release.
      await releaseOrWarn(lock);
    }
  } finally {
    signals.end();
    await client.close();
  }
}

/** Undefined, with the status to end with, if it was not acquired. */
async function acquireUnlessStopped(
  client: Client,
  key: string,
  options: HoldOptions,
  { stopped }: SignalForwarding,
): Promise<Lock | undefined> {
  try {
    await awaitRegistry(client, options, () => client.whenConnected({ signal: stopped }));
    return await acquire(client, key, options, stopped);
  } catch (error) {
    if (!stopped.aborted) throw error;
    process.exitCode = statusOf(stopped.reason as NodeJS.Signals);
    return undefined;
  }
}

/** What the command has come to is known by then, whether or not others must wait for the key. */
async function releaseOrWarn(lock: Lock): Promise<void> {
  try {
    await lock.release();
  } catch (error) {
    console.error(`slotcast: ${formatText(lock.key)} may still be held: ${describeError(error)}`);
  }
}

async function acquire(
  client: Client,
  key: string,
  options: HoldOptions,
  signal: AbortSignal,
): Promise<Lock | undefined> {
  const { value, wait, waitMs, deleteAfter, lockDelayMs, lostAfterMs } = options;
  const terms: LockOptions = {
    signal,
    ...(value === undefined ? {} : { value }),
    ...(deleteAfter ? { onEnd: 'delete' } : {}),
    ...(lockDelayMs === undefined ? {} : { lockDelayMs }),
    ...(lostAfterMs === undefined ? {} : { lostAfterMs }),
  };
  try {
    const lock = await client.keys.tryLock(key, terms);
    if (lock !== undefined) return lock;
    console.error(`${formatText(key)} is held, or its lock delay is not over${wait ? '; waiting' : ''}`);
    if (wait) return await client.keys.lock(key, { ...terms, timeoutMs: Math.max(1, waitMs ?? patienceMs) });
    process.exitCode = exitCodes.failed;
    return undefined;
  } catch (error) {
    if (!(error instanceof LockHeldError)) throw error;
    console.error(`${formatText(key)}: ${describeError(error)}`);
    process.exitCode = exitCodes.failed;
    return undefined;
  }
}

/** Until it is interrupted, or lost. */
async function hold({ key, fence, signal }: Lock, { json }: HoldOptions, stop: AbortSignal): Promise<number> {
  console.log(json ? formatJson({ event: 'held', key, fence }) : `holding ${formatText(key)}, fencing number ${fence}`);
  await new Promise<void>((resolve) => {
    for (const each of [signal, stop]) {
      each.addEventListener('abort', () => {
        resolve();
      });
    }
    if (signal.aborted || stop.aborted) resolve();
  });
  if (!signal.aborted) return exitCodes.done;
  console.error(`slotcast: ${describeError(signal.reason)}`);
  return exitCodes.failed;
}

/** Resolves with the status to end with. */
function runWhileHeld(
  { key, fence, signal }: Lock,
  [file = '', ...args]: readonly string[],
  signals: SignalForwarding,
): Promise<number> {
  const { stopped } = signals;
  // Before it could be passed on.
  if (stopped.aborted) return Promise.resolve(statusOf(stopped.reason as NodeJS.Signals));
  return new Promise((resolve, reject) => {
    const env = { ...process.env, [fenceVariable]: String(fence), [keyVariable]: key };
    const child = spawn(file, args, { stdio: 'inherit', env });
    let killTimer: ReturnType<typeof setTimeout> | undefined;
    const end = (): void => {
      console.error(`slotcast: ${describeError(signal.reason)}; ending the command`);
      child.kill('SIGTERM');
      killTimer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    };
    signals.forwardTo(child);
    child.once('error', reject);
    child.once('spawn', () => {
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
    });
    child.once('close', (code, ended) => {
      clearTimeout(killTimer);
      signal.removeEventListener('abort', end);
      if (signal.aborted) resolve(exitCodes.failed);
      else if (signals.second !== undefined && code === null) resolve(statusOf(signals.second));
      else resolve(code ?? statusOf(ended ?? 'SIGKILL'));
    });
  });
}

/**
 * Signals that ask to end in order: before there is a command they end the wait, and then they are its own. A second one ends the command, and if there is none any more, the process.
 */
class SignalForwarding {
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
function statusOf(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}
