import { orderCheck, splitCheck } from './check-definition.ts';
import { protocolLimits } from './limits.ts';
import type { Health, Instance, InstanceInput, InstanceOverride } from './types.ts';

/** An instance as it is stored and sent. */
export interface EncodedInstance {
  readonly id: string;
  /** Its canonical JSON. */
  readonly fragment: string;
  /** Whether it came with a weight of its own. */
  readonly hasWeight: boolean;
  /** The weight that its service gave it since it had none. */
  readonly givenWeight?: number;
}

/** What else determines the text of an instance: the weight of one that has none, and whether it outlives its session. */
export interface InstanceSurroundings {
  readonly defaultWeight?: number | undefined;
  readonly isPersistent?: boolean;
}

/**
 * An instance's canonical JSON: defaults filled in, fields in one order, metadata sorted by key, so that equal content is equal text
 * (SE5). This text is what is stored, compared and pushed; it is encoded here once. The input must have passed its schema.
 */
export function encodeInstance(
  input: InstanceInput,
  { defaultWeight = protocolLimits.weightDefault, isPersistent = false }: InstanceSurroundings = {},
): EncodedInstance {
  const { host, port } = input;
  const id = input.id ?? `${host}:${port}`;
  const fragment = JSON.stringify({
    id,
    host,
    port,
    weight: input.weight ?? defaultWeight,
    enabled: input.enabled ?? true,
    // Undefined is left out.
    zone: input.zone,
    metadata: sortKeys(input.metadata),
    persistent: isPersistent ? true : undefined,
    health: input.health === 'passing' ? undefined : input.health,
    check: input.check === undefined ? undefined : orderCheck(input.check),
  });
  return { id, fragment, hasWeight: input.weight !== undefined };
}

const weightName = ',"weight":';

/** An instance that came without a weight, with the one that its service gives it. */
export function giveWeight(instance: EncodedInstance, weight: number): EncodedInstance {
  const { fragment } = instance;
  // Within a text a quote is escaped, so the first of these is the field.
  const start = fragment.indexOf(weightName) + weightName.length;
  const end = fragment.indexOf(',', start);
  return { ...instance, fragment: `${fragment.slice(0, start)}${weight}${fragment.slice(end)}`, givenWeight: weight };
}

/** An instance's canonical JSON with an override laid over it, and a share of its weight. A metadata key of the override takes the place of the instance's. */
export function overrideInstance(
  fragment: string,
  { metadata, ...fields }: InstanceOverride,
  weightPercent: number,
): string {
  const instance = JSON.parse(fragment) as Instance;
  const { id, host, port, weight, enabled, zone, persistent, health } = { ...instance, ...fields };
  return JSON.stringify({
    id,
    host,
    port,
    weight: Math.round((weight * weightPercent) / 100),
    enabled,
    zone,
    metadata: sortKeys({ ...instance.metadata, ...metadata }),
    persistent,
    health,
  });
}

/** The texts of health, at the end of an instance's canonical JSON. Within a text a quote is escaped, and metadata ends with a brace of its own, so nothing else ends so. */
const healthEnds: readonly string[] = ['warning', 'critical'].map((health) => `,"health":"${health}"}`);

/** An instance's canonical JSON with another health. */
export function replaceHealth(fragment: string, health: Health): string {
  const { shown, check } = splitCheck(fragment);
  const end = healthEnds.find((end) => shown.endsWith(end)) ?? '}';
  const rest = shown.slice(0, shown.length - end.length);
  const word = health === 'passing' ? '' : `,"health":"${health}"`;
  return `${rest}${word}${check === undefined ? '' : `,"check":${check}`}}`;
}

/** An instance's canonical JSON without a check, as it shows with what its check has found. */
export function worsenHealth(shown: string, found: Health): string {
  const said = healthOf(shown);
  return found === 'passing' || said === 'critical' || said === found ? shown : replaceHealth(shown, found);
}

/** Whether an instance's canonical JSON, without a check, says so. */
export function isCritical(shown: string): boolean {
  return healthOf(shown) === 'critical';
}

/** An instance that is critical, and counts as well since too few others of its service are. */
export function protectInstance(shown: string): string {
  return `${shown.slice(0, -1)},"protected":true}`;
}

/** Of an instance's canonical JSON without a check. */
function healthOf(shown: string): Health {
  if (shown.endsWith(healthEnds[0]!)) return 'warning';
  return shown.endsWith(healthEnds[1]!) ? 'critical' : 'passing';
}

function sortKeys(metadata: InstanceInput['metadata']): Record<string, string> | undefined {
  if (metadata === undefined) return undefined;
  const keys = Object.keys(metadata);
  if (keys.length === 0) return undefined;
  const sorted: Record<string, string> = {};
  for (const key of keys.sort()) sorted[key] = metadata[key]!;
  return sorted;
}
