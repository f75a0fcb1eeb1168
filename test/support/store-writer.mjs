/**
 * A process that stores as much as it can until it is killed: `node store-writer.mjs FOLDER`. Each commit writes its number to two rows of a place. It says first
 * what it has found, then each number that was acknowledged, with its version; a line is written at once, so that what was said was known.
 */
import { writeSync } from 'node:fs';

import { resolveConfig } from '../../dist/src/config/config-checking.js';
import { ThreadStore } from '../../dist/src/durable/thread-store.js';
import { Counters } from '../../dist/src/runtime/counters.js';

const places = 20;
const inFlight = 8;
const pause = new Int32Array(new SharedArrayBuffer(4));
function say(line) {
  for (let bytes = Buffer.from(`${line}\n`); bytes.length > 0;) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (error) {
      // Whoever reads is behind: the pipe is full.
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}
const complain = (details, text) => say(`error ${text}`);
const log = { error: complain, warn: complain, info: () => undefined };
const counters = new Counters();
const limits = resolveConfig({ storeRetryMaxMs: 200 });
const store = new ThreadStore({ folder: process.argv[2], limits, counters, log, restartBackoffMs: 20 });
await store.start();

const found = {};
let last = 0;
for await (const rows of store.load('keys')) {
  for (const { key, payload, modifyVersion } of rows) {
    const number = Number(Buffer.from(payload).toString().trim());
    found[key] = [number, modifyVersion];
    last = Math.max(last, number);
  }
}
say(`found ${JSON.stringify(found)}`);

async function write() {
  for (;;) {
    last += 1;
    const number = last;
    const payload = Buffer.from(String(number).padEnd(10 + (number % 7) * 900));
    const writes = ['a', 'b'].map((half) => ({
      table: 'keys',
      key: `${number % places}/${half}`,
      payload,
      createVersion: 0,
    }));
    const outcome = await store.commit(writes);
    if ('version' in outcome) say(`stored ${number} ${outcome.version}`);
    else {
      say(`refused ${number} ${outcome.failure.code}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
await Promise.all(Array.from({ length: inFlight }, write));
