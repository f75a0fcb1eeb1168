import { mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { SegmentFiles } from '../../src/journal/segment-writer.ts';
import type { Disk } from '../../src/journal/segment-writer.ts';
import type { Random } from './random.ts';

/** What a thread waits for. `bytes` undefined: that what it has written is on the disk. */
interface Operation {
  readonly file: number;
  readonly bytes: Uint8Array | undefined;
  readonly done: (error: Error | null, written: number) => void;
}

/** Segments of a thread that may die: what it had in flight then is done, or not, or in part, and nothing is after that. */
export class MortalSegments extends SegmentFiles {
  readonly #queue: DiskQueue;
  #isDead = false;

  constructor(folder: string, before: readonly string[], queue: DiskQueue) {
    super(folder, before, queue);
    this.#queue = queue;
  }

  /** What is still done of what is in flight is drawn from `random`; without it nothing is. */
  die(random?: Random): void {
    this.#isDead = true;
    this.close();
    this.#queue.end(random);
  }

  override discard(): void {
    if (!this.#isDead) super.discard();
  }
}

/** What one thread has asked of the disk, in order. */
class DiskQueue implements Disk {
  readonly #waiting: Operation[] = [];

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  write(file: number, bytes: Uint8Array, done: Operation['done']): void {
    this.#waiting.push({ file, bytes, done });
  }

  sync(file: number, done: (error: Error | null) => void): void {
    this.#waiting.push({ file, bytes: undefined, done });
  }

  /** Carries out the first. */
  proceed(): void {
    const first = this.#waiting.shift();
    if (first === undefined) return;
    const { file, bytes, done } = first;
    done(null, bytes === undefined ? 0 : writeSync(file, bytes));
  }

  /** Nobody waits any more. */
  end(random: Random | undefined): void {
    const [first] = this.#waiting;
    if (random !== undefined && first?.bytes !== undefined) {
      writeSync(first.file, first.bytes, 0, random.below(first.bytes.length + 1));
    }
    for (const { done } of this.#waiting.splice(0)) done(new Error('the thread has died'), 0);
  }
}

/** The folder of a journal, on a disk that takes its time: what is to be written is written when a scheduler comes to it. It outlives registries. */
export class SimulatedDisk {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'simulated-disk-'));
  readonly #queues: Map<MortalSegments, DiskQueue> = new Map();

  createSegments(folder: string, before: readonly string[]): MortalSegments {
    const queue = new DiskQueue();
    const segments = new MortalSegments(folder, before, queue);
    this.#queues.set(segments, queue);
    return segments;
  }

  /** The process dies, and all threads with it. */
  crash(random: Random): void {
    for (const segments of this.#queues.keys()) segments.die(random);
    this.#queues.clear();
  }

  /** One for each thread that waits for something. */
  deliveries(): (() => void)[] {
    return [...this.#queues.values()].flatMap((queue) =>
      queue.isEmpty
        ? []
        : [
            () => {
              queue.proceed();
            },
          ],
    );
  }

  /** Nothing is kept any more. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
