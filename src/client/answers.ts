import type { Failure } from '../protocol/errors.ts';
import type { ListResult, QueryResult } from '../protocol/types.ts';
import type { InFlight, Read, Withdrawal } from './books.ts';
import { RequestError } from './errors.ts';
import { isOpenResult, isSubscribeResult, isVersioned } from './frames.ts';
import { acceptRegistration, refuseRegistration } from './registrations.ts';
import { acceptOpen, refuseOpen } from './session.ts';
import { acceptSubscription, refuseSubscription } from './subscriptions.ts';
import { isPassing } from './turn.ts';
import type { Turn } from './turn.ts';

/** An answer to what is not asked, or not any more, is nothing to us. */
export function takeRequest(turn: Turn, id: number): InFlight | undefined {
  const request = turn.books.inFlight.get(id);
  turn.books.inFlight.delete(id);
  return request;
}

export function accept(turn: Turn, request: InFlight, result: unknown): void {
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

function acceptRead(turn: Turn, read: Read, result: unknown): void {
  if (!turn.books.reads.delete(read)) return;
  // The shapes are the server's word; nothing here relies on them.
  const settlement =
    read.request.method === 'service.query'
      ? ({ kind: 'queried', result: result as QueryResult } as const)
      : ({ kind: 'listed', result: result as ListResult } as const);
  turn.resolve(read.ticket, settlement);
}

export function refuse(turn: Turn, request: InFlight, failure: Failure): void {
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
