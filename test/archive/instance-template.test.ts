import { expect, test } from 'vitest';

import { InstanceTemplate } from '../../src/archive/instance-template.ts';

test.each([
  ['/s/{service}/{host}:{port}', '/s/orders/10.0.0.1:80', '', { service: 'orders', host: '10.0.0.1', port: 80 }],
  ['/s/{service}/{host}:{port}', '/s/orders/[fd00::1]:80', '', { service: 'orders', host: 'fd00::1', port: 80 }],
  ['/s/{service}/{id} => {host}:{port}', '/s/a/1', '[::1]:5\n', { service: 'a', id: '1', host: '::1', port: 5 }],
  ['{namespace}/{group}/{service} => {host} {port}', 'n/g/s', 'h 1', { namespace: 'n', group: 'g', service: 's' }],
  [
    '/s/{service} => {"a":{"b":"{host}"},"p":"{port}","w":"{weight}"}',
    '/s/x',
    '{"a":{"b":"h"},"p":8,"w":7}',
    { weight: 7 },
  ],
  ['/s/{service} => {"h":"{host}","p":"{port}","z":"{zone}"}', '/s/x', '{"h":"h","p":"8"}', { host: 'h', port: 8 }],
  ['/s/{service} => {"u":"http://{host}:{port}/{*}"}', '/s/x', '{"u":"http://h:8/path"}', { host: 'h', port: 8 }],
] as const)('%s takes %s %s', (template, key, value, expected) => {
  const found = new InstanceTemplate(template).match(key, value);
  const { instance, ...name } = found as Exclude<typeof found, string>;
  expect({ ...name, ...instance }).toMatchObject(expected);
});

test.each([
  ['/s/{service}/{host}:{port}', '/other/a/h:1', '', 'other'],
  ['/s/{service}/{host}:{port}', '/s/a/h', '', 'other'],
  ['/s/{service}/{host}:{port}', '/s//h:1', '', 'other'],
  ['/s/{service}/{host}:{port}', '/s/a/h:port', '', 'unfit'],
  ['/s/{service} => {host}:{port}', '/s/a', 'nothing', 'unfit'],
  ['/s/{service} => {"a":"{host}:{port}"}', '/s/a', 'no JSON', 'unfit'],
  ['/s/{service} => {"a":"{host}:{port}"}', '/s/a', '{"a":["h:1"]}', 'unfit'],
  ['/s/{service} => {"a":"{host}:{port}"}', '/s/a', '{}', 'unfit'],
] as const)('%s does not take %s %s: %s', (template, key, value, verdict) => {
  expect(new InstanceTemplate(template).match(key, value)).toBe(verdict);
});

test.each([
  ['/s/{service}', 'the template does not say where the host is: it lacks {host}'],
  ['/s/{service}/{host}{port}', /two placeholders side by side/],
  ['/s/{name}/{host}:{port}', /the template has the placeholder \{name\}; known are \{namespace\}/],
  ['/s/{service}/{host}:{port} => {host}', 'the template has {host} twice'],
  ['/s/{service} => {"a":', 'the pattern of the value in the template is not JSON'],
  ['/s/{service} => ["{host}:{port}"]', 'the pattern of the value in the template is no JSON object'],
  ['/s/{service} => {"a":1,"b":"{host}:{port}"}', 'the JSON of the template may hold objects and texts only'],
])('the template %s is refused', (template, message) => {
  expect(() => new InstanceTemplate(template)).toThrow(message);
});
