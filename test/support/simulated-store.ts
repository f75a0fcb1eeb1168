import type { ServerConfig } from '../../src/config/config.ts';
import type { StoreNews, StoreNotice, StorePort, StoreReply, StoreRequest } from '../../src/durable/commits.ts';
import { MemoryBackend } from '../../src/durable/memory-backend.ts';
import { StoreCore } from '../../src/durable/store-core.ts';
import type { StoreConnection } from '../../src/durable/thread-store.ts';

/** A life of a partition, as the store sees it. */
export interface StoreCaller {
  readonly partition: number;
  /** The store is back. */
  readonly connect: () => void;
  readonly disconnect: () => void;
  readonly handle: (replies: readonly StoreReply[]) => void;
}

type Said = readonly (StoreReply | StoreNews)[];

/** Who asks the store, in its present life. */
interface Caller {
  readonly partition: number | undefined;
  readonly connect: () => void;
  readonly disconnect: () => void;
}

/** The way between the store and one caller: a plain queue each way. */
class StoreChannel {
  readonly requests: (readonly (StoreRequest | StoreNotice)[])[] = [];
  readonly replies: Said[] = [];
  readonly number: number;
  handle: (replies: Said) => void;
  #isOpen = true;
  #onClose: () => void = () => undefined;

  constructor(number: number, handle: (replies: Said) => void = () => undefined) {
    this.number = number;
    this.handle = handle;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#onClose();
  }

  whenClosed(run: () => void): void {
    if (this.#isOpen) this.#onClose = run;
    else run();
  }
}

/** The store's pure core without its thread: what is asked and replied lies in queues, until it is delivered in whatever order. Its rows outlive it. */
export class SimulatedStore {
  readonly #config: ServerConfig;
  readonly #nowMs: () => number;
  readonly #backend: MemoryBackend;
  #core: StoreCore;
  readonly #channels: Map<number, StoreChannel> = new Map();
  /** Of each caller the channel of its present life. */
  readonly #present: Map<Caller, StoreChannel> = new Map();
  /** Ends of ways that have not been heard of yet. */
  #endings: (() => void)[] = [];
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
    const handle = (replies: Said): void => {
      // Partitions watch nothing.
      caller.handle(replies as readonly StoreReply[]);
    };
    const open = (): void => {
      this.#present.set(known, this.#open(caller.partition, handle));
    };
    const known: Caller = {
      partition: caller.partition,
      disconnect: caller.disconnect,
      connect: () => {
        open();
        caller.connect();
      },
    };
    this.#forget(caller.partition);
    open();
    return (requests) => {
      const channel = this.#present.get(known);
      if (channel?.isOpen === true) channel.requests.push(structuredClone(requests));
    };
  }

  /** The partition has died, or ended: what it asked for still reaches the store. */
  disconnect(partition: number): void {
    this.#forget(partition);
  }

  /** A host is given a port, and another whenever the store is back. */
  connectHost(hand: (port: StorePort) => void): StoreConnection {
    const caller: Caller = {
      partition: undefined,
      disconnect: () => undefined,
      connect: () => {
        const channel = this.#open(undefined);
        this.#present.set(caller, channel);
        hand(this.#createPort(channel));
      },
    };
    if (this.#isDown) this.#present.set(caller, this.#open(undefined));
    else caller.connect();
    return {
      close: () => {
        const channel = this.#present.get(caller);
        this.#present.delete(caller);
        if (channel !== undefined) this.#drop(channel);
      },
    };
  }

  /** One for each thing that may happen next. */
  deliveries(): (() => void)[] {
    const deliveries: (() => void)[] = this.#endings.map((end) => () => {
      this.#endings = this.#endings.filter((other) => other !== end);
      end();
    });
    if (this.#isDown) return deliveries;
    for (const channel of this.#channels.values()) {
      if (channel.requests.length > 0) {
        deliveries.push(() => {
          this.#takeRequests(channel);
        });
      }
      if (channel.replies.length > 0) {
        deliveries.push(() => {
          const replies = channel.replies.shift();
          if (replies !== undefined) channel.handle(replies);
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
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
    for (const caller of this.#present.keys()) caller.disconnect();
  }

  /** The thread is started again, and gives everybody another way to it. */
  revive(): void {
    if (!this.#isDown) return;
    this.#isDown = false;
    this.#core = this.#createCore();
    this.#unanswered = 0;
    for (const caller of this.#present.keys()) caller.connect();
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  #open(partition: number | undefined, handle?: (replies: Said) => void): StoreChannel {
    this.#numbers += 1;
    const channel = new StoreChannel(this.#numbers, handle);
    if (!this.#isDown) {
      this.#channels.set(channel.number, channel);
      this.#core.attach(channel.number, partition);
    }
    return channel;
  }

  #createPort(channel: StoreChannel): StorePort {
    return {
      on: (event: 'message' | 'close', handle: ((replies: Said) => void) & (() => void)): void => {
        if (event === 'message') channel.handle = handle;
        else {
          // Heard of some time after it.
          channel.whenClosed(() => {
            this.#endings.push(handle);
          });
        }
      },
      postMessage: (requests) => {
        if (channel.isOpen) channel.requests.push(structuredClone(requests));
      },
      close: () => {
        this.#drop(channel);
      },
    };
  }

  #takeRequests(channel: StoreChannel): void {
    const requests = channel.requests.shift() ?? [];
    for (const request of requests) {
      if ('request' in request) this.#unanswered += 1;
      this.#core.handle(channel.number, request, this.#nowMs());
    }
    this.#isTurnDue = true;
  }

  #forget(partition: number): void {
    for (const [caller, channel] of this.#present) {
      if (caller.partition !== partition) continue;
      this.#present.delete(caller);
      this.#drop(channel);
    }
  }

  #drop(channel: StoreChannel): void {
    channel.close();
    channel.replies.length = 0;
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
        for (const reply of replies) if ('request' in reply) this.#unanswered -= 1;
        if (channel?.isOpen === true) channel.replies.push(structuredClone(replies) as Said);
      },
      onState: () => undefined,
      nowMs: this.#nowMs(),
    });
  }
}
