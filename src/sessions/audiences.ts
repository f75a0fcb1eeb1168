import type { Failure } from '../protocol/errors.ts';
import { Audience } from '../push/fan-out.ts';
import type { Variant } from '../push/variant.ts';
import type { Router } from '../routing/router.ts';
import { toPartition } from '../workers/messages.ts';
import { refuseBound } from './registrar.ts';
import type { Subscription } from './session.ts';

/** An audience of this host, and the lowest version that one of its members holds. */
export interface WatchedAudience {
  readonly key: string;
  /** The variant's text. */
  readonly variant: string;
  readonly from: number;
}

export interface AudiencesOptions {
  readonly router: Pick<Router, 'tell'>;
  readonly watchedServicesMax: number;
  readonly watchedNameBytesMax: number;
}

/** Who subscribes to what on this host: an audience for each service and variant that somebody subscribes to, or is about to. */
export class Audiences {
  readonly #options: AudiencesOptions;
  /** By the text of the variant, then by service. */
  readonly #byVariant: Map<string, Map<string, Audience<Subscription>>> = new Map();
  /** How many there are, and the characters of their services' names. */
  #count = 0;
  #nameBytes = 0;

  constructor(options: AudiencesOptions) {
    this.#options = options;
  }

  /** `variant`: its text. */
  find(key: string, variant: string): Audience<Subscription> | undefined {
    return this.#byVariant.get(variant)?.get(key);
  }

  /** Why nobody may begin to watch a service that nobody watches yet: names cost memory here and at their owner, whether or not anybody registers them. */
  judge(key: string, variant: Variant): Failure | undefined {
    const { watchedServicesMax, watchedNameBytesMax } = this.#options;
    const isFull = this.#count >= watchedServicesMax;
    if (!isFull && this.#nameBytes < watchedNameBytesMax) return undefined;
    if (this.find(key, variant.text) !== undefined) return undefined;
    const limit = isFull ? 'watchedServicesMax' : 'watchedNameBytesMax';
    return refuseBound(limit, this.#options[limit], 'sessions have subscribed too many services');
  }

  /** Subscribers of a service, with whatever filter. */
  countMembers(key: string): number {
    let count = 0;
    for (const audiences of this.#byVariant.values()) count += audiences.get(key)?.members.length ?? 0;
    return count;
  }

  obtain(key: string, variant: Variant): Audience<Subscription> {
    const audiences = this.#byVariant.get(variant.text) ?? new Map<string, Audience<Subscription>>();
    this.#byVariant.set(variant.text, audiences);
    let audience = audiences.get(key);
    if (audience === undefined) {
      audience = new Audience<Subscription>(key, variant);
      audiences.set(key, audience);
      this.#count += 1;
      this.#nameBytes += key.length;
    }
    return audience;
  }

  /** Who subscribes to services that `isLost` accepts. */
  *members(isLost: (key: string) => boolean): Generator<Subscription> {
    for (const audiences of this.#byVariant.values()) {
      for (const { key, members } of audiences.values()) if (isLost(key)) yield* members;
    }
  }

  /** Somebody has left, or an answer has come that was awaited. */
  dropIfEmpty(audience: Audience<Subscription>): void {
    const { key, variant } = audience;
    const audiences = this.#byVariant.get(variant.text);
    if (!audience.isEmpty || audiences?.get(key) !== audience) return;
    audiences.delete(key);
    this.#count -= 1;
    this.#nameBytes -= key.length;
    if (audiences.size === 0) this.#byVariant.delete(variant.text);
    // While the slot is frozen somebody may subscribe who waits ahead of this.
    this.#options.router.tell(
      key,
      [toPartition.dropInterest, key, variant.text],
      () => this.find(key, variant.text) === undefined,
    );
  }

  /** The state of the subscriptions to services that `isLost` accepts: what a rebuilt partition needs to continue pushing to them. */
  watched(isLost: (key: string) => boolean): WatchedAudience[] {
    const watched: WatchedAudience[] = [];
    for (const [variant, audiences] of this.#byVariant) {
      for (const { key, members } of audiences.values()) {
        if (members.length === 0 || !isLost(key)) continue;
        watched.push({ key, variant, from: lowestVersion(members) });
      }
    }
    return watched;
  }
}

/** Of members that have been sent something here: those that are warming get the whole list, whatever they have. */
function lowestVersion(members: readonly Subscription[]): number {
  let lowest = Number.MAX_SAFE_INTEGER;
  for (const { version, isWarming } of members) if (!isWarming && version < lowest) lowest = version;
  return lowest;
}
