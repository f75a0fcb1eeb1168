import type { Exchange, TicketEntry } from './client-tables.ts';
import type { UserCall } from './effects.ts';
import type { RegistrationEntry } from './entries.ts';
import { ClosedError, QueueFullError, RequestError } from './errors.ts';
import type { ExchangeRequest } from './exchange-requests.ts';
import type { LockWait } from './lock-entries.ts';
import { findOrCreateLock, unlock, waitForLock } from './locks.ts';
import {
  deregister,
  findOrCreateRegistration,
  findRegistration,
  isRegistered,
  isTracked,
  register,
} from './registrations.ts';
import type { Step } from './step.ts';
import { findOrCreateView, settleSubscribers, subscribe } from './subscriptions.ts';
import { createWatcher, watch } from './watches.ts';

type CallOf<K extends UserCall['kind']> = Extract<UserCall, { kind: K }>;
type Owner = TicketEntry['owner'];

const anyConnection: Owner = { kind: 'connection' };
const anyUnlock: Owner = { kind: 'unlock' };

/** Begins a call of the user, unless there are too many already or it cannot be. */
export function admitCall(step: Step, call: UserCall): void {
  const { tables, inputs, state } = step;
  const { requestsMax } = inputs.settings;
  const isClosed = state.link.kind === 'closing' || state.link.kind === 'closed';
  if (isClosed || tables.tickets.size >= requestsMax) {
    const ended = tables.ended ?? new ClosedError('client', 'the client is closed');
    const error = isClosed ? ended : new QueueFullError(requestsMax);
    step.effects.push({ kind: 'reject', ticket: call.ticket, error });
    return;
  }
  begin(step, call);
}

function begin(step: Step, call: UserCall): void {
  switch (call.kind) {
    case 'register': {
      const entry = open(step, call, findOrCreateRegistration(step, call));
      if (entry !== undefined) register(step, entry, call);
      return;
    }
    case 'deregister': {
      const entry = open(step, call, findRegistration(step, call));
      if (entry !== undefined) deregister(step, entry, call);
      return;
    }
    case 'subscribe': {
      const view = open(step, call, findOrCreateView(step, call));
      if (view !== undefined) subscribe(step, view, call);
      return;
    }
    case 'query':
      ask(step, call, { method: 'service.query', params: { ...call.service, ...call.filter } });
      return;
    case 'list':
      ask(step, call, { method: 'service.list', params: call.params });
      return;
    case 'registerPersistent': {
      const { service, instance } = call;
      ask(step, call, { method: 'instance.register', params: { ...service, instance, persistent: true } });
      return;
    }
    case 'deregisterPersistent': {
      const { service, id } = call;
      ask(step, call, { method: 'instance.deregister', params: { ...service, id, persistent: true } });
      return;
    }
    case 'keys':
      ask(step, call, call.request);
      return;
    case 'lock': {
      const { claim, ticket } = call;
      const wait: LockWait = { kind: 'lockWait', entry: findOrCreateLock(step, claim.terms.key), claim, ticket };
      open(step, call, wait);
      waitForLock(step, wait);
      return;
    }
    case 'watchKeys': {
      const watcher = createWatcher(step, call);
      open(step, call, watcher);
      watch(step, watcher);
      return;
    }
    case 'unlock':
      open(step, call, anyUnlock);
      unlock(step, call.claim, call.ticket);
      return;
    case 'awaitConnection':
      open(step, call, anyConnection);
      if (step.isServing) step.resolve(call.ticket, { kind: 'connected' });
      return;
    case 'awaitRegistration': {
      const entry = open(step, call, checkRegistration(step, call.registration));
      if (entry !== undefined) awaitRegistration(step, entry, call);
      return;
    }
    case 'awaitSubscription': {
      const view = call.subscription;
      open(step, call, view);
      view.waitingCalls.push(call.ticket);
      settleSubscribers(step, view);
      return;
    }
    default:
      call satisfies never;
  }
}

/** Notes that a call waits for its owner; or rejects it, if there is none. */
function open<O extends Owner>(step: Step, call: UserCall, owner: O | RequestError): O | undefined {
  if (owner instanceof RequestError) {
    step.effects.push({ kind: 'reject', ticket: call.ticket, error: owner });
    return undefined;
  }
  const timeoutMs = call.timeoutMs ?? step.inputs.settings.requestTimeoutMs;
  const isPatient = call.kind === 'deregister' && call.isPatient === true;
  step.addTicket(call.ticket, { deadlineMs: step.nowMs + timeoutMs, timeoutMs, isPatient, owner });
  return owner;
}

function ask(
  step: Step,
  call: CallOf<'query' | 'list' | 'registerPersistent' | 'deregisterPersistent' | 'keys'>,
  request: ExchangeRequest,
): void {
  const exchange: Exchange = { kind: 'exchange', ticket: call.ticket, request, isSent: false };
  open(step, call, exchange);
  step.tables.exchanges.add(exchange);
  step.enqueue(exchange);
}

function checkRegistration(step: Step, entry: RegistrationEntry): RegistrationEntry | RequestError {
  if (isTracked(step, entry) && entry.wanted !== undefined) return entry;
  return new RequestError({ code: 'not_found', message: 'this client has no such registration' });
}

function awaitRegistration(step: Step, entry: RegistrationEntry, { ticket }: CallOf<'awaitRegistration'>): void {
  if (isRegistered(entry)) step.resolve(ticket, { kind: 'registered', registration: entry });
  else if (entry.phase.kind === 'sent') entry.inFlightCalls.push(ticket);
  else entry.waitingCalls.push(ticket);
}
