import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import type { ArchiveRecord, InstanceRecord } from '../../src/archive/records.ts';
import { countReasons, listInstances, readDump, readDumpFile } from '../support/read-dump.ts';

/*
 * The dumps of etcd, Eureka (JSON and XML), Consul and Dubbo's tree in ZooKeeper were made with the real systems: etcd 3.4.23, Spring Cloud's Eureka server 5, Consul 1.14.11, ZooKeeper
 * 3.8.0. Those of Nacos were put together from recordings of its answers.
 */
const document = readFileSync(fileURLToPath(new URL('../../docs/STORAGE.md', import.meta.url)), 'utf8');
const [, template = ''] = /--template '([^']*)'/.exec(document) ?? [];

function findInstance(records: readonly ArchiveRecord[], host: string): InstanceRecord['instance'] | undefined {
  return records.find((record): record is InstanceRecord => record.kind === 'instance' && record.instance.host === host)
    ?.instance;
}

test('etcd without a template: all are keys, but for those that are not UTF-8', () => {
  const { records, report } = readDumpFile('etcd', 'etcd.json');
  expect(report.taken).toEqual({ service: 0, instance: 0, key: 8 });
  expect(records).toContainEqual({ kind: 'key', key: '/config/binary', value: '//4=', flags: '0' });
  expect(records).toContainEqual({ kind: 'key', key: '/config/empty', value: '', flags: '0' });
  expect(countReasons(report.leftOut)).toEqual({ 'its key is not UTF-8 in base64': 1 });
  expect(report.altered).toEqual([
    {
      reason: 'the key had a lease, and now stays until it is deleted',
      count: 1,
      examples: ['/services/orders/2'],
    },
  ]);
});

test('[AR2] etcd with a template: what it describes are instances, the rest are keys', () => {
  const dump = readDumpFile('etcd', 'etcd.json', { template });
  expect(dump.report.taken).toEqual({ service: 0, instance: 3, key: 5 });
  expect(listInstances(dump)).toEqual([
    'public/DEFAULT/orders 10.0.0.1:8080',
    'public/DEFAULT/orders fd00::2:8080',
    'public/DEFAULT/stock stock-a.internal:9090',
  ]);
  expect(findInstance(dump.records, '10.0.0.1')?.metadata).toEqual({ canary: 'true', version: '2' });
  expect(countReasons(dump.report.altered)).toEqual({
    'an instance by its key, but not by its value: taken as a key': 1,
  });
});

test('[AR2] Eureka says the same in JSON and in XML', () => {
  const json = readDumpFile('eureka', 'eureka.json');
  const xml = readDumpFile('eureka', 'eureka.xml');
  expect(xml.records).toEqual(json.records);
  expect(xml.report.leftOut).toEqual(json.report.leftOut);
  expect(listInstances(json).sort()).toEqual([
    'public/DEFAULT/orders orders-1.internal:8080',
    'public/DEFAULT/orders orders-2.internal:8080',
    'public/DEFAULT/stock 10.0.0.3:9443',
    'public/DEFAULT/stock 10.0.0.4:9090',
  ]);
  expect(findInstance(json.records, 'orders-1.internal')).toEqual({
    id: 'orders-1.internal:8080',
    host: 'orders-1.internal',
    port: 8080,
    weight: 100,
    enabled: true,
    zone: 'eu-1',
    metadata: { 'management.port': '8080', note: 'a=b&c <d>', version: '1.2', zone: 'eu-1' },
  });
  expect(findInstance(json.records, 'orders-2.internal')?.enabled).toBe(false);
  expect(countReasons(json.report.leftOut)).toEqual({ 'instance.port must be >= 1': 1 });
  expect(countReasons(json.report.altered)).toEqual({
    'disabled: its status is OUT_OF_SERVICE': 1,
    'disabled: its status is STARTING': 1,
  });
});

test('Eureka: one application, and one instance, alone', () => {
  expect(listInstances(readDumpFile('eureka', 'eureka-application.json'))).toEqual([
    'public/DEFAULT/stock 10.0.0.3:9443',
    'public/DEFAULT/stock 10.0.0.4:9090',
  ]);
  const only = '{"instance":{"app":"A","hostName":"h","port":8080}}';
  expect(listInstances(readDump('eureka', only))).toEqual(['public/DEFAULT/a h:8080']);
  const object =
    '{"applications":{"application":{"name":"A","instance":{"app":"A","hostName":"h","port":{"$":"80"}}}}}';
  expect(listInstances(readDump('eureka', object))).toEqual(['public/DEFAULT/a h:80']);
  const xml =
    '<application><name>A</name><instance><app>A</app><hostName>h</hostName><port>80</port></instance></application>';
  expect(listInstances(readDump('eureka', xml))).toEqual(['public/DEFAULT/a h:80']);
});

test("[AR2] Dubbo's tree: providers are instances of their interface and version, in their group", () => {
  const dump = readDumpFile('dubbo', 'dubbo-tree.txt');
  expect(listInstances(dump)).toEqual([
    'public/DEFAULT/shop.Orders:1.2.0 10.20.153.10:20880',
    'public/eu/shop.Orders:1.2.0 10.20.153.11:20880',
    'public/DEFAULT/shop.Orders fd00::12:50051',
    'public/DEFAULT/shop.Stock stock.internal:20880',
  ]);
  expect(findInstance(dump.records, '10.20.153.10')?.metadata).toMatchObject({ protocol: 'dubbo', colour: 'blue' });
  expect(findInstance(dump.records, '10.20.153.11')?.weight).toBe(200);
  expect(findInstance(dump.records, 'fd00::12')?.enabled).toBe(false);
  expect(countReasons(dump.report.leftOut)).toEqual({
    // What ZooKeeper's own client says before it answers.
    'a line that is no URL of Dubbo': 3,
    'no provider, but a consumer, a router or a configurator': 3,
  });
});

test("Dubbo's providers as a list in brackets, and as plain lines", () => {
  expect(listInstances(readDumpFile('dubbo', 'dubbo-providers.txt'))).toHaveLength(3);
  const lines = 'dubbo://10.0.0.1:20880/a.B?version=1\ndubbo%3A%2F%2F10.0.0.2%3A20880%2Fa.B\n';
  expect(listInstances(readDump('dubbo', lines))).toEqual([
    'public/DEFAULT/a.B:1 10.0.0.1:20880',
    'public/DEFAULT/a.B 10.0.0.2:20880',
  ]);
});

test('[AR2] Nacos: answers of version 1, one after the other', () => {
  const dump = readDumpFile('nacos', 'nacos-v1.json');
  expect(dump.report.taken).toEqual({ service: 2, instance: 5, key: 0 });
  expect(listInstances(dump)).toEqual([
    'public/DEFAULT/orders 10.1.0.1:8001',
    'public/DEFAULT/orders 10.1.0.2:8001',
    'public/warehouse/stock 10.1.1.1:9000',
    'public/warehouse/stock 10.1.1.2:9000',
    'public/DEFAULT/billing 10.1.2.1:7000',
  ]);
  expect(findInstance(dump.records, '10.1.0.2')).toMatchObject({ weight: 250, zone: 'c1' });
  expect(findInstance(dump.records, '10.1.1.1')).toMatchObject({ weight: 10_000, enabled: false });
  expect(dump.records).toContainEqual({
    kind: 'service',
    namespace: 'public',
    group: 'warehouse',
    service: 'stock',
    settings: { protectionThreshold: 0.5, healthThreshold: 0.5, metadata: { team: 'blue' } },
  });
  expect(dump.report.leftOut.map(({ count, examples }) => [count, ...examples])).toEqual([[1, 'gateway']]);
});

test('Nacos: answers of version 3, in their envelopes', () => {
  expect(listInstances(readDumpFile('nacos', 'nacos-v3.json'))).toEqual([
    'public/DEFAULT/orders 10.2.0.1:8001',
    'staging/warehouse/stock 10.2.1.1:9000',
    'public/DEFAULT/payments 10.2.2.1:7000',
  ]);
});

test('a namespace that is asked for takes the place of those of the dump', () => {
  const { records } = readDumpFile('nacos', 'nacos-v3.json', { namespace: 'moved' });
  expect(records.map((record) => (record.kind === 'key' ? '' : record.namespace))).toEqual(['moved', 'moved', 'moved']);
});

test('[AR2] Consul: keys with flags of 64 bits, exported or as they are listed', () => {
  const { records, report } = readDumpFile('consul', 'consul-kv.json');
  expect(records).toEqual([
    { kind: 'key', key: 'a b/ü', value: 'dW1sYXV0IMO8', flags: '0' },
    { kind: 'key', key: 'config/', value: '', flags: '0' },
    { kind: 'key', key: 'config/binary', value: '//4A', flags: '0' },
    { kind: 'key', key: 'config/empty', value: '', flags: '0' },
    { kind: 'key', key: 'config/limits', value: 'eyJyYXRlIjoxMDB9', flags: '3304740253564472344' },
  ]);
  expect(report.leftOut).toEqual([]);
  expect(readDumpFile('consul', 'consul-kv-recurse.json').records).toEqual(records);
  const locked = '[{"LockIndex":1,"Key":"k","Flags":18446744073709551615,"Value":null,"Session":"s"}]';
  const lock = readDump('consul', locked);
  expect(lock.records).toEqual([{ kind: 'key', key: 'k', value: '', flags: '18446744073709551615' }]);
  expect(countReasons(lock.report.altered)).toEqual({ 'the key is taken, but not the lock on it': 1 });
});

test('[AR2] Consul: instances with their health, their tags and their weights', () => {
  const dump = readDumpFile('consul', 'consul-health.json');
  expect(listInstances(dump)).toEqual([
    'public/DEFAULT/db 10.0.5.5:5432',
    'public/DEFAULT/orders 10.0.0.1:8080',
    'public/DEFAULT/orders 10.0.0.2:8080',
    'public/DEFAULT/orders 127.0.0.1:8081',
  ]);
  expect(findInstance(dump.records, '10.0.0.1')).toMatchObject({
    weight: 1000,
    enabled: true,
    metadata: { note: 'a=b&c', tags: 'v1,eu', version: '1.2' },
  });
  expect(findInstance(dump.records, '10.0.0.2')?.enabled).toBe(false);
  // A check warns: it has its other weight.
  expect(findInstance(dump.records, '127.0.0.1')?.weight).toBe(2000);
  expect(countReasons(dump.report.leftOut)).toMatchObject({
    'a server of Consul itself': 1,
    'a proxy or gateway of the service mesh': 1,
    'instance.port must be >= 1': 1,
  });
  expect(countReasons(dump.report.altered)).toEqual({
    'its metadata already has `tags`, so its tags are not taken': 1,
    'disabled: a check of it is critical': 1,
  });
});

test('Consul: instances of the catalog, and those of an agent, which says no addresses of its own', () => {
  const catalog = readDumpFile('consul', 'consul-catalog.json');
  expect(listInstances(catalog)).toEqual(listInstances(readDumpFile('consul', 'consul-health.json')));
  expect(countReasons(catalog.report.altered)).toMatchObject({ 'the weight is more than 10000, which it is now': 1 });
  expect(listInstances(readDumpFile('consul', 'consul-agent.json'))).toEqual([
    'public/DEFAULT/orders 10.0.0.1:8080',
    'public/DEFAULT/orders 10.0.0.2:8080',
  ]);
});
