import { accept, refuse, takeRequest } from './answers.ts';
import { createBooks } from './books.ts';
import type { Read, TicketEntry } from './books.ts';
import { takeCached } from './cached-lists.ts';
import { abort, expire, firstDeadline, retryRefused } from './deadlines.ts';
import type { ClientEffect, ClientEvent, UserCall } from './effects.ts';
import { endAll } from './ending.ts';
import type { FilteredView, RegistrationEntry, Ticket } from './entries.ts';
import { ClosedError, QueueFullError, RequestError } from './errors.ts';
import { readMessages } from './frames.ts';
import type { Message } from './frames.ts';
import type { Inputs } from './link-state.ts';
import { initialLink, linkWakeAt, openingSocketOf } from './link.ts';
import { sendOutbox } from './outbox.ts';
import { deregister, isKept, isRegistered, noteRegistrationTried, register, takeClaim } from './registrations.ts';
import { moveLink } from './session.ts';
import { release, settleSubscribers, subscribe, takeChange } from './subscriptions.ts';
import { Turn } from './turn.ts';
import type { ClientState } from './turn.ts';

export interface ClientStep {
  readonly state: ClientState;
  readonly effects: readonly ClientEffect[];
}

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
    case 'awaitRegistration':
    case 'awaitSubscription':
    case 'abort':
    case 'release':
      return true;
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
function askForFlush(turn: Turn): void {
  const { state } = turn;
  if (state.isFlushAsked || state.books.outbox.length === 0) return;
  state.isFlushAsked = true;
  turn.effects.push({ kind: 'flushSoon' });
}

function flush(turn: Turn): void {
  sendOutbox(turn, (errand, bytes, { frameBytesMax }) => {
    const message = `the request has ${bytes} bytes; frameBytesMax is ${frameBytesMax}`;
    const content = errand.kind === 'registration' ? errand.wanted : undefined;
    if (errand.kind === 'registration') noteRegistrationTried(errand);
    refuse(
      turn,
      { errand, socket: 0, deadlineMs: 0, entries: 1, content },
      { code: 'limit_exceeded', message, limit: 'frameBytesMax', max: frameBytesMax },
    );
  });
}

function take(turn: Turn, event: ClientEvent): void {
  switch (event.kind) {
    case 'socketOpened':
      moveLink(turn, event);
      return;
    case 'socketClosed':
      if (turn.books.former?.socket === event.socket) turn.books.former = undefined;
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
    case 'listLoaded':
      takeCached(turn, event.service, event.list);
      return;
    case 'release':
      release(turn, event.subscription);
      return;
    case 'abort':
      abort(turn, event.ticket);
      return;
    case 'register':
    case 'deregister':
    case 'subscribe':
    case 'query':
    case 'list':
    case 'awaitConnection':
    case 'awaitRegistration':
    case 'awaitSubscription':
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
    const ended = books.ended ?? new ClosedError('client', 'the client is closed');
    const error = isClosed ? ended : new QueueFullError(requestsMax);
    turn.effects.push({ kind: 'reject', ticket, error });
    return;
  }
  const timeoutMs = call.timeoutMs ?? requestTimeoutMs;
  const isPatient = call.kind === 'deregister' && call.isPatient === true;
  const entry: TicketEntry = {
    deadlineMs: turn.nowMs + timeoutMs,
    timeoutMs,
    isPatient,
    owner: { kind: 'connection' },
  };
  turn.addTicket(ticket, entry);
  const owner = begin(turn, call);
  if (owner instanceof RequestError) turn.reject(ticket, owner);
  else entry.owner = owner;
}

/** Returns what the ticket waits for, if it has not been settled already. */
function begin(turn: Turn, call: UserCall): TicketEntry['owner'] | RequestError {
  switch (call.kind) {
    case 'register': {
      const registration = register(turn, call);
      if (call.isStanding === true && !(registration instanceof RequestError)) {
        turn.resolve(call.ticket, { kind: 'registered', registration });
      }
      return registration;
    }
    case 'deregister':
      return deregister(turn, call);
    case 'subscribe':
      return subscribe(turn, call);
    case 'query':
      return ask(turn, call.ticket, { method: 'service.query', params: { ...call.service, ...call.filter } });
    case 'list':
      return ask(turn, call.ticket, { method: 'service.list', params: call.params });
    case 'awaitConnection':
      if (turn.isServing) turn.resolve(call.ticket, { kind: 'connected' });
      return { kind: 'connection' };
    case 'awaitRegistration':
      return awaitRegistration(turn, call.ticket, call.registration);
    case 'awaitSubscription':
      return awaitSubscription(turn, call.ticket, call.subscription);
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

function awaitRegistration(
  turn: Turn,
  ticket: Ticket,
  registration: RegistrationEntry,
): RegistrationEntry | RequestError {
  if (!isKept(turn, registration) || registration.wanted === undefined) {
    return new RequestError({ code: 'not_found', message: 'this client has no such registration' });
  }
  if (isRegistered(registration)) turn.resolve(ticket, { kind: 'registered', registration });
  else if (registration.phase === 'sent' && !registration.isChanged) registration.riding.push(ticket);
  else registration.waiting.push(ticket);
  return registration;
}

function awaitSubscription(turn: Turn, ticket: Ticket, subscription: FilteredView): FilteredView {
  subscription.waiting.push(ticket);
  settleSubscribers(turn, subscription);
  return subscription;
}

/** A frame came. Whatever it holds, the client goes on. */
function takeFrame(turn: Turn, socket: number, text: string): void {
  const { link } = turn.state;
  if (socket !== turn.serving?.socket && socket !== openingSocketOf(link)) return;
  const messages = readMessages(text);
  if (messages === undefined) {
    moveLink(turn, { kind: 'garbled', socket });
    return;
  }
  moveLink(turn, { kind: 'heard', socket });
  for (const message of messages) takeMessage(turn, socket, message);
}

function takeMessage(turn: Turn, socket: number, message: Message): void {
  switch (message.kind) {
    case 'result': {
      const request = takeRequest(turn, socket, message.id);
      if (request !== undefined) accept(turn, request, message.result);
      return;
    }
    case 'error': {
      const request = takeRequest(turn, socket, message.id);
      if (request !== undefined) refuse(turn, request, message.failure);
      return;
    }
    case 'changed':
      if (socket === turn.serving?.socket) takeChange(turn, message.change);
      return;
    case 'claim':
      if (socket === turn.serving?.socket) takeClaim(turn, message.claim);
      return;
    case 'goaway': {
      const { reason, reconnectAfterMs } = message.params;
      turn.effects.push({ kind: 'notify', notice: { kind: 'goaway', reason, reconnectAfterMs } });
      moveLink(turn, { kind: 'goaway', socket, reconnectAfterMs });
      return;
    }
    case 'unknown':
      return;
    default:
      message satisfies never;
  }
}

/** The user closes. */
function close(turn: Turn): void {
  endAll(turn, new ClosedError('client', 'the client was closed'));
  moveLink(turn, { kind: 'close' });
}

/** Asks for the next tick. One that comes too early does no harm, so a time is only ever moved forward. */
function arm(turn: Turn, event: ClientEvent): void {
  const { state, books, inputs } = turn;
  const times = [linkWakeAt(state.link, inputs.settings), firstDeadline(turn), books.retryAtMs];
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
