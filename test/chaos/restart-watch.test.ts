import { expect, test } from 'vitest';

import type { ViewChange } from '../../chaos/actor.ts';
import { RestartWatch } from '../../chaos/restart-watch.ts';
import { SubscriberView } from '../support/subscriber-view.ts';

const change: ViewChange = { service: 'pay', isPush: true, isRenewal: false, isEmpty: false, lost: ['i1'], gained: 0 };

function viewAt(version: number): SubscriberView {
  const view = new SubscriberView({});
  view.begin({ version, instances: [] });
  return view;
}

test('what a list must not lose when the registry ends is judged from what had been told by then, not by pushes that come late', () => {
  const watch = new RestartWatch(1000);
  watch.begin(new Map([['pay', 20]]));
  watch.expect('pay', 'i1', [7]);
  expect(watch.judge(viewAt(19), change, 0)).toBeUndefined();
  expect(watch.judge(viewAt(20), change, 0)).toMatch(/^\[PU5\] pay i1 is gone/);
  watch.noteStart(500);
  expect(watch.judge(viewAt(21), change, 1499)).toMatch(/^\[PU5\] pay i1 is gone/);
  expect(watch.judge(viewAt(21), change, 1500)).toBeUndefined();
  watch.begin(new Map());
  expect(watch.judge(viewAt(22), change, 0)).toBeUndefined();
});
