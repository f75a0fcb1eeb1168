import type { Failure } from '../protocol/errors.ts';
import type { ServiceName, WireLimits } from '../protocol/types.ts';
import { RequestError } from './errors.ts';
import { wordRequest } from './frames.ts';
import { stepLink } from './link.ts';
import type { LinkEffect, LinkEvent } from './link.ts';
import { resetRegistration } from './registrations.ts';
import { resetSubscription } from './subscriptions.ts';
import { isPassing } from './turn.ts';
import type { Turn } from './turn.ts';

/**
 * What a half-open connection is found by: ending a subscription that nobody has is no error, and the session host answers it
 * without asking a partition.
 */
const probeService: ServiceName = { namespace: 'slotcast', group: 'client', service: 'sign-of-life' };

export function acceptOpen(turn: Turn, session: string, limits: WireLimits): void {
  const { link } = turn.state;
  const server = turn.inputs.settings.urls[link.server] ?? '';
  moveLink(turn, { kind: 'openAccepted', limits });
  turn.effects.push({ kind: 'notify', notice: { kind: 'connected', server, session } });
}

export function refuseOpen(turn: Turn, failure: Failure): void {
  const { backoffMaxMs } = turn.inputs.settings;
  const waitMs = failure.retryAfterMs !== undefined ? turn.waitAfter(failure) : isPassing(failure) ? 0 : backoffMaxMs;
  const cause = `session.open: ${failure.code}: ${failure.message}`;
  turn.effects.push({
    kind: 'notify',
    notice: { kind: 'refused', what: { kind: 'session' }, error: new RequestError(failure) },
  });
  moveLink(turn, { kind: 'openRefused', cause, retryAfterMs: waitMs });
}

export function moveLink(turn: Turn, event: LinkEvent): void {
  const { state, effects } = stepLink(turn.state.link, event, turn.inputs);
  turn.state.link = state;
  for (const effect of effects) follow(turn, effect);
}

function follow(turn: Turn, effect: LinkEffect): void {
  switch (effect.kind) {
    case 'openSocket':
    case 'closeSocket':
    case 'closed':
      turn.effects.push(effect);
      return;
    case 'sendOpen':
      send(turn, { kind: 'open' });
      return;
    case 'sendProbe':
      send(turn, { kind: 'probe' });
      return;
    case 'up':
      goUp(turn);
      return;
    case 'down':
      goDown(turn);
      turn.effects.push({
        kind: 'notify',
        notice: { kind: 'disconnected', cause: effect.cause, retryInMs: effect.retryInMs },
      });
      return;
    case 'unreachable': {
      const { url: server, cause, retryInMs } = effect;
      turn.books.inFlight.clear();
      turn.effects.push({ kind: 'notify', notice: { kind: 'unreachable', server, cause, retryInMs } });
      return;
    }
    default:
      effect satisfies never;
  }
}

/** Sends what does not wait in the queue. */
function send(turn: Turn, errand: { readonly kind: 'open' } | { readonly kind: 'probe' }): void {
  const { books, inputs, state } = turn;
  const id = books.nextRequest;
  books.nextRequest += 1;
  const timeoutMs = errand.kind === 'open' ? inputs.settings.connectTimeoutMs : inputs.settings.requestTimeoutMs;
  books.inFlight.set(id, { errand, deadlineMs: turn.nowMs + timeoutMs, content: undefined });
  const text =
    errand.kind === 'open'
      ? wordRequest(id, 'session.open', inputs.settings.open)
      : wordRequest(id, 'service.unsubscribe', probeService);
  turn.effects.push({ kind: 'send', socket: state.link.socket, text });
}

/** The session is open: everything that stands is told to the server, registrations first, since their grace runs. */
function goUp(turn: Turn): void {
  const { books } = turn;
  for (const entry of books.registrations.values()) turn.enqueue(entry);
  for (const entry of books.subscriptions.values()) turn.enqueue(entry);
  for (const read of books.reads) turn.enqueue(read);
  for (const [ticket, { owner }] of books.tickets) {
    if (owner.kind === 'connection') turn.resolve(ticket, { kind: 'connected' });
  }
}

/** The session is lost: what stands must be told anew, and what was withdrawn ends with it. */
function goDown(turn: Turn): void {
  const { books } = turn;
  books.inFlight.clear();
  books.outbox = [];
  books.postponed = [];
  books.retryAtMs = undefined;
  for (const entry of books.registrations.values()) resetRegistration(entry);
  for (const entry of books.subscriptions.values()) resetSubscription(turn, entry);
  for (const read of books.reads) read.isSent = false;
  for (const [ticket, { owner }] of books.tickets) {
    if (owner.kind === 'withdrawal') turn.resolve(ticket, { kind: 'deregistered' });
  }
}
