import type { SubscribeMode } from '../protocol/types.ts';
import { FanOut } from '../push/fan-out.ts';
import type { Audience, HostPush, RefillListener } from '../push/fan-out.ts';
import type { Router } from '../routing/router.ts';
import type { Counters } from '../runtime/counters.ts';
import type { Encoding } from './encoding.ts';
import type { HostMeter } from './host-meter.ts';
import type { Subscription } from './session.ts';
import type { StandingOrders } from './standing-orders.ts';

export interface PushDeliveryOptions {
  readonly router: Pick<Router, 'link'>;
  readonly encoding: Encoding;
  readonly counters: Counters;
  readonly meter: HostMeter;
  readonly orders: Pick<StandingOrders, 'isFrozen'>;
  readonly sliceMembers: number;
  readonly sliceBytes: number;
  /** Sends the answers of this turn: a push must not overtake the answer that began its subscription. */
  readonly flush: () => void;
  /** Runs the next slice of a long fan-out in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** A push was dropped, or does not follow on what the subscriber holds. */
  readonly onMissed: (subscription: Subscription, cause: 'dropped' | 'gap') => void;
}

/** The last hop of every push: hands it to its audience in slices, and gives its partition the credit back. */
export class PushDelivery {
  readonly #options: PushDeliveryOptions;
  readonly #fanOut: FanOut<Subscription>;
  #isScheduled = false;

  constructor(options: PushDeliveryOptions) {
    this.#options = options;
    const { sliceMembers, sliceBytes, encoding, counters, meter, orders, onMissed } = options;
    this.#fanOut = new FanOut<Subscription>({
      sliceMembers,
      sliceBytes,
      encodePush: (push) => encoding.encodePush(push),
      toBytes: (text) => Buffer.from(text),
      isFrozen: (key) => orders.isFrozen(key),
      onMissed: (member, _audience, cause) => {
        counters.count('push_dropped');
        meter.missed[cause] += 1;
        onMissed(member, cause);
      },
      onDone: ({ partition, changedAtMs, body }, { variant }) => {
        meter.notePush(variant.mode, changedAtMs);
        this.credit(partition, body.length);
      },
    });
  }

  get framesEncoded(): number {
    return this.#fanOut.framesEncoded;
  }

  get framesSent(): Readonly<Record<SubscribeMode, number>> {
    return this.#fanOut.framesSent;
  }

  /** Sends a push, what of it fits into a slice at once. */
  send(audience: Audience<Subscription>, push: HostPush): void {
    this.#fanOut.enqueue(audience, push);
    if (!this.#isScheduled) this.#runSlice();
  }

  /** Sends members that are warming the state. Many come in one turn: they share the next slice. */
  sendRefill(audience: Audience<Subscription>, state: HostPush, listener: RefillListener<Subscription>): void {
    this.#fanOut.enqueue(audience, state, listener);
    this.#scheduleSlice();
  }

  /** So many characters of a partition's pushes have been handled. */
  credit(partition: number, characters: number): void {
    this.#options.router.link(partition)?.credit(characters);
  }

  #runSlice(): void {
    this.#isScheduled = false;
    this.#options.flush();
    this.#fanOut.runSlice();
    if (!this.#fanOut.isIdle) this.#scheduleSlice();
  }

  #scheduleSlice(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.schedule(() => {
      this.#runSlice();
    });
  }
}
