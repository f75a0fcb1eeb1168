import type { PartitionLink } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import { toPartition } from '../workers/messages.ts';
import type { HostClock } from './host-clock.ts';

/** So far ahead of the clock a service's version may be that changes fast, in µs. */
const leadMicrosMax = 1_000_000;

/** The versions that clients show to have received before the registry started: no service may continue below them (PU5). */
export class ShownVersions {
  readonly #router: Pick<Router, 'links'>;
  readonly #clock: Pick<HostClock, 'wallMicros'>;
  /** The highest, if the clock was ahead of ours when it was given. */
  #highest = 0;

  constructor(router: Pick<Router, 'links'>, clock: Pick<HostClock, 'wallMicros'>) {
    this.#router = router;
    this.#clock = clock;
  }

  /** A version ahead of the clock was given while the clock was ahead: then no service may continue from what the clock says now. */
  note(version: number): void {
    if (version <= this.#highest || version <= this.#clock.wallMicros + leadMicrosMax) return;
    this.#highest = version;
    for (const link of this.#router.links()) link.tell([toPartition.raiseFloor, version]);
  }

  /** A partition that has just begun knows nothing of what clients have shown. */
  greet(link: PartitionLink): void {
    if (this.#highest > 0) link.tell([toPartition.raiseFloor, this.#highest]);
  }
}
