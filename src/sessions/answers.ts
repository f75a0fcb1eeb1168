import fastJson from 'fast-json-stringify';

import { errorCodes } from '../protocol/errors.ts';
import type { Failure } from '../protocol/errors.ts';
import { methodSchemas } from '../protocol/schemas.ts';
import type { JsonSchema } from '../protocol/schemas.ts';
import type {
  ListResult,
  Notifications,
  RegistrationsResult,
  RequestId,
  SessionOpenResult,
} from '../protocol/types.ts';
import type { ReadKind } from './call-lane.ts';

/** Where the answer to one request goes. Results come as JSON text, so that what a partition encoded is not taken apart again. */
export interface Reply {
  succeed(result: string): void;
  /** Runs a task once the answer has been sent, if it waits for the rest of its batch; returns false if it does not wait. */
  defer?(task: () => void): boolean;
  fail(failure: Failure): void;
  /** A read is sent to a partition: what it may bring back. Without this it may bring anything. */
  openRead?(kind: ReadKind, key: string): ReadTicket;
}

/** A read that is under way for a session. */
export interface ReadTicket {
  /** Characters that its answer may have. */
  readonly room: number;
  /** Why it need not be sent: there is no room for any answer. */
  readonly refusal: Failure | undefined;
  /** Its answer has so many: it is asked for again once there is room for it, or refused. */
  enlarge(characters: number, again: () => void, refuse: (failure: Failure) => void): void;
  /** It has been answered. */
  end(): void;
}

/** For reads that are nobody's: as much as there is. */
export const unlimitedRoom: number = Number.MAX_SAFE_INTEGER;

/** What is worded from objects is worded by encoders made from the schemas. They take what they are given on trust. */
function compileEncoder(schema: JsonSchema): (value: object) => string {
  return fastJson(schema as object as fastJson.Schema);
}

const stringifyError: (error: { code: number; message: string; data: Omit<Failure, 'message'> }) => string =
  compileEncoder({
    type: 'object',
    properties: {
      code: { type: 'integer' },
      message: { type: 'string' },
      data: {
        type: 'object',
        properties: {
          code: { type: 'string' },
          field: { type: 'string' },
          limit: { type: 'string' },
          max: { type: 'integer' },
          retryAfterMs: { type: 'integer' },
        },
      },
    },
  });
const stringifyOpened: (result: SessionOpenResult) => string = compileEncoder(methodSchemas['session.open'].result);
const stringifyRegistrations: (result: RegistrationsResult) => string = compileEncoder(
  methodSchemas['session.registrations'].result,
);
const stringifyListed: (result: ListResult) => string = compileEncoder(methodSchemas['service.list'].result);

export function wordResult(id: RequestId, result: string): string {
  return `{"jsonrpc":"2.0","id":${wordId(id)},"result":${result}}`;
}

export function wordError(id: RequestId, { code, message, ...details }: Failure): string {
  const error = { code: errorCodes[code].number, message, data: { code, ...details } };
  return `{"jsonrpc":"2.0","id":${wordId(id)},"error":${stringifyError(error)}}`;
}

export function wordNotification<N extends keyof Notifications>(method: N, params: Notifications[N]): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params });
}

function wordId(id: RequestId): string {
  return typeof id === 'number' ? String(id) : JSON.stringify(id);
}

/** Results of the protocol's methods, as JSON text. */
export const wordResults = {
  registered: (version: number, id: string): string => `{"version":${version},"id":${JSON.stringify(id)}}`,
  deregistered: (version: number): string => `{"version":${version}}`,
  /** `isFilling`: some who were there before the registry started may not be back. */
  state: (version: number, instances: string, isFilling: boolean): string =>
    `{"version":${version},"instances":${instances}${isFilling ? ',"warming":true' : ''}}`,
  /** To one who was there before the registry started: what it holds stands for now, and the list comes when it is whole again. */
  unconfirmed: (version: number, isFilling: boolean): string =>
    `{"from":${version},"version":${version},"put":[],"remove":[]${isFilling ? ',"warming":true' : ''}}`,
  resumed: (from: number, version: number, difference: string): string =>
    `{"from":${from},"version":${version},${difference}}`,
  opened: (result: SessionOpenResult): string => stringifyOpened(result),
  registrations: (result: RegistrationsResult): string => stringifyRegistrations(result),
  listed: (result: ListResult): string => stringifyListed(result),
  nothing: '{}',
} as const;

/** Gathers the answers of a batch, in the order of its requests, into one frame. */
export class BatchAnswers {
  readonly #parts: string[] = [];
  readonly #send: (frame: string) => void;
  readonly charactersMax: number;
  #characters = 0;
  #waiting = 1;
  #afterSending: (() => void)[] = [];

  constructor(charactersMax: number, send: (frame: string) => void) {
    this.charactersMax = charactersMax;
    this.#send = send;
  }

  get isWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** Whether an answer of this length still fits. */
  hasRoom(characters: number): boolean {
    return this.#characters + characters <= this.charactersMax;
  }

  /** Runs a task once the batch has been answered. */
  defer(task: () => void): void {
    this.#afterSending.push(task);
  }

  /** Makes room for one answer. */
  reserve(): number {
    this.#waiting += 1;
    return this.#parts.push('') - 1;
  }

  fill(place: number, answer: string): void {
    this.#parts[place] = answer;
    this.#characters += answer.length;
    this.#settle();
  }

  /** All requests have been read. */
  close(): void {
    this.#settle();
  }

  #settle(): void {
    this.#waiting -= 1;
    // A batch of notifications alone is not answered at all.
    if (this.#waiting > 0) return;
    if (this.#parts.length > 0) this.#send(`[${this.#parts.join(',')}]`);
    for (const task of this.#afterSending) task();
  }
}
