import type { Failure } from '../protocol/errors.ts';
import type { DeregisterResult, ListResult, QueryResult, RegisterResult } from '../protocol/types.ts';
import type { Exchange, InFlight } from './client-tables.ts';
import { RequestError } from './errors.ts';
import { isInstances, isOpenResult, isRegistrationsResult, isSubscribeResult, isVersioned } from './frames.ts';
import { isKeyResult, isWatchResult } from './key-results.ts';
import { noticeLocks } from './lock-survival.ts';
import { acceptLock, refuseLock } from './locks.ts';
import { acceptPage, refusePage } from './reconciliation.ts';
import { acceptRegistration, refuseRegistration } from './registrations.ts';
import { acceptOpen, refuseOpen } from './session.ts';
import { isRetryable } from './step.ts';
import type { Step } from './step.ts';
import { acceptSubscription, refuseSubscription } from './subscriptions.ts';
import { freezeInstance } from './view.ts';
import { acceptWatch, refuseWatch } from './watches.ts';

/** An answer to what is not asked, or not any more, or not there, is nothing to us. */
export function removeInFlight(step: Step, socket: number, id: number): InFlight | undefined {
  const { inFlight } = step.tables;
  const request = inFlight.get(id);
  if (request?.socket !== socket) return undefined;
  inFlight.delete(id);
  return request;
}

export function accept(step: Step, request: InFlight, result: unknown): void {
  const { operation } = request;
  switch (operation.kind) {
    case 'open':
      if (isOpenResult(result)) acceptOpen(step, request.socket, result);
      else refuse(step, request, unreadable);
      return;
    case 'registration':
      if (isVersioned(result)) acceptRegistration(step, operation, request, result);
      else refuse(step, request, unreadable);
      return;
    case 'subscription':
      if (isSubscribeResult(result)) acceptSubscription(step, operation, result);
      else refuse(step, request, unreadable);
      return;
    case 'reconciliation':
      if (isRegistrationsResult(result)) acceptPage(step, operation, result);
      else refuse(step, request, unreadable);
      return;
    case 'exchange':
      acceptExchange(step, operation, result);
      return;
    case 'lock':
      acceptLock(step, operation, result);
      return;
    case 'watch':
      if (isWatchResult(result)) noticeLocks(step, acceptWatch(step, operation, result));
      else refuse(step, request, unreadable);
      return;
    case 'probe':
    case 'unsubscription':
    case 'unwatch':
      return;
    default:
      operation satisfies never;
  }
}

const unreadable: Failure = { code: 'internal', message: 'the server sent a result of another shape' };

/**
 * The server had no room for all answers of a batch. How large lists are is not known before they are here, so further batches are smaller, and what was
 * refused is asked again at once. If it was carried out it is so twice, which does no harm: whatever goes in a batch says what is to be.
 */
function readRefusal({ tables }: Step, { entries }: InFlight, refusal: Failure): Failure {
  if (refusal.limit !== 'batchAnswerCharactersMax' || entries === 1) return refusal;
  tables.entriesPerBatchMax = Math.min(tables.entriesPerBatchMax, Math.floor(entries / 2));
  return { ...refusal, code: 'busy', retryAfterMs: 0 };
}

function acceptExchange(step: Step, exchange: Exchange, result: unknown): void {
  if (!step.tables.exchanges.delete(exchange)) return;
  const { ticket, request } = exchange;
  // Except for keys, the shapes are the server's word; nothing here relies on them.
  switch (request.method) {
    case 'service.list':
      step.resolve(ticket, { kind: 'listed', result: result as ListResult });
      return;
    case 'instance.register':
    case 'instance.deregister':
      step.resolve(ticket, { kind: 'stored', result: result as RegisterResult | DeregisterResult });
      return;
    case 'service.query': {
      const answer = result as QueryResult;
      if (isInstances(answer.instances)) for (const instance of answer.instances) freezeInstance(instance);
      step.resolve(ticket, { kind: 'queried', result: answer });
      return;
    }
    case 'kv.get':
    case 'kv.put':
    case 'kv.delete':
    case 'kv.list':
    case 'kv.transact':
      if (isKeyResult(request.method, result)) step.resolve(ticket, { kind: 'keysAnswered', result });
      else step.reject(ticket, new RequestError(unreadable));
      return;
    default:
      request satisfies never;
  }
}

export function refuse(step: Step, request: InFlight, refusal: Failure): void {
  const { operation } = request;
  const failure = readRefusal(step, request, refusal);
  switch (operation.kind) {
    case 'open':
      refuseOpen(step, { socket: request.socket, form: operation.form }, failure);
      return;
    case 'registration':
      refuseRegistration(step, operation, request, failure);
      return;
    case 'subscription':
      refuseSubscription(step, operation, failure);
      return;
    case 'reconciliation':
      refusePage(step, operation, failure);
      return;
    case 'watch':
      noticeLocks(step, refuseWatch(step, operation, failure));
      return;
    case 'unsubscription':
    case 'unwatch':
      if (isRetryable(failure)) step.postpone(operation, step.waitAfter(failure));
      return;
    case 'exchange':
      // A draining server is about to go: the request waits for the next connection.
      if (failure.code === 'draining') operation.isSent = false;
      else if (step.tables.exchanges.delete(operation)) step.reject(operation.ticket, new RequestError(failure));
      return;
    case 'lock':
      refuseLock(step, operation, failure);
      return;
    case 'probe':
      return;
    default:
      operation satisfies never;
  }
}
