import type { Actor } from '../protocol/actor.ts';
import { serverActor } from '../protocol/actor.ts';
import type { ErrorCode, Failure } from '../protocol/errors.ts';
import { encodeRecord } from './audit-record.ts';
import type { AuditRecord } from './audit-record.ts';
import type { AuditState } from './audit-state.ts';

/** What a thread has noted in one turn: bodies of lines, and how many refusals were too many to have one. */
export interface AuditBatch {
  readonly bodies: readonly string[];
  readonly leftOut: number;
}

export interface HostAuditOptions {
  readonly state: AuditState;
  /** Whether changes of keys are noted. */
  readonly hasKeys: boolean;
  readonly readWallMs: () => number;
  /** To the main thread, which writes it. */
  readonly send: (batch: AuditBatch) => void;
}

/** Codes of refusals that are noted: those that say that somebody tried what is not for them. */
const notedCodes: ReadonlySet<ErrorCode> = new Set(['forbidden', 'unauthorized', 'quarantined']);
/** Refusals of one code that a thread notes in each window; the rest are only counted. */
const refusalsPerWindow = 10;
const windowMs = 1000;

/** Refusals of one code. */
interface Window {
  readonly endsAtMs: number;
  noted: number;
  leftOut: number;
}

/** What a session host has to say to the audit log: changes of keys, and refusals. A message has all that was noted in one turn. */
export class HostAudit {
  readonly #options: HostAuditOptions;
  readonly #windows: Map<ErrorCode, Window> = new Map();
  #bodies: string[] = [];
  #leftOut = 0;

  constructor(options: HostAuditOptions) {
    this.#options = options;
  }

  /** Why no key may be changed; undefined: it may. */
  get keyRefusal(): Failure | undefined {
    return this.#options.hasKeys ? this.#options.state.refusal : undefined;
  }

  noteKeys(record: AuditRecord): void {
    if (this.#options.hasKeys) this.#note(record);
  }

  /** `method`: what was asked for, if that is known. */
  noteRefusal(code: ErrorCode, by: { readonly actor: Actor }, method: string | undefined): void {
    if (!notedCodes.has(code)) return;
    const nowMs = this.#options.readWallMs();
    const window = this.#windows.get(code);
    if (window === undefined || nowMs >= window.endsAtMs) {
      this.#end(code, window);
      this.#windows.set(code, { endsAtMs: nowMs + windowMs, noted: 1, leftOut: 0 });
    } else if (window.noted < refusalsPerWindow) window.noted += 1;
    else {
      window.leftOut += 1;
      return;
    }
    this.#note({ actor: by.actor, what: 'request.refused', target: { code, method }, outcome: 'refused' });
  }

  /** Says how many were left out, once a window is over. */
  tick(): void {
    if (this.#windows.size === 0) return;
    const nowMs = this.#options.readWallMs();
    for (const [code, window] of this.#windows) if (nowMs >= window.endsAtMs) this.#end(code, window);
  }

  #end(code: ErrorCode, window: Window | undefined): void {
    this.#windows.delete(code);
    const leftOut = window?.leftOut ?? 0;
    if (leftOut === 0) return;
    this.#leftOut += leftOut;
    this.#note({ actor: serverActor, what: 'request.refused', target: { code, leftOut }, outcome: 'refused' });
  }

  /** It is on its way before anybody who waits for an answer gets that. */
  #note(record: AuditRecord): void {
    if (this.#bodies.length === 0) {
      queueMicrotask(() => {
        const batch = { bodies: this.#bodies, leftOut: this.#leftOut };
        this.#bodies = [];
        this.#leftOut = 0;
        this.#options.send(batch);
      });
    }
    this.#bodies.push(encodeRecord(record, this.#options.readWallMs()));
  }
}
