import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import zooKeeper from 'node-zookeeper-client';
import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';

import type { PeerServer } from '../../bench/peers/driver.ts';
import { etcd } from '../../bench/peers/etcd.ts';
import { hasProgram } from '../../bench/peers/server-program.ts';
import { openZooKeeper, zookeeper } from '../../bench/peers/zookeeper.ts';
import { runCommand } from '../support/command.ts';

/*
 * Real systems, filled with their own clients, dumped with their own tools, and imported. Where one is not installed, its test says so and is left out; `.ci/run` installs
 * them.
 */
const zooKeeperClient = '/usr/share/zookeeper/bin/zkCli.sh';

const missing = {
  etcd:
    etcd.findMissing() ??
    (hasProgram('etcdctl', ['version']) ? undefined : 'etcdctl is not installed: apt-get install etcd-client'),
  zookeeper:
    zookeeper.findMissing() ??
    (existsSync(zooKeeperClient) ? undefined : 'zkCli.sh is not installed: apt-get install zookeeper'),
};
for (const reason of Object.values(missing))
  if (reason !== undefined) console.log(`left out: a real dump is not imported: ${reason}`);

const document = readFileSync(fileURLToPath(new URL('../../docs/STORAGE.md', import.meta.url)), 'utf8');
const [, template = ''] = /--template '([^']*)'/.exec(document) ?? [];

let folder: string;
let peer: PeerServer | undefined;
let server: FaultyServer | undefined;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-live-'));
  server = await startFaultyServer({ port: 0, partitions: 1, logLevel: 'silent' });
});
afterEach(async () => {
  await peer?.stop();
  await server?.stop();
  peer = undefined;
  rmSync(folder, { recursive: true, force: true });
});

interface Imported {
  readonly dryRun: boolean;
  readonly taken: { readonly services: number; readonly instances: number; readonly keys: number };
  readonly leftOut: readonly { readonly reason: string; readonly count: number }[];
  readonly altered: readonly { readonly reason: string; readonly count: number }[];
}

/** Dry run first; then really, twice. Resolves to the report, and to what is exported afterwards. */
async function importFile(...args: string[]): Promise<{ report: Imported; records: Record<string, unknown>[] }> {
  const where = ['--server', `ws://127.0.0.1:${server!.address.port}`];
  const run = async (...more: string[]): Promise<Imported> => {
    const { out, err, status } = await runCommand(['import', ...args, '--json', ...where, ...more]);
    expect({ err, status }).toEqual({ err: '', status: 0 });
    return JSON.parse(out) as Imported;
  };
  const readRecords = async (): Promise<Record<string, unknown>[]> => {
    const { out } = await runCommand(['export', ...where]);
    const lines = out.split('\n').slice(1, -2);
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  };
  const dry = await run('--dry-run');
  expect(await readRecords()).toEqual([]);
  const report = await run();
  expect(report).toEqual({ ...dry, dryRun: false });
  const records = await readRecords();
  expect(await run()).toEqual(report);
  expect(await readRecords()).toEqual(records);
  return { report, records };
}

function instance(service: string, fields: object, group = 'DEFAULT'): object {
  return {
    kind: 'instance',
    namespace: 'public',
    group,
    service,
    instance: { weight: 100, enabled: true, ...fields },
  };
}

function makeKey(key: string, value: string | Uint8Array): object {
  return { kind: 'key', key, value: Buffer.from(value).toString('base64'), flags: '0' };
}

test.skipIf(missing.etcd !== undefined)(
  '[AR2] what etcd has, registrations and other keys, is dumped by etcdctl and imported',
  async () => {
    peer = await etcd.start(undefined);
    const endpoint = `http://127.0.0.1:${peer.target.port}`;
    const control = (args: readonly string[], input?: string | Uint8Array): Buffer => {
      const { status, stdout, stderr } = spawnSync('etcdctl', ['--endpoints', endpoint, ...args], {
        env: { ...process.env, ETCDCTL_API: '3' },
        ...(input === undefined ? {} : { input }),
      });
      expect({ args, status, stderr: stderr.toString() }).toEqual({ args, status: 0, stderr: '' });
      return stdout;
    };
    // As etcd's own naming package for Go has endpoints.
    control(['put', '/services/orders/1', '{"Op":0,"Addr":"10.0.0.1:8080","Metadata":{"version":"2","canary":true}}']);
    control(['put', '/services/orders/2', '{"Op":0,"Addr":"[fd00::2]:8080","Metadata":null}']);
    control(['put', '/services/orders/broken', 'no JSON']);
    control(['put', '/config/binary'], Buffer.from([0xff, 0xfe, 0]));
    control(['put', '/config/empty', '']);
    control(['put', '/config/ü 😀', 'näme\nof lines']);
    const client = await etcd.connect(peer.target);
    // Under the lease of a client that is there, as a service has it.
    await client.register('stock', 'a', '{"Op":0,"Addr":"stock-a.internal:9090"}');
    await client.register('stock', 'b', 'of another kind');
    const file = path.join(folder, 'etcd.json');
    writeFileSync(file, control(['get', '--prefix', '', '-w', 'json']));
    await client.close();

    const { report, records } = await importFile('--from', 'etcd', file, '--template', template);
    expect(report).toEqual({
      dryRun: false,
      taken: { services: 0, instances: 3, keys: 5 },
      leftOut: [],
      altered: [
        expect.objectContaining({
          reason: 'an instance by its key, but not by its value: taken as a key',
          count: 2,
        }),
        expect.objectContaining({ reason: 'the key had a lease, and now stays until it is deleted', count: 1 }),
      ],
    });
    expect(records).toEqual([
      instance('orders', {
        id: '10.0.0.1:8080',
        host: '10.0.0.1',
        port: 8080,
        metadata: { canary: 'true', version: '2' },
      }),
      instance('orders', { id: 'fd00::2:8080', host: 'fd00::2', port: 8080 }),
      instance('stock', { id: 'stock-a.internal:9090', host: 'stock-a.internal', port: 9090 }),
      makeKey('/config/binary', new Uint8Array([0xff, 0xfe, 0])),
      makeKey('/config/empty', ''),
      makeKey('/config/ü 😀', 'näme\nof lines'),
      makeKey('/services/orders/broken', 'no JSON'),
      makeKey('/services/stock/b', 'of another kind'),
    ]);
  },
);

const openAcls = [new zooKeeper.ACL(zooKeeper.Permission.ALL, new zooKeeper.Id('world', 'anyone'))];

interface Node {
  /** `providers`, and the like. */
  readonly category: string;
  readonly service: string;
  readonly url: string;
}

function makeProvider(service: string, url: string): Node {
  return { category: 'providers', service, url };
}

/** Registers as Dubbo does: nodes whose names are encoded URLs, which live by the session. Resolves to what ends it. */
async function registerNodes(target: PeerServer['target'], nodes: readonly Node[]): Promise<() => void> {
  const client = await openZooKeeper(target);
  for (const { category, service, url } of nodes) {
    const parent = `/dubbo/${service}/${category}`;
    await new Promise<void>((resolve, reject) => {
      client.mkdirp(parent, (error) => {
        if (error instanceof Error) reject(error);
        else resolve();
      });
    });
    await new Promise<void>((resolve, reject) => {
      const mode = zooKeeper.CreateMode.EPHEMERAL;
      client.create(`${parent}/${encodeURIComponent(url)}`, Buffer.from('host'), openAcls, mode, (error) => {
        if (error instanceof Error) reject(error);
        else resolve();
      });
    });
  }
  return () => {
    client.close();
  };
}

const common = 'anyhost=true&application=orders-provider&dubbo=2.0.2&side=provider';

test.skipIf(missing.zookeeper !== undefined)(
  "[AR2] Dubbo's tree in ZooKeeper is dumped by its own client, whole or by its lists of providers, and imported",
  async () => {
    peer = await zookeeper.start(undefined);
    const { port } = peer.target;
    const leave = await registerNodes(peer.target, [
      makeProvider(
        'shop.Orders',
        `dubbo://10.20.153.10:20880/shop.Orders?${common}&interface=shop.Orders&version=1.2.0`,
      ),
      makeProvider(
        'shop.Orders',
        `dubbo://10.20.153.11:20880/shop.Orders?${common}&interface=shop.Orders&version=1.2.0&weight=200&group=eu`,
      ),
      makeProvider('shop.Orders', `tri://[fd00::12]:50051/shop.Orders?${common}&interface=shop.Orders&disabled=true`),
      makeProvider('shop.Stock', `dubbo://stock.internal:20880/shop.Stock?${common}&interface=shop.Stock&note=a%2Bb`),
      {
        category: 'consumers',
        service: 'shop.Orders',
        url: 'consumer://10.20.153.30/shop.Orders?category=consumers&side=consumer',
      },
    ]);
    const dump = async (command: string): Promise<string> => {
      const args = ['-server', `127.0.0.1:${port}`, ...command.split(' ')];
      return (await promisify(execFile)(zooKeeperClient, args)).stdout;
    };
    const files = { tree: path.join(folder, 'tree.txt'), providers: path.join(folder, 'providers.txt') };
    writeFileSync(files.tree, await dump('ls -R /dubbo'));
    writeFileSync(
      files.providers,
      `${await dump('ls /dubbo/shop.Orders/providers')}${await dump('ls /dubbo/shop.Stock/providers')}`,
    );
    leave();

    const { report, records } = await importFile('--from', 'dubbo', files.tree);
    expect(report.taken).toEqual({ services: 0, instances: 4, keys: 0 });
    expect(report.leftOut).toContainEqual(
      expect.objectContaining({ reason: 'no provider, but a consumer, a router or a configurator', count: 1 }),
    );
    expect(report.altered).toEqual([]);
    const metadata = { anyhost: 'true', application: 'orders-provider', dubbo: '2.0.2', side: 'provider' };
    const orders = { ...metadata, interface: 'shop.Orders' };
    const versioned = { ...orders, protocol: 'dubbo', version: '1.2.0' };
    expect(records).toEqual([
      instance('shop.Orders', {
        id: 'fd00::12:50051',
        host: 'fd00::12',
        port: 50_051,
        enabled: false,
        metadata: { ...orders, protocol: 'tri', disabled: 'true' },
      }),
      instance('shop.Orders:1.2.0', {
        id: '10.20.153.10:20880',
        host: '10.20.153.10',
        port: 20_880,
        metadata: versioned,
      }),
      instance('shop.Stock', {
        id: 'stock.internal:20880',
        host: 'stock.internal',
        port: 20_880,
        metadata: { ...metadata, interface: 'shop.Stock', protocol: 'dubbo', note: 'a%2Bb' },
      }),
      instance(
        'shop.Orders:1.2.0',
        {
          id: '10.20.153.11:20880',
          host: '10.20.153.11',
          port: 20_880,
          weight: 200,
          metadata: { ...versioned, group: 'eu', weight: '200' },
        },
        'eu',
      ),
    ]);
    // Lists of providers say the same: importing them changes nothing.
    const where = ['--server', `ws://127.0.0.1:${server!.address.port}`];
    const listed = await runCommand(['import', '--from', 'dubbo', files.providers, '--json', ...where]);
    expect((JSON.parse(listed.out) as Imported).taken).toEqual(report.taken);
    const { out } = await runCommand(['export', ...where]);
    expect(out.split('\n').slice(1, -2)).toEqual(records.map((record) => JSON.stringify(record)));
  },
);
