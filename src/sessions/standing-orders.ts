import type { Failure } from '../protocol/errors.ts';
import type { Call } from './requests.ts';

/** Bytes of memory that the threads of a server share about what operators have ordered for all of it. */
export const standingOrdersBytes = 4;

/** A word that is not 0: the registry is read-only. */
const readOnlyPlace = 0;
/** How long callers are asked to wait, in milliseconds. */
const retryMs = 5000;

/** What operators have ordered for the whole registry: the main thread says it, and every thread sees it at once. */
export class StandingOrders {
  readonly #words: Int32Array;

  /** `memory`: {@link standingOrdersBytes} of it, of zeros at first. */
  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  get isReadOnly(): boolean {
    return Atomics.load(this.#words, readOnlyPlace) !== 0;
  }

  setReadOnly(isReadOnly: boolean): void {
    Atomics.store(this.#words, readOnlyPlace, isReadOnly ? 1 : 0);
  }

  /** Why a call is not carried out. What ends by itself ends, and so may what its owner takes back. */
  refuse(call: Call): Failure | undefined {
    return this.isReadOnly && isChange(call) ? readOnly : undefined;
  }
}

function isChange(call: Call): boolean {
  switch (call.method) {
    case 'instance.register':
    case 'kv.put':
    case 'kv.delete':
      return true;
    case 'kv.transact':
      return call.params.operations.some(({ op }) => op === 'put' || op === 'delete');
    default:
      return false;
  }
}

export const readOnly: Failure = {
  code: 'read_only',
  message: 'an operator has made the registry read-only',
  retryAfterMs: retryMs,
};
