import { expect, test } from 'vitest';

import { readEnvironment } from '../../src/config/config-sources.ts';

/** As Kubernetes sets them in every container beside the services `slotcast` and `slotcast-metrics`. */
const links = {
  SLOTCAST_SERVICE_HOST: '10.96.0.7',
  SLOTCAST_SERVICE_PORT: '7070',
  SLOTCAST_SERVICE_PORT_WS: '7070',
  SLOTCAST_PORT: 'tcp://10.96.0.7:7070',
  SLOTCAST_PORT_7070_TCP: 'tcp://10.96.0.7:7070',
  SLOTCAST_PORT_7070_TCP_PROTO: 'tcp',
  SLOTCAST_PORT_7070_TCP_PORT: '7070',
  SLOTCAST_PORT_7070_TCP_ADDR: '10.96.0.7',
  SLOTCAST_PORT_53_UDP: 'udp://10.96.0.7:53',
  SLOTCAST_METRICS_SERVICE_HOST: '10.96.0.8',
  SLOTCAST_METRICS_PORT: 'tcp://10.96.0.8:9090',
  SLOTCAST_METRICS_PORT_9090_TCP_ADDR: '10.96.0.8',
};

test('what Kubernetes sets beside a service of this name is passed over, and named', () => {
  const { values, passedOver } = readEnvironment({
    ...links,
    SLOTCAST_PARTITIONS: '3',
    SLOTCAST_SERVER: 'x',
    HOME: '/',
  });
  expect(values).toEqual({ partitions: 3 });
  expect([...passedOver].sort()).toEqual(Object.keys(links).sort());
});

test('a port that somebody meant is a setting', () => {
  expect(readEnvironment({ SLOTCAST_PORT: '7171' })).toEqual({ values: { port: 7171 }, passedOver: [] });
});

test.each([
  { SLOTCAST_PORT: 'http://10.0.0.1:80' },
  { SLOTCAST_PORT: 'seven' },
  { SLOTCAST_SERVICE: 'x' },
  { SLOTCAST_PORT_TCP: 'x' },
])('%j is a slip, and refused', (environment) => {
  expect(() => readEnvironment(environment)).toThrow(`environment: ${Object.keys(environment).join()}`);
});
