/**
 * Commits again and again to a store whose file may and may not grow by turns: `node refused-commits.mjs FILE`. Prints how many commits were stored and refused.
 */
import { spawnSync } from 'node:child_process';

import { LmdbBackend } from '../../dist/src/durable/lmdb-backend.js';

const backend = new LmdbBackend(process.argv[2], 1e9);
const limitFiles = (bytes) => spawnSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`]);
const payload = Buffer.from('v'.repeat(100));
const counts = { stored: 0, refused: 0 };

function commit(times) {
  for (let i = 0; i < times; i++) {
    const version = backend.lastVersion + 1;
    const row = { payload, createVersion: version, modifyVersion: version };
    try {
      backend.commit([{ table: 'keys', key: `00001/${version}`, row }], version);
      counts.stored += 1;
    } catch {
      counts.refused += 1;
    }
  }
}

for (let round = 0; round < 30; round++) {
  limitFiles('unlimited');
  commit(20);
  limitFiles(4096);
  commit(30);
}
console.log(JSON.stringify(counts));
