/** The store's thread: feeds the pure core from the ports of its callers. What it throws leaves open what is stored, and ends it; the main thread starts another. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

import { ThreadGauges, ThreadSampler } from '../runtime/thread-gauges.ts';
import type { BackupRequest, StoreNotice, StoreRequest } from './commits.ts';
import { MemoryBackend } from './memory-backend.ts';
import type { StoreBackend } from './store-backend.ts';
import { StoreCore } from './store-core.ts';
import type { StoreDamage } from './store-file.ts';
import { StoreGauges } from './store-gauges.ts';
import type { FromStoreThread, StoreThreadStart, ToStoreThread } from './store-messages.ts';
import { StoreVersion } from './store-version.ts';

/** How often the core's clock moves on, in milliseconds. */
const tickMs = 50;

if (parentPort === null) throw new Error('not a thread');
const mainPort = parentPort;

function report(message: FromStoreThread): void {
  mainPort.postMessage(message);
}

interface Caller {
  readonly partition: number | undefined;
  readonly port: MessagePort;
}

class StoreThread {
  readonly #core: StoreCore;
  readonly #gauges: StoreGauges;
  readonly #callers: Map<number, Caller> = new Map();
  #lastCaller = 0;
  #isTurnScheduled = false;
  #groupBeganMs = 0;

  constructor({ limits, storeGauges, storeVersion, threadGauges }: StoreThreadStart, openBackend: OpenBackend) {
    this.#gauges = new StoreGauges(storeGauges);
    const version = new StoreVersion(storeVersion);
    this.#core = new StoreCore({
      limits,
      openBackend,
      reply: (caller, replies) => {
        this.#callers.get(caller)?.port.postMessage(replies);
      },
      onState: (state) => {
        report({ kind: 'state', state });
      },
      onGroup: ({ commits, bytes, isStored }) => {
        this.#gauges.groupSeconds.observe((performance.now() - this.#groupBeganMs) / 1000);
        this.#gauges.groupCommits.observe(commits);
        if (isStored) this.#gauges.addStored(bytes);
        else this.#gauges.addFailed(commits);
      },
      onVersion: (last) => {
        version.set(last);
      },
      nowMs: performance.now(),
    });
    const sampler = new ThreadSampler(new ThreadGauges(threadGauges), tickMs);
    setInterval(() => {
      sampler.sample();
      this.#gauges.setUsed(this.#core.usedBytes);
      this.#core.tick(performance.now());
      this.#scheduleTurn();
    }, tickMs);
  }

  attach(port: MessagePort, partition: number | undefined): void {
    // What the last life of a partition still asked for comes before anything that the next one asks.
    const before = [...this.#callers].find(([, known]) => partition !== undefined && known.partition === partition);
    if (before !== undefined) {
      this.#drain(before[0], before[1].port);
      this.#drop(before[0], before[1]);
    }
    this.#lastCaller += 1;
    const number = this.#lastCaller;
    const caller = { port, partition };
    this.#callers.set(number, caller);
    this.#core.attach(number, partition);
    port.on('message', (requests: readonly (StoreRequest | BackupRequest | StoreNotice)[]) => {
      this.#handle(number, requests);
    });
    // All that was sent before has come by then, and Node crashes when a closed port is asked whether there is more.
    port.on('close', () => {
      this.#drop(number, caller);
    });
  }

  end(): void {
    for (const [number, { port }] of this.#callers) this.#drain(number, port);
    while (this.#core.flush(performance.now()));
    this.#core.close();
    for (const { port } of this.#callers.values()) port.close();
    process.exit(0);
  }

  #drop(number: number, { port }: Caller): void {
    if (!this.#callers.has(number)) return;
    this.#callers.delete(number);
    this.#core.detach(number);
    port.close();
    this.#scheduleTurn();
  }

  /** Takes what has come through a port, and has not been heard yet. */
  #drain(number: number, port: MessagePort): void {
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
      this.#handle(number, next.message as readonly (StoreRequest | BackupRequest | StoreNotice)[]);
    }
  }

  #handle(number: number, requests: readonly (StoreRequest | BackupRequest | StoreNotice)[]): void {
    const nowMs = performance.now();
    for (const request of requests) this.#core.handle(number, request, nowMs);
    this.#scheduleTurn();
  }

  /** All that comes until then is one group: while one is being stored, the next gathers in the ports. */
  #scheduleTurn(): void {
    if (this.#isTurnScheduled) return;
    this.#isTurnScheduled = true;
    setImmediate(() => {
      this.#isTurnScheduled = false;
      this.#groupBeganMs = performance.now();
      if (this.#core.flush(this.#groupBeganMs)) this.#scheduleTurn();
    });
  }
}

const start = workerData as StoreThreadStart;
const { folder, limits } = start;
const { storeBytesMax } = limits;

type OpenBackend = (before: StoreBackend | undefined) => StoreBackend;

async function chooseBackend(): Promise<OpenBackend> {
  if (folder === undefined) return (before) => before ?? new MemoryBackend(storeBytesMax);
  const { openStoreFile } = await import('./store-file.ts');
  const options = {
    folder,
    bytesMax: storeBytesMax,
    onDamage: (damage: StoreDamage): void => {
      report({ kind: 'damage', damage });
    },
    readWallMs: () => Date.now(),
  };
  return (before) => openStoreFile(options, before);
}

function createThread(openBackend: OpenBackend): StoreThread {
  try {
    return new StoreThread(start, openBackend);
  } catch (error) {
    if (error instanceof Error && error.name === 'StoreFormatError')
      report({ kind: 'unusable', message: error.message });
    throw error;
  }
}

const thread = createThread(await chooseBackend());
mainPort.on('message', (message: ToStoreThread) => {
  switch (message.kind) {
    case 'attach':
      thread.attach(message.port, message.partition);
      return;
    case 'end':
      thread.end();
      return;
    case 'fault':
      throw new Error('asked to fail');
    default:
      message satisfies never;
  }
});
report({ kind: 'ready' });
