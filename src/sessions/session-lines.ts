import type { Logger } from 'pino';

import { isFault } from './session-journal.ts';
import type { SessionEvent } from './session-journal.ts';

/** Bounds that refuse nothing: they only make work wait for its turn. */
const paces: ReadonlySet<string> = new Set([
  'turnStepsMax',
  'frameSliceBytes',
  'partitionTurnWorkMax',
  'answerCharactersInFlightMax',
]);

/** Words what happens to sessions for the log: `warn` for what an operator should know, `debug` for the comings and goings of everybody. */
export function logSession(log: Logger, event: SessionEvent): void {
  const { kind, ...fields } = event;
  switch (kind) {
    case 'connected':
      log.debug(fields, 'a client has connected');
      return;
    case 'opened':
      log.debug(fields, 'a client has opened its session');
      return;
    case 'left':
      log.debug(fields, 'a client has left');
      return;
    case 'broken':
      log.debug(fields, 'the connection of a client broke');
      return;
    case 'closed':
      log[isFault(event.reason) ? 'warn' : 'debug'](fields, 'closed the connection of a client');
      return;
    case 'originRefused':
      log.warn(fields, 'refused a page of an Origin that is not in allowedOrigins');
      return;
    case 'boundMet':
      log[paces.has(event.bound) ? 'info' : 'warn'](fields, 'a bound was met');
      return;
    case 'refused':
      log.info(fields, 'refused a request');
      return;
    case 'suppressed':
      log.warn(fields, 'further lines of this kind were suppressed');
      return;
    default:
      event satisfies never;
  }
}
