import { accept, refuse, removeInFlight } from './answers.ts';
import { applyCachedList } from './cache-timers.ts';
import { createTables } from './client-tables.ts';
import type { Read, TicketEntry } from './client-tables.ts';
import { abort, expire, firstDeadline, retryRefused } from './deadlines.ts';
import type { ClientEffect, ClientEvent, UserCall } from './effects.ts';
import type { FilteredView, RegistrationEntry, Ticket } from './entries.ts';
import { ClosedError, QueueFullError, RequestError } from './errors.ts';
import { readMessages } from './frames.ts';
import type { Message } from './frames.ts';
import type { Inputs } from './link-state.ts';
import { initialLink, linkWakeAt, openingSocketOf } from './link.ts';
import { sendOutbox } from './outbox.ts';
import { deregister, isTracked, isRegistered, noteRegistrationTried, register, handleClaim } from './registrations.ts';
import { dispatchToLink } from './session.ts';
import { endAll } from './shutdown.ts';
import { Step } from './step.ts';
import type { ClientState } from './step.ts';
import { release, settleSubscribers, subscribe, handleChange } from './subscriptions.ts';

export interface ClientStep {
  readonly state: ClientState;
  readonly effects: readonly ClientEffect[];
}

export function createClientState(): ClientState {
  return { link: initialLink, tables: createTables(), armedAtMs: undefined, isFlushAsked: false };
}

/**
 * The client's decisions: `(state, event, now) → { state, effects }`. No socket, timer, clock or randomness: the same history
 * gives the same effects. The state that goes in is used up (its tables are updated in place); go on with the one that comes out.
 */
export function stepClient(state: ClientState, event: ClientEvent, inputs: Inputs): ClientStep {
  const step = new Step(state, inputs);
  take(step, event);
  if (isUserCall(event)) askForFlush(step);
  else flush(step);
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
function askForFlush(step: Step): void {
  const { state } = step;
  if (state.isFlushAsked || state.tables.outbox.length === 0) return;
  state.isFlushAsked = true;
  step.effects.push({ kind: 'flushSoon' });
}

function flush(step: Step): void {
  sendOutbox(step, (operation, bytes, { frameBytesMax }) => {
    const message = `the request has ${bytes} bytes; frameBytesMax is ${frameBytesMax}`;
    const content = operation.kind === 'registration' ? operation.wanted : undefined;
    if (operation.kind === 'registration') noteRegistrationTried(step, operation);
    refuse(
      step,
      { operation, socket: 0, deadlineMs: 0, entries: 1, content },
      { code: 'limit_exceeded', message, limit: 'frameBytesMax', max: frameBytesMax },
    );
  });
}

function take(step: Step, event: ClientEvent): void {
  switch (event.kind) {
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
    case 'abort':
      abort(step, event.ticket);
      return;
    case 'register':
    case 'deregister':
    case 'subscribe':
    case 'query':
    case 'list':
    case 'awaitConnection':
    case 'awaitRegistration':
    case 'awaitSubscription':
      admit(step, event);
      return;
    default:
      event satisfies never;
  }
}

/** Takes a call of the user, unless there are too many already. */
function admit(step: Step, call: UserCall): void {
  const { tables, inputs, state } = step;
  const { ticket } = call;
  const { requestsMax, requestTimeoutMs } = inputs.settings;
  const isClosed = state.link.kind === 'closing' || state.link.kind === 'closed';
  if (isClosed || tables.tickets.size >= requestsMax) {
    const ended = tables.ended ?? new ClosedError('client', 'the client is closed');
    const error = isClosed ? ended : new QueueFullError(requestsMax);
    step.effects.push({ kind: 'reject', ticket, error });
    return;
  }
  const timeoutMs = call.timeoutMs ?? requestTimeoutMs;
  const isPatient = call.kind === 'deregister' && call.isPatient === true;
  const entry: TicketEntry = {
    deadlineMs: step.nowMs + timeoutMs,
    timeoutMs,
    isPatient,
    owner: { kind: 'connection' },
  };
  step.addTicket(ticket, entry);
  const owner = begin(step, call);
  if (owner instanceof RequestError) step.reject(ticket, owner);
  else entry.owner = owner;
}

/** Returns what the ticket waits for, if it has not been settled already. */
function begin(step: Step, call: UserCall): TicketEntry['owner'] | RequestError {
  switch (call.kind) {
    case 'register': {
      const registration = register(step, call);
      if (call.isStanding === true && !(registration instanceof RequestError)) {
        step.resolve(call.ticket, { kind: 'registered', registration });
      }
      return registration;
    }
    case 'deregister':
      return deregister(step, call);
    case 'subscribe':
      return subscribe(step, call);
    case 'query':
      return ask(step, call.ticket, { method: 'service.query', params: { ...call.service, ...call.filter } });
    case 'list':
      return ask(step, call.ticket, { method: 'service.list', params: call.params });
    case 'awaitConnection':
      if (step.isServing) step.resolve(call.ticket, { kind: 'connected' });
      return { kind: 'connection' };
    case 'awaitRegistration':
      return awaitRegistration(step, call.ticket, call.registration);
    case 'awaitSubscription':
      return awaitSubscription(step, call.ticket, call.subscription);
    default:
      return call satisfies never;
  }
}

function ask(step: Step, ticket: Ticket, request: Read['request']): Read {
  const read: Read = { kind: 'read', ticket, request, isSent: false };
  step.tables.reads.add(read);
  step.enqueue(read);
  return read;
}

function awaitRegistration(
  step: Step,
  ticket: Ticket,
  registration: RegistrationEntry,
): RegistrationEntry | RequestError {
  if (!isTracked(step, registration) || registration.wanted === undefined) {
    return new RequestError({ code: 'not_found', message: 'this client has no such registration' });
  }
  if (isRegistered(registration)) step.resolve(ticket, { kind: 'registered', registration });
  else if (registration.phase.kind === 'sent') registration.inFlightCalls.push(ticket);
  else registration.waitingCalls.push(ticket);
  return registration;
}

function awaitSubscription(step: Step, ticket: Ticket, subscription: FilteredView): FilteredView {
  subscription.waitingCalls.push(ticket);
  settleSubscribers(step, subscription);
  return subscription;
}

/** A frame came. Whatever it holds, the client goes on. */
function handleFrame(step: Step, socket: number, text: string): void {
  const { link } = step.state;
  if (socket !== step.serving?.socket && socket !== openingSocketOf(link)) return;
  const messages = readMessages(text);
  if (messages === undefined) {
    dispatchToLink(step, { kind: 'garbled', socket });
    return;
  }
  dispatchToLink(step, { kind: 'activity', socket });
  for (const message of messages) handleMessage(step, socket, message);
}

function handleMessage(step: Step, socket: number, message: Message): void {
  switch (message.kind) {
    case 'result': {
      const request = removeInFlight(step, socket, message.id);
      if (request !== undefined) accept(step, request, message.result);
      return;
    }
    case 'error': {
      const request = removeInFlight(step, socket, message.id);
      if (request !== undefined) refuse(step, request, message.failure);
      return;
    }
    case 'changed':
      if (socket === step.serving?.socket) handleChange(step, message.change);
      return;
    case 'claim':
      if (socket === step.serving?.socket) handleClaim(step, message.claim);
      return;
    case 'goaway': {
      const { reason, reconnectAfterMs } = message.params;
      step.effects.push({ kind: 'notify', notice: { kind: 'goaway', reason, reconnectAfterMs } });
      dispatchToLink(step, { kind: 'goaway', socket, reconnectAfterMs });
      return;
    }
    case 'unknown':
      return;
    default:
      message satisfies never;
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
