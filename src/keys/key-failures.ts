import type { Failure } from '../protocol/errors.ts';

export const slotsMoved: Failure = { code: 'busy', message: 'slots are being moved', retryAfterMs: 200 };

export const noStore: Failure = {
  code: 'storage_unavailable',
  message: 'nothing can be stored at present: the store has ended, and is being started again',
  retryAfterMs: 500,
};

/** A commit was in flight when the store ended. */
export const outcomeUnknown: Failure = {
  code: 'internal',
  message: 'the store failed while the request was in flight; it may or may not have been carried out',
};

export function refuseBusy(max: number): Failure {
  return {
    code: 'busy',
    message: 'too many requests wait for keys',
    limit: 'keyRequestsWaitingMax',
    max,
    retryAfterMs: 200,
  };
}

export function refuseLimit(limit: string, max: number): Failure {
  return { code: 'limit_exceeded', message: `the partition's keys meet ${limit}`, limit, max };
}
