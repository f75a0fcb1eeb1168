import { expect, test } from 'vitest';

import { explainUselessTarget, ProbeTargets } from '../../src/config/probe-targets.ts';

test.each([
  [['private'], '10.1.2.3', true],
  [['private'], '172.31.0.1', true],
  [['private'], '172.32.0.1', false],
  [['private'], '192.168.0.1', true],
  [['private'], 'fd12::1', true],
  [['private'], '::ffff:10.1.2.3', true],
  [['private'], '8.8.8.8', false],
  [['private'], '127.0.0.1', false],
  [['private'], '::1', false],
  [['private'], '::ffff:127.0.0.1', false],
  [['private'], '169.254.169.254', false],
  [['private'], '::ffff:169.254.169.254', false],
  [['private'], 'fd00:ec2::254', false],
  [['private'], '100.100.100.200', false],
  [['0.0.0.0/0', '::/0'], '8.8.8.8', true],
  [['0.0.0.0/0', '::/0'], '169.254.169.254', false],
  [['0.0.0.0/0', '::/0'], 'fe80::1', false],
  [['0.0.0.0/0', '::/0'], '64:ff9b::a9fe:a9fe', false],
  [['0.0.0.0/0', '::/0'], '64:ff9b::6464:64c8', false],
  [['0.0.0.0/0', '::/0'], '64:ff9b::808:808', true],
  [['0.0.0.0/0', '::/0'], '2002:a9fe:a9fe::1', false],
  [['0.0.0.0/0', '::/0'], '::a9fe:a9fe', false],
  [['0.0.0.0/1', '128.0.0.0/1'], '100.100.100.200', false],
  [['0.0.0.0/1', '128.0.0.0/1'], '0.0.0.0', false],
  [['0.0.0.0/1', '128.0.0.0/1'], '8.8.8.8', true],
  [['169.254.0.0/15'], '169.254.169.254', false],
  [['::/1'], '::ffff:169.254.169.254', false],
  [['169.254.0.0/16'], '169.254.1.1', true],
  [['fe80::/64'], 'fe80::1', true],
  [['169.254.169.254'], '169.254.169.254', true],
  [['loopback'], '127.9.9.9', true],
  [['loopback'], '::1', true],
  [['203.0.113.0/24'], '203.0.113.9', true],
  [[], '10.0.0.1', false],
  [['private'], 'localhost', false],
  [['private'], '010.0.0.1', false],
])('[HC4] with %j checks may reach %s: %s', (entries, address, isAllowed) => {
  expect(new ProbeTargets(entries).allows(address)).toBe(isAllowed);
});

test.each(['', 'public', '10.0.0.0/33', '10.0.0.0/8/8', 'fc00::/129', '10.0.0/8', '10.0.0.0/'])(
  '[HC4] %j is no target',
  (entry) => {
    expect(explainUselessTarget(entry)).toContain('neither');
  },
);
