import type { Failure } from '../protocol/errors.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { InstanceInput, ServiceName } from '../protocol/types.ts';
import { instanceIdOf, registrationName } from './books.ts';
import type { InFlight, RegistrationEntry, Ticket, Withdrawal } from './books.ts';
import type { ClientEvent } from './effects.ts';
import { ClosedError, RequestError } from './errors.ts';
import type { SlotcastError } from './errors.ts';
import { isPassing } from './turn.ts';
import type { Turn } from './turn.ts';

/** The user registers an instance, or gives one new content. Returns what the ticket waits for, or why it cannot be. */
export function register(
  turn: Turn,
  { ticket, service, instance }: Extract<ClientEvent, { kind: 'register' }>,
): RegistrationEntry | RequestError {
  const { registrations } = turn.books;
  const key = serviceKey(service);
  const id = instanceIdOf(instance);
  const name = registrationName(key, id);
  let entry = registrations.get(name);
  if (entry === undefined) {
    const { link } = turn.state;
    if (link.kind === 'ready' && registrations.size >= link.limits.registrationsMax) {
      const max = link.limits.registrationsMax;
      const message = `the session has ${max} registrations`;
      return new RequestError({ code: 'limit_exceeded', message, limit: 'registrationsMax', max });
    }
    entry = createEntry(key, service, id, instance);
    registrations.set(name, entry);
  }
  entry.instance = instance;
  entry.waiting.push(ticket);
  if (entry.phase === 'sent') entry.isChanged = true;
  else turn.enqueue(entry);
  return entry;
}

function createEntry(key: string, service: ServiceName, id: string, instance: InstanceInput): RegistrationEntry {
  return {
    kind: 'registration',
    key,
    service,
    id,
    instance,
    accepted: undefined,
    acceptedOn: 0,
    sentOn: 0,
    phase: 'unsent',
    isChanged: false,
    dueAtMs: 0,
    version: 0,
    waiting: [],
    riding: [],
  };
}

/** The user takes an instance away. Returns what the ticket waits for; undefined when there is nothing to wait for. */
export function deregister(
  turn: Turn,
  { ticket, service, id }: Extract<ClientEvent, { kind: 'deregister' }>,
): Withdrawal | RequestError | undefined {
  const entry = turn.books.registrations.get(registrationName(serviceKey(service), id));
  if (entry === undefined) {
    return new RequestError({ code: 'not_found', message: 'this client has no such registration' });
  }
  const isKnownToServer = mayBeHeld(turn, entry);
  forget(turn, entry, new ClosedError('deregistered before it was acknowledged'));
  // Without a session the server takes it away by itself: nothing of it will be registered again.
  if (!turn.isReady || !isKnownToServer) return undefined;
  const withdrawal: Withdrawal = { kind: 'withdrawal', service, id, ticket };
  turn.enqueue(withdrawal);
  return withdrawal;
}

/** Whether this connection's session may hold the instance. */
function mayBeHeld(turn: Turn, entry: RegistrationEntry): boolean {
  return entry.sentOn === turn.state.link.socket;
}

function forget(turn: Turn, entry: RegistrationEntry, error: SlotcastError): void {
  turn.books.registrations.delete(registrationName(entry.key, entry.id));
  for (const ticket of takeTickets(entry)) turn.reject(ticket, error);
}

function takeTickets(entry: RegistrationEntry): Ticket[] {
  const tickets = [...entry.riding, ...entry.waiting];
  entry.riding = [];
  entry.waiting = [];
  return tickets;
}

/** Whether it is still wanted: its name may have been given up, or given to another entry, meanwhile. */
export function isWanted(turn: Turn, entry: RegistrationEntry): boolean {
  return turn.books.registrations.get(registrationName(entry.key, entry.id)) === entry;
}

/** It goes out now. */
export function noteRegistrationSent(turn: Turn, entry: RegistrationEntry): void {
  entry.sentOn = turn.state.link.socket;
  noteRegistrationTried(entry);
}

/** Its content as it is now is what the next outcome is about. */
export function noteRegistrationTried(entry: RegistrationEntry): void {
  entry.phase = 'sent';
  entry.isChanged = false;
  for (const call of entry.waiting) entry.riding.push(call);
  entry.waiting = [];
}

export function acceptRegistration(turn: Turn, entry: RegistrationEntry, { content }: InFlight, version: number): void {
  if (!isWanted(turn, entry)) return;
  entry.accepted = content;
  entry.acceptedOn = turn.state.link.socket;
  entry.version = version;
  for (const ticket of entry.riding) turn.resolve(ticket, { kind: 'registered', id: entry.id, version });
  entry.riding = [];
  proceed(turn, entry);
}

/** The request is over: the next content, if there is one, is sent. */
function proceed(turn: Turn, entry: RegistrationEntry): void {
  entry.phase = 'settled';
  if (entry.isChanged) turn.enqueue(entry);
}

export function refuseRegistration(
  turn: Turn,
  entry: RegistrationEntry,
  { content }: InFlight,
  failure: Failure,
): void {
  if (!isWanted(turn, entry)) return;
  const { backoffMaxMs } = turn.inputs.settings;
  if (isPassing(failure)) {
    entry.waiting = takeTickets(entry);
    turn.retryLater(entry, turn.waitAfter(failure));
    return;
  }
  for (const ticket of entry.riding) turn.reject(ticket, new RequestError(failure));
  entry.riding = [];
  if (entry.isChanged) {
    proceed(turn, entry);
  } else if (entry.accepted === undefined) {
    forget(turn, entry, new RequestError(failure));
  } else if (content === entry.accepted) {
    // It was good before and stands: perhaps another server, or one that is full for now.
    turn.notifyRefused(entry, failure);
    turn.retryLater(entry, backoffMaxMs);
  } else {
    fallBack(turn, entry);
  }
}

/** New content came to nothing: what was accepted before stands. */
function fallBack(turn: Turn, entry: RegistrationEntry): void {
  if (entry.accepted === undefined) throw new Error('nothing was accepted before');
  entry.instance = entry.accepted;
  if (entry.phase === 'sent') {
    entry.phase = 'settled';
    if (entry.acceptedOn !== turn.state.link.socket) turn.enqueue(entry);
  }
}

/** A call waited too long. A registration that nobody waits for any more, and that never was, is undone. */
export function expireRegistration(turn: Turn, entry: RegistrationEntry, ticket: Ticket): void {
  entry.waiting = entry.waiting.filter((other) => other !== ticket);
  entry.riding = entry.riding.filter((other) => other !== ticket);
  if (!isWanted(turn, entry) || entry.waiting.length + entry.riding.length > 0) return;
  if (entry.accepted === undefined) {
    turn.books.registrations.delete(registrationName(entry.key, entry.id));
    if (mayBeHeld(turn, entry)) {
      turn.enqueue({ kind: 'withdrawal', service: entry.service, id: entry.id, ticket: undefined });
    }
  } else if (entry.instance !== entry.accepted) {
    entry.instance = entry.accepted;
    // What is under way may yet be applied: the old content must follow it.
    if (entry.phase === 'sent') entry.isChanged = true;
  }
}

/** The connection is gone, and with it all that the server knew, or the request went unanswered. */
export function resetRegistration(entry: RegistrationEntry): void {
  entry.phase = 'unsent';
  entry.isChanged = false;
  entry.waiting = takeTickets(entry);
}
