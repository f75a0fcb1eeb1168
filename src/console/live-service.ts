import { useEffect, useRef, useState } from 'preact/hooks';

import type { Instance, StopListening, Subscription } from '../client/index.ts';
import { parseServiceKey, serviceKey } from '../protocol/service-key.ts';
import { explain } from './api.ts';
import { useSignIn } from './credentials.ts';
import { openClient, watched } from './session-client.ts';

/** A service as its subscribers see it. */
export interface LiveService {
  readonly instances: readonly Instance[];
  readonly version: number;
  /** The list may be out of date. */
  readonly isStale: boolean;
  readonly isSwitchedOff: boolean;
  /** There is no list yet. */
  readonly isPending: boolean;
  readonly failure: string;
  /** By id: how often the instance has changed while it was looked at. */
  readonly changes: ReadonlyMap<string, number>;
  /** Changes of the list so far. */
  readonly changeCount: number;
}

const nothing: LiveService = {
  instances: [],
  version: 0,
  isStale: false,
  isSwitchedOff: false,
  isPending: true,
  failure: '',
  changes: new Map(),
  changeCount: 0,
};

/** Subscribes for as long as somebody looks. Changes that come together are shown together. */
export function useLiveService(key: string): LiveService {
  const [live, setLive] = useState<LiveService>(nothing);
  const changes = useRef<Map<string, number>>(new Map());
  const { generation } = useSignIn();
  useEffect(() => {
    let subscription: Subscription | undefined;
    const stops: StopListening[] = [];
    let isOver = false;
    let frame = 0;
    let changeCount = 0;
    let version = 0;
    changes.current = new Map();
    setLive(nothing);
    const show = (): void => {
      frame = 0;
      if (subscription === undefined || isOver) return;
      const { instances, isStale, isSwitchedOff, isPending } = subscription;
      setLive({
        instances,
        version,
        isStale,
        isSwitchedOff,
        isPending,
        failure: '',
        changes: changes.current,
        changeCount,
      });
    };
    const showSoon = (): void => {
      if (frame === 0) frame = requestAnimationFrame(show);
    };
    const begin = async (): Promise<void> => {
      const client = await openClient();
      if (isOver) return;
      watched.add(key);
      stops.push(
        client.on('unreachable', ({ server, cause }) => {
          if (subscription?.isPending !== false) setLive({ ...nothing, failure: `${server}: ${explain(cause)}` });
        }),
        client.on('refused', ({ what, error }) => {
          if (what.kind === 'subscription' && serviceKey(what.service) === key)
            setLive({ ...nothing, isPending: false, isStale: true, failure: error.message });
        }),
      );
      subscription = await client.subscribe(parseServiceKey(key), { standing: true });
      if (isOver) {
        subscription.close();
        return;
      }
      subscription.on('change', (change) => {
        ({ version } = change);
        changeCount += 1;
        for (const { id } of change.put) changes.current.set(id, (changes.current.get(id) ?? 0) + 1);
        for (const { id } of change.removed) changes.current.delete(id);
        showSoon();
      });
      for (const name of ['stale', 'fresh'] as const) subscription.on(name, showSoon);
      await subscription.whenApplied();
      // What was there when it began is no change.
      changes.current.clear();
      show();
    };
    begin().catch((error: unknown) => {
      if (!isOver) setLive({ ...nothing, isStale: true, failure: explain(error) });
    });
    return () => {
      isOver = true;
      cancelAnimationFrame(frame);
      watched.delete(key);
      for (const stop of stops) stop();
      subscription?.close();
    };
  }, [key, generation]);
  return live;
}
