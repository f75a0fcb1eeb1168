import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, describe, expect, test } from 'vitest';

import type { PeersReport } from '../../bench/peers/results.ts';

const folder: string = mkdtempSync(join(tmpdir(), 'slotcast-peers-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** `path`: where programs are looked for. */
async function benchPeers(path: string, ...args: string[]): Promise<{ stdout: string; peers: PeersReport }> {
  const file = join(folder, 'peers.json');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['dist/bench/run.js', 'peers', '--smoke', '--json', file, ...args],
    { timeout: 60_000, env: { PATH: path } },
  );
  return { stdout, peers: (JSON.parse(readFileSync(file, 'utf8')) as { peers: PeersReport }).peers };
}

describe('the comparison with peers', () => {
  test('runs with those that are there, and says of others how to install them', { timeout: 60_000 }, async () => {
    // No program is found there.
    const { stdout, peers } = await benchPeers(folder);
    expect(peers.etcd).toEqual({ missing: 'etcd is not installed: apt-get install etcd-server' });
    expect(peers.zookeeper).toEqual({ missing: expect.stringMatching(/is not installed: apt-get install \S+$/) });
    expect(stdout).toContain('etcd: not run: etcd is not installed: apt-get install etcd-server');
    expect(stdout).toContain('zookeeper: not run: ');
    for (const name of ['slotcast', 'bare'] as const) {
      const peer = peers[name];
      if (peer === undefined || 'missing' in peer) throw new Error(`${name} did not run`);
      expect(peer.figures.registersPerSecond?.median).toBeGreaterThan(0);
      expect(peer.figures.registersPipelinedPerSecond?.median).toBeGreaterThan(0);
      expect(peer.figures.fanOutMs?.median).toBeGreaterThan(0);
      // What keeps nothing has no memory of an instance.
      expect('bytesPerInstance' in peer.figures).toBe(name === 'slotcast');
      expect('fanOutTimeRatio' in peer.ratios).toBe(name === 'bare');
    }
  });

  test('runs with those that are named', { timeout: 60_000 }, async () => {
    const { peers } = await benchPeers(process.env['PATH'] ?? '', '--peers', 'bare');
    expect(Object.keys(peers).toSorted()).toEqual(['bare', 'slotcast']);
  });

  test('says which peers there are when one is not known', async () => {
    const failing = benchPeers(folder, '--peers', 'consul');
    await expect(failing).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no peer "consul"; known are bare, etcd, zookeeper'),
    });
  });
});
