import { destination, pino } from 'pino';
import type { Logger } from 'pino';

import type { ServerConfig } from './config.ts';

const stderr = 2;

/** One JSON object a line, to stderr: stdout belongs to what a command was asked to print. */
export function createLogger(level: ServerConfig['logLevel']): Logger {
  return pino({ level, base: null }, destination({ fd: stderr, sync: true }));
}
