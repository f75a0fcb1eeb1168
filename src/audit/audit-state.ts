import type { Failure } from '../protocol/errors.ts';

/** Bytes of the memory that threads share. */
const stateBytes = 4;

/** Of what cannot be noted, nothing is carried out. */
const auditUnavailable: Failure = {
  code: 'storage_unavailable',
  message: 'the audit log cannot be written, and what is not in it must not be done; see auditRequired',
};

/** Whether acts can be noted, as every thread knows it that carries some out. */
export class AuditState {
  readonly memory: SharedArrayBuffer;
  readonly #word: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(stateBytes)) {
    this.memory = memory;
    this.#word = new Int32Array(memory);
  }

  /** Why nothing may be done that must be noted; undefined: it may. */
  get refusal(): Failure | undefined {
    return Atomics.load(this.#word, 0) === 0 ? undefined : auditUnavailable;
  }

  setRefusing(isRefusing: boolean): void {
    Atomics.store(this.#word, 0, isRefusing ? 1 : 0);
  }
}
