import { cellOf } from './transition-table.ts';
import type { TransitionTable } from './transition-table.ts';

/** How far a registration's wanted state has been sent to the server. */
export type RegistrationPhase =
  /** Not in flight: there is no session, or what the session holds is still being read. */
  | { readonly kind: 'unsent' }
  /** In the outbox. */
  | { readonly kind: 'queued' }
  /** A request is in flight. */
  | { readonly kind: 'sent' }
  /** A request is in flight, and something else has been wanted since: reviewed once it is answered. */
  | { readonly kind: 'outdated' }
  /** The server has acknowledged what is wanted. */
  | { readonly kind: 'settled' }
  /** The server refused it for now. */
  | { readonly kind: 'postponed'; readonly retryAtMs: number };

export type RegistrationEvent =
  /** What is wanted, or what the session holds, may have changed. `isDue`: they differ. `canSend`: requests about registrations may be sent. */
  | { readonly kind: 'review'; readonly isDue: boolean; readonly canSend: boolean }
  /** Its request goes out. */
  | { readonly kind: 'send' }
  /** The request was carried out, or refused for good; a review follows. */
  | { readonly kind: 'answer' }
  /** The request was refused, and is to be tried again. */
  | { readonly kind: 'postpone'; readonly retryAtMs: number }
  /** The session is gone, or the request went unanswered. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'tick'; readonly nowMs: number; readonly canSend: boolean };

export const unsentRegistration: RegistrationPhase = { kind: 'unsent' };
const queued: RegistrationPhase = { kind: 'queued' };
const sent: RegistrationPhase = { kind: 'sent' };
const outdated: RegistrationPhase = { kind: 'outdated' };
const settled: RegistrationPhase = { kind: 'settled' };

function stay(phase: RegistrationPhase): RegistrationPhase {
  return phase;
}

function reset(): RegistrationPhase {
  return unsentRegistration;
}

function review(
  _phase: RegistrationPhase,
  { isDue, canSend }: Extract<RegistrationEvent, { kind: 'review' }>,
): RegistrationPhase {
  if (!isDue) return settled;
  return canSend ? queued : unsentRegistration;
}

function postpone(
  _phase: RegistrationPhase,
  { retryAtMs }: Extract<RegistrationEvent, { kind: 'postpone' }>,
): RegistrationPhase {
  return { kind: 'postponed', retryAtMs };
}

/** Every phase with every event. One request at a time is about an instance, so answers come only while one is in flight. */
const transitions: TransitionTable<RegistrationPhase, RegistrationEvent, RegistrationPhase> = {
  unsent: { review, send: stay, answer: stay, postpone: stay, reset: stay, tick: stay },
  queued: {
    review: (phase, { isDue }) => (isDue ? phase : settled),
    send: () => sent,
    answer: stay,
    postpone: stay,
    reset,
    tick: stay,
  },
  sent: { review: () => outdated, send: stay, answer: reset, postpone, reset, tick: stay },
  outdated: { review: stay, send: stay, answer: reset, postpone, reset, tick: stay },
  settled: { review, send: stay, answer: stay, postpone: stay, reset, tick: stay },
  postponed: {
    review,
    send: stay,
    answer: stay,
    postpone: stay,
    reset,
    tick: (phase, { nowMs, canSend }) => {
      if (nowMs < phase.retryAtMs) return phase;
      return canSend ? queued : unsentRegistration;
    },
  },
};

export function nextRegistrationPhase(phase: RegistrationPhase, event: RegistrationEvent): RegistrationPhase {
  return cellOf(transitions, phase, event)(phase, event);
}
