import { delay } from '../runtime/timing.ts';
import { createName } from '../sessions/session-secret.ts';
import type { LocalHostOptions } from './local-host.ts';

/** What a session host has around it on any thread; in simulations other things take its place. */
export const hostSurroundings: Pick<LocalHostOptions, 'createName' | 'random' | 'schedule' | 'delay'> = {
  createName,
  random: Math.random,
  schedule: setImmediate,
  delay,
};
