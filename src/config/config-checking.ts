import { Ajv2020 } from 'ajv/dist/2020.js';

import type { JsonSchema } from '../protocol/schemas.ts';
import { settingNames, settings } from './config.ts';
import type { ServerConfig, Setting, SettingName } from './config.ts';
import { explainExposure } from './exposure.ts';

/** A setting that is unknown, ill-typed or out of its range. */
export class ConfigError extends Error {
  readonly setting: string;

  constructor(setting: string, message: string) {
    super(message);
    this.name = 'ConfigError';
    this.setting = setting;
  }
}

/** A test checks schemas against the meta-schema; compiling that one would take longer than all that is checked here. */
const ajv: Ajv2020 = new Ajv2020({ meta: false, validateSchema: false });
const validators = new Map<SettingName, ReturnType<typeof ajv.compile>>();

/** Compiled when first needed: commands that merely read the names of settings start in half the time. */
function validatorOf(name: SettingName): ReturnType<typeof ajv.compile> {
  const known = validators.get(name);
  if (known !== undefined) return known;
  const compiled = ajv.compile(settings[name].schema);
  validators.set(name, compiled);
  return compiled;
}

/** Fills in defaults and refuses, by name, what is unknown or ill-typed. `source` is where the values came from, for the message. */
export function resolveConfig(input: Readonly<Record<string, unknown>>, source = 'configuration'): ServerConfig {
  for (const [name, value] of Object.entries(input)) checkSetting(name, value, source);
  const entries = settingNames.map((name) => [name, input[name] ?? defaultOf(name, input)]);
  // Every name is present, and every value has passed its schema.
  const config = Object.fromEntries(entries) as ServerConfig;
  if (config.leaseTtlMinMs > config.leaseTtlDefaultMs || config.leaseTtlDefaultMs > config.leaseTtlMaxMs) {
    throw new ConfigError(
      'leaseTtlDefaultMs',
      `${source}: leaseTtlDefaultMs must lie between leaseTtlMinMs and leaseTtlMaxMs`,
    );
  }
  if (config.warmUpMs > config.warmUpMaxMs) {
    throw new ConfigError('warmUpMaxMs', `${source}: warmUpMaxMs must not be below warmUpMs`);
  }
  if (config.coalesceWindowMinMs > config.coalesceWindowMaxMs) {
    throw new ConfigError(
      'coalesceWindowMinMs',
      `${source}: coalesceWindowMinMs must not be above coalesceWindowMaxMs`,
    );
  }
  for (const name of ['jwtIssuer', 'jwtAudience'] as const) {
    // Without them, whatever the issuer signs for anybody would be accepted.
    if (config.jwtKeys !== '' && config[name] === '')
      throw new ConfigError(name, `${source}: ${name} must be given with jwtKeys`);
  }
  checkTlsSettings(config, source);
  const exposure = config.insecure ? undefined : explainExposure(config);
  if (exposure !== undefined)
    throw new ConfigError('host', `${source}: host: ${exposure}; listen on 127.0.0.1, set them, or say insecure`);
  return config;
}

/** Refuses what says nothing without another setting. */
function checkTlsSettings(config: ServerConfig, source: string): void {
  const { tlsCert, tlsKey, tlsCa, tlsClientCertificate, transport } = config;
  const refuse = (setting: SettingName, why: string): never => {
    throw new ConfigError(setting, `${source}: ${setting}: ${why}`);
  };
  if (tlsCert !== '' && tlsKey === '') refuse('tlsKey', 'it is missing: tlsCert needs its key');
  if (tlsCert === '' && tlsKey !== '') refuse('tlsCert', 'it is missing: tlsKey needs its certificate');
  if (tlsCert === '' && tlsCa !== '') refuse('tlsCa', 'it says nothing without tlsCert and tlsKey');
  if (tlsCert === '' && tlsClientCertificate !== 'none')
    refuse('tlsClientCertificate', 'it says nothing without tlsCert and tlsKey');
  if (tlsClientCertificate !== 'none' && tlsCa === '')
    refuse(
      'tlsCa',
      `it is missing: with tlsClientCertificate ${tlsClientCertificate} it says whose certificates count`,
    );
  if (tlsCa !== '' && tlsClientCertificate === 'none')
    refuse('tlsClientCertificate', 'it is none, so tlsCa says nothing: use request or require');
  if (tlsCert !== '' && transport === 'uws')
    refuse('transport', 'uws cannot take a new certificate while it runs: with TLS use node, or auto');
}

/** Whoever wants a free port for sessions wants to be in nobody's way with HTTP either. */
function defaultOf(name: SettingName, { port }: Readonly<Record<string, unknown>>): Setting['default'] {
  return name === 'httpPort' && port === 0 ? 0 : settings[name].default;
}

/** Refuses, by name, a setting that is unknown, ill-typed or out of its range. */
export function checkSetting(name: string, value: unknown, source: string): void {
  if (!Object.hasOwn(settings, name)) {
    throw new ConfigError(
      name,
      `${source}: unknown setting ${JSON.stringify(name)}; known are ${settingNames.join(', ')}`,
    );
  }
  if (value === undefined) return;
  const { schema, refuse } = settings[name as SettingName];
  if (!validatorOf(name as SettingName)(value)) {
    const expected = describeSchema(schema);
    throw new ConfigError(name, `${source}: ${name} must be ${expected}, not ${JSON.stringify(value) ?? typeof value}`);
  }
  // The schema has found it to be of the setting's type.
  const refusal = refuse?.(value as never);
  if (refusal !== undefined) throw new ConfigError(name, `${source}: ${name}: ${refusal}`);
}

/** A setting's type and range in words. */
export function describeSchema(schema: JsonSchema): string {
  if (Array.isArray(schema.enum)) return `one of ${schema.enum.join(', ')}`;
  if (schema.type === 'integer') return `a whole number from ${String(schema.minimum)} to ${String(schema.maximum)}`;
  if (schema.type === 'boolean') return 'true or false';
  if (schema.type === 'array') return 'a list of strings';
  return schema.minLength === undefined ? 'a string' : 'a non-empty string';
}
