import type { ErrorCode, Failure } from '../protocol/errors.ts';

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
