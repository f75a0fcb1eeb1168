import type { Failure } from '../protocol/errors.ts';
import type { ListResult, QueryResult } from '../protocol/types.ts';
import type { InFlight, Read } from './books.ts';
import { RequestError } from './errors.ts';
import { isInstances, isOpenResult, isRegistrationsResult, isSubscribeResult, isVersioned } from './frames.ts';
import { acceptPage, refusePage } from './reconciliation.ts';
import { acceptRegistration, refuseRegistration } from './registrations.ts';
import { acceptOpen, refuseOpen } from './session.ts';
import { acceptSubscription, refuseSubscription } from './subscriptions.ts';
import { isPassing } from './turn.ts';
import type { Turn } from './turn.ts';
import { freezeInstance } from './view.ts';

/** An answer to what is not asked, or not any more, or not there, is nothing to us. */
export function takeRequest(turn: Turn, socket: number, id: number): InFlight | undefined {
  const { inFlight } = turn.books;
  const request = inFlight.get(id);
  if (request?.socket !== socket) return undefined;
  inFlight.delete(id);
  return request;
}

export function accept(turn: Turn, request: InFlight, result: unknown): void {
  const { errand } = request;
  switch (errand.kind) {
    case 'open':
      if (isOpenResult(result)) acceptOpen(turn, request.socket, result);
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
    case 'reconciliation':
      if (isRegistrationsResult(result)) acceptPage(turn, errand, result);
      else refuse(turn, request, unreadable);
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

/**
 * The server had no room for all answers of a batch. How large lists are is not known before they are here, so further batches are smaller, and what was
 * refused is asked again at once. If it was carried out it is so twice, which does no harm: whatever goes in a batch says what is to be.
 */
function readRefusal({ books }: Turn, { entries }: InFlight, refusal: Failure): Failure {
  if (refusal.limit !== 'batchAnswerCharactersMax' || entries === 1) return refusal;
  books.entriesPerBatchMax = Math.min(books.entriesPerBatchMax, Math.floor(entries / 2));
  return { ...refusal, code: 'busy', retryAfterMs: 0 };
}

function acceptRead(turn: Turn, read: Read, result: unknown): void {
  if (!turn.books.reads.delete(read)) return;
  // The shapes are the server's word; nothing here relies on them.
  if (read.request.method === 'service.list') {
    turn.resolve(read.ticket, { kind: 'listed', result: result as ListResult });
    return;
  }
  const answer = result as QueryResult;
  if (isInstances(answer.instances)) for (const instance of answer.instances) freezeInstance(instance);
  turn.resolve(read.ticket, { kind: 'queried', result: answer });
}

export function refuse(turn: Turn, request: InFlight, refusal: Failure): void {
  const { errand } = request;
  const failure = readRefusal(turn, request, refusal);
  switch (errand.kind) {
    case 'open':
      refuseOpen(turn, { socket: request.socket, wording: errand.wording }, failure);
      return;
    case 'registration':
      refuseRegistration(turn, errand, request, failure);
      return;
    case 'subscription':
      refuseSubscription(turn, errand, failure);
      return;
    case 'reconciliation':
      refusePage(turn, errand, failure);
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
