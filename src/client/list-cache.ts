import type { Instance, InstanceFilter, ServiceName } from '../protocol/types.ts';

/** A list as it was last known in full, to begin with when no registry can be reached. */
export interface CachedList {
  readonly service: ServiceName;
  /** What the list was asked for with; `{}` is all instances. */
  readonly filter: InstanceFilter;
  /** The registry that gave it, where that says its name. */
  readonly registry?: string;
  readonly version: number;
  readonly instances: readonly Instance[];
}

/**
 * Where a client keeps the last known list of each service that it subscribes to. Exceptions and rejections are reported by the event
 * `cache`, and the client continues without the cache.
 */
export interface ListCache {
  /** Undefined if there is none. */
  load(service: ServiceName): Promise<CachedList | undefined>;
  /** Keeps a list in place of the one of the same service before it. Called at most once a second for each service. */
  save(list: CachedList): Promise<void>;
}

/** Checks what a cache has given: it may have been written by another program, or be damaged. Throws with the reason. */
export function readCachedList(value: unknown, wanted: ServiceName): CachedList {
  if (!isRecord(value)) throw new Error('the cached list is no object');
  const { service, filter, registry, version, instances } = value;
  const isOfService =
    isRecord(service) &&
    service['namespace'] === wanted.namespace &&
    service['group'] === wanted.group &&
    service['service'] === wanted.service;
  if (!isOfService) throw new Error('the cached list is of another service');
  if (!isFilter(filter)) throw new Error('the cached list has no filter');
  if (registry !== undefined && typeof registry !== 'string') throw new Error('the cached list names no registry');
  if (!Number.isSafeInteger(version) || (version as number) < 0) throw new Error('the cached list has no version');
  if (!Array.isArray(instances) || !instances.every(isInstance)) {
    throw new Error('the cached list holds what is no instance');
  }
  return {
    service: wanted,
    filter,
    ...(registry === undefined ? {} : { registry }),
    version: version as number,
    instances: instances as readonly Instance[],
  };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): boolean {
  return isRecord(value) && Object.values(value).every((text) => typeof text === 'string');
}

function isFilter(value: unknown): value is InstanceFilter {
  if (!isRecord(value)) return false;
  const { zone, enabledOnly, healthyOnly, selector } = value;
  return (
    (zone === undefined || typeof zone === 'string') &&
    (enabledOnly === undefined || typeof enabledOnly === 'boolean') &&
    (healthyOnly === undefined || typeof healthyOnly === 'boolean') &&
    (selector === undefined || isTexts(selector))
  );
}

function isInstance(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { id, host, port, weight, enabled, zone, metadata, health } = value;
  return (
    typeof id === 'string' &&
    typeof host === 'string' &&
    Number.isInteger(port) &&
    typeof weight === 'number' &&
    typeof enabled === 'boolean' &&
    (zone === undefined || typeof zone === 'string') &&
    (metadata === undefined || isTexts(metadata)) &&
    (health === undefined || typeof health === 'string')
  );
}
