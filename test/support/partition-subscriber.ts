import { equal, ok } from 'node:assert/strict';

import type { Instance } from '../../src/protocol/types.ts';
import { fromFields, fromPartition, toPartition } from '../../src/workers/messages.ts';
import type { FromPartition } from '../../src/workers/messages.ts';
import { key, unlimited } from './partition-bench.ts';
import type { PartitionBench } from './partition-bench.ts';

/** A subscriber that takes every push of its variant. */
export class PartitionSubscriber {
  readonly instances: Map<string, Instance> = new Map();
  isClosed = false;
  version = 0;

  begin(bench: PartitionBench, variant: string, request: number): void {
    for (const record of bench.turn([toPartition.subscribe, request, key, variant, 0, unlimited])) {
      if (record[0] === fromPartition.state) {
        this.#take(record[fromFields.state.list], record[fromFields.state.version]);
      }
    }
  }

  takePush(record: Extract<FromPartition, [typeof fromPartition.push, ...unknown[]]>): void {
    ok(record[fromFields.push.from] <= this.version && record[fromFields.push.to] > this.version);
    this.#take(record[fromFields.push.body], record[fromFields.push.to]);
    equal(record[fromFields.push.count], this.instances.size);
  }

  #take(fields: string, version: number): void {
    const {
      instances,
      put = [],
      remove = [],
      closed,
    } = JSON.parse(`{${fields}}`) as {
      instances?: Instance[];
      put?: Instance[];
      remove?: string[];
      closed?: boolean;
    };
    if (instances !== undefined) this.instances.clear();
    for (const instance of instances ?? put) this.instances.set(instance.id, instance);
    for (const id of remove) this.instances.delete(id);
    this.isClosed = closed === true;
    this.version = version;
  }
}
