import type { Failure } from '../protocol/errors.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { ListResult, QueryResult, ServiceName, WireLimits } from '../protocol/types.ts';
import { createBooks, registrationName } from './books.ts';
import type { InFlight, Read, Ticket, TicketEntry, Unsubscription, Withdrawal } from './books.ts';
import type { ClientEffect, ClientEvent, UserCall } from './effects.ts';
import { ClosedError, ConnectionLostError, QueueFullError, RequestError, TimeoutError } from './errors.ts';
import type { SlotcastError } from './errors.ts';
import { isOpenResult, isSubscribeResult, isVersioned, readMessages, wordRequest } from './frames.ts';
import type { Message } from './frames.ts';
import { initialLink, linkWakeAt, stepLink } from './link.ts';
import type { Inputs, LinkEffect, LinkEvent } from './link.ts';
import { sendOutbox } from './outbox.ts';
import {
  acceptRegistration,
  deregister,
  expireRegistration,
  isWanted,
  noteRegistrationTried,
  refuseRegistration,
  register,
  resetRegistration,
} from './registrations.ts';
import {
  acceptSubscription,
  expireSubscription,
  isSeen,
  refuseSubscription,
  release,
  resetSubscription,
  settleSubscribers,
  subscribe,
  takeChange,
} from './subscriptions.ts';
import { isPassing, Turn } from './turn.ts';
import type { ClientState } from './turn.ts';

export interface ClientStep {
  readonly state: ClientState;
  readonly effects: readonly ClientEffect[];
}

/**
 * What a half-open connection is found by: ending a subscription that nobody has is no error, and the session host answers it
 * without asking a partition.
 */
const probeService: ServiceName = { namespace: 'slotcast', group: 'client', service: 'sign-of-life' };

export function createClientState(): ClientState {
  return { link: initialLink, books: createBooks(), armedAtMs: undefined, isFlushAsked: false };
}

/**
 * The client's decisions: `(state, event, now) → { state, effects }`. No socket, timer, clock or randomness: the same history
 * gives the same effects. The state that goes in is used up (its books are updated in place); go on with the one that comes out.
 */
export function stepClient(state: ClientState, event: ClientEvent, inputs: Inputs): ClientStep {
  const turn = new Turn(state, inputs);
  take(turn, event);
  if (isUserCall(event)) askForFlush(turn);
  else flush(turn);
  arm(turn, event);
  return { state, effects: turn.effects };
}

function isUserCall(event: ClientEvent): boolean {
  switch (event.kind) {
    case 'register':
    case 'deregister':
    case 'subscribe':
    case 'query':
    case 'list':
    case 'awaitConnection':
    case 'release':
      return true;
    case 'socketOpened':
    case 'socketClosed':
    case 'frame':
    case 'tick':
    case 'flush':
    case 'close':
      return false;
    default:
      return event satisfies never;
  }
}

/** Calls of one turn of the program go out together, as one batch of each kind. */
function askForFlush(turn: Turn): void {
  const { state } = turn;
  if (state.isFlushAsked || state.books.outbox.length === 0) return;
  state.isFlushAsked = true;
  turn.effects.push({ kind: 'flushSoon' });
}

function flush(turn: Turn): void {
  sendOutbox(turn, (errand, bytes, { frameBytesMax }) => {
    const message = `the request has ${bytes} bytes; frameBytesMax is ${frameBytesMax}`;
    const content = errand.kind === 'registration' ? errand.instance : undefined;
    if (errand.kind === 'registration') noteRegistrationTried(errand);
    refuse(
      turn,
      { errand, deadlineMs: 0, content },
      { code: 'limit_exceeded', message, limit: 'frameBytesMax', max: frameBytesMax },
    );
  });
}

function take(turn: Turn, event: ClientEvent): void {
  switch (event.kind) {
    case 'socketOpened':
    case 'socketClosed':
      moveLink(turn, event);
      return;
    case 'frame':
      takeFrame(turn, event.socket, event.text);
      return;
    case 'tick':
      turn.state.armedAtMs = undefined;
      expire(turn);
      retryRefused(turn);
      moveLink(turn, event);
      return;
    case 'flush':
      turn.state.isFlushAsked = false;
      return;
    case 'close':
      close(turn);
      return;
    case 'release':
      release(turn, event.subscription);
      return;
    case 'register':
    case 'deregister':
    case 'subscribe':
    case 'query':
    case 'list':
    case 'awaitConnection':
      admit(turn, event);
      return;
    default:
      event satisfies never;
  }
}

/** Takes a call of the user, unless there are too many already. */
function admit(turn: Turn, call: UserCall): void {
  const { books, inputs, state } = turn;
  const { ticket } = call;
  const { requestsMax, requestTimeoutMs } = inputs.settings;
  const isClosed = state.link.kind === 'closing' || state.link.kind === 'closed';
  if (isClosed || books.tickets.size >= requestsMax) {
    const error = isClosed ? new ClosedError('the client is closed') : new QueueFullError(requestsMax);
    turn.effects.push({ kind: 'reject', ticket, error });
    return;
  }
  const owner = begin(turn, call);
  // Refused here and now: it never becomes a ticket.
  if (owner instanceof RequestError) {
    turn.effects.push({ kind: 'reject', ticket, error: owner });
    return;
  }
  books.tickets.set(ticket, { deadlineMs: turn.nowMs + requestTimeoutMs, owner: owner ?? { kind: 'connection' } });
  if (owner === undefined) {
    turn.resolve(ticket, call.kind === 'deregister' ? { kind: 'deregistered' } : { kind: 'connected' });
  } else if (owner.kind === 'subscription') {
    settleSubscribers(turn, owner);
  }
}

/** Returns what the ticket waits for; undefined when it is settled already. */
function begin(turn: Turn, call: UserCall): TicketEntry['owner'] | RequestError | undefined {
  switch (call.kind) {
    case 'register':
      return register(turn, call);
    case 'deregister':
      return deregister(turn, call);
    case 'subscribe':
      return subscribe(turn, call);
    case 'query':
      return ask(turn, call.ticket, { method: 'service.query', params: call.service });
    case 'list':
      return ask(turn, call.ticket, { method: 'service.list', params: call.params });
    case 'awaitConnection':
      return turn.isReady ? undefined : { kind: 'connection' };
    default:
      return call satisfies never;
  }
}

function ask(turn: Turn, ticket: Ticket, request: Read['request']): Read {
  const read: Read = { kind: 'read', ticket, request, isSent: false };
  turn.books.reads.add(read);
  turn.enqueue(read);
  return read;
}

/** A frame came. Whatever it holds, the client goes on. */
function takeFrame(turn: Turn, socket: number, text: string): void {
  const { link } = turn.state;
  if (socket !== link.socket || (link.kind !== 'opening' && link.kind !== 'ready' && link.kind !== 'leaving')) return;
  const messages = readMessages(text);
  if (messages === undefined) {
    moveLink(turn, { kind: 'garbled' });
    return;
  }
  moveLink(turn, { kind: 'heard', socket });
  for (const message of messages) takeMessage(turn, message);
}

function takeMessage(turn: Turn, message: Message): void {
  switch (message.kind) {
    case 'result': {
      const request = takeRequest(turn, message.id);
      if (request !== undefined) accept(turn, request, message.result);
      return;
    }
    case 'error': {
      const request = takeRequest(turn, message.id);
      if (request !== undefined) refuse(turn, request, message.failure);
      return;
    }
    case 'changed':
      takeChange(turn, message.change);
      return;
    case 'goaway': {
      const { reason, reconnectAfterMs } = message.params;
      turn.effects.push({ kind: 'notify', notice: { kind: 'goaway', reason, reconnectAfterMs } });
      moveLink(turn, { kind: 'goaway', reconnectAfterMs });
      // Nothing more is sent on this connection.
      turn.books.outbox = [];
      return;
    }
    case 'unknown':
      return;
    default:
      message satisfies never;
  }
}

/** An answer to what is not asked, or not any more, is nothing to us. */
function takeRequest(turn: Turn, id: number): InFlight | undefined {
  const request = turn.books.inFlight.get(id);
  turn.books.inFlight.delete(id);
  return request;
}

function accept(turn: Turn, request: InFlight, result: unknown): void {
  const { errand } = request;
  switch (errand.kind) {
    case 'open':
      if (isOpenResult(result)) acceptOpen(turn, result.session, result.limits);
      else refuse(turn, request, unreadable);
      return;
    case 'registration':
      if (isVersioned(result)) acceptRegistration(turn, errand, request, result.version);
      else refuse(turn, request, unreadable);
      return;
    case 'subscription':
      if (isSubscribeResult(result)) acceptSubscription(turn, errand, result);
      else refuse(turn, request, unreadable);
      return;
    case 'withdrawal':
      if (errand.ticket !== undefined) turn.resolve(errand.ticket, { kind: 'deregistered' });
      return;
    case 'read':
      acceptRead(turn, errand, result);
      return;
    case 'probe':
    case 'unsubscription':
      return;
    default:
      errand satisfies never;
  }
}

const unreadable: Failure = { code: 'internal', message: 'the server sent a result of another shape' };

function acceptOpen(turn: Turn, session: string, limits: WireLimits): void {
  const { link } = turn.state;
  const server = turn.inputs.settings.urls[link.server] ?? '';
  moveLink(turn, { kind: 'openAccepted', limits });
  turn.effects.push({ kind: 'notify', notice: { kind: 'connected', server, session } });
}

function acceptRead(turn: Turn, read: Read, result: unknown): void {
  if (!turn.books.reads.delete(read)) return;
  // The shapes are the server's word; nothing here relies on them.
  const settlement =
    read.request.method === 'service.query'
      ? ({ kind: 'queried', result: result as QueryResult } as const)
      : ({ kind: 'listed', result: result as ListResult } as const);
  turn.resolve(read.ticket, settlement);
}

function refuse(turn: Turn, request: InFlight, failure: Failure): void {
  const { errand } = request;
  switch (errand.kind) {
    case 'open':
      refuseOpen(turn, failure);
      return;
    case 'registration':
      refuseRegistration(turn, errand, request, failure);
      return;
    case 'subscription':
      refuseSubscription(turn, errand, failure);
      return;
    case 'withdrawal':
      refuseWithdrawal(turn, errand, failure);
      return;
    case 'unsubscription':
      if (isPassing(failure)) turn.postpone(errand, turn.waitAfter(failure));
      return;
    case 'read':
      // A draining server is about to go: the question waits for the next connection.
      if (failure.code === 'draining') errand.isSent = false;
      else if (turn.books.reads.delete(errand)) turn.reject(errand.ticket, new RequestError(failure));
      return;
    case 'probe':
      return;
    default:
      errand satisfies never;
  }
}

function refuseWithdrawal(turn: Turn, errand: Withdrawal, failure: Failure): void {
  if (isPassing(failure)) {
    turn.postpone(errand, turn.waitAfter(failure));
  } else if (errand.ticket !== undefined) {
    // Gone is gone. That another session has taken it over is worth an error.
    if (failure.code === 'not_found') turn.resolve(errand.ticket, { kind: 'deregistered' });
    else turn.reject(errand.ticket, new RequestError(failure));
  }
}

function refuseOpen(turn: Turn, failure: Failure): void {
  const { backoffMaxMs } = turn.inputs.settings;
  const waitMs = failure.retryAfterMs !== undefined ? turn.waitAfter(failure) : isPassing(failure) ? 0 : backoffMaxMs;
  const cause = `session.open: ${failure.code}: ${failure.message}`;
  turn.effects.push({
    kind: 'notify',
    notice: { kind: 'refused', what: { kind: 'session' }, error: new RequestError(failure) },
  });
  moveLink(turn, { kind: 'openRefused', cause, retryAfterMs: waitMs });
}

function moveLink(turn: Turn, event: LinkEvent): void {
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

/** Settles calls that have waited too long, and gives up requests that nobody answers. */
function expire(turn: Turn): void {
  const { books, nowMs } = turn;
  for (const [ticket, { deadlineMs, owner }] of books.tickets) {
    if (deadlineMs > nowMs) break;
    turn.reject(ticket, expiryOf(turn, ticket, owner));
    if (owner.kind === 'registration') expireRegistration(turn, owner, ticket);
    else if (owner.kind === 'subscription') expireSubscription(turn, owner, ticket);
    else if (owner.kind === 'read') books.reads.delete(owner);
  }
  for (const [id, { deadlineMs, errand }] of books.inFlight) {
    if (deadlineMs > nowMs) break;
    books.inFlight.delete(id);
    if (errand.kind === 'registration' && isWanted(turn, errand)) {
      resetRegistration(errand);
      turn.enqueue(errand);
    } else if (errand.kind === 'subscription' && isSeen(turn, errand)) {
      resetSubscription(turn, errand);
      turn.enqueue(errand);
    } else if (errand.kind === 'withdrawal' || errand.kind === 'unsubscription') {
      turn.postpone(errand, 0);
    }
  }
}

function expiryOf(turn: Turn, ticket: Ticket, owner: TicketEntry['owner']): SlotcastError {
  const { requestTimeoutMs } = turn.inputs.settings;
  const { link } = turn.state;
  const isSent =
    owner.kind === 'withdrawal' ||
    (owner.kind === 'registration' && owner.riding.includes(ticket)) ||
    (owner.kind === 'subscription' && owner.phase === 'sent') ||
    (owner.kind === 'read' && owner.isSent);
  // Connected, it is the server's time that ran out, also for what had to wait its turn.
  if (isSent || link.kind === 'ready') return new TimeoutError(requestTimeoutMs);
  return new ConnectionLostError(requestTimeoutMs, link.cause);
}

function retryRefused(turn: Turn): void {
  const { books, nowMs } = turn;
  if (books.retryAtMs === undefined || books.retryAtMs > nowMs) return;
  books.retryAtMs = undefined;
  for (const entry of [...books.registrations.values(), ...books.subscriptions.values()]) {
    if (entry.phase !== 'refused') continue;
    if (entry.dueAtMs <= nowMs) turn.enqueue(entry);
    else turn.wakeForRetry(entry.dueAtMs);
  }
  const { postponed } = books;
  books.postponed = [];
  for (const each of postponed) {
    if (each.dueAtMs <= nowMs) {
      repeat(turn, each.errand);
    } else {
      books.postponed.push(each);
      turn.wakeForRetry(each.dueAtMs);
    }
  }
}

/** Takes something back now that could not be before; unless the user has come to want it again meanwhile. */
function repeat(turn: Turn, errand: Withdrawal | Unsubscription): void {
  const { registrations, subscriptions } = turn.books;
  const key = serviceKey(errand.service);
  if (errand.kind === 'unsubscription') {
    if (!subscriptions.has(key)) turn.enqueue(errand);
    return;
  }
  const anew = registrations.get(registrationName(key, errand.id));
  if (anew === undefined) turn.enqueue(errand);
  // Its content has replaced what was to go.
  else if (anew.phase === 'settled' && errand.ticket !== undefined)
    turn.resolve(errand.ticket, { kind: 'deregistered' });
  // Were it refused, the old content would still have to go.
  else if (anew.phase !== 'settled') turn.postpone(errand, turn.inputs.settings.backoffMinMs);
}

/** The user closes: everything that waits is told so, at once. */
function close(turn: Turn): void {
  const { books } = turn;
  const error = new ClosedError('the client was closed');
  for (const ticket of books.tickets.keys()) turn.reject(ticket, error);
  books.registrations.clear();
  books.subscriptions.clear();
  books.reads.clear();
  books.inFlight.clear();
  books.outbox = [];
  books.postponed = [];
  books.retryAtMs = undefined;
  moveLink(turn, { kind: 'close' });
}

/** Asks for the next tick. One that comes too early does no harm, so a time is only ever moved forward. */
function arm(turn: Turn, event: ClientEvent): void {
  const { state, books, inputs } = turn;
  const times = [
    linkWakeAt(state.link, inputs.settings),
    firstDeadline(books.tickets),
    firstDeadline(books.inFlight),
    books.retryAtMs,
  ];
  let wakeAt: number | undefined;
  for (const time of times) {
    if (time !== undefined && (wakeAt === undefined || time < wakeAt)) wakeAt = time;
  }
  if (wakeAt === state.armedAtMs) return;
  const isSoonEnough = wakeAt !== undefined && state.armedAtMs !== undefined && state.armedAtMs <= wakeAt;
  if (isSoonEnough && event.kind !== 'tick') return;
  state.armedAtMs = wakeAt;
  turn.effects.push({ kind: 'arm', atMs: wakeAt });
}

function firstDeadline(entries: ReadonlyMap<number, { readonly deadlineMs: number }>): number | undefined {
  for (const { deadlineMs } of entries.values()) return deadlineMs;
  return undefined;
}
