import { ChangeFeed } from '../../src/durable/change-feed.ts';
import { KeyFanOut } from '../../src/sessions/key-fan-out.ts';
import { KeyWatch } from '../../src/sessions/key-watch.ts';
import { replaceMethod } from './planted-key-bugs.ts';
import type { PlantedKeyBug } from './planted-key-bugs.ts';
import { SimulatedStore } from './simulated-store.ts';

/** Mistakes that histories of watches must find. */
export const plantedWatchBugs: readonly PlantedKeyBug[] = [
  {
    name: 'a watch skips what was committed while the thread of the store, or its client, was away',
    plant: () =>
      replaceMethod(
        ChangeFeed.prototype,
        'watch',
        (watch) =>
          function skip(this: ChangeFeed, caller, target) {
            return watch.call(this, caller, target, undefined);
          },
      ),
  },
  {
    name: 'a watch skips what its client did not read',
    plant: () =>
      replaceMethod(
        KeyWatch.prototype,
        'miss',
        (miss) =>
          function skip(this: KeyWatch, through) {
            if (this.isLive) this.version = through;
            else miss.call(this, through);
          },
      ),
  },
  {
    name: 'a watch skips the first of several changes that come together',
    plant: () =>
      replaceMethod(
        KeyFanOut.prototype,
        'add',
        (add) =>
          function skip(this: KeyFanOut, audience, news) {
            const { changes } = news;
            const isLong = changes !== undefined && changes.length > 2;
            add.call(this, audience, isLong ? { ...news, changes: changes.slice(1) } : news);
          },
      ),
  },
  {
    name: 'changes are told in another order than that of their commits',
    plant: () =>
      replaceMethod(
        KeyFanOut.prototype,
        'add',
        (add) =>
          function turn(this: KeyFanOut, audience, news) {
            add.call(this, audience, { ...news, changes: news.changes?.toReversed() });
          },
      ),
  },
  {
    name: 'a read says that it is complete through a commit that it does not show',
    plant: () => {
      const version = Object.getOwnPropertyDescriptor(SimulatedStore.prototype, 'version')!;
      Object.defineProperty(SimulatedStore.prototype, 'version', {
        ...version,
        get(this: SimulatedStore): number {
          return (version.get!.call(this) as number) + 2;
        },
      });
      return () => {
        Object.defineProperty(SimulatedStore.prototype, 'version', version);
      };
    },
  },
];
