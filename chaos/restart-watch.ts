import { isShown } from '../test/support/marked-content.ts';
import type { SubscriberView } from '../test/support/subscriber-view.ts';
import type { ViewChange } from './actor.ts';

interface Coming {
  /** The contents with which it may come back. */
  readonly marks: Set<number>;
}

/**
 * What a restart must not take from anybody's list (PU5): instances whose clients come back, for as long as they have the time. Later on it is what clients
 * were answered in the new life that lists are judged by.
 */
export class RestartWatch {
  readonly #warmUpMs: number;
  readonly #coming: Map<string, Map<string, Coming>> = new Map();
  /** The highest version of each service that anybody had been told when the registry was about to end. */
  #told: ReadonlyMap<string, number> = new Map();
  /** Before this the registry cannot have been warm, whatever the machine did meanwhile. */
  #untilMs = Number.NEGATIVE_INFINITY;
  /** Lists that were compared. */
  lists = 0;

  constructor(warmUpMs: number) {
    this.#warmUpMs = warmUpMs;
  }

  /** The registry is about to end. `told`: by service, the highest version that anybody has been told. */
  begin(told: ReadonlyMap<string, number>): void {
    this.#told = new Map(told);
    this.#coming.clear();
    this.#untilMs = Number.POSITIVE_INFINITY;
  }

  /** Somebody who comes back has registered this, with one of these contents. */
  expect(service: string, id: string, marks: readonly number[]): void {
    const coming = this.#coming.get(service) ?? new Map<string, Coming>();
    this.#coming.set(service, coming);
    const known = coming.get(id) ?? { marks: new Set<number>() };
    coming.set(id, known);
    for (const mark of marks) known.marks.add(mark);
  }

  /** Somebody, who may not come back, has registered it as well, or may have: so this content may be what shows. */
  noteRival(service: string, id: string, marks: readonly number[]): void {
    const known = this.#coming.get(service)?.get(id);
    for (const mark of marks) known?.marks.add(mark);
  }

  /** The registry's next life began then, at the earliest. */
  noteStart(atMs: number): void {
    this.#untilMs = atMs + this.#warmUpMs;
  }

  /** Somebody was refused since too many came, and not before then: from that on all have the time again. */
  noteRefusal(askedAtMs: number): void {
    if (askedAtMs < this.#untilMs) this.#untilMs = Math.max(this.#untilMs, askedAtMs + this.#warmUpMs);
  }

  /** Somebody has done something by which it may leave lists. */
  forget(service: string, id: string): void {
    this.#coming.get(service)?.delete(id);
  }

  /** Says what is wrong with how a list has changed, or undefined. */
  judge(view: SubscriberView, { service, lost, gained, isRenewal }: ViewChange, nowMs: number): string | undefined {
    if (nowMs >= this.#untilMs) return undefined;
    // It was under way when the registry was told to end, and says nothing of what was registered after it.
    if (view.version < (this.#told.get(service) ?? 0)) return undefined;
    this.lists += 1;
    const coming = this.#coming.get(service);
    const missing = lost.filter((id) => {
      const expected = coming?.get(id);
      return expected !== undefined && [...expected.marks].every((mark) => isShown(view.filter, mark));
    });
    // Whether a list is full again is judged by how many it has: those that come anew count like those that come back.
    if (missing.length <= (isRenewal ? gained : 0)) return undefined;
    return `[PU5] ${service} ${missing[0]} is gone, and those who registered it are still coming back (${missing.length} of them, ${gained} came)`;
  }
}
