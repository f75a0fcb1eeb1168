import type { ErrorCode, Failure } from '../protocol/errors.ts';
import type { KeyFailureReason } from '../protocol/types.ts';

/** What every error of the client is an instance of. One class per cause, with its facts as fields. */
export class SlotcastError extends Error {
  override readonly name: string = 'SlotcastError';
}

/** The server (or the client, for a limit that the server announced) refused the request. The message does not repeat the code. */
export class RequestError extends SlotcastError {
  override readonly name: string = 'RequestError';
  /** From the closed list in docs/PROTOCOL.md. */
  readonly code: ErrorCode;
  /** `invalid_params`: the field, as a JSON pointer. */
  readonly field: string | undefined;
  /** `limit_exceeded`: the bound's name and value. */
  readonly limit: string | undefined;
  readonly max: number | undefined;
  /** `busy` and `draining`: how long to wait before asking again. */
  readonly retryAfterMs: number | undefined;

  constructor(failure: Failure) {
    super(failure.message);
    this.code = failure.code;
    this.field = failure.field;
    this.limit = failure.limit;
    this.max = failure.max;
    this.retryAfterMs = failure.retryAfterMs;
  }
}

/** The request was sent and not answered in time. It is not known whether it was carried out. */
export class TimeoutError extends SlotcastError {
  override readonly name: string = 'TimeoutError';
  readonly timeoutMs: number;

  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
    this.timeoutMs = timeoutMs;
  }
}

/** The connection broke after a change had been sent and before its answer: it may or may not have been carried out, so it is not sent again. */
export class OutcomeUnknownError extends SlotcastError {
  override readonly name: string = 'OutcomeUnknownError';
  /** What was asked for, as docs/PROTOCOL.md names it. */
  readonly method: string;

  constructor(method: string) {
    super(`the connection broke before the answer to ${method}; it may or may not have been carried out`);
    this.method = method;
  }
}

/** There was no connection to any server for as long as the request might wait. */
export class ConnectionLostError extends SlotcastError {
  override readonly name: string = 'ConnectionLostError';
  readonly timeoutMs: number;
  /** Why the last connection, or the last try to make one, ended. */
  readonly lastCause: string;

  constructor(timeoutMs: number, lastCause: string) {
    super(`not connected within ${timeoutMs} ms: ${lastCause}`);
    this.timeoutMs = timeoutMs;
    this.lastCause = lastCause;
  }
}

/** The client was closed, or the registration removed, so there will be no answer. */
export class ClosedError extends SlotcastError {
  override readonly name: string = 'ClosedError';
  /** What was closed. */
  readonly closed: 'client' | 'registration';

  constructor(closed: 'client' | 'registration', message: string) {
    super(message);
    this.closed = closed;
  }
}

/** As many calls wait for an answer as `requestsMax` allows; nothing was done. */
export class QueueFullError extends SlotcastError {
  override readonly name: string = 'QueueFullError';
  readonly requestsMax: number;

  constructor(requestsMax: number) {
    super(`${requestsMax} calls wait for an answer already`);
    this.requestsMax = requestsMax;
  }
}

/** Others have held the key for as long as the call might wait. */
export class LockHeldError extends SlotcastError {
  override readonly name: string = 'LockHeldError';
  readonly key: string;
  readonly timeoutMs: number;
  /** `held`: by another holder; `delayed`: the last one is gone, and its lock delay was not over. */
  readonly reason: KeyFailureReason;

  constructor(key: string, { timeoutMs, reason }: { readonly timeoutMs: number; readonly reason: KeyFailureReason }) {
    super(`the lock was not free within ${timeoutMs} ms: ${reason}`);
    this.key = key;
    this.timeoutMs = timeoutMs;
    this.reason = reason;
  }
}

/** How a lock was lost: the session is over; somebody deleted the key, or the server released it; the connection was lost for too long to know; the client was closed. */
export type LockLoss = 'session' | 'released' | 'connection' | 'closed';

/** What the signal of a lock is aborted with: this client does not hold the key any more, or cannot know that it does. */
export class LockLostError extends SlotcastError {
  override readonly name: string = 'LockLostError';
  readonly key: string;
  /** `session`: it is over; `released`: somebody deleted the key; `connection`: lost for too long to know; `closed`: the client was closed. */
  readonly loss: LockLoss;

  constructor(key: string, loss: LockLoss) {
    super(`the lock was lost: ${lossMessages[loss]}`);
    this.key = key;
    this.loss = loss;
  }
}

const lossMessages: Readonly<Record<LockLoss, string>> = {
  session: 'the session that held it is over',
  released: 'the key was deleted or released by others',
  connection: 'the connection has been lost for longer than the server keeps the session',
  closed: 'the client was closed',
};

/** There is no instance that could be called: none is there, or none is enabled and has a weight above 0. */
export class NoInstanceError extends SlotcastError {
  override readonly name: string = 'NoInstanceError';

  constructor() {
    super('there is no instance to call');
  }
}

/** `connect`, or a picker, was given an option that it cannot use. */
export class OptionError extends SlotcastError {
  override readonly name: string = 'OptionError';
  readonly option: string;
  readonly expected: string;

  constructor(option: string, expected: string) {
    super(`option ${option} must be ${expected}`);
    this.option = option;
    this.expected = expected;
  }
}
