import type { Command } from 'commander';

import { LockHeldError } from '../client/index.ts';
import type { Client, Lock, LockOptions } from '../client/index.ts';
import { describeError, exitCodes } from './exit-codes.ts';
import { formatJson, formatText } from './output.ts';
import { killAfterMs, runProgram, SignalForwarding, statusOf } from './program.ts';
import { addRegistryOptions, awaitRegistry, openClient, parseCount, patienceMs } from './registry.ts';
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
async function runWhileHeld(
  { key, fence, signal }: Lock,
  command: readonly string[],
  signals: SignalForwarding,
): Promise<number> {
  const environment = { [fenceVariable]: String(fence), [keyVariable]: key };
  const status = await runProgram(command, signals, { environment, lost: signal });
  return signal.aborted ? exitCodes.failed : status;
}
