import type { Failure } from '../protocol/errors.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { InstanceClaim, InstanceInput, ServiceName } from '../protocol/types.ts';
import { instanceIdOf, registrationName } from './client-tables.ts';
import type { InFlight } from './client-tables.ts';
import type { UserCall } from './effects.ts';
import type { RegistrationEntry, Ticket } from './entries.ts';
import { ClosedError, RequestError } from './errors.ts';
import type { SlotcastError } from './errors.ts';
import { noteCaughtUp } from './previous-connection.ts';
import { unsentRegistration } from './registration-phase.ts';
import { isRetryable } from './step.ts';
import type { Step } from './step.ts';

type RegisterCall = Extract<UserCall, { kind: 'register' }>;
type DeregisterCall = Extract<UserCall, { kind: 'deregister' }>;

/** The registration that a call is about, or why there cannot be one. */
export function findOrCreateRegistration(
  step: Step,
  { service, instance }: RegisterCall,
): RegistrationEntry | RequestError {
  const { registrations } = step.tables;
  const key = serviceKey(service);
  const id = instanceIdOf(instance);
  const name = registrationName(key, id);
  let entry = registrations.get(name);
  if (entry === undefined) {
    const max = step.serving?.limits.registrationsMax;
    if (max !== undefined && registrations.size >= max) {
      const message = `the session has ${max} registrations`;
      return new RequestError({ code: 'limit_exceeded', message, limit: 'registrationsMax', max });
    }
    entry = createRegistration(service, id, instance);
    registrations.set(name, entry);
  }
  return entry;
}

/** The user registers an instance, or gives one new content. */
export function register(step: Step, entry: RegistrationEntry, { ticket, instance, isStanding }: RegisterCall): void {
  entry.wanted = instance;
  entry.waitingCalls.push(ticket);
  if (isStanding === true) entry.isStanding = true;
  reviewRegistration(step, entry);
  if (isStanding === true) step.resolve(ticket, { kind: 'registered', registration: entry });
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
    givenWeight: undefined,
    isUnsure: false,
    postponement: undefined,
    phase: unsentRegistration,
    version: 0,
    isStanding: false,
    isShown: true,
    waitingCalls: [],
    inFlightCalls: [],
    deregisterCalls: [],
  };
}

/** The registration that is to be taken away, or why it cannot be. */
export function findRegistration(step: Step, { service, id }: DeregisterCall): RegistrationEntry | RequestError {
  const entry = step.tables.registrations.get(registrationName(serviceKey(service), id));
  if (entry === undefined || (entry.wanted === undefined && entry.deregisterCalls.length === 0 && !mayBeHeld(entry))) {
    return new RequestError({ code: 'not_found', message: 'this client has no such registration' });
  }
  return entry;
}

/** The user takes an instance away. */
export function deregister(step: Step, entry: RegistrationEntry, { ticket, isPatient }: DeregisterCall): void {
  entry.deregisterCalls.push(ticket);
  giveUp(step, entry, new ClosedError('registration', 'deregistered before it was acknowledged'));
  // Without a session it is sent on the next one.
  if (!step.isServing && isPatient !== true) step.resolve(ticket, { kind: 'deregistered', pending: true });
}

/** Whether the present session, or the one to be resumed, may hold something of it. */
function mayBeHeld({ held, isUnsure }: RegistrationEntry): boolean {
  return held !== undefined || isUnsure;
}

/** It is being removed: calls that wait for it are rejected with the reason. */
function giveUp(step: Step, entry: RegistrationEntry, error: SlotcastError): void {
  entry.wanted = undefined;
  entry.accepted = undefined;
  entry.isStanding = false;
  for (const ticket of drainCalls(entry)) step.reject(ticket, error);
  reviewRegistration(step, entry);
}

function drainCalls(entry: RegistrationEntry): Ticket[] {
  const tickets = [...entry.inFlightCalls, ...entry.waitingCalls];
  entry.inFlightCalls = [];
  entry.waitingCalls = [];
  return tickets;
}

/** Whether it is still in the tables. */
export function isTracked(step: Step, entry: RegistrationEntry): boolean {
  return step.tables.registrations.get(registrationName(entry.key, entry.id)) === entry;
}

/** Whether it still has to be sent to the server. */
function isDue(entry: RegistrationEntry): boolean {
  if (entry.wanted === undefined) return mayBeHeld(entry);
  return !isRegistered(entry) || entry.waitingCalls.length > 0;
}

/** Whether the server has acknowledged it as it is wanted now. */
export function isRegistered({ wanted, held, isUnsure }: RegistrationEntry): boolean {
  return wanted !== undefined && held === wanted && !isUnsure;
}

/** Compares what is wanted with what the session holds: sends the difference, after what is in flight, or forgets what is neither. */
export function reviewRegistration(step: Step, entry: RegistrationEntry): void {
  step.moveRegistration(entry, { kind: 'review', isDue: isDue(entry), canSend: step.canSendRegistrations });
  if (entry.phase.kind !== 'settled') return;
  noteCaughtUp(step, entry);
  if (entry.wanted === undefined) forget(step, entry);
}

/** Nothing of it is left anywhere. */
function forget(step: Step, entry: RegistrationEntry): void {
  step.tables.registrations.delete(registrationName(entry.key, entry.id));
  settleDeregisterCalls(step, entry);
}

function settleDeregisterCalls(step: Step, entry: RegistrationEntry): void {
  for (const ticket of entry.deregisterCalls) step.resolve(ticket, { kind: 'deregistered', pending: false });
  entry.deregisterCalls = [];
}

/** Whether it is to be sent when its turn comes. */
export function shouldSendRegistration(step: Step, entry: RegistrationEntry): boolean {
  if (!isTracked(step, entry) || entry.phase.kind !== 'queued') return false;
  if (isDue(entry)) return true;
  reviewRegistration(step, entry);
  return false;
}

/** What is wanted now goes out, and is what the next outcome is about. */
export function noteRegistrationTried(step: Step, entry: RegistrationEntry): void {
  step.moveRegistration(entry, { kind: 'send' });
  for (const call of entry.waitingCalls) entry.inFlightCalls.push(call);
  entry.waitingCalls = [];
}

export function noteRegistrationSent(step: Step, entry: RegistrationEntry): void {
  entry.isUnsure = true;
  noteRegistrationTried(step, entry);
}

export function acceptRegistration(
  step: Step,
  entry: RegistrationEntry,
  { content, isHealthReport: isReport }: InFlight,
  { version, weight }: { readonly version: number; readonly weight?: unknown },
): void {
  if (!isTracked(step, entry)) return;
  entry.isUnsure = false;
  entry.postponement = undefined;
  entry.held = content;
  if (!isReport) entry.givenWeight = typeof weight === 'number' ? weight : undefined;
  if (content !== undefined) {
    entry.version = version;
    // The newest claim is the one that is shown.
    if (!isReport) noteShown(step, entry, true);
    if (entry.wanted !== undefined) entry.accepted = content;
  }
  for (const ticket of entry.inFlightCalls) step.resolve(ticket, { kind: 'registered', registration: entry });
  entry.inFlightCalls = [];
  // What was taken away has been replaced.
  if (entry.wanted !== undefined) settleDeregisterCalls(step, entry);
  proceed(step, entry);
}

/** The request is over: what is still to be said is said. */
function proceed(step: Step, entry: RegistrationEntry): void {
  step.moveRegistration(entry, { kind: 'answer' });
  reviewRegistration(step, entry);
}

/** The request is over, and is made again later. */
function retryLater(step: Step, entry: RegistrationEntry, waitMs: number): void {
  step.moveRegistration(entry, { kind: 'postpone', retryAtMs: step.nowMs + waitMs });
}

export function refuseRegistration(
  step: Step,
  entry: RegistrationEntry,
  { content, isHealthReport: isReport }: InFlight,
  failure: Failure,
): void {
  if (!isTracked(step, entry)) return;
  // Nothing was done; or, with `internal`, nobody knows.
  entry.isUnsure = failure.code === 'internal';
  entry.postponement = isRetryable(failure) ? failure : undefined;
  if (entry.postponement !== undefined) {
    entry.waitingCalls = drainCalls(entry);
    if (isDue(entry)) retryLater(step, entry, step.waitAfter(failure));
    else proceed(step, entry);
  } else if (isReport) {
    // The session does not hold it after all, or the server knows no such reports: it is registered as it is.
    entry.held = undefined;
    entry.waitingCalls = drainCalls(entry);
    proceed(step, entry);
  } else if (content === undefined) {
    refuseWithdrawal(step, entry, failure);
  } else {
    refuseContent(step, entry, content, failure);
  }
}

function refuseWithdrawal(step: Step, entry: RegistrationEntry, failure: Failure): void {
  entry.held = undefined;
  // Gone is gone. That another session has taken it over is worth an error.
  if (failure.code !== 'not_found') {
    for (const ticket of entry.deregisterCalls) step.reject(ticket, new RequestError(failure));
    entry.deregisterCalls = [];
  }
  if (!entry.isUnsure) {
    proceed(step, entry);
    return;
  }
  retryLater(step, entry, step.inputs.settings.backoffMaxMs);
}

function refuseContent(step: Step, entry: RegistrationEntry, content: InstanceInput, failure: Failure): void {
  for (const ticket of entry.inFlightCalls) step.reject(ticket, new RequestError(failure));
  entry.inFlightCalls = [];
  if (entry.phase.kind === 'outdated') {
    proceed(step, entry);
  } else if (content === entry.accepted || (entry.accepted === undefined && entry.isStanding)) {
    // It was accepted before, so it is kept: perhaps this is another server, or one that is full for now.
    step.notifyRefused(entry, failure);
    retryLater(step, entry, step.inputs.settings.backoffMaxMs);
    noteCaughtUp(step, entry);
  } else {
    step.moveRegistration(entry, { kind: 'answer' });
    fallBack(step, entry, new RequestError(failure));
  }
}

/** New content was not accepted: the previously accepted content is kept, and a registration that never was accepted is dropped. */
function fallBack(step: Step, entry: RegistrationEntry, error: SlotcastError): void {
  if (entry.accepted === undefined) {
    giveUp(step, entry, error);
  } else {
    entry.wanted = entry.accepted;
    reviewRegistration(step, entry);
  }
}

/** A call waited too long, or was given up. A registration that nobody waits for any more, and that never was, is undone. */
export function expireRegistration(step: Step, entry: RegistrationEntry, ticket: Ticket): void {
  // What was taken away goes all the same.
  if (entry.deregisterCalls.includes(ticket)) {
    entry.deregisterCalls = entry.deregisterCalls.filter((other) => other !== ticket);
    return;
  }
  entry.waitingCalls = entry.waitingCalls.filter((other) => other !== ticket);
  entry.inFlightCalls = entry.inFlightCalls.filter((other) => other !== ticket);
  if (!isTracked(step, entry) || entry.wanted === undefined || entry.isStanding) return;
  if (entry.waitingCalls.length + entry.inFlightCalls.length > 0 || entry.wanted === entry.accepted) return;
  fallBack(step, entry, new ClosedError('registration', 'given up'));
}

/** The connection is gone, or the request went unanswered. */
export function resetRegistration(step: Step, entry: RegistrationEntry): void {
  step.moveRegistration(entry, { kind: 'reset' });
  entry.waitingCalls = drainCalls(entry);
}

/** The session is another one, which holds nothing of it. */
export function forgetSessionCopy(entry: RegistrationEntry): void {
  entry.held = undefined;
  entry.isUnsure = false;
}

/** Disconnected: calls that remove it without waiting for the server resolve as pending. */
export function settlePending(step: Step, entry: RegistrationEntry): void {
  if (entry.deregisterCalls.length === 0) return;
  entry.deregisterCalls = entry.deregisterCalls.filter((ticket) => {
    const isPatient = step.tables.tickets.get(ticket)?.isPatient === true;
    if (!isPatient) step.resolve(ticket, { kind: 'deregistered', pending: true });
    return isPatient;
  });
}

/** Another session has registered the instance, too, or no longer does. */
export function handleClaim(step: Step, claim: InstanceClaim): void {
  const entry = step.tables.registrations.get(registrationName(serviceKey(claim), claim.id));
  if (entry !== undefined) noteShown(step, entry, claim.shown);
}

function noteShown(step: Step, entry: RegistrationEntry, isShown: boolean): void {
  if (entry.isShown === isShown) return;
  entry.isShown = isShown;
  const { service, id } = entry;
  step.effects.push({ kind: 'notify', notice: { kind: 'claim', service, id, isShown } });
}
