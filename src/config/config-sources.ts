import { readFileSync } from 'node:fs';

import { checkSetting, ConfigError } from './config-checking.ts';
import { settingNames, settings } from './config.ts';
import type { SettingName } from './config.ts';

/** Turns what a command line or an environment gives, always text, into the setting's type; leaves what does not fit for the check to refuse. */
export function readSettingText(name: SettingName, text: string): unknown {
  switch (settings[name].schema.type) {
    case 'integer':
      return /^-?\d+$/.test(text) ? Number(text) : text;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'array':
      return text.split(',').map((part) => part.trim());
    default:
      return text;
  }
}

const environmentPrefix = 'SLOTCAST_';

/** Where clients find the registry, and where commands find its HTTP: the variables of the family that are no settings of the server. */
export const serverVariable = 'SLOTCAST_SERVER';
export const httpVariable = 'SLOTCAST_HTTP';
/** And what commands need to trust it, and to show who they are. */
export const caVariable = 'SLOTCAST_CA';
export const certVariable = 'SLOTCAST_CERT';
export const keyVariable = 'SLOTCAST_KEY';
export const serverNameVariable = 'SLOTCAST_SERVER_NAME';
export const tokenVariable = 'SLOTCAST_TOKEN';
export const tokenFileVariable = 'SLOTCAST_TOKEN_FILE';
const otherVariables: ReadonlySet<string> = new Set([
  serverVariable,
  httpVariable,
  caVariable,
  certVariable,
  keyVariable,
  serverNameVariable,
  tokenVariable,
  tokenFileVariable,
]);

/** `disconnectGraceMs` is `SLOTCAST_DISCONNECT_GRACE_MS` in the environment. */
export function environmentName(name: SettingName): string {
  return environmentPrefix + name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** What an environment says, and variables of the family that are another's. */
export interface EnvironmentSettings {
  readonly values: Record<string, unknown>;
  readonly passedOver: readonly string[];
}

/**
 * The settings given by `SLOTCAST_*` variables; one that names no setting is refused. Empty ones count as not given. What Kubernetes sets in every container
 * beside a service called `slotcast`, `slotcast-…` is passed over: nobody meant it for a setting, and its `SLOTCAST_PORT` is no port.
 */
export function readEnvironment(environment: Readonly<Record<string, string | undefined>>): EnvironmentSettings {
  const byVariable = new Map(settingNames.map((name) => [environmentName(name), name]));
  const values: Record<string, unknown> = {};
  const passedOver: string[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith(environmentPrefix) || otherVariables.has(variable) || text === undefined || text === '')
      continue;
    const name = byVariable.get(variable);
    if (isServiceLink(variable, text)) {
      passedOver.push(variable);
      continue;
    }
    if (name === undefined) {
      throw new ConfigError(
        variable,
        `environment: ${variable} names no setting; known are ${[...byVariable.keys()].join(', ')}`,
      );
    }
    values[name] = readSettingText(name, text);
    checkSetting(name, values[name], `environment: ${variable}`);
  }
  return { values, passedOver };
}

/** Whether Kubernetes set a variable to say where a service is, as it and links of Docker do. */
function isServiceLink(variable: string, text: string): boolean {
  return (
    /_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(variable) ||
    (variable.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(text))
  );
}

/** The settings given by a JSON file. */
export function readConfigFile(path: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError('config', `${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new ConfigError('config', `${path}: must contain a JSON object of settings`);
  }
  const values = { ...content } as Record<string, unknown>;
  for (const [name, value] of Object.entries(values)) checkSetting(name, value, path);
  return values;
}
