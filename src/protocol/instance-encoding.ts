import { protocolLimits } from './limits.ts';
import type { InstanceInput } from './types.ts';

/** An instance as it is stored and sent. */
export interface EncodedInstance {
  readonly id: string;
  /** Its canonical JSON. */
  readonly fragment: string;
}

/**
 * An instance's canonical JSON: defaults filled in, fields in one order, metadata sorted by key, so that equal content is equal text
 * (SE5). This text is what is stored, compared and pushed; it is encoded here once. The input must have passed its schema.
 */
export function encodeInstance(input: InstanceInput): EncodedInstance {
  const { host, port } = input;
  const id = input.id ?? `${host}:${port}`;
  const fragment = JSON.stringify({
    id,
    host,
    port,
    weight: input.weight ?? protocolLimits.weightDefault,
    enabled: input.enabled ?? true,
    // Undefined is left out.
    zone: input.zone,
    metadata: sortKeys(input.metadata),
  });
  return { id, fragment };
}

function sortKeys(metadata: InstanceInput['metadata']): Record<string, string> | undefined {
  if (metadata === undefined) return undefined;
  const keys = Object.keys(metadata);
  if (keys.length === 0) return undefined;
  const sorted: Record<string, string> = {};
  for (const key of keys.sort()) sorted[key] = metadata[key]!;
  return sorted;
}
