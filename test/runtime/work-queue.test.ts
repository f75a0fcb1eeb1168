import { expect, test } from 'vitest';

import { WorkQueue } from '../../src/runtime/work-queue.ts';
import type { Job } from '../../src/runtime/work-queue.ts';

class Steps implements Job {
  left: number;
  readonly #name: string;
  readonly #done: string[];

  constructor(name: string, left: number, done: string[]) {
    this.#name = name;
    this.left = left;
    this.#done = done;
  }

  get isDone(): boolean {
    return this.left === 0;
  }

  run(steps: number): number {
    const cost = Math.min(steps, this.left);
    this.left -= cost;
    this.#done.push(`${this.#name}${cost}`);
    return cost;
  }
}

test('[LI1] what a turn has room for is done at once, the rest in order over the next turns', () => {
  const turns: (() => void)[] = [];
  const done: string[] = [];
  let putOff = 0;
  const queue = new WorkQueue({
    stepsPerTurn: 10,
    schedule: (task) => turns.push(task),
    onPutOff: () => (putOff += 1),
  });
  for (const [name, steps] of [
    ['a', 4],
    ['b', 25],
    ['c', 3],
  ] as const) {
    queue.add(new Steps(name, steps, done));
  }
  expect(done.splice(0)).toEqual(['a4', 'b6']);
  expect(queue.size).toBe(2);
  turns.shift()?.();
  expect(done.splice(0)).toEqual(['b10']);
  turns.shift()?.();
  expect(done.splice(0)).toEqual(['b9', 'c1']);
  turns.shift()?.();
  expect(done.splice(0)).toEqual(['c2']);
  expect(queue.size).toBe(0);
  expect(putOff).toBe(3);
  // A turn of its own for what comes next.
  turns.shift()?.();
  queue.add(new Steps('d', 10, done));
  expect(done).toEqual(['d10']);
});
