import type { KeyOutcome, KeyRequest } from '../keys/key-operations.ts';
import type { Failure } from '../protocol/errors.ts';
import { readRefusal } from '../routing/partition-link.ts';
import type { Answer, PendingRequest } from '../routing/partition-link.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import { unlimitedRoom } from './answers.ts';
import type { ReadTicket, Reply } from './answers.ts';

/** What came of a request. */
export type KeyAnswer = Exclude<KeyOutcome, { kind: 'moved' }>;

/** A partition that has left owns nothing, so it has nothing to say of a prefix. */
const nothing: KeyAnswer = { kind: 'listed', version: 0, names: [], rows: [], next: '' };

/** The partition died, or left, while a change was in flight. */
export const outcomeUnknown: KeyAnswer = {
  kind: 'refused',
  failure: {
    code: 'internal',
    message: 'the partition failed while the request was in flight; it may or may not have been carried out',
  },
};

export interface KeyChangeOptions {
  /** Which slot it is for. */
  readonly key: string;
  /** Built when it is sent: its session may have ended by then. */
  readonly build: () => KeyRequest;
  readonly settle: (answer: KeyAnswer) => void;
  /** Finds its way again when its slot has moved, if it is not that of `key` alone. */
  readonly reroute?: () => void;
}

/** A change of keys in flight. It is never sent again: it may have been carried out. */
export class PendingKeyChange implements PendingRequest {
  readonly key: string;
  readonly reroute: (() => void) | undefined;
  readonly #options: KeyChangeOptions;

  constructor(options: KeyChangeOptions) {
    this.key = options.key;
    this.reroute = options.reroute;
    this.#options = options;
  }

  build(request: number): ToPartition {
    return [toPartition.keys, request, this.#options.build()];
  }

  settle(answer: Answer): void {
    this.#options.settle(readAnswer(answer));
  }

  refuse(failure: Failure): void {
    this.#options.settle({ kind: 'refused', failure });
  }

  abandon(): void {
    this.#options.settle(outcomeUnknown);
  }
}

export interface KeyReadOptions {
  readonly key: string;
  /** `room`: characters that the answer may have. */
  readonly build: (room: number) => KeyRequest;
  readonly settle: (answer: KeyAnswer) => void;
  readonly reply: Reply;
  /** Asks for it again, with the room that it needs. */
  readonly again: (pending: PendingKeyRead) => void;
}

/** A key that is being read. What is larger than what is fetched unasked is asked for again when there is room for it. */
export class PendingKeyRead implements PendingRequest {
  isRepeated?: boolean;
  readonly key: string;
  readonly #options: KeyReadOptions;
  #read: ReadTicket | undefined;

  constructor(options: KeyReadOptions, read?: ReadTicket) {
    this.key = options.key;
    this.#options = options;
    this.#read = read;
  }

  begin(): boolean {
    const { reply, key } = this.#options;
    this.#read ??= reply.openRead?.('query', nameInLane(key));
    const failure = this.#read?.refusal;
    if (failure !== undefined) this.refuse(failure);
    return failure === undefined;
  }

  build(request: number): ToPartition {
    return [toPartition.keys, request, this.#options.build(this.#read?.room ?? unlimitedRoom)];
  }

  settle(answer: Answer): void {
    const read = this.#read;
    if (answer[0] === fromPartition.oversize && read !== undefined) {
      const again = (): void => {
        this.#options.again(new PendingKeyRead(this.#options, read));
      };
      read.enlarge(answer[2], again, (failure) => {
        this.refuse(failure);
      });
      return;
    }
    this.#options.settle(readAnswer(answer));
    read?.end();
  }

  refuse(failure: Failure): void {
    this.#options.settle({ kind: 'refused', failure });
    this.#read?.end();
  }
}

/** Keys have places in a session's lane of their own: no service is named so. */
export function nameInLane(key: string): string {
  return `\n${key}`;
}

export function readAnswer(answer: Answer): KeyAnswer {
  if (answer[0] === fromPartition.listed) return nothing;
  if (answer[0] !== fromPartition.keysAnswered) return { kind: 'refused', failure: readRefusal(answer) };
  const [, , outcome] = answer;
  if (outcome.kind === 'moved') throw new Error('keys that have moved are asked for elsewhere');
  return outcome;
}
