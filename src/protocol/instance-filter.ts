import type { Health, InstanceFilter } from './types.ts';

/** What filters look at. */
export interface Traits {
  readonly id: string;
  readonly enabled: boolean;
  readonly zone?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly health?: Health;
  readonly protected?: true;
}

/** Takes an instance's canonical JSON apart. */
export function readTraits(fragment: string): Traits {
  return JSON.parse(fragment) as Traits;
}

/** A filter, from its canonical text. */
export function parseFilter(text: string): InstanceFilter {
  return JSON.parse(text) as InstanceFilter;
}

/** Whether an instance is in the view of a filter. */
export function matchesFilter(traits: Traits, filter: InstanceFilter): boolean {
  const { enabled, zone, metadata, health, protected: isProtected } = traits;
  if (filter.enabledOnly === true && !enabled) return false;
  if (filter.healthyOnly === true && health === 'critical' && isProtected !== true) return false;
  if (filter.zone !== undefined && filter.zone !== zone) return false;
  for (const [key, value] of Object.entries(filter.selector ?? {})) {
    if (metadata === undefined || !Object.hasOwn(metadata, key) || metadata[key] !== value) return false;
  }
  return true;
}

/** Filters that say the same have the same text; one that lets everything through has none. */
export function encodeFilter({ zone, enabledOnly, healthyOnly, selector }: InstanceFilter): string {
  const keys = Object.keys(selector ?? {}).sort();
  if (zone === undefined && enabledOnly !== true && healthyOnly !== true && keys.length === 0) return '';
  return JSON.stringify({
    zone,
    enabledOnly: enabledOnly === true ? true : undefined,
    healthyOnly: healthyOnly === true ? true : undefined,
    selector: keys.length === 0 ? undefined : Object.fromEntries(keys.map((key) => [key, selector?.[key]])),
  });
}
