import { applyCachedList } from './cache-timers.ts';
import { admitCall } from './calls.ts';
import { createTables } from './client-tables.ts';
import { abort, expire, firstDeadline, retryRefused } from './deadlines.ts';
import type { ClientEffect, ClientEvent } from './effects.ts';
import { ClosedError } from './errors.ts';
import type { Inputs } from './link-state.ts';
import { initialLink, isInUse, linkWakeAt } from './link.ts';
import { handleFrame } from './messages.ts';
import { sendOutbox } from './outbox.ts';
import { dispatchToLink } from './session.ts';
import { endAll } from './shutdown.ts';
import { Step } from './step.ts';
import type { ClientState } from './step.ts';
import { release } from './subscriptions.ts';
import { unwatch } from './watches.ts';

export interface ClientStep {
  readonly state: ClientState;
  readonly effects: readonly ClientEffect[];
}

export function createClientState(): ClientState {
  return { link: initialLink, tables: createTables(), armedAtMs: undefined, isFlushAsked: false };
}

/**
 * The client's decisions: `(state, event, now) → { state, effects }`. No socket, timer, clock or randomness: the same history
 * gives the same effects. The state that goes in is used up (its tables are updated in place); continue with the one that comes out.
 */
export function stepClient(state: ClientState, event: ClientEvent, inputs: Inputs): ClientStep {
  const step = new Step(state, inputs);
  handleEvent(step, event);
  if (isUserCall(event)) askForFlush(step);
  else sendOutbox(step);
  arm(step, event);
  return { state, effects: step.effects };
}

function isUserCall(event: ClientEvent): boolean {
  switch (event.kind) {
    case 'register':
    case 'deregister':
    case 'subscribe':
    case 'query':
    case 'list':
    case 'registerPersistent':
    case 'deregisterPersistent':
    case 'keys':
    case 'lock':
    case 'unlock':
    case 'watchKeys':
    case 'awaitConnection':
    case 'awaitRegistration':
    case 'awaitSubscription':
    case 'abort':
    case 'release':
    case 'unwatchKeys':
      return true;
    case 'tokenGiven':
    case 'socketOpened':
    case 'socketClosed':
    case 'frame':
    case 'tick':
    case 'flush':
    case 'close':
    case 'listLoaded':
      return false;
    default:
      return event satisfies never;
  }
}

/** Calls of one turn of the program go out together, as one batch of each kind. */
function askForFlush(step: Step): void {
  const { state } = step;
  if (state.isFlushAsked || state.tables.outbox.length === 0) return;
  state.isFlushAsked = true;
  step.effects.push({ kind: 'flushSoon' });
}

function handleEvent(step: Step, event: ClientEvent): void {
  switch (event.kind) {
    case 'tokenGiven': {
      const { kind, socket, token } = event;
      // One that came too late may be older than what is known.
      if (isInUse(step.state.link, socket)) step.tables.token = token;
      dispatchToLink(step, { kind, socket });
      return;
    }
    case 'socketOpened':
      dispatchToLink(step, event);
      return;
    case 'socketClosed':
      if (step.tables.previousConnection?.socket === event.socket) step.tables.previousConnection = undefined;
      dispatchToLink(step, event);
      return;
    case 'frame':
      handleFrame(step, event.socket, event.text);
      return;
    case 'tick':
      step.state.armedAtMs = undefined;
      expire(step);
      retryRefused(step);
      dispatchToLink(step, event);
      return;
    case 'flush':
      step.state.isFlushAsked = false;
      return;
    case 'close':
      close(step);
      return;
    case 'listLoaded':
      applyCachedList(step, event.service, event.list);
      return;
    case 'release':
      release(step, event.subscription);
      return;
    case 'unwatchKeys':
      unwatch(step, event.watcher);
      return;
    case 'abort':
      abort(step, event.ticket);
      return;
    case 'register':
    case 'deregister':
    case 'subscribe':
    case 'query':
    case 'list':
    case 'registerPersistent':
    case 'deregisterPersistent':
    case 'keys':
    case 'lock':
    case 'unlock':
    case 'watchKeys':
    case 'awaitConnection':
    case 'awaitRegistration':
    case 'awaitSubscription':
      admitCall(step, event);
      return;
    default:
      event satisfies never;
  }
}

/** The user closes. */
function close(step: Step): void {
  endAll(step, new ClosedError('client', 'the client was closed'));
  dispatchToLink(step, { kind: 'close' });
}

/** Asks for the next tick. One that comes too early does no harm, so a time is only ever moved forward. */
function arm(step: Step, event: ClientEvent): void {
  const { state, tables, inputs } = step;
  const times = [linkWakeAt(state.link, inputs.settings), firstDeadline(step), tables.retryAtMs];
  let wakeAt: number | undefined;
  for (const time of times) {
    if (time !== undefined && (wakeAt === undefined || time < wakeAt)) wakeAt = time;
  }
  if (wakeAt === state.armedAtMs) return;
  const isSoonEnough = wakeAt !== undefined && state.armedAtMs !== undefined && state.armedAtMs <= wakeAt;
  if (isSoonEnough && event.kind !== 'tick') return;
  state.armedAtMs = wakeAt;
  step.effects.push({ kind: 'arm', atMs: wakeAt });
}
