import type { Failure } from '../protocol/errors.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { InstanceClaim, InstanceInput, ServiceName } from '../protocol/types.ts';
import { instanceIdOf, registrationName } from './books.ts';
import type { InFlight } from './books.ts';
import type { ClientEvent } from './effects.ts';
import type { RegistrationEntry, Ticket } from './entries.ts';
import { ClosedError, RequestError } from './errors.ts';
import type { SlotcastError } from './errors.ts';
import { noteCaughtUp } from './former.ts';
import { isPassing } from './turn.ts';
import type { Turn } from './turn.ts';

/** The user registers an instance, or gives one new content. Returns what the ticket waits for, or why it cannot be. */
export function register(
  turn: Turn,
  { ticket, service, instance, isStanding }: Extract<ClientEvent, { kind: 'register' }>,
): RegistrationEntry | RequestError {
  const { registrations } = turn.books;
  const key = serviceKey(service);
  const id = instanceIdOf(instance);
  const name = registrationName(key, id);
  let entry = registrations.get(name);
  if (entry === undefined) {
    const max = turn.serving?.limits.registrationsMax;
    if (max !== undefined && registrations.size >= max) {
      const message = `the session has ${max} registrations`;
      return new RequestError({ code: 'limit_exceeded', message, limit: 'registrationsMax', max });
    }
    entry = createRegistration(service, id, instance);
    registrations.set(name, entry);
  }
  entry.wanted = instance;
  if (isStanding === true) entry.isStanding = true;
  entry.waiting.push(ticket);
  pursue(turn, entry);
  return entry;
}

export function createRegistration(
  service: ServiceName,
  id: string,
  wanted: InstanceInput | undefined,
): RegistrationEntry {
  return {
    kind: 'registration',
    key: serviceKey(service),
    service,
    id,
    wanted,
    accepted: undefined,
    held: undefined,
    isUnsure: false,
    phase: 'unsent',
    isChanged: false,
    dueAtMs: 0,
    version: 0,
    isStanding: false,
    isShown: true,
    waiting: [],
    riding: [],
    leaving: [],
  };
}

/** The user takes an instance away. Returns what the ticket waits for, or why it cannot be. */
export function deregister(
  turn: Turn,
  { ticket, service, id, isPatient }: Extract<ClientEvent, { kind: 'deregister' }>,
): RegistrationEntry | RequestError {
  const entry = turn.books.registrations.get(registrationName(serviceKey(service), id));
  if (entry === undefined || (entry.wanted === undefined && entry.leaving.length === 0 && !mayBeHeld(entry))) {
    return new RequestError({ code: 'not_found', message: 'this client has no such registration' });
  }
  entry.leaving.push(ticket);
  giveUp(turn, entry, new ClosedError('registration', 'deregistered before it was acknowledged'));
  // Without a session the server does not hear of it before the next.
  if (!turn.isServing && isPatient !== true) turn.resolve(ticket, { kind: 'deregistered', pending: true });
  return entry;
}

/** Whether the present session, or the one to be resumed, may hold something of it. */
function mayBeHeld({ held, isUnsure }: RegistrationEntry): boolean {
  return held !== undefined || isUnsure;
}

/** It is to go: who waits for it is told why. */
function giveUp(turn: Turn, entry: RegistrationEntry, error: SlotcastError): void {
  entry.wanted = undefined;
  entry.accepted = undefined;
  entry.isStanding = false;
  for (const ticket of takeTickets(entry)) turn.reject(ticket, error);
  pursue(turn, entry);
}

function takeTickets(entry: RegistrationEntry): Ticket[] {
  const tickets = [...entry.riding, ...entry.waiting];
  entry.riding = [];
  entry.waiting = [];
  return tickets;
}

/** Whether it is still in the books. */
export function isKept(turn: Turn, entry: RegistrationEntry): boolean {
  return turn.books.registrations.get(registrationName(entry.key, entry.id)) === entry;
}

/** Whether the server is still to hear of it. */
function isDue(entry: RegistrationEntry): boolean {
  if (entry.wanted === undefined) return mayBeHeld(entry);
  return !isRegistered(entry) || entry.waiting.length > 0;
}

/** Whether the server has acknowledged it as it is wanted now. */
export function isRegistered({ wanted, held, isUnsure }: RegistrationEntry): boolean {
  return wanted !== undefined && held === wanted && !isUnsure;
}

/** Does what is next for the wish: tells the server, after what is under way, or forgets what is wanted and held no more. */
export function pursue(turn: Turn, entry: RegistrationEntry): void {
  if (entry.phase === 'sent') {
    entry.isChanged = true;
  } else if (isDue(entry)) {
    turn.enqueue(entry);
  } else {
    entry.phase = 'settled';
    noteCaughtUp(turn, entry);
    if (entry.wanted === undefined) forget(turn, entry);
  }
}

/** Nothing of it is left anywhere. */
function forget(turn: Turn, entry: RegistrationEntry): void {
  turn.books.registrations.delete(registrationName(entry.key, entry.id));
  settleLeaving(turn, entry);
}

function settleLeaving(turn: Turn, entry: RegistrationEntry): void {
  for (const ticket of entry.leaving) turn.resolve(ticket, { kind: 'deregistered', pending: false });
  entry.leaving = [];
}

/** Whether it is to be sent when its turn comes. */
export function isRegistrationMeant(turn: Turn, entry: RegistrationEntry): boolean {
  if (!isKept(turn, entry) || entry.phase !== 'queued') return false;
  if (isDue(entry)) return true;
  pursue(turn, entry);
  return false;
}

/** Its wish as it is now goes out, and is what the next outcome is about. */
export function noteRegistrationTried(entry: RegistrationEntry): void {
  entry.phase = 'sent';
  entry.isChanged = false;
  for (const call of entry.waiting) entry.riding.push(call);
  entry.waiting = [];
}

export function noteRegistrationSent(entry: RegistrationEntry): void {
  entry.isUnsure = true;
  noteRegistrationTried(entry);
}

export function acceptRegistration(turn: Turn, entry: RegistrationEntry, { content }: InFlight, version: number): void {
  if (!isKept(turn, entry)) return;
  entry.isUnsure = false;
  entry.held = content;
  if (content !== undefined) {
    entry.version = version;
    // The newest claim is the one that is shown.
    noteShown(turn, entry, true);
    if (entry.wanted !== undefined) entry.accepted = content;
  }
  for (const ticket of entry.riding) turn.resolve(ticket, { kind: 'registered', registration: entry });
  entry.riding = [];
  // What was taken away has been replaced.
  if (entry.wanted !== undefined) settleLeaving(turn, entry);
  proceed(turn, entry);
}

/** The request is over: what is still to be said is said. */
function proceed(turn: Turn, entry: RegistrationEntry): void {
  entry.phase = 'settled';
  pursue(turn, entry);
}

export function refuseRegistration(
  turn: Turn,
  entry: RegistrationEntry,
  { content }: InFlight,
  failure: Failure,
): void {
  if (!isKept(turn, entry)) return;
  // Nothing was done; or, with `internal`, nobody knows.
  entry.isUnsure = failure.code === 'internal';
  if (isPassing(failure)) {
    entry.waiting = takeTickets(entry);
    entry.phase = 'settled';
    if (isDue(entry)) turn.retryLater(entry, turn.waitAfter(failure));
    else pursue(turn, entry);
  } else if (content === undefined) {
    refuseWithdrawal(turn, entry, failure);
  } else {
    refuseContent(turn, entry, content, failure);
  }
}

function refuseWithdrawal(turn: Turn, entry: RegistrationEntry, failure: Failure): void {
  entry.held = undefined;
  // Gone is gone. That another session has taken it over is worth an error.
  if (failure.code !== 'not_found') {
    for (const ticket of entry.leaving) turn.reject(ticket, new RequestError(failure));
    entry.leaving = [];
  }
  if (!entry.isUnsure) {
    proceed(turn, entry);
    return;
  }
  entry.phase = 'settled';
  turn.retryLater(entry, turn.inputs.settings.backoffMaxMs);
}

function refuseContent(turn: Turn, entry: RegistrationEntry, content: InstanceInput, failure: Failure): void {
  for (const ticket of entry.riding) turn.reject(ticket, new RequestError(failure));
  entry.riding = [];
  if (entry.isChanged) {
    proceed(turn, entry);
  } else if (content === entry.accepted || (entry.accepted === undefined && entry.isStanding)) {
    // It was good before and stands: perhaps another server, or one that is full for now.
    turn.notifyRefused(entry, failure);
    turn.retryLater(entry, turn.inputs.settings.backoffMaxMs);
    noteCaughtUp(turn, entry);
  } else {
    entry.phase = 'settled';
    fallBack(turn, entry, new RequestError(failure));
  }
}

/** New content came to nothing: what was accepted before stands, and what never was does not. */
function fallBack(turn: Turn, entry: RegistrationEntry, error: SlotcastError): void {
  if (entry.accepted === undefined) {
    giveUp(turn, entry, error);
  } else {
    entry.wanted = entry.accepted;
    pursue(turn, entry);
  }
}

/** A call waited too long, or was given up. A registration that nobody waits for any more, and that never was, is undone. */
export function expireRegistration(turn: Turn, entry: RegistrationEntry, ticket: Ticket): void {
  // What was taken away goes all the same.
  if (entry.leaving.includes(ticket)) {
    entry.leaving = entry.leaving.filter((other) => other !== ticket);
    return;
  }
  entry.waiting = entry.waiting.filter((other) => other !== ticket);
  entry.riding = entry.riding.filter((other) => other !== ticket);
  if (!isKept(turn, entry) || entry.wanted === undefined || entry.isStanding) return;
  if (entry.waiting.length + entry.riding.length > 0 || entry.wanted === entry.accepted) return;
  fallBack(turn, entry, new ClosedError('registration', 'given up'));
}

/** The connection is gone, or the request went unanswered. */
export function resetRegistration(entry: RegistrationEntry): void {
  entry.phase = 'unsent';
  entry.isChanged = false;
  entry.waiting = takeTickets(entry);
}

/** The session is another one, which holds nothing of it. */
export function disownRegistration(entry: RegistrationEntry): void {
  entry.held = undefined;
  entry.isUnsure = false;
}

/** Cut off: who took it away, and does not want to wait for the server, is told that it is pending. */
export function settlePending(turn: Turn, entry: RegistrationEntry): void {
  if (entry.leaving.length === 0) return;
  entry.leaving = entry.leaving.filter((ticket) => {
    const isPatient = turn.books.tickets.get(ticket)?.isPatient === true;
    if (!isPatient) turn.resolve(ticket, { kind: 'deregistered', pending: true });
    return isPatient;
  });
}

/** Another session has registered the instance, too, or no longer does. */
export function takeClaim(turn: Turn, claim: InstanceClaim): void {
  const entry = turn.books.registrations.get(registrationName(serviceKey(claim), claim.id));
  if (entry !== undefined) noteShown(turn, entry, claim.shown);
}

function noteShown(turn: Turn, entry: RegistrationEntry, isShown: boolean): void {
  if (entry.isShown === isShown) return;
  entry.isShown = isShown;
  const { service, id } = entry;
  turn.effects.push({ kind: 'notify', notice: { kind: 'claim', service, id, isShown } });
}
