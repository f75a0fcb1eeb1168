import { destination, pino } from 'pino';
import type { Logger } from 'pino';

import type { ServerConfig } from './config.ts';
import { escapeJson } from './terminal-escapes.ts';

const stderr = 2;

/** One JSON object a line, to stderr: stdout belongs to what a command was asked to print. Somebody reads it in a terminal, and clients choose names. */
export function createLogger(level: ServerConfig['logLevel']): Logger {
  return pino({ level, base: null, hooks: { streamWrite: escapeJson } }, destination({ fd: stderr, sync: true }));
}
