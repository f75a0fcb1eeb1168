import type { ServerConfig } from '../../src/config/config.ts';
import type { StoreReply, StoreRequest } from '../../src/durable/commits.ts';
import { MemoryBackend } from '../../src/durable/memory-backend.ts';
import { StoreCore } from '../../src/durable/store-core.ts';

/** A life of a partition, as the store sees it. */
export interface StoreCaller {
  readonly partition: number;
  /** The store is back. */
  readonly connect: () => void;
  readonly disconnect: () => void;
  readonly handle: (replies: readonly StoreReply[]) => void;
}

/** The way between the store and one life of a partition: a plain queue each way. */
class StoreChannel {
  readonly requests: (readonly StoreRequest[])[] = [];
  readonly replies: (readonly StoreReply[])[] = [];
  readonly number: number;
  readonly caller: StoreCaller;
  isOpen = true;

  constructor(number: number, caller: StoreCaller) {
    this.number = number;
    this.caller = caller;
  }
}

/** The store's pure core without its thread: what is asked and replied lies in queues, until it is delivered in whatever order. Its rows outlive it. */
export class SimulatedStore {
  readonly #config: ServerConfig;
  readonly #nowMs: () => number;
  readonly #backend: MemoryBackend;
  #core: StoreCore;
  readonly #channels: Map<number, StoreChannel> = new Map();
  /** Of each partition the channel of its present life. */
  readonly #present: Map<number, StoreChannel> = new Map();
  #numbers = 0;
  #isTurnDue = false;
  /** Requests that have been taken, and not replied to. */
  #unanswered = 0;
  /** Its thread has died, and is not back. */
  #isDown = false;

  constructor(config: ServerConfig, nowMs: () => number) {
    this.#config = config;
    this.#nowMs = nowMs;
    this.#backend = new MemoryBackend(config.storeBytesMax);
    this.#core = this.#createCore();
  }

  /** The number of the last commit. */
  get version(): number {
    return this.#backend.lastVersion;
  }

  /** A partition begins a life. Returns how that asks; it is told to connect if the store is not there now, or dies and comes back. */
  connect(caller: StoreCaller): (requests: readonly StoreRequest[]) => void {
    const before = this.#present.get(caller.partition);
    if (before !== undefined) this.#drop(before);
    this.#present.set(caller.partition, this.#open(caller));
    return (requests) => {
      const channel = this.#present.get(caller.partition);
      if (channel?.caller === caller && channel.isOpen) channel.requests.push(structuredClone(requests));
    };
  }

  /** The partition has died, or ended: what it asked for still reaches the store. */
  disconnect(partition: number): void {
    const channel = this.#present.get(partition);
    this.#present.delete(partition);
    if (channel === undefined) return;
    channel.isOpen = false;
    channel.replies.length = 0;
    this.#drop(channel);
  }

  /** One for each thing that may happen next. */
  deliveries(): (() => void)[] {
    if (this.#isDown) return [];
    const deliveries: (() => void)[] = [];
    for (const channel of this.#channels.values()) {
      if (channel.requests.length > 0) {
        deliveries.push(() => {
          this.#takeRequests(channel);
        });
      }
      if (channel.replies.length > 0) {
        deliveries.push(() => {
          const replies = channel.replies.shift();
          if (replies !== undefined) channel.caller.handle(replies);
        });
      }
    }
    if (this.#isTurnDue) {
      deliveries.push(() => {
        this.#isTurnDue = this.#core.flush(this.#nowMs());
      });
    }
    return deliveries;
  }

  tick(): void {
    if (this.#isDown) return;
    this.#core.tick(this.#nowMs());
    // What follows from that is said with the next turn; without anything to say there is none, so that histories do not spend their steps on it.
    if (this.#unanswered > 0) this.#isTurnDue = true;
  }

  /** The thread dies: what it has not replied to may have been stored, or not. */
  die(): void {
    this.#isDown = true;
    this.#channels.clear();
    const callers = [...this.#present.values()].map(({ caller }) => caller);
    for (const caller of callers) caller.disconnect();
  }

  /** The thread is started again, and gives everybody another way to it. */
  revive(): void {
    if (!this.#isDown) return;
    this.#isDown = false;
    this.#core = this.#createCore();
    this.#unanswered = 0;
    const callers = [...this.#present.values()].map(({ caller }) => caller);
    for (const caller of callers) {
      this.#present.set(caller.partition, this.#open(caller));
      caller.connect();
    }
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  #open(caller: StoreCaller): StoreChannel {
    this.#numbers += 1;
    const channel = new StoreChannel(this.#numbers, caller);
    if (!this.#isDown) {
      this.#channels.set(channel.number, channel);
      this.#core.attach(channel.number, caller.partition);
    }
    return channel;
  }

  #takeRequests(channel: StoreChannel): void {
    const requests = channel.requests.shift() ?? [];
    this.#unanswered += requests.length;
    for (const request of requests) this.#core.handle(channel.number, request, this.#nowMs());
    this.#isTurnDue = true;
  }

  #drop(channel: StoreChannel): void {
    if (!this.#channels.delete(channel.number)) return;
    while (channel.requests.length > 0) this.#takeRequests(channel);
    this.#core.detach(channel.number);
    this.#isTurnDue = true;
  }

  #createCore(): StoreCore {
    return new StoreCore({
      limits: this.#config,
      openBackend: () => this.#backend,
      reply: (number, replies) => {
        const channel = this.#channels.get(number);
        this.#unanswered -= replies.length;
        // Nobody here watches keys, so there are no news.
        if (channel?.isOpen === true) channel.replies.push(structuredClone(replies) as StoreReply[]);
      },
      onState: () => undefined,
      nowMs: this.#nowMs(),
    });
  }
}
