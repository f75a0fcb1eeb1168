import type { InstanceFilter } from '../protocol/types.ts';
import { cellOf } from './transition-table.ts';
import type { TransitionTable } from './transition-table.ts';

/** How far the client has come with subscribing to a service on the present session. */
export type SubscriptionPhase =
  /** Not in flight: there is no session, or it was refused. */
  | { readonly kind: 'unsent' }
  /** In the outbox. */
  | { readonly kind: 'queued' }
  /** A request is in flight. */
  | {
      readonly kind: 'sent';
      readonly filter: InstanceFilter;
      /** The highest version of a push that overtook the answer; 0 if none did. */
      readonly missedTo: number;
    }
  /** Answered: pushes keep the view current. */
  | { readonly kind: 'live' }
  /** Answered by a registry that has just started: the list is kept until the first push, which brings the whole list. */
  | { readonly kind: 'awaitingList' }
  /** The server refused it for now. */
  | { readonly kind: 'postponed'; readonly retryAtMs: number };

export type SubscriptionEvent =
  /** It is to be there: asked for, unless it is there or in flight. */
  | { readonly kind: 'request'; readonly canSend: boolean }
  /** What is there does not do: another filter is wanted, or the view does not chain. */
  | { readonly kind: 'restart'; readonly canSend: boolean }
  /** Its request goes out. */
  | { readonly kind: 'send'; readonly filter: InstanceFilter }
  | { readonly kind: 'accept'; readonly isAwaitingList: boolean }
  /** It was refused, and is to be tried again. */
  | { readonly kind: 'postpone'; readonly retryAtMs: number }
  /** The session is gone, or the request was refused or went unanswered. */
  | { readonly kind: 'reset' }
  /** A push came before the answer. */
  | { readonly kind: 'overtake'; readonly to: number }
  /** A push brought the whole list. */
  | { readonly kind: 'list' }
  | { readonly kind: 'tick'; readonly nowMs: number; readonly canSend: boolean };

export const unsentSubscription: SubscriptionPhase = { kind: 'unsent' };
const queued: SubscriptionPhase = { kind: 'queued' };
const live: SubscriptionPhase = { kind: 'live' };
const awaitingList: SubscriptionPhase = { kind: 'awaitingList' };

function stay(phase: SubscriptionPhase): SubscriptionPhase {
  return phase;
}

function reset(): SubscriptionPhase {
  return unsentSubscription;
}

function queue(_phase: SubscriptionPhase, { canSend }: { readonly canSend: boolean }): SubscriptionPhase {
  return canSend ? queued : unsentSubscription;
}

function postpone(
  _phase: SubscriptionPhase,
  { retryAtMs }: Extract<SubscriptionEvent, { kind: 'postpone' }>,
): SubscriptionPhase {
  return { kind: 'postponed', retryAtMs };
}

/** Every phase with every event. A request that is in flight is answered before the next one goes out. */
const transitions: TransitionTable<SubscriptionPhase, SubscriptionEvent, SubscriptionPhase> = {
  unsent: {
    request: queue,
    restart: queue,
    send: stay,
    accept: stay,
    postpone,
    reset: stay,
    overtake: stay,
    list: stay,
    tick: stay,
  },
  queued: {
    request: stay,
    restart: stay,
    send: (_phase, { filter }) => ({ kind: 'sent', filter, missedTo: 0 }),
    accept: stay,
    postpone,
    reset,
    overtake: stay,
    list: stay,
    tick: stay,
  },
  sent: {
    request: stay,
    restart: stay,
    send: stay,
    accept: (_phase, { isAwaitingList }) => (isAwaitingList ? awaitingList : live),
    postpone,
    reset,
    overtake: (phase, { to }) => (to > phase.missedTo ? { ...phase, missedTo: to } : phase),
    list: stay,
    tick: stay,
  },
  live: {
    request: stay,
    restart: queue,
    send: stay,
    accept: stay,
    postpone: stay,
    reset,
    overtake: stay,
    list: stay,
    tick: stay,
  },
  awaitingList: {
    request: stay,
    restart: queue,
    send: stay,
    accept: stay,
    postpone: stay,
    reset,
    overtake: stay,
    list: () => live,
    tick: stay,
  },
  postponed: {
    request: queue,
    restart: queue,
    send: stay,
    accept: stay,
    postpone: stay,
    reset,
    overtake: stay,
    list: stay,
    tick: (phase, event) => (event.nowMs < phase.retryAtMs ? phase : queue(phase, event)),
  },
};

export function nextSubscriptionPhase(phase: SubscriptionPhase, event: SubscriptionEvent): SubscriptionPhase {
  return cellOf(transitions, phase, event)(phase, event);
}

/** Whether the server has answered on the present session, so that pushes apply. */
export function appliesPushes({ kind }: SubscriptionPhase): boolean {
  return kind === 'live' || kind === 'awaitingList';
}
