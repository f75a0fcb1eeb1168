import { SetupError, UsageError } from '../bench/failures.ts';
import { ConnectionLostError, OptionError, RequestError, TimeoutError } from '../client/index.ts';
import { ConfigError } from '../config/config-checking.ts';
import { escapeTerminal } from '../runtime/terminal-escapes.ts';
import { StrangeServerError } from './server-identity.ts';

/** What a script can tell from the status of `slotcast`. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unreachable: 4,
  dataFolder: 5,
  warnings: 6,
} as const;

/** What each status means, for help and docs/OPERATIONS.md. */
export const exitMeanings: readonly (readonly [status: string, meaning: string])[] = [
  [String(exitCodes.done), 'done; for watch, kv watch, top and register: ended by a signal; for start: stopped'],
  [String(exitCodes.failed), 'failed; the message says why; for doctor: something does not work'],
  [String(exitCodes.usage), 'the command line or a setting was refused; the message names it'],
  [String(exitCodes.notFound), 'there is no such service, instance, switch or key, or the service has no instances'],
  [String(exitCodes.unreachable), 'the registry cannot be reached, or what answers there is none'],
  [
    String(exitCodes.dataFolder),
    'the data folder is in use by another process, or was written by a newer version (start only)',
  ],
  [String(exitCodes.warnings), 'it works, and there are warnings (doctor only)'],
  ['70', 'partitions keep dying (start only)'],
  ['128+', 'ended by a second signal: 129 SIGHUP, 130 SIGINT, 143 SIGTERM'],
  ['other', 'of the command that kv lock or register has run'],
];

export const exitCodesHelp: string = [
  '\nExit status:',
  ...exitMeanings.map(([status, meaning]) => `  ${status.padEnd(5)} ${meaning}`),
].join('\n');

interface AdministrationErrorOptions {
  readonly cause?: unknown;
  readonly isUnreachable?: boolean;
  readonly code?: string;
}

/** The registry refused a change, or could not be asked for one. */
export class AdministrationError extends Error {
  readonly isUnreachable: boolean;
  /** What the registry refused it with; undefined: it did not. */
  readonly code: string | undefined;

  constructor(message: string, { cause, isUnreachable = false, code }: AdministrationErrorOptions = {}) {
    super(message, { cause });
    this.name = 'AdministrationError';
    this.isUnreachable = isUnreachable;
    this.code = code;
  }

  static ofRefusal({ code, message }: { readonly code: string; readonly message: string }): AdministrationError {
    return new AdministrationError(`${code}: ${message}`, { code });
  }
}

/** The status for an error that ends a command. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError || error instanceof OptionError || error instanceof UsageError)
    return exitCodes.usage;
  if (error instanceof ConnectionLostError || error instanceof TimeoutError) return exitCodes.unreachable;
  if (error instanceof StrangeServerError) return exitCodes.unreachable;
  if (error instanceof SetupError && error.isUnreachable) return exitCodes.unreachable;
  if (error instanceof AdministrationError && error.isUnreachable) return exitCodes.unreachable;
  if ((error instanceof RequestError || error instanceof AdministrationError) && error.code === 'not_found')
    return exitCodes.notFound;
  // Its class comes with the server, which most commands do without.
  if (error instanceof Error && error.name === 'DataFolderError') return exitCodes.dataFolder;
  return exitCodes.failed;
}

/** An error as one line for people. Whoever refused something may have put anything into its words. */
export function describeError(error: unknown): string {
  if (error instanceof RequestError) return escapeTerminal(`${error.code}: ${error.message}`);
  return escapeTerminal(error instanceof Error ? error.message : String(error));
}
