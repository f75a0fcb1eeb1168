import { bare } from './bare.ts';
import type { PeerDriver, PeerName } from './driver.ts';
import { etcd } from './etcd.ts';
import { slotcast } from './slotcast.ts';
import { zookeeper } from './zookeeper.ts';

/** slotcast first: the others are compared with it. */
export const drivers: Readonly<Record<PeerName, PeerDriver>> = { slotcast, bare, etcd, zookeeper };
