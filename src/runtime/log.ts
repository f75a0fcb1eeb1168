import { pino } from 'pino';
import type { Logger } from 'pino';

import type { ServerConfig } from '../config/config.ts';
import { LogStream } from './log-stream.ts';
import { escapeJson } from './terminal-escapes.ts';

/** A log, and the way to see it out. */
export interface ServerLog {
  readonly logger: Logger;
  /** Resolves when all lines have left, or when that takes too long. */
  readonly close: () => Promise<void>;
}

/** How long the last lines have to leave, in milliseconds. */
const flushTimeoutMs = 1000;

/** One JSON object a line, to stderr: stdout belongs to what a command was asked to print. */
export function createLog(
  { logLevel, logBytesMax }: Pick<ServerConfig, 'logLevel' | 'logBytesMax'>,
  onDropped: () => void,
): ServerLog {
  stopBlocking(process.stderr);
  const stream = new LogStream({ sink: process.stderr, bytesMax: logBytesMax, onDropped });
  return {
    // Somebody reads it in a terminal, and clients choose names.
    logger: pino({ level: logLevel, base: null, hooks: { streamWrite: escapeJson } }, stream),
    close: () => stream.close(flushTimeoutMs),
  };
}

/** A log of the caller's, who sees to it. */
export function adoptLog(logger: Logger): ServerLog {
  return { logger, close: () => Promise.resolve() };
}

/** Node's writes to full pipes and terminals block: a reader that stops reading would stop the whole process. */
export function stopBlocking(stream: NodeJS.WriteStream): void {
  const { _handle: handle } = stream as { _handle?: { setBlocking?: (isBlocking: boolean) => unknown } };
  handle?.setBlocking?.(false);
}
