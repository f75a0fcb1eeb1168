import { expect, test } from 'vitest';

import { Audience, FanOut } from '../../src/push/fan-out.ts';
import type { Delivery, HostPush, Member } from '../../src/push/fan-out.ts';
import { chooseVariant } from '../../src/push/variant.ts';

/** A subscriber that notes in one list with all others when it is sent something. */
class Listener implements Member {
  version = 1;
  isLive = true;
  isWarming = false;
  place = -1;
  unsentBytes = 0;
  readonly #name: string;
  readonly #heard: string[];

  constructor(name: string, heard: string[]) {
    this.#name = name;
    this.#heard = heard;
  }

  noteMissed(): void {
    this.isLive = false;
  }

  deliver(): Delivery {
    this.#heard.push(this.#name);
    return 'sent';
  }
}

function createFanOut(slice: { sliceMembers?: number; sliceBytes?: number }): FanOut<Listener> {
  return new FanOut<Listener>({
    sliceMembers: 512,
    sliceBytes: 1_000_000,
    ...slice,
    isFrozen: () => false,
    encodePush: (push) => JSON.stringify(push),
    toBytes: (text) => new TextEncoder().encode(text),
    onMissed: () => undefined,
    onDone: () => undefined,
  });
}

function gather(service: string, listeners: number, heard: string[], unsentBytes = 0): Audience<Listener> {
  const audience = new Audience<Listener>(`public/DEFAULT/${service}`, chooseVariant('snapshot', {}));
  for (let count = 0; count < listeners; count++) {
    const listener = new Listener(service, heard);
    listener.unsentBytes = unsentBytes;
    audience.add(listener);
  }
  return audience;
}

function createPush(characters: number): HostPush {
  return { partition: 0, from: 1, to: 2, count: 1, changedAtMs: 0, body: `["${'x'.repeat(characters)}"]` };
}

test('[LI1] a slice ends with the send that reaches fanOutSliceBytes, and others have their turn before the next of a large list', () => {
  const heard: string[] = [];
  const fanOut = createFanOut({ sliceBytes: 25_000 });
  fanOut.enqueue(gather('large', 100, heard), createPush(10_000));
  fanOut.runSlice();
  expect(heard).toEqual(['large', 'large', 'large']);
  fanOut.enqueue(gather('small', 2, heard), createPush(10));
  fanOut.runSlice();
  fanOut.runSlice();
  expect(heard.slice(3)).toEqual(['large', 'large', 'large', 'small', 'small', 'large', 'large', 'large']);
  for (let slices = 0; !fanOut.isIdle && slices < 100; slices++) fanOut.runSlice();
  expect(heard.filter((name) => name === 'large')).toHaveLength(100);
});

test('[LI1] a frame larger than a slice is sent all the same, one to a slice', () => {
  const heard: string[] = [];
  const fanOut = createFanOut({ sliceBytes: 1024 });
  fanOut.enqueue(gather('large', 3, heard), createPush(10_000));
  for (let slices = 1; slices <= 3; slices++) {
    fanOut.runSlice();
    expect(heard).toHaveLength(slices);
  }
});

test('[LI1] answers that leave ahead of a push count as part of its slice', () => {
  const heard: string[] = [];
  const fanOut = createFanOut({ sliceBytes: 25_000 });
  fanOut.enqueue(gather('small', 10, heard, 10_000), createPush(10));
  fanOut.runSlice();
  expect(heard).toHaveLength(3);
});

test('[LI1] a slice ends with fanOutSliceMembers sends', () => {
  const heard: string[] = [];
  const fanOut = createFanOut({ sliceMembers: 2 });
  fanOut.enqueue(gather('small', 5, heard), createPush(10));
  fanOut.runSlice();
  expect(heard).toHaveLength(2);
});
